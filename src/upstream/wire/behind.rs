//! What a server has not taken yet while it answers already.
//!
//! Pingora's relay takes nothing of an answer while it writes to the server. A server that answers as it reads (an echo, a
//! tunnel under load both ways) stops reading when nobody takes its answer, and so all three would wait for each other.
//! Where a write is blocked and an answer is coming, the rest of it goes here, Pingora goes on to the answer, and the client
//! is read no further, but for a trickle, until the server has taken this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Exchange, PIECE, intake};

/// So much is taken over. A client of HTTP/1.1 is stopped long before, of what is on its way already comes less than half a
/// MiB; one of HTTP/2 has streams that cannot be stopped one by one.
const MOST: usize = 1024 * 1024;

/// What a server has not taken yet, while its client waits.
#[derive(Debug, Default)]
pub(super) struct Behind {
    bytes: BytesMut,
    /// Whether the connection has to be flushed after that.
    flush: bool,
    /// Why it can't be sent any more; the next write says so.
    broken: Option<io::Error>,
    /// Whether it holds the client's intake.
    holds: bool,
}

impl Behind {
    /// Whether the server has taken all of it.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.flush && self.broken.is_none()
    }

    /// Whether there are bytes that can still be sent.
    pub(super) fn holds_bytes(&self) -> bool {
        !self.bytes.is_empty() && self.broken.is_none()
    }

    /// Whether there is room for something more.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < MOST
    }

    /// Takes over what the server does not take now.
    pub(super) fn take(&mut self, pieces: &[io::IoSlice<'_>]) -> usize {
        let before = self.bytes.len();
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.hold();
        self.bytes.len() - before
    }

    /// Takes over a flush that the server does not let happen now.
    pub(super) fn take_flush(&mut self) {
        self.flush = true;
        self.hold();
    }

    fn hold(&mut self) {
        self.holds = true;
        intake::hold(true);
    }

    /// Sends what the server takes now; ready when it has taken all, or takes nothing any more.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        exchange: &Exchange,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let sent = ready!(self.poll_out(cx, stream, exchange));
        if self.holds {
            // The client is read by the same task, which has looked at it before.
            cx.waker().wake_by_ref();
        }
        self.let_go();
        Poll::Ready(sent)
    }

    fn poll_out(&mut self, cx: &mut Context<'_>, stream: &mut Stream, exchange: &Exchange) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            exchange.sent(sent);
            self.bytes.advance(sent);
        }
        if self.flush {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The same when something is read: an error is for the next write, the answer may still come.
    pub(super) fn send_before_read(&mut self, cx: &mut Context<'_>, stream: &mut Stream, exchange: &Exchange) {
        if self.broken.is_some() {
            return;
        }
        if let Poll::Ready(Err(error)) = self.poll_send(cx, stream, exchange) {
            self.broken = Some(error);
        }
    }

    /// The same where nobody takes the answer any more: the last words of a client that has gone.
    pub(super) fn poll_last(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        exchange: &Exchange,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(sent) = self.poll_send(cx, stream, exchange) {
            return Poll::Ready(sent);
        }
        // An end of the answer is none of the request: the server may read on.
        match poll_discard(cx, stream) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// The client does not wait for it any more.
    pub(super) fn let_the_client_go(&mut self) {
        if std::mem::take(&mut self.holds) {
            intake::hold(false);
        }
    }

    fn let_go(&mut self) {
        self.bytes = BytesMut::new();
        self.flush = false;
        self.let_the_client_go();
    }
}

/// Reads to the end, and forgets it.
pub(super) fn poll_discard(cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
    loop {
        let mut piece = [0; PIECE];
        let mut buf = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.let_go();
    }
}
