//! What of a reply reaches the client, and what of it Pylon does not obey.

use crate::support::{Cluster, Response, Upstream, gzip, latin1, reply};

/// Everything that an upstream may tell a proxy to do, which Pylon does not.
async fn obedient(name: &str, value: &str) -> Response {
    let answer = reply(200).header(name, value).text("the upstream's own");
    let cluster = Cluster::with([Upstream::named("portal").otherwise(answer)]).await;
    let pylon = cluster.pylon().start().await;
    pylon.get("/x").await
}

#[tokio::test]
async fn x_accel_headers_are_not_obeyed() {
    let orders = [
        ("X-Accel-Redirect", "/healthz"),
        ("X-Accel-Redirect", "/grafana/x"),
        ("X-Accel-Limit-Rate", "1"),
        ("X-Accel-Charset", "koi8-r"),
        ("X-Accel-Expires", "0"),
    ];
    for (name, value) in orders {
        obedient(name, value).await.expect(200, "the upstream's own");
    }
}

#[tokio::test]
async fn response_headers_pass_in_their_number_and_order() {
    let answer = reply(200)
        .header("Set-Cookie", "a=1; Path=/; HttpOnly")
        .header("X-Custom", "one")
        .header("Set-Cookie", "b=2; Path=/x; Secure; SameSite=Lax")
        .header("Cache-Control", "no-store")
        .header("WWW-Authenticate", "Bearer realm=\"k8s\"")
        .header("WWW-Authenticate", "Basic")
        .text("hi");
    let cluster = Cluster::with([Upstream::named("portal").otherwise(answer)]).await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.get("/x").await;
    let cookies = ["a=1; Path=/; HttpOnly", "b=2; Path=/x; Secure; SameSite=Lax"];
    assert_eq!(response.headers.all("set-cookie"), cookies);
    assert_eq!(response.headers.all("www-authenticate"), ["Bearer realm=\"k8s\"", "Basic"]);
    assert_eq!(response.headers.all("x-custom"), ["one"]);
    assert_eq!(response.headers.all("cache-control"), ["no-store"]);
    assert_eq!(response.headers.all("content-type"), ["text/plain"]);
}

#[tokio::test]
async fn no_response_says_which_library_pylon_is_made_of() {
    let (_cluster, pylon) = Cluster::behind_pylon([]).await;
    let answers = [
        pylon.get("/healthz").await,
        pylon.get("/grafana").await,
        pylon.get("/grafana/x").await,
        pylon.get("/a/192.0.2.1:1/x").await,
        pylon.raw("GET / HTTP/1.1\r\n\r\n").await,
    ];
    for response in answers {
        let server = response.header("server").unwrap_or_default();
        assert!(!server.to_ascii_lowercase().contains("pingora"), "{response:?}");
    }
}

#[tokio::test]
async fn compression_passes_where_nothing_is_rewritten() {
    let zipped = gzip(b"{\"status\":\"success\"}");
    let cluster =
        Cluster::with([Upstream::named("prometheus").otherwise(reply(200).json("{\"status\":\"success\"}").gzip())])
            .await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.request("GET", "/prometheus/x").header("Accept-Encoding", "gzip").send().await;
    response.expect_status(200);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(latin1(&response.body), latin1(&zipped));
    assert_eq!(cluster["prometheus"].only().header("accept-encoding"), Some("gzip"));
}
