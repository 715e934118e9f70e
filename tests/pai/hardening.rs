//! What an attacker or an odd server may try, and what must not come of it.

use crate::support::{Cluster, Pylon, Reply, Upstream, reply};

#[tokio::test]
async fn a_target_never_leads_back_into_pylon() {
    let pylon = Pylon::standalone().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").start().await;
    let own = pylon.host();
    for prefix in ["/a", "/log-manager"] {
        let response = pylon.get(&format!("{prefix}/{own}/healthz")).await;
        response.expect_status(403);
    }
}

#[tokio::test]
async fn a_page_that_is_rewritten_is_not_revalidated_by_its_date() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("grafana")
        .otherwise(reply(200).header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT").html("<base href=\"/\" />"))])
    .await;
    let date = "Sat, 01 Jan 2022 00:00:00 GMT";
    let response = pylon.request("GET", "/grafana/").header("If-Modified-Since", date).send().await;
    response.expect(200, "<base href=\"/grafana/\" />");
    assert_eq!(response.header("last-modified"), None);
    assert!(cluster["grafana"].take_only().headers.all("if-modified-since").is_empty());
}

#[tokio::test]
async fn an_answer_without_content_has_no_length() {
    let (_cluster, pylon) =
        Cluster::behind_pylon([Upstream::named("prometheus")
            .otherwise(Reply::raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"))])
        .await;
    let response = pylon.get("/prometheus/x").await;
    response.expect_status(204);
    assert_eq!(response.header("content-length"), None);
}

#[tokio::test]
async fn an_unasked_upgrade_is_a_fault_of_the_upstream() {
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("prometheus")
        .otherwise(Reply::raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))])
    .await;
    pylon.get("/prometheus/x").await.expect_status(502);
}

#[tokio::test]
async fn aliases_of_our_own_headers_go() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let request = pylon.request("GET", "/prometheus/x").header("X_Real_IP", "6.6.6.6").header("My_Own", "stays");
    request.send().await.expect_status(200);
    let seen = cluster["prometheus"].take_only();
    assert!(seen.headers.all("x_real_ip").is_empty());
    assert_eq!(seen.headers.all("my_own"), ["stays"]);
}
