//! What goes with a request to the upstream.

use crate::support::{Cluster, Pylon, Upstream, reply};

/// One public target for each service.
const EVERYWHERE: &[(&str, &str)] = &[
    ("rest", "/rest-server/api/x"),
    ("kubernetes", "/kubernetes/api/x"),
    ("kubernetes", "/kubernetes/apis/x"),
    ("webhdfs", "/webhdfs/api/x"),
    ("webhdfs", "/webhdfs/webhdfs/x"),
    ("webhdfs", "/webhdfs/x"),
    ("prometheus", "/prometheus/x"),
    ("alert-manager", "/alert-manager/x"),
    ("dashboard", "/kubernetes-dashboard/x"),
    ("grafana", "/grafana/x"),
    ("dshuttle", "/dshuttle/x"),
    ("marketplace-api", "/marketplace/api/x"),
    ("marketplace", "/marketplace/x"),
    ("registry-cache", "/registry/cache/x"),
    ("portal", "/x"),
];

#[tokio::test]
async fn the_host_is_the_upstreams_own() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (service, public) in EVERYWHERE {
        pylon.request("GET", public).host("pylon.example:8080").send().await.expect_status(200);
        let seen = cluster[service].take_only();
        assert_eq!(seen.headers.all("host"), [cluster[service].authority()], "{public}");
    }
}

#[tokio::test]
async fn the_host_is_the_name_that_is_configured() {
    let rest = Upstream::named("rest").start().await;
    let authority = format!("localhost:{}", rest.port());
    let pylon = Pylon::standalone().env("REST_SERVER_URI", format!("http://{authority}")).start().await;
    pylon.get("/rest-server/api/v1").await.expect(200, "rest");
    assert_eq!(rest.only().headers.all("host"), [authority]);
}

#[tokio::test]
async fn requests_go_out_as_http_1_1() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (service, public) in EVERYWHERE {
        pylon.request("GET", public).http10().send().await.expect_status(200);
        assert_eq!(cluster[service].take_only().version, "HTTP/1.1", "{public}");
    }
}

#[tokio::test]
async fn the_upstream_learns_who_the_client_is() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (service, public) in EVERYWHERE {
        pylon.from("127.0.0.5").request("GET", public).host("pylon.example:8080").send().await.expect_status(200);
        let seen = cluster[service].take_only();
        assert_eq!(seen.headers.all("x-forwarded-for"), ["127.0.0.5"], "{public}");
        assert_eq!(seen.headers.all("x-real-ip"), ["127.0.0.5"], "{public}");
        assert_eq!(seen.headers.all("x-forwarded-proto"), ["http"], "{public}");
        assert_eq!(seen.headers.all("x-forwarded-host"), ["pylon.example:8080"], "{public}");
    }
}

#[tokio::test]
async fn a_client_cannot_pretend_to_be_another() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (service, public) in EVERYWHERE {
        let request = pylon.request("GET", public).header("X-Forwarded-For", "203.0.113.7, 198.51.100.1");
        let request = request.header("x-forwarded-for", "192.0.2.1").header("X-Real-IP", "203.0.113.7");
        let request = request.header("X-Forwarded-Proto", "https").header("X-Forwarded-Host", "evil.test");
        request.send().await.expect_status(200);
        let seen = cluster[service].take_only();
        assert_eq!(seen.headers.all("x-forwarded-for"), ["127.0.0.1"], "{public}");
        assert_eq!(seen.headers.all("x-real-ip"), ["127.0.0.1"], "{public}");
        assert_eq!(seen.headers.all("x-forwarded-proto"), ["http"], "{public}");
        assert_eq!(seen.headers.all("x-forwarded-host"), [pylon.host()], "{public}");
    }
}

#[tokio::test]
async fn the_upstream_learns_where_it_is_in_public() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let request = pylon.request("GET", "/grafana/d/1");
    request.header("X-Forwarded-Prefix", "/evil").send().await.expect_status(200);
    let seen = cluster["grafana"].only();
    assert_eq!(seen.headers.all("x-forwarded-prefix"), ["/grafana"]);
}

#[tokio::test]
async fn a_trusted_proxy_is_appended_to_what_it_says() {
    let rest = Upstream::named("rest").start().await;
    let launch = Pylon::standalone().env("REST_SERVER_URI", rest.uri());
    let pylon = launch.env("PYLON_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.8/31").start().await;
    let cases = [
        ("127.0.0.9", Some("203.0.113.7"), "203.0.113.7, 127.0.0.9"),
        ("127.0.0.8", Some("203.0.113.7, 10.1.1.1"), "203.0.113.7, 10.1.1.1, 127.0.0.8"),
        ("127.0.0.9", None, "127.0.0.9"),
        ("127.0.0.10", Some("203.0.113.7"), "127.0.0.10"),
        ("127.0.0.7", Some("203.0.113.7"), "127.0.0.7"),
    ];
    for (from, said, arrives) in cases {
        let request = pylon.from(from).request("GET", "/rest-server/api/v1");
        let request = if let Some(said) = said { request.header("X-Forwarded-For", said) } else { request };
        request.send().await.expect_status(200);
        assert_eq!(rest.take_only().headers.all("x-forwarded-for"), [arrives], "{from} said {said:?}");
    }
}

#[tokio::test]
async fn header_names_with_an_underscore_pass() {
    let answer = reply(200).header("x_reply_id", "7").text("hi");
    let cluster = Cluster::with([Upstream::named("portal").otherwise(answer)]).await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.request("GET", "/x").header("x_request_kind", "a b").header("_", "y").send().await;
    response.expect(200, "hi");
    assert_eq!(response.header("x_reply_id"), Some("7"));
    let seen = cluster["portal"].only();
    assert_eq!(seen.header("x_request_kind"), Some("a b"));
    assert_eq!(seen.header("_"), Some("y"));
}

#[tokio::test]
async fn other_headers_pass_unchanged() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let sent = [
        ("User-Agent", "kubectl/v1.9.4"),
        ("Authorization", "Bearer a.b.c"),
        ("Cookie", "a=1; b=\"2\""),
        ("Accept", "application/json, */*;q=0.1"),
        ("X-Custom", "h\u{e9}"),
        ("Origin", "http://pylon.example"),
        ("Referer", "http://pylon.example/x?y"),
        ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT"),
    ];
    let request = pylon.request("GET", "/kubernetes/api/v1");
    let request = sent.iter().fold(request, |request, (name, value)| request.header(name, *value));
    request.header("X-Twice", "1").header("X-Twice", "2").send().await.expect_status(200);
    let seen = cluster["kubernetes"].only();
    for (name, value) in sent {
        let expected: Vec<u8> = if name == "X-Custom" { vec![b'h', 0xc3, 0xa9] } else { value.into() };
        let got: Vec<u8> = seen.header(name).unwrap_or_default().chars().map(|c| c as u8).collect();
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(seen.headers.all("x-twice").join(","), "1,2");
}

#[tokio::test]
async fn headers_of_the_connection_stay_on_it() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let request = pylon.request("GET", "/kubernetes/api/v1").header("Connection", "close, X-Hop");
    let request = request.header("X-Hop", "1").header("Keep-Alive", "timeout=5").header("Proxy-Connection", "close");
    request.send().await.expect_status(200);
    let seen = cluster["kubernetes"].only();
    for name in ["x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}
