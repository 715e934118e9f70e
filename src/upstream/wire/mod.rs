//! A connection to an HTTP/1.1 upstream: every byte of it passes here.
//!
//! Pingora's relay knows one timeout for all reads, accepts more than HTTP allows in a response, and does not tell what
//! was sent and received when a connection breaks. A [`Wire`] adds these: it refuses header sections that two readers
//! could understand differently, keeps the time for each stage of an exchange, and counts.

mod behind;
mod exchange;
mod head;
pub mod intake;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use behind::{Behind, poll_discard};
pub use exchange::{Exchange, Times, Turn};
use head::HeadCheck;

/// Of an answer so much is read at a time while a write is blocked.
const PIECE: usize = 16 * 1024;
/// So long a server may take for the rest of a request that it has answered already, and for a client's last words.
const LAST: Duration = Duration::from_secs(30);

/// A connection, wrapped.
#[derive(Debug)]
pub struct Wire {
    inner: Stream,
    exchange: Arc<Exchange>,
    /// How the request phases get at `exchange`.
    digest: Option<Arc<ProxyDigest>>,
    head: HeadCheck,
    /// Why the answer is refused: nothing more of it is taken.
    refused: Option<&'static str>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What was read while a write was blocked.
    ahead: BytesMut,
    /// What is to be written before all else.
    behind: Behind,
}

impl Wire {
    /// Wraps a connection.
    #[must_use]
    pub fn new(inner: Stream) -> Self {
        let exchange = Arc::new(Exchange::default());
        // The digest of a CONNECT proxy is the one place of Pingora's where a connection can carry something of ours.
        let header = ResponseHeader::build(200, Some(0)).ok();
        let digest =
            header.map(|header| Arc::new(ProxyDigest::new(Box::new(header), Some(Box::new(Arc::clone(&exchange))))));
        Self {
            inner,
            exchange,
            digest,
            head: HeadCheck::default(),
            refused: None,
            timer: None,
            ahead: BytesMut::new(),
            behind: Behind::default(),
        }
    }

    /// The exchange of a connection; `None` for one that is no [`Wire`].
    #[must_use]
    pub fn exchange(digest: &Digest) -> Option<Arc<Exchange>> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref::<Arc<Exchange>>().cloned()
    }

    /// Looks at bytes that came.
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(refused) = self.refused {
            return Err(io::Error::new(io::ErrorKind::InvalidData, refused));
        }
        if self.exchange.begins_to_answer(bytes.len()) {
            self.head = HeadCheck::default();
        }
        if self.exchange.awaits_head() {
            match self.head.feed(bytes) {
                Ok(true) => self.exchange.head_is_complete(),
                Ok(false) => {}
                Err(refused) => {
                    self.refused = Some(refused);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, refused));
                }
            }
        }
        Ok(())
    }

    /// Writes, after what is behind. Where the server takes nothing but answers, it is taken over: see [`behind`].
    fn poll_pieces(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.poll_behind(cx)?.is_ready() {
            let written = match pieces {
                [piece] => Pin::new(&mut self.inner).poll_write(cx, piece),
                _ => Pin::new(&mut self.inner).poll_write_vectored(cx, pieces),
            };
            if let Poll::Ready(written) = written {
                return Poll::Ready(written.inspect(|bytes| self.exchange.sent(*bytes)));
            }
        }
        self.exchange.is_blocked();
        if self.answers(cx)? && self.behind.has_room() {
            return Poll::Ready(Ok(self.behind.take(pieces)));
        }
        Poll::Pending
    }

    /// Whether the server has still to get something of a request that was given out whole.
    fn owes(&self) -> bool {
        self.behind.holds_bytes() && self.exchange.since_asked().is_some()
    }

    /// Sends what is behind.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.behind.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.behind.poll_send(cx, &mut self.inner, &self.exchange)
    }

    /// Whether there is something of an answer; a piece of it is read ahead to see that.
    ///
    /// An end or an error shows again when it is read, or written, next.
    fn answers(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.ahead.is_empty() && !self.exchange.is_being_upgraded() {
            let mut piece = [0; PIECE];
            let mut buf = ReadBuf::new(&mut piece);
            if let Poll::Ready(Ok(())) = Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                self.received(buf.filled())?;
                self.ahead.extend_from_slice(buf.filled());
            }
        }
        Ok(!self.ahead.is_empty())
    }

    /// Whether the time for what is waited for is over.
    ///
    /// The timer is only ever set back when it fires too early, so that an exchange in time costs no timer.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let Some((deadline, what)) = self.exchange.deadline() else {
                return Poll::Pending;
            };
            let now = Instant::now();
            if deadline <= now {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.exchange.is_to_yield() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.refused.is_some() {
            return Poll::Ready(this.received(&[]));
        }
        if !this.behind.is_empty() {
            if this.exchange.is_over() {
                // Nobody is to get this connection for another request.
                return Poll::Ready(Err(io::Error::other("the server has not taken the whole of the last request")));
            }
            this.behind.send_before_read(cx, &mut this.inner, &this.exchange);
        }
        if !this.ahead.is_empty() {
            let taken = buf.remaining().min(this.ahead.len());
            buf.put_slice(&this.ahead.split_to(taken));
            if this.ahead.is_empty() {
                this.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(this.received(&buf.filled()[before..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_pieces(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match this.poll_behind(cx)? {
            Poll::Ready(()) => Pin::new(&mut this.inner).poll_flush(cx),
            Poll::Pending => Poll::Pending,
        };
        if flushed.is_pending() && this.answers(cx)? {
            this.behind.take_flush();
            return Poll::Ready(Ok(()));
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.owes() {
            // It is sent when this is dropped; whoever waits for it here may have another request to serve.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_pieces(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        let _ = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_shutdown(cx)).await;
    }
}

impl Drop for Wire {
    /// Pingora believes sent what is behind: an answer may have come before its request, and a client may have gone with its
    /// last words. Where the request was given out whole, the server gets it whole.
    fn drop(&mut self) {
        if !self.owes() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut inner = std::mem::replace(&mut self.inner, Box::new(io::Cursor::new(Vec::new())));
        let (mut behind, exchange) = (std::mem::take(&mut self.behind), Arc::clone(&self.exchange));
        behind.let_the_client_go();
        runtime.spawn(async move {
            let rest = async {
                std::future::poll_fn(|cx| behind.poll_last(cx, &mut inner, &exchange)).await?;
                inner.shutdown().await;
                std::future::poll_fn(|cx| poll_discard(cx, &mut inner)).await
            };
            let _ = tokio::time::timeout(LAST, rest).await;
        });
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl Ssl for Wire {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.digest.clone()
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

impl Peek for Wire {}
