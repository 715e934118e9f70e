//! When things go wrong: what the client sees, and that everything else goes on.

use crate::support::{Cluster, End, Pylon, Reply, Response, Upstream, free_port, latin1, reply};

/// An error of Pylon's own making: no library's name, and the id under which the log has the reason.
fn expect_own_error(response: &Response, statuses: &[u16]) {
    assert!(statuses.contains(&response.status) && response.end == End::Complete, "{response:?}");
    assert!(!response.header("server").unwrap_or_default().contains("Pingora"), "{response:?}");
    let id = response.header("x-request-id").unwrap_or_default();
    assert!(!id.is_empty(), "no request id in {response:?}");
    assert!(latin1(&response.body).contains(id), "the page does not show the id: {response:?}");
}

#[tokio::test]
async fn a_dead_upstream_is_a_502_and_the_others_serve() {
    let cluster = Cluster::start().await;
    let dead = format!("http://{}", free_port());
    let launch = cluster.pylon_without(&["rest", "portal", "webhdfs"]).env("REST_SERVER_URI", &dead);
    let pylon = launch.env("PAI_WEB_PORTAL_URI", &dead).env("WEBHDFS_URI", &dead).start().await;
    for target in ["/rest-server/api/v1", "/", "/webhdfs/api/v1/x", "/webhdfs/"] {
        expect_own_error(&pylon.get(target).await, &[502]);
        expect_own_error(&pylon.request("POST", target).body("x").send().await, &[502]);
    }
    pylon.get("/grafana/x").await.expect(200, "grafana");
    pylon.get("/healthz").await.expect(200, "Pylon ready.");
}

#[tokio::test]
async fn an_unresolvable_upstream_is_an_error_of_its_routes_only() {
    let cluster = Cluster::start().await;
    let launch = cluster.pylon_without(&["rest"]).env("REST_SERVER_URI", "http://nosuch.invalid:9186");
    let pylon = launch.start().await;
    expect_own_error(&pylon.get("/rest-server/api/v1").await, &[502, 503]);
    pylon.get("/grafana/x").await.expect(200, "grafana");
}

#[tokio::test]
async fn an_upstream_that_comes_up_later_is_reached() {
    let address = free_port();
    let pylon = Pylon::standalone().env("REST_SERVER_URI", format!("http://{address}")).start().await;
    pylon.get("/rest-server/api/v1").await.expect_status(502);
    let _rest = Upstream::named("rest").on_port(address.port()).start().await;
    let reached = async {
        while pylon.get("/rest-server/api/v1").await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    crate::support::within("the upstream to be reached", reached).await;
}

#[tokio::test]
async fn pylons_own_pages_carry_the_request_id() {
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest")]).await;
    expect_own_error(&pylon.get("/a/192.0.2.1:1/x").await, &[403]);
    expect_own_error(&pylon.get("/grafana/%2e%2e/kubernetes/api").await, &[400]);
    let alone = Pylon::standalone().start().await;
    expect_own_error(&alone.get("/nothing/here").await, &[404]);
    let [one, two] = [alone.get("/x").await, alone.get("/x").await];
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn the_upstream_sees_the_request_id() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest")]).await;
    for _ in 0..2 {
        pylon.get("/rest-server/api/v1").await.expect_status(200);
    }
    let seen = cluster["rest"].seen();
    let ids: Vec<_> = seen.iter().map(|seen| seen.header("x-request-id").unwrap_or_default()).collect();
    assert!(!ids[0].is_empty() && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn the_inner_reason_stays_inside() {
    let address = free_port();
    let pylon = Pylon::standalone().env("REST_SERVER_URI", format!("http://{address}")).start().await;
    let body = latin1(&pylon.get("/rest-server/api/v1").await.body).to_lowercase();
    for inner in [&address.to_string(), "refused", "pingora", "os error"] {
        assert!(!body.contains(inner), "{body}");
    }
}

#[tokio::test]
async fn an_upstreams_own_errors_pass() {
    for status in [400, 401, 403, 404, 409, 429, 500, 502, 503, 504] {
        let upstream = Upstream::named("rest").otherwise(reply(status).header("X-Mark", "1").json(r#"{"code":"own"}"#));
        let (_cluster, pylon) = Cluster::behind_pylon([upstream]).await;
        let response = pylon.get("/rest-server/api/v1").await;
        response.expect(status, r#"{"code":"own"}"#);
        assert_eq!(response.header("x-mark"), Some("1"));
    }
}

/// The routes of the two kinds: bodies as they are, and bodies rewritten.
const KINDS: [(&str, &str); 2] = [("prometheus", "/prometheus/x"), ("portal", "/x")];

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to() {
    let text = "x".repeat(100_000);
    let shapes: [(&str, Reply); 3] = [
        ("sized", reply(200).html(&text).cut_after(50_000)),
        ("chunked", reply(200).html(&text).in_chunks_of(1000).cut_after(50_000)),
        ("gzip", reply(200).html(&text).gzip().in_chunks_of(10).cut_after(40)),
    ];
    for (service, target) in KINDS {
        for (shape, answer) in &shapes {
            let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named(service).otherwise(answer.clone())]).await;
            let response = pylon.get(target).await;
            let seen = response.end == End::Broken || response.status == 502;
            assert!(seen, "the end of a {shape} body of {service} looks like a good one");
            pylon.get("/grafana/x").await.expect(200, "grafana");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_a_502() {
    for answer in [Reply::raw(b""), Reply::raw(b"HTTP/1.1 200 OK\r\nContent-Le"), Reply::raw(b"no HTTP at all\r\n\r\n")]
    {
        for (service, target) in KINDS {
            let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named(service).otherwise(answer.clone())]).await;
            expect_own_error(&pylon.get(target).await, &[502]);
            pylon.get("/grafana/x").await.expect(200, "grafana");
        }
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_heard_is_not_sent_twice() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest").otherwise(Reply::raw(b""))]).await;
    expect_own_error(&pylon.request("POST", "/rest-server/api/v1/jobs").body("{}").send().await, &[502]);
    assert_eq!(cluster["rest"].only().line(), "POST /api/v1/jobs");
}

#[tokio::test]
async fn a_connection_that_the_upstream_closes_when_idle_does_no_harm() {
    let (cluster, pylon) =
        Cluster::behind_pylon([Upstream::named("rest").otherwise(reply(200).text("hi").cut_after(2))]).await;
    for _ in 0..30 {
        pylon.get("/rest-server/api/v1").await.expect(200, "hi");
    }
    assert_eq!(cluster["rest"].seen().len(), 30);
}

#[tokio::test]
async fn a_client_goes_on_after_an_error() {
    let cluster = Cluster::start().await;
    let dead = format!("http://{}", free_port());
    let pylon = cluster.pylon_without(&["rest"]).env("REST_SERVER_URI", dead).start().await;
    let mut connection = pylon.connect().await;
    for _ in 0..3 {
        let failed = connection.ask(pylon.request("GET", "/rest-server/api/v1")).await;
        expect_own_error(&failed, &[502]);
        let served = connection.ask(pylon.request("GET", "/grafana/x")).await;
        served.expect(200, "grafana");
    }
}

#[tokio::test]
async fn a_head_that_fails_has_no_body() {
    let dead = format!("http://{}", free_port());
    let pylon = Pylon::standalone().env("REST_SERVER_URI", dead).start().await;
    let mut connection = pylon.connect().await;
    for _ in 0..2 {
        let failed = connection.ask(pylon.request("HEAD", "/rest-server/api/v1")).await;
        failed.expect(502, "");
        let served = connection.ask(pylon.request("GET", "/healthz")).await;
        served.expect(200, "Pylon ready.");
    }
}
