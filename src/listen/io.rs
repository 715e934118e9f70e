//! The bytes of a client's connection, with TLS or without.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pingora::protocols::l4::ext::get_tcp_info;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::counted::Counted;
use super::opening::Replay;
use crate::observe::Rejection;

/// Read at once while a connection is idle.
const SCRATCH: usize = 16 * 1024;
/// How often a client that takes nothing is looked at.
const LOOK: Duration = Duration::from_secs(1);

thread_local! {
    /// Idle connections own no buffer: all of a thread read into this one.
    static BUFFER: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; SCRATCH].into());
}

/// A client's socket.
#[derive(Debug)]
pub(super) enum Io {
    /// As it came.
    Plain(Counted),
    /// Under TLS.
    Tls(Box<TlsStream<Replay>>),
}

impl Io {
    /// The socket itself.
    #[must_use]
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket.tcp(),
            Self::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads what is there into a buffer.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => {
                let read = Pin::new(&mut *tls).poll_read(cx, buf);
                if tls.get_ref().1.wants_write() {
                    // An answer of TLS itself to what was read: an alert, or new keys.
                    let _ = Pin::new(tls).poll_flush(cx)?;
                }
                read
            }
        }
    }

    /// Appends what is there to `to`; 0 at the end.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, to: &mut BytesMut) -> Poll<io::Result<usize>> {
        BUFFER.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(self.poll_read(cx, &mut buf))?;
            to.extend_from_slice(buf.filled());
            Poll::Ready(Ok(buf.filled().len()))
        })
    }

    /// Writes two pieces in one go.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, first: &[u8], second: &[u8]) -> Poll<io::Result<usize>> {
        let pieces = [io::IoSlice::new(first), io::IoSlice::new(second)];
        match (self, first.is_empty(), second.is_empty()) {
            (Self::Plain(tcp), true, _) => Pin::new(tcp).poll_write(cx, second),
            (Self::Plain(tcp), _, true) => Pin::new(tcp).poll_write(cx, first),
            (Self::Plain(tcp), ..) => Pin::new(tcp).poll_write_vectored(cx, &pieces),
            (Self::Tls(tls), true, _) => Pin::new(tls).poll_write(cx, second),
            (Self::Tls(tls), _, true) => Pin::new(tls).poll_write(cx, first),
            (Self::Tls(tls), ..) => Pin::new(tls).poll_write_vectored(cx, &pieces),
        }
    }

    /// Sends what TLS holds back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    /// How many bytes of ours the other end has taken.
    fn acknowledged(&self) -> u64 {
        get_tcp_info(self.tcp().as_raw_fd()).map_or(0, |info| info.tcpi_bytes_acked)
    }
}

/// Watches a client that keeps Pylon waiting: how fast it takes its answer, in the time in which it does not take all.
///
/// What counts is what the client's machine has acknowledged, not what went into the buffers of this one, which take
/// megabytes at a time.
#[derive(Debug)]
pub(super) struct Stall {
    timer: Pin<Box<Sleep>>,
    /// Since when a write is blocked.
    since: Option<Instant>,
    /// For how long writes were blocked before.
    blocked: Duration,
    acknowledged: u64,
}

impl Stall {
    /// A write is blocked.
    #[must_use]
    pub(super) fn begin(io: &Io) -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep(LOOK)),
            since: Some(Instant::now()),
            blocked: Duration::ZERO,
            acknowledged: io.acknowledged(),
        }
    }

    /// The write went on.
    pub(super) fn moves(&mut self) {
        if let Some(since) = self.since.take() {
            self.blocked += since.elapsed();
        }
    }

    /// A write is still blocked; ready when the client is too slow.
    pub(super) fn poll_slow(&mut self, cx: &mut Context<'_>, io: &Io, rate: u64, time: Duration) -> Poll<Rejection> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            let blocked = self.blocked + since.elapsed();
            if rate > 0 && blocked >= time {
                let now = io.acknowledged();
                let taken = u128::from(now.saturating_sub(self.acknowledged));
                if taken * 1000 < u128::from(rate) * blocked.as_millis() {
                    return Poll::Ready(Rejection::SlowReader);
                }
                (self.acknowledged, self.blocked, self.since) = (now, Duration::ZERO, Some(Instant::now()));
            }
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(tokio::time::Instant::now() + LOOK);
        }
    }
}
