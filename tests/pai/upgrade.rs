//! Upgrades: `WebSockets` and SPDY pass, in both directions and from the first byte.

use crate::support::{Cluster, Connection, Endpoint, Head, Pylon, Reply, Request, Upstream, reply};

const ROUTES: [(&str, &str); 6] = [
    ("kubernetes", "/kubernetes/api/v1/pods/p/exec?command=sh&stdin=true"),
    ("kubernetes", "/kubernetes/apis/x/watch"),
    ("portal", "/api/kernels/k/channels?session_id=s"),
    ("grafana", "/grafana/api/live/ws"),
    ("rest", "/rest-server/api/v1/stream"),
    ("dashboard", "/kubernetes-dashboard/api/sockjs/1/websocket"),
];

fn websocket(request: Request) -> Request {
    let request = request.header("Connection", "Upgrade").header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.header("Sec-WebSocket-Protocol", "v4.channel.k8s.io, base64.channel.k8s.io")
}

/// Agrees to `WebSockets` only, and says `early` right after the head.
fn accepting(name: &'static str, early: &'static [u8]) -> Upstream {
    Upstream::named(name).otherwise_with(move |seen| {
        if seen.header("upgrade") != Some("websocket") || seen.header("sec-websocket-key").is_none() {
            return reply(400).text("no WebSocket");
        }
        let accepted =
            Reply::upgrade("websocket", early).header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        accepted.header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
    })
}

async fn upgraded(pylon: &Pylon, target: &str) -> (Connection, Head) {
    let mut connection = websocket(pylon.request("GET", target)).open().await;
    let head = connection.head().await;
    assert_eq!(head.word(1), "101", "{target}: {head:?}");
    (connection, head)
}

async fn all_accepting(early: &'static [u8]) -> (Cluster, Pylon) {
    let names = ["kubernetes", "portal", "grafana", "rest", "dashboard"];
    let cluster = Cluster::with(names.map(|name| accepting(name, early))).await;
    let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").start().await;
    (cluster, pylon)
}

/// Sends and expects back: several turns, then more than fits into any buffer.
async fn expect_echo(connection: &mut Connection) {
    for turn in ["one", "\u{0}\u{1}two\r\n\r\n", "0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        connection.send(turn).await;
        assert_eq!(connection.exactly(turn.len()).await, turn.as_bytes());
    }
    let much = vec![7; 60_000];
    for _ in 0..20 {
        connection.send(&much).await;
        assert_eq!(connection.exactly(much.len()).await, much);
    }
}

#[tokio::test]
async fn websockets_pass_on_every_route() {
    let (cluster, pylon) = all_accepting(b"").await;
    for (service, target) in ROUTES {
        let (mut connection, head) = upgraded(&pylon, target).await;
        assert_eq!(head.headers.get("upgrade"), Some("websocket"));
        assert_eq!(head.headers.get("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(head.headers.get("sec-websocket-protocol"), Some("v4.channel.k8s.io"));
        expect_echo(&mut connection).await;
        let seen = cluster[service].take_only();
        assert_eq!(seen.header("upgrade"), Some("websocket"));
        assert_eq!(seen.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(seen.header("sec-websocket-version"), Some("13"));
        assert_eq!(seen.header("sec-websocket-protocol"), Some("v4.channel.k8s.io, base64.channel.k8s.io"));
    }
}

#[tokio::test]
async fn websockets_pass_to_a_dynamic_target() {
    let (_cluster, pylon) = all_accepting(b"").await;
    let target: Endpoint = accepting("target", b"early").on("127.0.0.2").start().await;
    for prefix in ["/a", "/yarn", "/log-manager"] {
        let (mut connection, _) = upgraded(&pylon, &format!("{prefix}/{}/ws", target.authority())).await;
        assert_eq!(connection.exactly(5).await, b"early");
        expect_echo(&mut connection).await;
    }
}

#[tokio::test]
async fn what_the_server_says_first_arrives() {
    let (_cluster, pylon) = all_accepting(b"\x82\x05hello").await;
    for (_, target) in ROUTES {
        for _ in 0..10 {
            let (mut connection, _) = upgraded(&pylon, target).await;
            assert_eq!(connection.exactly(7).await, b"\x82\x05hello", "{target}");
            expect_echo(&mut connection).await;
        }
    }
}

#[tokio::test]
async fn what_the_client_says_with_its_request_arrives() {
    let (_cluster, pylon) = all_accepting(b"").await;
    let mut connection = pylon.connect().await;
    let request = websocket(pylon.request("GET", "/kubernetes/api/v1/exec")).bytes();
    connection.send([&request[..], b"impatient"].concat()).await;
    assert_eq!(connection.head().await.word(1), "101");
    assert_eq!(connection.exactly(9).await, b"impatient");
}

#[tokio::test]
async fn the_end_of_one_side_ends_the_other() {
    let (_cluster, pylon) = all_accepting(b"").await;
    let (mut connection, _) = upgraded(&pylon, "/kubernetes/api/v1/exec").await;
    connection.send("last").await;
    assert_eq!(connection.exactly(4).await, b"last");
    connection.finish_sending().await;
    assert_eq!(connection.closed().await, None);
}

#[tokio::test]
async fn many_are_open_at_the_same_time() {
    let (_cluster, pylon) = all_accepting(b"hi").await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(upgraded(&pylon, "/kubernetes/api/v1/exec").await.0);
    }
    for connection in open.iter_mut().rev() {
        assert_eq!(connection.exactly(2).await, b"hi");
        connection.send("x").await;
        assert_eq!(connection.exactly(1).await, b"x");
    }
    pylon.get("/prometheus/x").await.expect(200, "prometheus");
}

#[tokio::test]
async fn kubectl_exec_over_spdy_passes() {
    let frames: &[u8] = b"\x80\x03\x00\x04\x00\x00\x00\x0cspdy frames";
    let kubernetes = Upstream::named("kubernetes").otherwise_with(|seen| match seen.header("upgrade") {
        Some("SPDY/3.1") => Reply::upgrade("SPDY/3.1", frames).header("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
        _ => reply(400).text("unable to upgrade"),
    });
    let cluster = Cluster::with([kubernetes]).await;
    let pylon = cluster.pylon().start().await;
    for subresource in ["exec?command=ls&stdout=true", "attach?stdin=true", "portforward"] {
        let request = pylon.request("POST", &format!("/kubernetes/api/v1/namespaces/d/pods/p/{subresource}"));
        let request =
            request.header("Connection", "Upgrade").header("Upgrade", "SPDY/3.1").header("Content-Length", "0");
        let request = request.header("X-Stream-Protocol-Version", "v4.channel.k8s.io");
        let mut connection = request.header("X-Stream-Protocol-Version", "v3.channel.k8s.io").open().await;
        let head = connection.head().await;
        assert_eq!(head.word(1), "101");
        assert_eq!(head.headers.get("upgrade"), Some("SPDY/3.1"));
        assert_eq!(head.headers.get("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(head.headers.get("x-stream-protocol-version"), Some("v4.channel.k8s.io"));
        assert_eq!(connection.exactly(frames.len()).await, frames);
        expect_echo(&mut connection).await;
        let seen = cluster["kubernetes"].take_only();
        assert_eq!(seen.method, "POST");
        assert_eq!(seen.header("upgrade"), Some("SPDY/3.1"));
        assert_eq!(seen.headers.all("x-stream-protocol-version"), ["v4.channel.k8s.io", "v3.channel.k8s.io"]);
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let refuses = reply(403).json(r#"{"reason":"Forbidden"}"#);
    let cluster = Cluster::with([Upstream::named("kubernetes").otherwise(refuses)]).await;
    let pylon = cluster.pylon().start().await;
    let mut connection = websocket(pylon.request("GET", "/kubernetes/api/v1/exec")).open().await;
    connection.response("GET").await.expect(403, r#"{"reason":"Forbidden"}"#);
    assert_eq!(cluster["kubernetes"].only().header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn an_upgrade_that_the_server_ignores_is_an_answer_like_any_other() {
    let cluster =
        Cluster::with([Upstream::named("portal").otherwise(reply(200).html("no sockets").in_chunks_of(2))]).await;
    let pylon = cluster.pylon().start().await;
    let mut connection = websocket(pylon.request("GET", "/x")).open().await;
    connection.response("GET").await.expect(200, "no sockets");
}

#[tokio::test]
async fn websockets_pass_over_tls() {
    let cluster = Cluster::with([accepting("kubernetes", b"early")]).await;
    let pylon = cluster.pylon().tls().start().await;
    let mut connection = websocket(pylon.https().request("GET", "/kubernetes/api/v1/exec")).open().await;
    assert_eq!(connection.head().await.word(1), "101");
    assert_eq!(connection.exactly(5).await, b"early");
    expect_echo(&mut connection).await;
}
