//! Many requests on one connection, and clients of HTTP/1.0.

use crate::support::{Cluster, Upstream, reply};

#[tokio::test]
async fn old_clients_get_no_chunks() {
    let upstream = Upstream::named("portal")
        .at("/chunked", reply(200).body("image/png", "in pieces").in_chunks_of(3))
        .at("/rewritten", reply(200).html("in pieces").in_chunks_of(3))
        .at("/sized", reply(200).text("in one"))
        .at("/closed", reply(200).text("in one").until_close());
    let (_cluster, pylon) = Cluster::behind_pylon([upstream]).await;
    for (path, body) in
        [("/chunked", "in pieces"), ("/rewritten", "in pieces"), ("/sized", "in one"), ("/closed", "in one")]
    {
        for host in ["", "Host: pylon.example\r\n"] {
            let mut connection = pylon.connect().await;
            connection.send(format!("GET {path} HTTP/1.0\r\n{host}\r\n")).await;
            let response = connection.response("GET").await;
            response.expect(200, body);
            assert_eq!(response.header("transfer-encoding"), None, "{path}");
            assert_eq!(connection.closed().await, None, "{path}");
        }
    }
}

#[tokio::test]
async fn old_clients_may_keep_the_connection_where_the_length_is_known() {
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("kubernetes")]).await;
    let mut connection = pylon.connect().await;
    connection.send("GET /kubernetes/api/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    let response = connection.response("GET").await;
    response.expect(200, "kubernetes");
    if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")) {
        connection.send("GET /kubernetes/api/y HTTP/1.0\r\n\r\n").await;
        connection.response("GET").await.expect(200, "kubernetes");
    }
    assert_eq!(connection.closed().await, None);
}

#[tokio::test]
async fn old_clients_are_redirected() {
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("portal")]).await;
    let mut connection = pylon.connect().await;
    connection.send("GET /grafana HTTP/1.0\r\nHost: pylon.example\r\n\r\n").await;
    connection.response("GET").await.expect_redirect(301, "http://pylon.example/grafana/");
    assert_eq!(connection.closed().await, None);
}

#[tokio::test]
async fn a_connection_serves_requests_of_all_kinds() {
    let upstream = Upstream::named("portal")
        .at("/html", reply(200).html("page").in_chunks_of(1))
        .at("/none", reply(204))
        .at("/missing", reply(404).text("no"))
        .at("/zipped", reply(200).html("zipped").gzip());
    let (_cluster, pylon) = Cluster::behind_pylon([upstream]).await;
    let mut connection = pylon.connect().await;
    let turns = [
        ("GET", "/html", 200, "page"),
        ("HEAD", "/html", 200, ""),
        ("GET", "/none", 204, ""),
        ("GET", "/missing", 404, "no"),
        ("GET", "/healthz", 200, "Pylon ready."),
        ("GET", "/zipped", 200, "zipped"),
        ("GET", "/kubernetes/api/x", 200, "kubernetes"),
        ("POST", "/kubernetes/api/x", 200, "kubernetes"),
    ];
    for (method, target, status, body) in turns.iter().cycle().take(24) {
        connection.send(pylon.request(method, target).bytes()).await;
        connection.response(method).await.expect(*status, body);
    }
    connection.send(pylon.request("GET", "/html").header("Connection", "close").bytes()).await;
    connection.response("GET").await.expect(200, "page");
    assert_eq!(connection.closed().await, None);
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_in_their_order() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("portal")]).await;
    let mut connection = pylon.connect().await;
    let requests =
        ["/grafana/1", "/kubernetes/api/2", "/healthz", "/4"].map(|target| pylon.request("GET", target).bytes());
    let upload = pylon.request("PUT", "/rest-server/api/5").body("body").bytes();
    connection.send([requests.concat(), upload, pylon.request("GET", "/6").bytes()].concat()).await;
    for body in ["grafana", "kubernetes", "Pylon ready.", "portal", "rest", "portal"] {
        connection.response("GET").await.expect(200, body);
    }
    assert_eq!(cluster["rest"].only().body, b"body");
}

#[tokio::test]
async fn an_informational_answer_does_no_harm() {
    let answer = reply(200).text("hi").after_informational("103 Early Hints\r\nLink: </x.css>; rel=preload");
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("kubernetes").otherwise(answer)]).await;
    pylon.get("/kubernetes/api/x").await.expect(200, "hi");
    let old = pylon.request("GET", "/kubernetes/api/x").http10().send().await;
    old.expect(200, "hi");
    assert!(old.informational.is_empty(), "HTTP/1.0 knows none");
}
