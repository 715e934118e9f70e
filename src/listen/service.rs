//! The connection loop as a service of Pingora's server, around a proxy of Pingora's.

use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::apps::HttpServerApp;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as ProxyService;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use super::Listener;
use super::accept::{accept, connections_limit};
use super::serve::Edge;
use crate::lifecycle::Lifecycle;
use crate::observe::Metrics;

/// Where Pingora's proxy is handed over.
///
/// Pingora makes it inside its own service and gives it to nobody but the handler of connections that speak a protocol of
/// the application's. So the service gets a private socket and one such connection, whose handler passes the proxy on.
#[derive(Debug)]
pub struct Handover<A> {
    sender: Arc<Mutex<Option<oneshot::Sender<Arc<A>>>>>,
}

impl<A> Clone for Handover<A> {
    fn clone(&self) -> Self {
        Self { sender: Arc::clone(&self.sender) }
    }
}

impl<A> Handover<A> {
    /// One that waits, and where the proxy comes out.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Arc<A>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Arc::new(Mutex::new(Some(sender))) }, receiver)
    }

    /// Passes the proxy on, the first time.
    pub fn give(&self, proxy: Arc<A>) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(proxy);
        }
    }
}

/// The connection loop.
pub struct EdgeService<A> {
    /// The listeners, with their sockets.
    pub sockets: Vec<(Arc<Listener>, std::net::TcpListener)>,
    /// The process that sockets were taken over from; it is told when this one serves.
    pub taken: Option<super::takeover::Taken>,
    /// The proxy, and where it comes out.
    pub proxy: Option<(ProxyService<A>, oneshot::Receiver<Arc<A>>)>,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells when the process stops, and counts connections for that.
    pub lifecycle: Arc<Lifecycle>,
    /// Tasks that accept on each socket.
    pub acceptors: usize,
}

#[async_trait]
impl<A> Service for EdgeService<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    async fn start_service(&mut self, _fds: Option<ListenFds>, shutdown: ShutdownWatch, _listeners_per_fd: usize) {
        let Some((service, handed)) = self.proxy.take() else { return };
        let app = match start(service, handed).await {
            Ok(app) => app,
            Err(error) => {
                tracing::error!(%error, "the proxy cannot be started");
                std::process::exit(1);
            }
        };
        let edge = Arc::new(Edge {
            app,
            metrics: self.metrics.clone(),
            stop: self.lifecycle.stops(),
            lifecycle: Arc::clone(&self.lifecycle),
            connections: Arc::new(Semaphore::new(connections_limit())),
            shutdown,
            room: Notify::new(),
        });
        self.lifecycle.serve();
        let mut tasks = tokio::task::JoinSet::new();
        for (listener, socket) in self.sockets.drain(..) {
            let socket = match tokio::net::TcpListener::from_std(socket) {
                Ok(socket) => Arc::new(socket),
                Err(error) => {
                    tracing::error!(address = %listener.address, %error, "cannot listen");
                    std::process::exit(1);
                }
            };
            for _ in 0..self.acceptors {
                tasks.spawn(accept(Arc::clone(&edge), Arc::clone(&socket), Arc::clone(&listener)));
            }
        }
        if let Some(Err(error)) = self.taken.take().map(super::takeover::Taken::ready) {
            tracing::warn!(%error, "the process before this one does not hear that this one serves");
        }
        tasks.join_all().await;
        // Connections go on; the process ends when the last request has.
        std::future::pending::<()>().await;
    }

    fn name(&self) -> &'static str {
        "edge"
    }
}

/// Starts Pingora's service on a socket that only this process knows, and has the proxy handed over.
async fn start<A>(mut service: ProxyService<A>, handed: oneshot::Receiver<Arc<A>>) -> std::io::Result<Arc<A>>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let name = format!("pylon-{}-{:032x}", std::process::id(), fastrand::u128(..));
    let address = SocketAddr::from_abstract_name(&name)?;
    let listener = UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    // Pingora finds the socket by a path whose permissions it sets: that of a file in memory.
    let anchor = rustix::fs::memfd_create("edge", rustix::fs::MemfdFlags::CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", anchor.as_raw_fd());
    let mut fds = Fds::new();
    fds.add(path.clone(), listener.into_raw_fd());
    service.add_uds(&path, None);
    // Its own watch, which says nothing: what stops the proxy would drop its requests.
    let (quiet, watch) = watch::channel(false);
    tokio::spawn(async move {
        service.start_service(Some(Arc::new(parking_lot::Mutex::new(fds))), watch, 1).await;
        drop(quiet);
    });
    let _connection = UnixStream::connect_addr(&address)?;
    let proxy = handed.await.map_err(std::io::Error::other);
    drop(anchor);
    proxy
}
