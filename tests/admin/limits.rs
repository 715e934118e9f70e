//! What clients can do to keep others out: nothing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::running::Running;
use super::support::within;
use super::talk::{get, parse, post, raw};

const ROUTE: &str = "routes: [{ name: hi, path: /hi, answer: { body: hi } }]\n";
/// More than the port has seats for.
const MANY: usize = 100;

/// Opens many connections that begin so, and keeps them.
async fn crowd(address: SocketAddr, begin: &str) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..MANY {
        let mut stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        // Some may have given up their seats already.
        let _ = stream.write_all(begin.as_bytes()).await;
        all.push(stream);
    }
    all
}

/// Whether both ports answer, again and again.
async fn both_answer(pylon: &Running) {
    for _ in 0..20 {
        get(pylon.door, "/hi").await.is(200);
        get(pylon.admin, "/livez").await.is(200);
        get(pylon.admin, "/api/routes").await.is(200);
        post(pylon.admin, "/api/drain", "{\"drain\":false}").await.is(200);
    }
}

/// Whether a connection ends by itself, whatever it says before.
async fn ends(mut stream: TcpStream) {
    let mut scrap = Vec::new();
    let _ = within("the end of a slow connection", stream.read_to_end(&mut scrap)).await;
}

#[tokio::test]
async fn slow_headers_keep_nobody_out_and_end() {
    let pylon = Running::start(ROUTE).await;
    let slow = crowd(pylon.admin, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    both_answer(&pylon).await;
    for stream in slow {
        ends(stream).await;
    }
}

#[tokio::test]
async fn idle_connections_keep_nobody_out_and_end() {
    let pylon = Running::start(ROUTE).await;
    let idle = crowd(pylon.admin, "").await;
    both_answer(&pylon).await;
    for stream in idle {
        ends(stream).await;
    }
}

#[tokio::test]
async fn slow_bodies_keep_nobody_out_and_end() {
    let pylon = Running::start(ROUTE).await;
    let begin = format!(
        "POST /api/drain HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{",
        pylon.admin
    );
    let slow = crowd(pylon.admin, &begin).await;
    both_answer(&pylon).await;
    // Those that have kept their seats hear why they end.
    let mut late = 0;
    for mut stream in slow {
        let mut said = Vec::new();
        let _ = within("the end of a slow body", stream.read_to_end(&mut said)).await;
        late += usize::from(said.starts_with(b"HTTP/1.1 408 "));
    }
    assert!(late > 0);
}

/// Who asks for much and takes nothing does not get it kept for ever.
#[tokio::test]
async fn slow_readers_keep_nobody_out() {
    let pylon = Running::start(ROUTE).await;
    let one = format!("GET /api/openapi.json HTTP/1.1\r\nHost: {}\r\n\r\n", pylon.admin);
    let _slow = crowd(pylon.admin, &one.repeat(500)).await;
    both_answer(&pylon).await;
}

#[tokio::test]
async fn large_bodies_are_refused_in_words() {
    let pylon = Running::start(ROUTE).await;
    // More than sockets hold, and little enough that it is sent while Pylon still listens to the one it has refused.
    let body = vec![b' '; 16 * 1024 * 1024];
    let head = format!("POST /api/drain HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", pylon.admin);
    let sized = [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let said = raw(pylon.admin, &sized).await.is(413);
    assert!(said.json()["error"].as_str().unwrap().contains("65536 bytes"), "{}", said.body);
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    let chunked = [chunk.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    raw(pylon.admin, &chunked).await.is(413);
    let fits = format!("{}{}", "{\"drain\":false}", " ".repeat(60 * 1024));
    post(pylon.admin, "/api/drain", &fits).await.is(200);
    both_answer(&pylon).await;
}

#[tokio::test]
async fn large_targets_and_headers_are_refused() {
    let pylon = Running::start(ROUTE).await;
    let long = "x".repeat(20 * 1024);
    get(pylon.admin, &format!("/api/explain?url={long}")).await.is(414);
    let headers = |count: usize, size: usize| {
        let lines = format!("X-Many: {}\r\n", "x".repeat(size)).repeat(count);
        format!("GET /livez HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}\r\n", pylon.admin)
    };
    raw(pylon.admin, headers(50, 100).as_bytes()).await.is(200);
    raw(pylon.admin, headers(50, 4000).as_bytes()).await.is(431);
    raw(pylon.admin, headers(300, 10).as_bytes()).await.is(431);
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_alone() {
    let pylon = Running::start(ROUTE).await;
    let host = format!("Host: {}\r\n", pylon.admin);
    for bytes in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        format!("GET /livez HTTP/1.1\r\n{host}X y: z\r\n\r\n"),
        format!("GET / livez HTTP/1.1\r\n{host}\r\n"),
        format!("POST /api/reload HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        format!("POST /api/reload HTTP/1.1\r\n{host}Transfer-Encoding: nonsense\r\n\r\n"),
    ] {
        raw(pylon.admin, bytes.as_bytes()).await.is(400);
    }
    let mut stream = TcpStream::connect(pylon.admin).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    ends(stream).await;
    both_answer(&pylon).await;
}

/// Connections are kept, requests may be sent ahead, and who has said all may close its half.
#[tokio::test]
async fn connections_serve_many_requests() {
    let pylon = Running::start(ROUTE).await;
    let one = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n", pylon.admin);
    let said = raw(pylon.admin, format!("{one}\r\n{one}\r\n{one}Connection: close\r\n\r\n").as_bytes()).await;
    assert_eq!(format!("{}{}", said.head, said.body).matches("HTTP/1.1 200 OK").count(), 3);
    let mut stream = TcpStream::connect(pylon.admin).await.unwrap();
    stream.write_all(format!("{one}\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within("the answer", stream.read_to_end(&mut answer)).await.unwrap();
    parse(&answer).is(200);
}
