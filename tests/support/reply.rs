//! What a scripted upstream answers, good manners or bad.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::wire::{Gone, Wire};

/// A reply of this status without a body, to be filled in.
pub(crate) fn reply(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        before: String::new(),
        body: Body::Whole(Vec::new()),
        sent: Sent::Sized,
        then: Then::KeepAlive,
    }
}

/// A scripted reply; see [`reply`].
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    before: String,
    body: Body,
    sent: Sent,
    then: Then,
}

#[derive(Clone)]
enum Body {
    Whole(Vec<u8>),
    Tapped(Arc<Mutex<mpsc::UnboundedReceiver<Vec<u8>>>>),
}

#[derive(Clone, Copy)]
enum Sent {
    Sized,
    Chunks(usize),
    UntilClose,
}

/// What happens on the connection after the reply, or instead of the rest of it.
#[derive(Clone)]
enum Then {
    KeepAlive,
    CutAfter(usize),
    Echo(Vec<u8>),
    Raw(Vec<u8>),
}

/// Lets a test send a body piece by piece; dropping it ends the body.
pub(crate) struct Tap(mpsc::UnboundedSender<Vec<u8>>);

impl Tap {
    /// Sends the next piece.
    pub(crate) fn send(&self, piece: impl AsRef<[u8]>) {
        assert!(self.0.send(piece.as_ref().to_vec()).is_ok(), "the upstream has stopped replying");
    }
}

impl Reply {
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl AsRef<[u8]>) -> Reply {
        self.body = Body::Whole(body.as_ref().to_vec());
        self.header("Content-Type", content_type)
    }

    pub(crate) fn text(self, body: &str) -> Reply {
        self.body("text/plain", body)
    }

    pub(crate) fn html(self, body: &str) -> Reply {
        self.body("text/html; charset=utf-8", body)
    }

    pub(crate) fn json(self, body: &str) -> Reply {
        self.body("application/json", body)
    }

    /// Compresses the body, whatever the request accepts.
    pub(crate) fn gzip(mut self) -> Reply {
        if let Body::Whole(body) = &mut self.body {
            *body = gzip(body);
        }
        self.header("Content-Encoding", "gzip")
    }

    /// Sends the body in chunks of this size.
    pub(crate) fn in_chunks_of(mut self, size: usize) -> Reply {
        self.sent = Sent::Chunks(size);
        self
    }

    /// Sends the body without saying its length: its end is the end of the connection.
    pub(crate) fn until_close(mut self) -> Reply {
        self.sent = Sent::UntilClose;
        self
    }

    /// Sends a chunked body whose pieces come from the test.
    pub(crate) fn tapped(mut self, content_type: &str) -> (Tap, Reply) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.body = Body::Tapped(Arc::new(Mutex::new(receiver)));
        self.sent = Sent::Chunks(usize::MAX);
        (Tap(sender), self.header("Content-Type", content_type))
    }

    /// Sends an informational response first.
    pub(crate) fn after_informational(mut self, head: &str) -> Reply {
        self.before = format!("HTTP/1.1 {head}\r\n\r\n");
        self
    }

    /// Closes the connection after this many bytes of the body.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Reply {
        self.then = Then::CutAfter(bytes);
        self
    }

    /// Agrees to an upgrade, sends `early` in the same write as the head, then echoes whatever comes.
    pub(crate) fn upgrade(protocol: &str, early: &[u8]) -> Reply {
        let mut reply = reply(101).header("Upgrade", protocol).header("Connection", "Upgrade");
        reply.then = Then::Echo(early.to_vec());
        reply
    }

    /// Sends these bytes and closes.
    pub(crate) fn raw(bytes: &[u8]) -> Reply {
        let mut reply = reply(0);
        reply.then = Then::Raw(bytes.to_vec());
        reply
    }

    /// Plays this reply to a request of `method`; `Err` when the connection is over.
    pub(super) async fn play(self, wire: &mut Wire, method: &str) -> Result<(), Gone> {
        if let Then::Raw(bytes) = self.then {
            wire.send(bytes).await?;
            return Err(Gone::Closed);
        }
        let bare = method == "HEAD" || matches!(self.status, 101 | 204 | 304);
        let mut head = format!("{}HTTP/1.1 {} Scripted\r\n", self.before, self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match (&self.body, self.sent) {
            _ if matches!(self.status, 101 | 204 | 304) => {}
            (Body::Whole(body), Sent::Sized) => {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            (_, Sent::UntilClose) => head.push_str("Connection: close\r\n"),
            _ => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        let mut bytes = format!("{head}\r\n").into_bytes();
        if let Then::Echo(early) = self.then {
            bytes.extend(early);
            wire.send(bytes).await?;
            return echo(wire).await;
        }
        wire.send(bytes).await?;
        if bare {
            return Ok(());
        }
        match self.body {
            Body::Whole(body) => send_whole(wire, &body, self.sent, self.then).await,
            Body::Tapped(pieces) => send_pieces(wire, &mut *pieces.lock().await).await,
        }
    }
}

async fn send_whole(wire: &mut Wire, body: &[u8], sent: Sent, then: Then) -> Result<(), Gone> {
    let cut = if let Then::CutAfter(bytes) = then { Some(bytes) } else { None };
    let body = &body[..cut.unwrap_or(body.len())];
    if let Sent::Chunks(size) = sent {
        for chunk in body.chunks(size) {
            wire.send(chunk_of(chunk)).await?;
        }
        if cut.is_none() {
            wire.send("0\r\n\r\n").await?;
        }
    } else {
        wire.send(body).await?;
    }
    if cut.is_some() || matches!(sent, Sent::UntilClose) { Err(Gone::Closed) } else { Ok(()) }
}

async fn send_pieces(wire: &mut Wire, pieces: &mut mpsc::UnboundedReceiver<Vec<u8>>) -> Result<(), Gone> {
    while let Some(piece) = pieces.recv().await {
        wire.send(chunk_of(&piece)).await?;
    }
    wire.send("0\r\n\r\n").await
}

async fn echo(wire: &mut Wire) -> Result<(), Gone> {
    loop {
        let bytes = wire.some().await?;
        wire.send(bytes).await?;
    }
}

fn chunk_of(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The gzip form of these bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
