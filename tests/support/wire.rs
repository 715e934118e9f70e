//! Bytes on a socket, and the little of HTTP/1 that both ends of a test need to take them apart.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a test waits for something that must come. Generous: a loaded two-core machine is slow, not wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `what` and fails the test by that name when it does not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Polls `condition` until it holds, and fails the test when it never does.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Header lines in the order and the case in which they came; bytes above 127 are kept as Latin-1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The value of the first line of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The values of all lines of this name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |line: &&(String, String)| line.0.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|line| line.1.as_str()).collect()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.all(name);
        values.iter().flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// A start line and the headers below it.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) headers: Headers,
}

impl Head {
    fn parse(bytes: &[u8]) -> Head {
        let text = latin1(bytes);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
        };
        Head { start, headers: Headers(lines.filter(|line| !line.is_empty()).map(header).collect()) }
    }

    /// The given word of the start line, counted from 0.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// How the body of a request with this head is delimited.
    pub(crate) fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::Empty)
    }

    /// How the body of a response with this head, to a request of this method, is delimited.
    pub(crate) fn response_framing(&self, method: &str, status: u16) -> Framing {
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Framing::Empty;
        }
        self.framing().unwrap_or(Framing::UntilClose)
    }

    fn framing(&self) -> Option<Framing> {
        if self.headers.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = self.headers.get("content-length")?;
        Some(Framing::Length(length.parse().unwrap_or_else(|_| panic!("Content-Length: {length}"))))
    }
}

/// What says where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// How a message came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything that its framing promised has come.
    Complete,
    /// The connection ended first, or what came was no valid framing: the receiver knows that something is missing.
    Broken,
}

/// The peer has closed or reset the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    Closed,
    Reset,
}

/// Any two-way byte stream: TCP, or TLS over it.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection, with what has been read but not yet taken.
pub(crate) struct Wire {
    stream: Box<dyn Duplex>,
    pending: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: impl Duplex + 'static) -> Wire {
        Wire { stream: Box::new(stream), pending: Vec::new() }
    }

    /// Writes bytes as they are; an error shows in what is read afterwards.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Gone> {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|_| Gone::Reset)
    }

    /// Ends the sending direction only.
    pub(crate) async fn finish_sending(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Whatever comes next, at least one byte.
    pub(crate) async fn some(&mut self) -> Result<Vec<u8>, Gone> {
        if self.pending.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Exactly `count` bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Gone> {
        while self.pending.len() < count {
            self.fill().await?;
        }
        Ok(self.pending.drain(..count).collect())
    }

    /// The next head, up to its empty line.
    pub(crate) async fn head(&mut self) -> Result<Head, Gone> {
        let bytes = self.until(b"\r\n\r\n").await?;
        Ok(Head::parse(&bytes))
    }

    /// Reads a body to its end and gives each part of it to `sink` as it comes.
    pub(crate) async fn body(&mut self, framing: Framing, mut sink: impl FnMut(&[u8])) -> End {
        let result = match framing {
            Framing::Empty => Ok(()),
            Framing::Length(length) => self.sized(length, &mut sink).await,
            Framing::Chunked => self.chunks(&mut sink).await,
            Framing::UntilClose => loop {
                match self.some().await {
                    Ok(bytes) => sink(&bytes),
                    Err(Gone::Closed) => break Ok(()),
                    Err(gone) => break Err(gone),
                }
            },
        };
        if result.is_ok() { End::Complete } else { End::Broken }
    }

    async fn sized(&mut self, mut left: u64, sink: &mut impl FnMut(&[u8])) -> Result<(), Gone> {
        while left > 0 {
            if self.pending.is_empty() {
                self.fill().await?;
            }
            let take = self.pending.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&self.pending[..take]);
            self.pending.drain(..take);
            left -= take as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<(), Gone> {
        loop {
            let line = latin1(&self.until(b"\r\n").await?);
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| Gone::Reset)?;
            if size == 0 {
                while self.until(b"\r\n").await? != b"\r\n" {}
                return Ok(());
            }
            self.sized(size, sink).await?;
            self.exactly(2).await?;
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Gone> {
        loop {
            if let Some(at) = self.pending.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.pending.drain(..at + mark.len()).collect());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        self.pending.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.pending).await {
            Ok(0) => Err(Gone::Closed),
            Ok(_) => Ok(()),
            Err(_) => Err(Gone::Reset),
        }
    }
}

/// One character for each byte.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
