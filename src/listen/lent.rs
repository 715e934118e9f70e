//! A connection in the hands of one of Pingora's sessions.
//!
//! They own their stream and drop it when something fails. So they get it lent: what they let go comes home to the
//! connection loop, which alone decides how a connection ends.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Conn;

/// Where a connection comes back to.
pub(super) type Home = Arc<Mutex<Option<Box<Conn>>>>;

/// A connection in the hands of one of Pingora's sessions.
#[derive(Debug)]
pub(super) struct Lent {
    conn: Option<Box<Conn>>,
    home: Home,
}

impl Lent {
    /// Lends a connection; it comes back when this is dropped.
    #[must_use]
    pub(super) fn new(conn: Box<Conn>, home: &Home) -> Self {
        Self { conn: Some(conn), home: Arc::clone(home) }
    }

    fn conn(&mut self) -> io::Result<&mut Conn> {
        self.conn.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Takes a connection that came home.
#[must_use]
pub(super) fn take_home(home: &Home) -> Option<Box<Conn>> {
    home.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.conn.take();
    }
}

impl AsyncRead for Lent {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.conn()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.conn()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conn()?.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.conn()?.poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Lent {
    async fn shutdown(&mut self) {
        let _ = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await;
    }
}

impl UniqueID for Lent {
    fn id(&self) -> i32 {
        self.conn.as_ref().map_or(-1, |conn| conn.io.tcp().as_raw_fd())
    }
}

impl Ssl for Lent {}

impl Peek for Lent {}

impl GetTimingDigest for Lent {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Lent {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Lent {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.conn.as_ref().map(|conn| conn.digest())
    }
}
