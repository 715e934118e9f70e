//! Bodies on their way: uploads, `Expect`, streams, old clients, and many requests on one connection.

use crate::support::{Cluster, EMPTY_HASH, End, Upstream, hash, reply};

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index ^ (index >> 8)) % 251).unwrap_or_default()).collect()
}

#[tokio::test]
async fn uploads_arrive_whole() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest")]).await;
    for length in [0, 1, 65_535, 65_536, 8 * 1024 * 1024] {
        let body = noise(length);
        for chunk in [0, 1000, 100_000] {
            let request = pylon.request("PUT", "/rest-server/api/v1/x");
            let request = if chunk == 0 { request.body(&body) } else { request.chunked(&body, chunk) };
            request.send().await.expect(200, "rest");
            let seen = cluster["rest"].take_only();
            assert_eq!((seen.body_length, seen.end), (length as u64, Some(End::Complete)));
            assert_eq!(seen.body_hash, hash(EMPTY_HASH, &body), "{length} bytes in chunks of {chunk}");
        }
    }
}

#[tokio::test]
async fn an_upload_is_passed_on_while_it_comes() {
    let (cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest")]).await;
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 10"] {
        let chunked = framing.contains("chunked");
        let mut connection = pylon.connect().await;
        let head = format!("PUT /rest-server/api/x HTTP/1.1\r\nHost: {}\r\n{framing}\r\n\r\n", pylon.host());
        connection.send(head).await;
        connection.send(if chunked { "5\r\nfirst\r\n" } else { "first" }).await;
        cluster["rest"].until("the first half", |seen| seen.body == b"first").await;
        connection.send(if chunked { "5\r\nlater\r\n0\r\n\r\n" } else { "later" }).await;
        connection.response("PUT").await.expect(200, "rest");
        assert_eq!(cluster["rest"].take_only().body, b"firstlater");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_upload_is_over() {
    let early = Upstream::named("rest").otherwise(reply(413).text("too much")).ignores_body();
    let (_cluster, pylon) = Cluster::behind_pylon([early]).await;
    let mut connection = pylon.connect().await;
    let host = pylon.host();
    let head = format!("PUT /rest-server/api/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\nbegin");
    connection.send(head).await;
    let response = connection.response("PUT").await;
    assert_eq!((response.status, response.text().as_str()), (413, "too much"));
}

#[tokio::test]
async fn expect_continue_is_answered() {
    let upstreams = [Upstream::named("webhdfs"), Upstream::named("webhdfs").never_says_continue()];
    for upstream in upstreams {
        let (cluster, pylon) = Cluster::behind_pylon([upstream]).await;
        for target in ["/webhdfs/api/v1/x?op=CREATE", "/webhdfs/x"] {
            let mut connection = pylon.connect().await;
            let host = pylon.host();
            let head =
                format!("PUT {target} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
            connection.send(head).await;
            assert_eq!(connection.head().await.word(1), "100");
            connection.send("body").await;
            connection.response("PUT").await.expect(200, "webhdfs");
            assert_eq!(cluster["webhdfs"].take_only().body, b"body");
        }
    }
}

#[tokio::test]
async fn large_answers_arrive_whole() {
    let body = noise(16 * 1024 * 1024);
    let kind = "application/octet-stream";
    let upstream = Upstream::named("kubernetes")
        .at("/api/sized", reply(200).body(kind, &body))
        .at("/api/chunked", reply(200).body(kind, &body).in_chunks_of(70_001))
        .at("/api/closed", reply(200).body(kind, &body).until_close());
    let (_cluster, pylon) = Cluster::behind_pylon([upstream]).await;
    for shape in ["sized", "chunked", "closed"] {
        let response = pylon.get(&format!("/kubernetes/api/{shape}")).await;
        response.expect_status(200);
        assert!(response.body == body, "the bytes of the {shape} answer differ");
    }
}

/// One event is received before the next is sent, on a route for each way through Pylon.
#[tokio::test]
async fn events_arrive_at_once() {
    let routes = [
        ("kubernetes", "/kubernetes/api/v1/watch", "/api/v1/watch", "application/json"),
        ("rest", "/rest-server/api/v1/events", "/api/v1/events", "text/event-stream"),
        ("portal", "/events", "/events", "text/event-stream"),
        ("grafana", "/grafana/events", "/events", "text/event-stream"),
        ("prometheus", "/prometheus/events", "/prometheus/events", "text/event-stream"),
    ];
    for (service, public, path, kind) in routes {
        let (tap, answer) = reply(200).tapped(kind);
        let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named(service).at(path, answer)]).await;
        let mut connection = pylon.request("GET", public).header("Accept", kind).open().await;
        assert_eq!(connection.head().await.word(1), "200", "the head comes before any event: {service}");
        for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
            tap.send(event);
            connection.until(event).await;
        }
    }
}
