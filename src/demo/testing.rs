//! Requests over real sockets, for the tests of the stand-ins.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(|line| value(line)).map(|line| line[name.len() + 1..].trim())
    }
}

pub(super) struct Stream {
    tcp: TcpStream,
    seen: Vec<u8>,
}

impl Stream {
    /// Reads until `text` has come; answers all that came so far.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let mut chunk = [0; 4096];
        loop {
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if seen.contains(text) {
                return seen;
            }
            let count = timeout(PATIENCE, self.tcp.read(&mut chunk)).await.unwrap().unwrap();
            assert_ne!(count, 0, "ended before {text:?}: {seen}");
            self.seen.extend(&chunk[..count]);
        }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.unwrap();
    }

    /// All that comes until the other side ends it, be it with a reset.
    pub(super) async fn rest(mut self) -> Vec<u8> {
        let _ = timeout(PATIENCE, self.tcp.read_to_end(&mut self.seen)).await.unwrap();
        self.seen
    }
}

pub(super) async fn connect(address: SocketAddr, request: &str) -> Stream {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    Stream { tcp, seen: Vec::new() }
}

/// `line` is method and target. HTTP/1.0, so that the answer comes unchunked and the connection ends with it.
pub(super) async fn ask(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let mut stream =
        connect(address, &format!("{line} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n{headers}\r\n"))
            .await;
    stream.send(body).await;
    let all = stream.rest().await;
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: all[end + 4..].to_vec() }
}

pub(super) async fn get(address: SocketAddr, target: &str) -> Answer {
    ask(address, &format!("GET {target}"), "", b"").await
}

/// The request that opens a WebSocket.
pub(super) fn upgrade(target: &str, protocol: &str) -> String {
    let protocol = if protocol.is_empty() { String::new() } else { format!("sec-websocket-protocol: {protocol}\r\n") };
    format!(
        "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    )
}

/// A masked binary frame (the mask is 0), up to 125 bytes.
pub(super) fn frame(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | u8::try_from(data.len()).unwrap(), 0, 0, 0, 0];
    frame.extend(data);
    frame
}
