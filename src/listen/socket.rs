//! What Pingora may see of a connection: of HTTP/1 the bytes of one request and no more, of HTTP/2 all frames, counted.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use pingora::protocols::SocketDigest;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::connection::Connection;
use super::h1::Body;
use super::h2::Frames;
use super::io::{Io, Stall};
use crate::observe::Rejection;
use crate::upstream::intake;

/// Bytes that a client may send ahead while its request is served.
const AHEAD: usize = 64 * 1024;
/// Header sections up to this size wait for the begin of their body, to be sent with it.
const HELD: usize = 16 * 1024;
/// What is read of a client that is held back, in bytes,
const TRICKLE: usize = 512;
/// and how often.
const TRICKLE_EVERY: Duration = Duration::from_secs(1);

/// A connection, with what was read of it and not given on.
#[derive(Debug)]
pub(super) struct Conn {
    /// Its bytes.
    pub(super) io: Io,
    /// What was read and not given on.
    pub(super) ahead: BytesMut,
    /// What is known of it.
    pub(super) info: Arc<Connection>,
    digest: Arc<SocketDigest>,
    mode: Mode,
    /// The header section of an answer that waits for its body.
    held: Vec<u8>,
    /// Whether the wait was long enough.
    waited: bool,
    /// Whether TLS may hold bytes back.
    unsent: bool,
    stall: Option<Box<Stall>>,
    /// When a client that is held back is read next.
    trickle: Option<Pin<Box<Sleep>>>,
}

/// What is spoken.
#[derive(Debug)]
enum Mode {
    /// A request of HTTP/1.
    Request { body: Body, upgrade: bool, answered: bool },
    /// HTTP/2, until the connection ends.
    Frames { frames: Box<Frames>, time: Duration, timer: Option<Pin<Box<Sleep>>> },
}

impl Conn {
    /// A connection that is ready for its first request.
    #[must_use]
    pub(super) fn new(io: Io, ahead: BytesMut, info: Arc<Connection>) -> Self {
        let digest = SocketDigest::from_raw_fd(io.tcp().as_raw_fd());
        let _ = digest.peer_addr.set(Some(PingoraAddr::Inet(info.peer)));
        let _ = digest.local_addr.set(Some(PingoraAddr::Inet(info.local)));
        Self {
            io,
            ahead,
            info,
            digest: Arc::new(digest),
            mode: Mode::Request { body: Body::Done, upgrade: false, answered: false },
            held: Vec::new(),
            waited: false,
            unsent: false,
            stall: None,
            trickle: None,
        }
    }

    /// Prepares for the body of a request, and its answer.
    pub(super) fn begin_request(&mut self, body: Body, upgrade: bool) {
        self.mode = Mode::Request { body, upgrade, answered: false };
    }

    /// Prepares for HTTP/2; a header block has to come within `time`.
    pub(super) fn begin_frames(&mut self, frames: Frames, time: Duration) {
        self.mode = Mode::Frames { frames: Box::new(frames), time, timer: None };
    }

    /// Whether all of the request was read.
    #[must_use]
    pub(super) fn is_read(&self) -> bool {
        matches!(&self.mode, Mode::Request { body, .. } if body.is_done())
    }

    /// Frees what only a request needs.
    pub(super) fn settle(&mut self) {
        self.held = Vec::new();
        self.stall = None;
        self.trickle = None;
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// Reads for Pingora.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() && !self.waited {
            // The body may be there already: it gets one turn to come.
            self.waited = true;
            cx.waker().wake_by_ref();
        } else if (!self.held.is_empty() || self.unsent)
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        match self.mode {
            Mode::Request { .. } if intake::is_held() => self.poll_trickle(cx, buf),
            Mode::Request { .. } => self.poll_request(cx, buf),
            Mode::Frames { .. } => self.poll_frames(cx, buf),
        }
    }

    /// Writes for Pingora; a header section waits for its body.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.holds(buf) {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_out(cx, buf)
    }

    /// Ends what Pingora writes; of HTTP/1 the loop ends the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        match self.mode {
            Mode::Request { .. } => Poll::Ready(Ok(())),
            Mode::Frames { .. } => self.io.poll_shutdown(cx),
        }
    }

    /// The addresses, as Pingora asks for them.
    pub(super) fn digest(&self) -> Arc<SocketDigest> {
        Arc::clone(&self.digest)
    }

    /// Sends all that is held back.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(self.poll_out(cx, &[]))?;
            debug_assert_eq!(written, 0);
        }
        if self.unsent {
            match self.io.poll_flush(cx) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => return self.poll_stalled(cx).map(Err),
            }
            self.unsent = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held back, then `buf`; how much of `buf` was written.
    fn poll_out(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.io.poll_write(cx, &self.held, buf) {
                Poll::Pending => return self.poll_stalled(cx).map(Err),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    if let Some(stall) = &mut self.stall {
                        stall.moves();
                    }
                    if let Mode::Frames { frames, .. } = &mut self.mode {
                        // Nothing is held back of HTTP/2.
                        frames.wrote(&buf[..written.min(buf.len())]);
                    }
                    self.unsent = self.io.is_tls();
                    let header = self.held.len();
                    if written < header {
                        self.held.drain(..written);
                        continue;
                    }
                    self.held = Vec::new();
                    if written > header || buf.is_empty() {
                        return Poll::Ready(Ok(written - header));
                    }
                }
            }
        }
    }

    /// Waits for a client that takes nothing; ready when it is too slow.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (rate, time) = self.info.draining();
        let stall = self.stall.get_or_insert_with(|| Box::new(Stall::begin(&self.io)));
        stall.poll_slow(cx, &self.io, rate, time).map(|rejection| {
            self.info.cut();
            rejection.into()
        })
    }

    /// Reads a trickle: enough to see that the client goes, or that the server is not coming to what it has been sent.
    fn poll_trickle(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let timer = self.trickle.get_or_insert_with(|| Box::pin(tokio::time::sleep(TRICKLE_EVERY)));
        ready!(timer.as_mut().poll(cx));
        self.trickle = None;
        let room = buf.remaining().min(TRICKLE);
        let mut little = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(self.poll_request(cx, &mut little))?;
        let read = little.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Mode::Request { body, .. } = &mut self.mode else { return Poll::Ready(Ok(())) };
        if body.is_done() {
            // Only to see whether the client is still there: what it sends now is for later.
            while self.ahead.len() < AHEAD {
                if ready!(self.io.poll_fill(cx, &mut self.ahead))? == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            return Poll::Pending;
        }
        if self.ahead.is_empty() {
            let before = buf.filled().len();
            ready!(self.io.poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            let taken = body.take(read)?;
            self.ahead.extend_from_slice(&read[taken..]);
            buf.set_filled(before + taken);
        } else {
            let room = buf.remaining().min(self.ahead.len());
            let taken = body.take(&self.ahead[..room])?;
            buf.put_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Mode::Frames { frames, time, timer } = &mut self.mode else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            match self.io.poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(poll_deadline(cx, timer, frames.deadline(*time)));
                    self.info.turn_away(Rejection::HeaderTimeout);
                    return Poll::Pending;
                }
            }
        } else {
            let taken = buf.remaining().min(self.ahead.len());
            buf.put_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
        }
        if let Err(rejection) = frames.read(&buf.filled()[before..]) {
            // The loop says goodbye; what came is not read any more.
            self.info.turn_away(rejection);
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether `buf` is a header section that waits for its body.
    fn holds(&mut self, buf: &[u8]) -> bool {
        let Mode::Request { body, upgrade, answered } = &mut self.mode else { return false };
        if *answered || !buf.starts_with(b"HTTP/1.") {
            return false;
        }
        if buf.get(9) == Some(&b'1') {
            if *upgrade && buf.get(9..12) == Some(b"101") {
                (*answered, *body) = (true, Body::Endless);
            }
            return false;
        }
        *answered = true;
        self.waited = false;
        buf.len() <= HELD
    }
}

/// Ready when a deadline is over.
fn poll_deadline(
    cx: &mut Context<'_>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    deadline: Option<std::time::Instant>,
) -> Poll<()> {
    let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
        *timer = None;
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if timer.deadline() != deadline {
        timer.as_mut().reset(deadline);
    }
    timer.as_mut().poll(cx)
}
