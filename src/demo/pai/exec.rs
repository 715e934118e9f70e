//! `exec` into a pod: a WebSocket whose messages begin with the number of a channel. There is no shell behind it, and
//! nothing is executed: it greets, names the command and gives back what is typed.

use std::{collections::HashMap, time::Duration};

use axum::{
    extract::{
        Path, Query, RawQuery,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::time::timeout;

use super::kubernetes::{has_pod, is_on, missing};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const ERROR: u8 = 3;
/// From version 5 on: the channel that follows ends here.
const CLOSE: u8 = 255;
/// What a terminal sends for the end of input.
const END_OF_INPUT: u8 = 4;
/// How long to wait for the client's side of the closing.
const CLOSING: Duration = Duration::from_secs(5);

/// Answers `…/pods/{pod}/exec`.
pub(super) async fn exec(
    Path((namespace, pod)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    Query(query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !has_pod(&namespace, &pod) {
        return missing(&format!("pods \"{pod}\""));
    }
    let raw = raw.unwrap_or_default();
    let words = raw.split('&').filter_map(|pair| pair.strip_prefix("command="));
    let words: Vec<_> =
        words.map(|word| percent_decode_str(&word.replace('+', " ")).decode_utf8_lossy().into_owned()).collect();
    let terminal = is_on(&query, "tty");
    let session = Session {
        greeting: format!("Here is {pod}, a stand-in without a shell. You asked for: {}\n", words.join(" ")),
        input: is_on(&query, "stdin"),
        terminal,
    };
    upgrade.protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"]).on_upgrade(|socket| session.run(socket))
}

struct Session {
    greeting: String,
    input: bool,
    terminal: bool,
}

impl Session {
    /// Ends with the status that tells the client that all went well.
    async fn run(self, mut socket: WebSocket) {
        // An error means that the client is gone, which ends the session as well.
        if self.talk(&mut socket).await.is_ok() {
            let status = json!({ "metadata": {}, "status": "Success" }).to_string();
            let _ = send(&mut socket, ERROR, status.as_bytes()).await;
        }
        let close = CloseFrame { code: 1000, reason: "".into() };
        let _ = socket.send(Message::Close(Some(close))).await;
        let _ = timeout(CLOSING, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }

    async fn talk(&self, socket: &mut WebSocket) -> Result<(), axum::Error> {
        self.print(socket, self.greeting.as_bytes()).await?;
        if !self.input {
            return Ok(());
        }
        self.print(socket, b"What you type comes back; exit or Ctrl-D ends it.\n").await?;
        let mut line = Line::default();
        while let Some(message) = socket.recv().await {
            let data = match message? {
                Message::Close(_) => return Ok(()),
                message @ (Message::Binary(_) | Message::Text(_)) => message.into_data(),
                Message::Ping(_) | Message::Pong(_) => continue,
            };
            match data.split_first() {
                Some((&STDIN, typed)) => {
                    self.print(socket, typed).await?;
                    if line.ends(typed) {
                        return Ok(());
                    }
                }
                Some((&CLOSE, [STDIN, ..])) => return Ok(()),
                // The size of the terminal, for one.
                _ => {}
            }
        }
        Ok(())
    }

    /// A terminal that is in raw mode needs both characters for a new line.
    async fn print(&self, socket: &mut WebSocket, text: &[u8]) -> Result<(), axum::Error> {
        if !self.terminal {
            return send(socket, STDOUT, text).await;
        }
        let mut raw = Vec::with_capacity(text.len() + 8);
        for &byte in text.iter().filter(|byte| **byte != END_OF_INPUT) {
            match byte {
                b'\r' | b'\n' => raw.extend(b"\r\n"),
                other => raw.push(other),
            }
        }
        send(socket, STDOUT, &raw).await
    }
}

async fn send(socket: &mut WebSocket, channel: u8, data: &[u8]) -> Result<(), axum::Error> {
    let message: Bytes = [&[channel], data].concat().into();
    socket.send(Message::Binary(message)).await
}

/// The line that is being typed, as far as it may still be `exit`.
#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    fn ends(&mut self, typed: &[u8]) -> bool {
        for &byte in typed {
            match byte {
                END_OF_INPUT => return true,
                b'\r' | b'\n' if self.0 == b"exit" => return true,
                b'\r' | b'\n' => self.0.clear(),
                other if self.0.len() <= b"exit".len() => self.0.push(other),
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::{connect, frame, upgrade};

    #[tokio::test]
    async fn greets_echoes_and_succeeds() {
        let all = start().await.unwrap();
        let server = all.addresses.of(Service::Kubernetes);
        let target = "/api/v1/namespaces/default/pods/worker-0/exec?command=echo&command=a%20b&stdin=true&stdout=true";
        let mut socket = connect(server, &upgrade(target, "v4.channel.k8s.io")).await;
        let head = socket.until("You asked for: echo a b").await;
        assert!(head.contains("101 ") && head.contains("v4.channel.k8s.io"), "{head}");
        socket.send(&frame(b"\x00hello\n")).await;
        socket.until("hello\n").await;
        socket.send(&frame(b"\x00exit\n")).await;
        socket.until(r#""status":"Success""#).await;
    }

    #[test]
    fn only_a_whole_line_ends() {
        let mut line = Line::default();
        assert!(!line.ends(b"exits\nsay exit\nex"));
        assert!(line.ends(b"it\r"));
        assert!(Line::default().ends(b"ab\x04"));
    }
}
