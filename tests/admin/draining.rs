//! Out of service and back, without a request lost.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::running::{Running, read_to};
use super::support::{Upstream, reply, within};
use super::talk::{get, post, until_connections};

const ROUTE: &str = "routes: [{ name: hi, path: /hi, answer: { body: hi } }]\n";

async fn drain(pylon: &Running, on: bool) -> Value {
    post(pylon.admin, "/api/drain", &json!({ "drain": on }).to_string()).await.is(200).json()
}

/// A request on a connection that is kept; its answer up to its body.
async fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /hi HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_to(stream, "\r\n\r\nhi").await
}

async fn is_closed(mut stream: TcpStream) {
    assert_eq!(within("the end", stream.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn a_drained_process_serves_and_sends_clients_away() {
    let pylon = Running::start(ROUTE).await;
    let mut before = TcpStream::connect(pylon.door).await.unwrap();
    assert!(!ask(&mut before).await.contains("Connection: close"));
    assert_eq!(get(pylon.admin, "/readyz").await.is(200).body, "ready\n");
    assert_eq!(drain(&pylon, true).await["state"], "draining");
    // Those that asked whether it was up are gone, but maybe not counted off yet.
    until_connections(&pylon, 1).await;
    let said = get(pylon.admin, "/readyz").await.is(503);
    // The request of before may be on its way out still.
    assert!(said.body.starts_with("not ready: draining, ") && said.body.contains(", 1 connections"), "{}", said.body);
    get(pylon.admin, "/livez").await.is(200);
    // The connection of before gets its next answer, and ends with it; a new one is served, and ends, too.
    assert!(ask(&mut before).await.contains("Connection: close"));
    is_closed(before).await;
    let mut after = TcpStream::connect(pylon.door).await.unwrap();
    assert!(ask(&mut after).await.contains("Connection: close"));
    is_closed(after).await;
    pylon.until_log("drain: draining").await;
    assert_eq!(drain(&pylon, false).await["state"], "ready");
    assert_eq!(get(pylon.admin, "/readyz").await.is(200).body, "ready\n");
    let mut again = TcpStream::connect(pylon.door).await.unwrap();
    for _ in 0..2 {
        assert!(!ask(&mut again).await.contains("Connection: close"));
    }
    pylon.until_log("undo drain: ready").await;
}

#[tokio::test]
async fn requests_in_flight_are_counted_and_end_as_they_would() {
    let (tap, slow) = reply(200).tapped("text/plain");
    let web = Upstream::named("web").at("/slow", slow).start().await;
    let pylon = Running::start(&format!(
        "upstreams: {{ web: {{ endpoints: \"{}\" }} }}\nroutes: [{{ name: web, path: /**, upstream: web }}]\n",
        web.uri()
    ))
    .await;
    let mut stream = TcpStream::connect(pylon.door).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tap.send("before ");
    read_to(&mut stream, "before ").await;
    assert_eq!(drain(&pylon, true).await["requests_in_flight"], 1);
    let admin = pylon.admin.to_string();
    let waited = pylon.pylon(&["drain", "--wait", "0", "--admin", &admin]).output().unwrap();
    let said = String::from_utf8(waited.stderr).unwrap();
    assert_eq!(waited.status.code(), Some(1), "{said}");
    assert!(said.contains("1 requests are still in flight after 0 seconds"), "{said}");
    let patient = pylon.pylon(&["drain", "--wait", "25", "--admin", &admin]);
    let patient = tokio::task::spawn_blocking(move || { patient }.output().unwrap());
    tap.send("after");
    drop(tap);
    read_to(&mut stream, "0\r\n\r\n").await;
    // Its answer had begun before; the next one says that the connection ends, so that no request gets lost between.
    stream.write_all(b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_to(&mut stream, "\r\n\r\nweb").await.contains("Connection: close"));
    is_closed(stream).await;
    let waited = within("the wait of the command", patient).await.unwrap();
    let said = String::from_utf8([waited.stdout, waited.stderr].concat()).unwrap();
    assert_eq!((waited.status.code(), said.contains("draining: 0 requests in flight")), (Some(0), true), "{said}");
}

/// The least of HTTP/2: frames of a length, a type, flags and a stream.
async fn frame(stream: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    within("a frame", stream.read_exact(&mut head)).await.unwrap();
    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
    within("its payload", stream.read_exact(&mut payload)).await.unwrap();
    (head[3], head[4], payload)
}

async fn send_frame(stream: &mut TcpStream, kind: u8, flags: u8, id: u8, payload: &[u8]) {
    let length = u8::try_from(payload.len()).unwrap();
    stream.write_all(&[&[0, 0, length, kind, flags, 0, 0, 0, id], payload].concat()).await.unwrap();
}

/// `GET http://x/hi`, in HPACK without any table of its own.
const HEADERS: &[u8] = b"\x82\x86\x04\x03/hi\x01\x01x";

/// Until the end of a stream; whether a GOAWAY came meanwhile.
async fn answer(stream: &mut TcpStream) -> bool {
    let mut away = false;
    loop {
        let (kind, flags, payload) = frame(stream).await;
        match kind {
            0 | 1 if flags & 1 != 0 => return away,
            4 if flags & 1 == 0 => send_frame(stream, 4, 1, 0, &[]).await,
            6 if flags & 1 == 0 => send_frame(stream, 6, 1, 0, &payload).await,
            7 => away = true,
            _ => {}
        }
    }
}

async fn h2(pylon: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(pylon.door).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    send_frame(&mut stream, 4, 0, 0, &[]).await;
    stream
}

#[tokio::test]
async fn http2_clients_are_sent_away_after_a_request() {
    let pylon = Running::start(ROUTE).await;
    let mut before = h2(&pylon).await;
    send_frame(&mut before, 1, 5, 1, HEADERS).await;
    assert!(!answer(&mut before).await);
    drain(&pylon, true).await;
    let mut away = false;
    while !away {
        away = frame(&mut before).await.0 == 7;
    }
    // A new one is not sent away before its first request, which is served.
    let mut after = h2(&pylon).await;
    send_frame(&mut after, 1, 5, 1, HEADERS).await;
    let mut away = answer(&mut after).await;
    while !away {
        away = frame(&mut after).await.0 == 7;
    }
    drain(&pylon, false).await;
    let mut again = h2(&pylon).await;
    for id in [1, 3] {
        send_frame(&mut again, 1, 5, id, HEADERS).await;
        assert!(!answer(&mut again).await);
    }
}
