//! What comes before HTTP on a connection: the PROXY header, then the TLS handshake.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::Listener;
use super::accept::Place;
use super::connection::{Connection, Tls};
use super::counted::Counted;
use super::io::Io;
use super::proxy_header::{Read, read};
use super::serve::Edge;
use super::socket::Conn;
use crate::observe::Rejection;
use crate::tls::Policy;

/// Who may and who must send a PROXY header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Load balancers that are believed.
    pub trusted: Vec<IpNet>,
    /// Whether a connection without is refused.
    pub required: bool,
}

/// Learns who is there and what is spoken: the PROXY header, then TLS. The connection, and whether it is HTTP/2.
pub(super) async fn open<A>(
    edge: &Edge<A>,
    tcp: TcpStream,
    peer: SocketAddr,
    listener: Arc<Listener>,
    place: &mut Place,
) -> Option<(Box<Conn>, bool)> {
    let _ = tcp.set_nodelay(true);
    let local = tcp.local_addr().ok()?;
    let mut io = Io::Plain(Counted::new(tcp, edge.metrics.edge().clone()));
    let mut ahead = BytesMut::new();
    let mut info = Connection::new(Arc::clone(&listener), peer, local, None);
    if let Some(policy) = &listener.proxy_protocol {
        let read = proxy_header(&mut io, &mut ahead, policy, peer);
        let late = if policy.required { Err(Rejection::ProxyHeaderTimeout) } else { Ok(None) };
        match tokio::time::timeout(listener.timeouts.proxy_header, read).await.unwrap_or(late) {
            Ok(Some((client, local))) => info = Connection::new(Arc::clone(&listener), client, local, None),
            Ok(None) => {}
            Err(rejection) => {
                edge.reject(&info, rejection, None);
                return None;
            }
        }
        if !place.is_for(info.peer.ip(), &listener.room) {
            edge.reject(&info, Rejection::ClientConnections, None);
            return None;
        }
    }
    let Some(policy) = &listener.tls else {
        return Some((Box::new(Conn::new(io, ahead, Arc::new(info))), false));
    };
    let Io::Plain(tcp) = io else { return None };
    let (stream, tls) = match secure(edge, tcp, ahead, policy, &info).await {
        Ok(secured) => secured,
        Err(rejection) => {
            edge.metrics.edge().handshake_failed(rejection == Rejection::HandshakeTimeout);
            edge.reject(&info, rejection, None);
            return None;
        }
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    info = Connection::new(Arc::clone(&listener), info.peer, info.local, Some(tls));
    Some((Box::new(Conn::new(Io::Tls(stream), BytesMut::new(), Arc::new(info))), http2))
}

/// Shakes hands in time, and counts it.
async fn secure<A>(
    edge: &Edge<A>,
    tcp: Counted,
    ahead: BytesMut,
    policy: &Policy,
    info: &Connection,
) -> Result<(Box<TlsStream<Replay>>, Tls), Rejection> {
    let mut failed = false;
    let shake = handshake(tcp, ahead, policy, &mut failed);
    match tokio::time::timeout(info.listener.timeouts.handshake, shake).await {
        Ok(Ok((stream, tls))) => {
            let session = stream.get_ref().1;
            let newest = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
            let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            edge.metrics.edge().handshake(newest, resumed);
            Ok((stream, tls))
        }
        Ok(Err(error)) => {
            tracing::debug!(client = %info.peer, %error, "the TLS handshake failed");
            Err(Rejection::Handshake)
        }
        // The client was told, and stays all the same.
        Err(_) if failed => Err(Rejection::Handshake),
        Err(_) => Err(Rejection::HandshakeTimeout),
    }
}

/// Reads the PROXY header, where there may be one: the addresses that it tells.
async fn proxy_header(
    io: &mut Io,
    ahead: &mut BytesMut,
    policy: &ProxyProtocol,
    peer: SocketAddr,
) -> Result<Option<(SocketAddr, SocketAddr)>, Rejection> {
    let address = peer.ip().to_canonical();
    if !policy.trusted.iter().any(|net| net.contains(&address)) {
        return if policy.required { Err(Rejection::NotThroughProxy) } else { Ok(None) };
    }
    loop {
        let some = poll_fn(|cx| io.poll_fill(cx, ahead)).await.map_err(|_| Rejection::ProxyHeader)?;
        match read(ahead).map_err(|_| Rejection::ProxyHeader)? {
            Read::Complete(header) => {
                ahead.advance(header.length);
                return Ok(header.addresses);
            }
            Read::Absent if policy.required => return Err(Rejection::ProxyHeader),
            Read::Absent => return Ok(None),
            Read::Partial if some == 0 && (policy.required || !ahead.is_empty()) => return Err(Rejection::ProxyHeader),
            Read::Partial if some == 0 => return Ok(None),
            Read::Partial => {}
        }
    }
}

/// Shakes hands; `ahead` is what was read of the client's hello already. `failed` is set as soon as it has failed: the
/// client is told then, which takes a while.
async fn handshake(
    tcp: Counted,
    ahead: BytesMut,
    policy: &Policy,
    failed: &mut bool,
) -> io::Result<(Box<TlsStream<Replay>>, Tls)> {
    let replay = Replay { ahead, tcp };
    let accepted = if policy.is_strict() {
        strictly(replay, policy, failed).await?
    } else {
        TlsAcceptor::from(policy.server_config()).accept(replay).into_fallible().await
    };
    let stream = match accepted {
        Ok(stream) => stream,
        Err((error, mut replay)) => {
            *failed = true;
            drain(&mut replay.tcp).await;
            return Err(error);
        }
    };
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let identity = session.peer_certificates().and_then(crate::tls::identity).map(Arc::new);
    let tls = Tls { server_name: session.server_name().map(str::to_owned), version, cipher, identity };
    Ok((Box::new(stream), tls))
}

/// Shakes hands with a client only if there is a certificate for the name that it asks for.
async fn strictly(
    replay: Replay,
    policy: &Policy,
    failed: &mut bool,
) -> io::Result<Result<TlsStream<Replay>, (io::Error, Replay)>> {
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), replay);
    tokio::pin!(acceptor);
    let start = match acceptor.as_mut().await {
        Ok(start) => start,
        Err(error) => {
            *failed = true;
            // The acceptor has sent its alert: it is not to be lost in a reset.
            if let Some(mut replay) = acceptor.take_io() {
                drain(&mut replay.tcp).await;
            }
            return Err(error);
        }
    };
    if policy.admits(&start.client_hello()) {
        return Ok(start.into_stream(policy.server_config()).into_fallible().await);
    }
    *failed = true;
    let mut replay = start.io;
    tokio::io::AsyncWriteExt::write_all(&mut replay.tcp, &crate::tls::UNRECOGNIZED_NAME).await?;
    let error = io::Error::new(io::ErrorKind::InvalidData, "no certificate has the name that the client asks for");
    Ok(Err((error, replay)))
}

/// Ends a connection whose client was told why: says that no more comes, and reads until the client has seen it.
async fn drain(tcp: &mut Counted) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut scratch = [0; 1024];
    let end = async {
        if tcp.shutdown().await.is_ok() {
            for _ in 0..64 {
                if tcp.read(&mut scratch).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), end).await;
}

/// A socket of which some was read already, and comes first.
#[derive(Debug)]
pub(super) struct Replay {
    ahead: BytesMut,
    tcp: Counted,
}

impl Replay {
    /// The socket.
    #[must_use]
    pub(super) fn tcp(&self) -> &TcpStream {
        self.tcp.tcp()
    }
}

impl AsyncRead for Replay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.tcp).poll_read(cx, buf);
        }
        let taken = buf.remaining().min(self.ahead.len());
        buf.put_slice(&self.ahead[..taken]);
        self.ahead.advance(taken);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
