//! The little of a client that these tests need.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::running::Running;
use super::support::within;

/// Long enough for a token.
pub(crate) const TOKEN: &str = "correct-horse-battery-staple";

/// What came back.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Said {
    /// The value of a header; a name that stands there twice is none.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        self
    }
}

/// Sends these bytes and reads all that comes until the connection ends.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Said {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    // Who is refused in the middle of a body may not be able to send the rest of it.
    let sent = async {
        let _ = writer.write_all(bytes).await;
    };
    let mut answer = Vec::new();
    within("an answer", async { tokio::join!(sent, reader.read_to_end(&mut answer)) }).await.1.unwrap();
    parse(&answer)
}

pub(crate) fn parse(answer: &[u8]) -> Said {
    let answer = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Said { status: status.unwrap_or_else(|| panic!("no status: {head}")), head: head.to_owned(), body: body.to_owned() }
}

/// A request on a connection of its own; `headers` are whole lines without their ends, and may say another `Host`.
pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Said {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    for line in headers {
        text.push_str(&format!("{line}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    raw(address, format!("{text}\r\n{body}").as_bytes()).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Said {
    send(address, "GET", path, &[], "").await
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Said {
    send(address, "POST", path, &["Content-Type: application/json"], body).await
}

/// Waits until so many connections of clients are open: that one has closed is noticed a little later.
pub(crate) async fn until_connections(pylon: &Running, count: usize) {
    let counted = async {
        while get(pylon.admin, "/api/drain").await.is(200).json()["connections"] != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(&format!("{count} open connections"), counted).await;
}

/// What is recorded of a request, which may take a moment once it has ended.
pub(crate) async fn recorded(pylon: &Running, id: &str) -> Said {
    let found = async {
        loop {
            let said = get(pylon.admin, &format!("/api/why/{id}")).await;
            if said.status != 404 {
                return said.is(200);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the record of a request", found).await
}

/// A Pylon whose admin port wants [`TOKEN`], which it reads from the file `token`.
pub(crate) async fn with_token(routing: &str) -> Running {
    Running::start_in(routing, |pylon| {
        std::fs::write(pylon.path("token"), format!("{TOKEN}\n")).unwrap();
        write_with_token(pylon, routing);
    })
    .await
}

pub(crate) fn write_with_token(pylon: &Running, routing: &str) {
    let admin = format!("admin: {{ address: \"{}\"", pylon.admin);
    let text = pylon.file(routing).replace(&admin, &format!("{admin}, token: \"${{file:${{DIR}}/token}}\""));
    std::fs::write(pylon.path("pylon.yaml"), text).unwrap();
}
