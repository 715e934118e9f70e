//! The body of a rewritten answer on its way: borders of chunks, compression, lengths, ranges, types.

use crate::support::{Cluster, End, Pylon, Reply, Seen, Upstream, latin1, reply};

/// The routes that rewrite: the service, a public path, the same path there, a text and what becomes of it.
const ROUTES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "rest",
        "/rest-server/api/x",
        "/api/x",
        r#"{"containerLog":"http://nm:8042/x/y","appTrackingUrl":"http://rm:8088/","z":1}"#,
        r#"{"containerLog":"http://h/yarn/nm:8042/x/y","appTrackingUrl":"http://h/yarn/rm:8088/","z":1}"#,
    ),
    (
        "webhdfs",
        "/webhdfs/x",
        "/x",
        "get('/startupProgress') '/webhdfs/v1'",
        "get('http://h/webhdfs/startupProgress') '/webhdfs/api/v1'",
    ),
    ("grafana", "/grafana/x", "/x", r#"<base href="/" />"url":"/""#, r#"<base href="/grafana/" />"url":"./""#),
    ("dshuttle", "/dshuttle/x", "/x", r#"href="/x" /api /ap"#, r#"href="/dshuttle/x" /dshuttle/api /ap"#),
];

/// A Pylon before services that all answer with their text, in this shape.
async fn all_as(shape: impl Fn(Reply) -> Reply) -> Pylon {
    let upstreams =
        ROUTES.iter().map(|(name, _, path, text, _)| Upstream::named(name).at(path, shape(reply(200).html(text))));
    Cluster::behind_pylon(upstreams).await.1
}

async fn expect_all(pylon: &Pylon, what: &str) {
    for (_, public, _, _, expected) in ROUTES {
        let response = pylon.request("GET", public).host("h").header("Accept-Encoding", "gzip, br").send().await;
        assert_eq!(
            (response.status, response.end, response.text().as_str()),
            (200, End::Complete, *expected),
            "{what}"
        );
    }
}

#[tokio::test]
async fn matches_across_chunks_are_found() {
    for size in [1, 2, 3, 7, 16] {
        let pylon = all_as(|reply| reply.in_chunks_of(size)).await;
        expect_all(&pylon, &format!("chunks of {size}")).await;
    }
}

#[tokio::test]
async fn every_framing_is_rewritten() {
    expect_all(&all_as(|reply| reply).await, "a length").await;
    expect_all(&all_as(Reply::until_close).await, "until close").await;
}

#[tokio::test]
async fn compressed_answers_are_rewritten() {
    expect_all(&all_as(Reply::gzip).await, "gzip").await;
    expect_all(&all_as(|reply| reply.gzip().in_chunks_of(1)).await, "gzip in chunks").await;
}

/// A portal whose pages name Grafana.
async fn portal(
    script: impl Fn(&Seen, &str) -> Reply + Send + Sync + 'static,
) -> (Cluster, Pylon, crate::support::Endpoint) {
    let cluster = Cluster::start().await;
    let uri = cluster["grafana"].uri();
    let page = Upstream::named("portal").at_with("/x", move |seen| script(seen, &uri)).start().await;
    let pylon = cluster.pylon_without(&["portal"]).env("PAI_WEB_PORTAL_URI", page.uri()).start().await;
    (cluster, pylon, page)
}

#[tokio::test]
async fn a_long_body_is_rewritten_to_its_end() {
    let long = |to: &str| {
        let line = |number: usize| format!("{}{to}/d/{number}\n", "x".repeat(number % 61));
        (0..20_000).map(line).collect::<String>()
    };
    let (_cluster, pylon, _portal) = portal(move |_, uri| reply(200).html(&long(uri))).await;
    pylon.get("/x").await.expect(200, &long("/grafana"));
    let (_cluster, pylon, _portal) = portal(move |_, uri| reply(200).html(&long(uri)).gzip().in_chunks_of(777)).await;
    pylon.get("/x").await.expect(200, &long("/grafana"));
}

#[tokio::test]
async fn half_a_match_at_the_end_is_not_lost() {
    let (_cluster, pylon, _portal) =
        portal(|_, uri| reply(200).html(&format!("{uri} {}", &uri[..uri.len() - 1]))).await;
    let response = pylon.get("/x").await;
    assert!(response.text().starts_with("/grafana http://127.0.0.1:"), "{response:?}");
    assert_eq!(response.end, End::Complete);
    let (_cluster, pylon, _portal) = portal(|_, uri| reply(200).html(&uri[..9]).in_chunks_of(1)).await;
    pylon.get("/x").await.expect(200, "http://12");
}

#[tokio::test]
async fn an_empty_body_stays_empty() {
    let (_cluster, pylon, _portal) = portal(|_, _| reply(200).html("")).await;
    pylon.get("/x").await.expect(200, "");
    let (_cluster, pylon, _portal) = portal(|_, _| reply(200).html("").in_chunks_of(1)).await;
    pylon.get("/x").await.expect(200, "");
}

#[tokio::test]
async fn a_length_is_never_that_of_the_text_before() {
    let (_cluster, pylon, _portal) = portal(|_, uri| reply(200).html(&format!("<p>{uri}</p>"))).await;
    let response = pylon.get("/x").await;
    response.expect(200, "<p>/grafana</p>");
    assert_eq!(response.header("content-length").unwrap_or("15"), "15");
    let head = pylon.request("HEAD", "/x").send().await;
    head.expect(200, "");
    assert_eq!(head.header("content-length").unwrap_or("15"), "15");
    assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn a_head_leaves_the_connection_in_order() {
    let (_cluster, pylon, _portal) = portal(|_, uri| reply(200).html(uri).gzip()).await;
    let mut connection = pylon.connect().await;
    for method in ["HEAD", "GET", "HEAD", "GET"] {
        connection.send(pylon.request(method, "/x").bytes()).await;
        connection.response(method).await.expect(200, if method == "GET" { "/grafana" } else { "" });
    }
}

#[tokio::test]
async fn answers_without_a_body_pass() {
    for status in [204, 304] {
        let (_cluster, pylon, _portal) = portal(move |_, _| reply(status).header("X-Mark", "1")).await;
        let mut connection = pylon.connect().await;
        for _ in 0..2 {
            connection.send(pylon.request("GET", "/x").bytes()).await;
            let response = connection.response("GET").await;
            response.expect(status, "");
            assert_eq!(response.header("x-mark"), Some("1"));
            assert_eq!(response.header("transfer-encoding"), None);
        }
    }
}

/// Serves ranges of a page, as a file server does.
fn ranges(seen: &Seen, uri: &str) -> Reply {
    let page = format!("<p>{uri}</p>");
    let answer = if seen.header("range").is_some() {
        reply(206).header("Content-Range", format!("bytes 0-3/{}", page.len())).html(&page[..4])
    } else {
        reply(200).html(&page)
    };
    answer.header("Accept-Ranges", "bytes").header("ETag", "\"v\"")
}

#[tokio::test]
async fn a_rewritten_page_has_no_ranges() {
    let (_cluster, pylon, _portal) = portal(ranges).await;
    for range in ["bytes=0-3", "bytes=-4", "bytes=4-"] {
        let response = pylon.request("GET", "/x").header("Range", range).send().await;
        response.expect(200, "<p>/grafana</p>");
        assert_ne!(response.header("accept-ranges"), Some("bytes"));
        assert_eq!(response.header("content-range"), None);
    }
    let request = pylon.request("GET", "/x").header("Range", "bytes=0-3").header("If-Range", "\"v\"");
    request.send().await.expect(200, "<p>/grafana</p>");
}

#[tokio::test]
async fn other_routes_have_ranges() {
    let cluster =
        Cluster::with([Upstream::named("prometheus").at_with("/prometheus/x", |seen| ranges(seen, "u"))]).await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.request("GET", "/prometheus/x").header("Range", "bytes=0-3").send().await;
    response.expect(206, "<p>u");
    assert_eq!(response.header("content-range"), Some("bytes 0-3/8"));
}

#[tokio::test]
async fn only_text_is_rewritten() {
    for kind in ["image/png", "application/octet-stream", "font/woff2", "application/zip", "video/mp4"] {
        let (cluster, pylon, _portal) = portal(move |_, uri| reply(200).body(kind, uri)).await;
        let response = pylon.get("/x").await;
        response.expect(200, &cluster["grafana"].uri());
        assert_eq!(
            response.header("content-length"),
            Some(cluster["grafana"].uri().len().to_string().as_str()),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_survive() {
    let noise: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let sent = noise.clone();
    let (_cluster, pylon, _portal) = portal(move |_, uri| {
        reply(200).body("text/plain", [&sent[..], uri.as_bytes(), &sent[..]].concat()).in_chunks_of(4099)
    })
    .await;
    let expected = [&noise[..], b"/grafana", &noise[..]].concat();
    assert!(pylon.get("/x").await.body == expected, "the bytes differ");
}

#[tokio::test]
async fn an_unknown_coding_passes_untouched() {
    let (cluster, pylon, _portal) = portal(|_, uri| reply(200).html(uri).header("Content-Encoding", "x-rot13")).await;
    let response = pylon.get("/x").await;
    response.expect_status(200);
    assert_eq!(latin1(&response.body), cluster["grafana"].uri());
    assert_eq!(response.header("content-encoding"), Some("x-rot13"));
}
