//! Connections for upgraded requests (WebSocket, SPDY).
//!
//! Pingora relays a request and its response with two tasks' worth of futures. An upstream that answers 101 before the
//! end of the (empty) request body was taken from the channel between them makes Pingora take that end for the end of the
//! upgraded stream, and close it at once. A socket that lets the channel go first — its first read after a write is
//! answered with "later" — keeps the order right. Such a connection is never shared: it ends with its stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use once_cell::sync::Lazy;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Makes a peer's next connection one for an upgraded request.
pub(crate) fn prepare(peer: &mut HttpPeer) {
    static CONNECTOR: Lazy<Arc<dyn Connect + Send + Sync>> = Lazy::new(|| Arc::new(Connector));
    static KEY: AtomicU64 = AtomicU64::new(1);
    peer.options.custom_l4 = Some(Arc::clone(&CONNECTOR));
    // Where the upgrade is refused, the connection could go into the pool: a key of its own keeps it to itself there.
    peer.group_key = KEY.fetch_add(1, Ordering::Relaxed);
    peer.options.idle_timeout = Some(Duration::from_secs(1));
}

#[derive(Debug)]
struct Connector;

#[async_trait]
impl Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Err(Error::explain(ErrorType::ConnectError, "not an address of the network"));
        };
        let socket = TcpStream::connect(address).await.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for an upgrade", error)
        })?;
        let _ = socket.set_nodelay(true);
        Ok(Stream::from(VirtualSocketStream::new(Box::new(Polite { socket, written: false }))))
    }
}

/// A socket whose first read after a write lets other futures go first.
#[derive(Debug)]
struct Polite {
    socket: TcpStream,
    written: bool,
}

impl AsyncRead for Polite {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.written) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Polite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written = true;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl VirtualSocket for Polite {
    fn set_socket_option(&self, _option: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}
