//! How connections to upstreams are made.
//!
//! HTTP/1.1 goes through a connector of our own: Pingora makes and pools the connections, and each is wrapped into a
//! [`Wire`], which sees every byte. HTTP/2 goes Pingora's way, with our own TCP connect under it.

use std::any::Any;
use std::net::SocketAddr as InetAddress;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::http::custom::{Connection, Connector};
use pingora::connectors::l4::Connect;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::tls::CustomALPN;
use pingora::upstreams::peer::{HttpPeer, Peer, Tracer, Tracing};
use pingora::{Error, ErrorType, Result};
use tokio::net::TcpStream;

use super::DEFAULT_CONNECT;
use super::endpoint::{EndpointState, Open};
use super::sockets::{self, Sockets};
use super::wire::Wire;

/// What stands for HTTP/1.1 in a peer that is to be connected by [`Http1`].
pub(super) fn http1() -> ALPN {
    ALPN::Custom(CustomALPN::new(b"pylon".to_vec()))
}

/// A peer as Pingora's own connectors take it: for probes, whose connections are none of the endpoint's.
pub(super) fn plain(mut peer: HttpPeer) -> HttpPeer {
    if matches!(peer.options.alpn, ALPN::Custom(_)) {
        peer.options.alpn = ALPN::H1;
    }
    peer.options.custom_l4 = Some(Arc::new(Dialer { state: None, timeout: DEFAULT_CONNECT, preamble: Vec::new() }));
    peer
}

/// Makes the TCP connections to an endpoint, in time, and counts them.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) state: Option<Arc<EndpointState>>,
    pub(super) timeout: Duration,
    /// What is said before all else.
    pub(super) preamble: Vec<u8>,
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let SocketAddr::Inet(address) = address else {
            return Error::e_explain(ErrorType::ConnectError, "not an address of the network");
        };
        let mut socket = match tokio::time::timeout(self.timeout, connect(*address)).await {
            Ok(socket) => socket?,
            Err(_) => {
                let message = format!("no connection within {:?}", self.timeout);
                return Error::e_explain(ErrorType::ConnectTimedout, message);
            }
        };
        if !self.preamble.is_empty() {
            let said = tokio::io::AsyncWriteExt::write_all(&mut socket, &self.preamble).await;
            said.map_err(|error| Error::because(ErrorType::ConnectError, "sending the PROXY header", error))?;
        }
        let counted = Sockets::of_process().count(socket.as_raw_fd());
        let open = self.state.as_ref().map(EndpointState::connected);
        let mut stream = Stream::from(socket);
        stream.tracer = Some(Tracer(Box::new(Counted(Some((open, counted)).into()))));
        Ok(stream)
    }
}

async fn connect(address: InetAddress) -> Result<TcpStream> {
    TcpStream::connect(address).await.map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
            std::io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
            _ => ErrorType::ConnectError,
        };
        Error::because(kind, "connecting", error)
    })
}

/// Counts a connection for as long as Pingora has its stream.
#[derive(Debug)]
struct Counted(std::sync::Mutex<Option<(Option<Open>, sockets::Counted)>>);

impl Tracing for Counted {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    /// A connection counts once: Pingora clones what a peer has, never what a stream has.
    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(Self(None.into()))
    }
}

/// Connects HTTP/1.1 upstreams.
pub struct Http1 {
    transport: TransportConnector,
}

impl Http1 {
    /// A connector with the options of the process.
    #[must_use]
    pub fn new(options: ConnectorOptions) -> Self {
        Self { transport: TransportConnector::new(Some(options)) }
    }
}

#[async_trait]
impl Connector for Http1 {
    type Session = ();

    /// A new connection. Pingora's pool of HTTP/1.1 connections has been asked before, and gets it when it is idle.
    async fn get_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Result<(Connection<()>, bool)> {
        let Some(peer) = (peer as &dyn Any).downcast_ref::<HttpPeer>() else {
            return Error::e_explain(ErrorType::InternalError, "a peer of another kind");
        };
        let mut peer = peer.clone();
        peer.options.alpn = ALPN::H1;
        let stream = self.transport.new_stream(&peer).await?;
        Ok((Connection::Stream(Box::new(Wire::new(stream))), false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, _peer: &P) -> Option<()> {
        None
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        _session: (),
        _peer: &P,
        _idle_timeout: Option<Duration>,
    ) {
    }
}
