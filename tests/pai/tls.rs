//! TLS at Pylon: the plain port leads to it, and everything that names a scheme says https.

use crate::support::{Cluster, Pylon, Reply, Seen, Upstream, reply};

fn rest() -> Upstream {
    Upstream::named("rest").at_with("/api/go", |seen: &Seen| -> Reply {
        reply(302).header("Location", seen.header("x-location").unwrap_or_default())
    })
}

async fn cluster() -> (Cluster, Pylon) {
    let cluster = Cluster::with([rest()]).await;
    let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").tls().start().await;
    (cluster, pylon)
}

#[tokio::test]
async fn the_routes_are_served_over_tls() {
    let (cluster, pylon) = cluster().await;
    let https = pylon.https();
    https.get("/healthz").await.expect(200, "Pylon ready.");
    https.get("/grafana/x?a=%2F").await.expect(200, "grafana");
    https.request("POST", "/rest-server/api/v1").body("{}").send().await.expect(200, "rest");
    assert_eq!(cluster.took(), ["grafana: GET /x?a=%2F", "rest: POST /api/v1"]);
}

#[tokio::test]
async fn the_plain_port_redirects_to_https() {
    let (cluster, pylon) = cluster().await;
    let targets = [
        "/",
        "/grafana",
        "/grafana/x?a=%2F&&b",
        "/a%2Fb%20c//d?",
        "/healthz/",
        "/healthzfoo",
        "/rest-server/api/v1/%0D%0ASet-Cookie:x",
        "/webhdfs/api/v1/x?op=CREATE",
    ];
    for target in targets {
        for (host, named) in
            [("pylon.example", "pylon.example"), ("pylon.example:8080", "pylon.example"), ("10.0.0.1:80", "10.0.0.1")]
        {
            for method in ["GET", "HEAD", "POST", "PUT"] {
                let response = pylon.request(method, target).host(host).send().await;
                response.expect_redirect(307, &format!("https://{named}{target}"));
            }
        }
    }
    assert!(cluster.took().is_empty());
}

#[tokio::test]
async fn the_plain_port_redirects_an_ipv6_host() {
    let (_cluster, pylon) = cluster().await;
    for host in ["[::1]", "[::1]:8080"] {
        pylon.request("GET", "/x").host(host).send().await.expect_redirect(307, "https://[::1]/x");
    }
}

#[tokio::test]
async fn the_plain_port_still_answers_healthz() {
    let (_cluster, pylon) = cluster().await;
    pylon.get("/healthz").await.expect(200, "Pylon ready.");
    pylon.get("/healthz?x").await.expect(200, "Pylon ready.");
}

#[tokio::test]
async fn the_upstream_learns_of_https() {
    let (cluster, pylon) = cluster().await;
    let request = pylon.https().request("GET", "/rest-server/api/v1").header("X-Forwarded-Proto", "http");
    request.send().await.expect_status(200);
    let seen = cluster["rest"].only();
    assert_eq!(seen.headers.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.headers.all("x-forwarded-host"), [pylon.https().host()]);
    assert_eq!(seen.headers.all("host"), [cluster["rest"].authority()]);
}

#[tokio::test]
async fn redirects_stay_on_https() {
    let (cluster, pylon) = cluster().await;
    let https = pylon.https();
    let origin = https.origin();
    https.get("/grafana?x").await.expect_redirect(301, &format!("{origin}/grafana/?x"));
    let yarn = cluster["yarn"].authority();
    https.get("/yarn/cluster").await.expect_redirect(301, &format!("{origin}/yarn/{yarn}/cluster"));
    for scheme in ["http", "https"] {
        let location = format!("{scheme}://{}/api/there", cluster["rest"].authority());
        let response = https.request("GET", "/rest-server/api/go").header("X-Location", location).send().await;
        response.expect_redirect(302, &format!("{origin}/rest-server/api/there"));
    }
}

#[tokio::test]
async fn webhdfs_stays_on_https() {
    let node = Upstream::named("webhdfs").otherwise(reply(307).header("Location", "http://dn:50075/x?y"));
    let cluster = Cluster::with([node]).await;
    let pylon = cluster.pylon().tls().start().await;
    let response = pylon.https().request("PUT", "/webhdfs/api/v1/x").host("pylon.example").body("").send().await;
    response.expect_redirect(307, "https://pylon.example/a/dn:50075/x?y");
}

#[tokio::test]
async fn links_say_https() {
    let json = r#"{"containerLog":"http://nm:8042/x"}"#;
    let page = r#"<html><a href="http://nm:8042/x">"#;
    let cluster = Cluster::with([
        Upstream::named("rest").otherwise(reply(200).json(json)),
        Upstream::named("yarn").otherwise(reply(200).html(page)),
        Upstream::named("webhdfs").otherwise(reply(200).html(r#"<a href="/x">"#)),
    ])
    .await;
    let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").tls().start().await;
    let get = async |target: &str| pylon.https().request("GET", target).host("h").send().await;
    get("/rest-server/api/x").await.expect(200, r#"{"containerLog":"https://h/yarn/nm:8042/x"}"#);
    let yarn = cluster["yarn"].authority();
    let expected =
        format!(r#"<head><base href="https://h/yarn/{yarn}/"></head><html><a href="https://h/yarn/nm:8042/x">"#);
    get(&format!("/yarn/{yarn}/cluster")).await.expect(200, &expected);
    get("/webhdfs/x").await.expect(200, r#"<a href="https://h/webhdfs/x">"#);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let (_cluster, pylon) = cluster().await;
    let mut connection = pylon.https().connect().await;
    for _ in 0..3 {
        connection.send(pylon.https().request("GET", "/grafana/x").bytes()).await;
        connection.response("GET").await.expect(200, "grafana");
    }
}

#[tokio::test]
async fn a_missing_certificate_is_said_before_anything_starts() {
    let dir = crate::support::Certificate::new();
    let launch = Pylon::standalone().env("SSL_ENABLE", "true").env("PYLON_CERT_DIR", dir.dir());
    let launch = launch.env("PYLON_LISTEN_TLS", crate::support::free_port().to_string());
    let ended = launch.env("CRT_NAME", "nothing.crt").env("KEY_NAME", "nothing.key").fails().await;
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("nothing.crt"), "{}", ended.log);
}

#[tokio::test]
async fn without_ssl_enable_the_plain_port_serves() {
    let cluster = Cluster::start().await;
    let launch = cluster.pylon().env("CRT_NAME", "site.crt").env("KEY_NAME", "site.key");
    launch.start().await.get("/grafana/x").await.expect(200, "grafana");
}
