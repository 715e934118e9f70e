//! Accepting connections: as many tasks as workers on each address, no more connections than there is room for.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Listener;
use super::connection::Connection;
use super::serve::{Edge, serve};
use crate::lifecycle::Connected;
use crate::observe::{OpenConnection, Rejection};

/// Connections that the system keeps for us until they are accepted.
const BACKLOG: u32 = 65_535;
/// How long to wait when the system has no file descriptor for another connection, or there is no room.
const FULL: Duration = Duration::from_millis(50);

/// Listens on an address.
///
/// # Errors
/// What the system refuses.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    let _inside = runtime.enter();
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// How many connections a listener may have, of all clients and of each.
#[derive(Debug)]
pub struct Room {
    all: Option<Arc<Semaphore>>,
    size: Option<usize>,
    per_client: Option<usize>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_listener: Option<OwnedSemaphorePermit>,
    _of_process: OwnedSemaphorePermit,
    client: Option<(IpAddr, Arc<Room>)>,
}

/// What a connection has for as long as it lasts.
pub(super) struct Seat {
    /// Its place.
    pub(super) place: Place,
    /// It is one that a stop waits for.
    _connected: Connected,
    /// It is one that is counted as open.
    pub(super) open: OpenConnection,
}

impl Place {
    /// Counts the connection as one of this client; `false` when it has as many as it may have.
    pub(super) fn is_for(&mut self, client: IpAddr, room: &Arc<Room>) -> bool {
        let Some(most) = room.per_client else { return true };
        let client = client.to_canonical();
        let mut clients = room.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.client = Some((client, Arc::clone(room)));
        true
    }
}

impl Room {
    /// Room for so many connections; `None` where only the process has a limit.
    #[must_use]
    pub fn new(all: Option<usize>, per_client: Option<usize>) -> Self {
        let all_of = all.map(|size| Arc::new(Semaphore::new(size.min(Semaphore::MAX_PERMITS))));
        Self { all: all_of, size: all, per_client, clients: Mutex::default() }
    }
}

impl Room {
    /// Whether there is no place left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.all.as_ref().is_some_and(|all| all.available_permits() == 0)
    }
}

/// How many connections of clients the whole process takes: three quarters of the files that it may open. The rest is for
/// upstreams, and for the process itself.
#[must_use]
pub fn connections_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    (files / 4 * 3).clamp(16, Semaphore::MAX_PERMITS)
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((client, room)) = self.client.take() else { return };
        let mut clients = room.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// Accepts connections until the process stops; then those that the system has queued already.
pub(super) async fn accept<A>(edge: Arc<Edge<A>>, socket: Arc<TcpListener>, listener: Arc<Listener>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut stop = edge.stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((tcp, peer)) => {
                // While there is no place, the others wait in the system's queue.
                let place = place(&edge, &listener.room).await;
                begin(&edge, place, tcp, peer, &listener);
            }
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tracing::debug!(%error, "cannot accept a connection");
                    edge.room.notify_one();
                    tokio::time::sleep(FULL).await;
                }
            }
        }
    }
    if edge.lifecycle.is_handed_over() {
        return;
    }
    // Those that the system has queued are served; whoever comes later is refused.
    for _ in 0..BACKLOG {
        let queued = std::future::poll_fn(|cx| match socket.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            Poll::Pending => Poll::Ready(None),
        });
        let Some((tcp, peer)) = queued.await else { return };
        let place = place(&edge, &listener.room).await;
        begin(&edge, place, tcp, peer, &listener);
    }
}

fn begin<A>(edge: &Arc<Edge<A>>, place: Place, tcp: TcpStream, peer: SocketAddr, listener: &Arc<Listener>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut place = place;
    // Behind a load balancer the client is known when its header was read.
    if listener.proxy_protocol.is_none() && !place.is_for(peer.ip(), &listener.room) {
        let info = Connection::new(Arc::clone(listener), peer, listener.address, None);
        edge.reject(&info, Rejection::ClientConnections, None);
        return;
    }
    let seat = Seat { place, _connected: edge.lifecycle.connect(), open: edge.metrics.connection() };
    // The task is this function and nothing around it: what it is given would be in memory twice.
    tokio::spawn(serve(Arc::clone(edge), tcp, peer, Arc::clone(listener), seat));
}

/// Waits for room; meanwhile connections without a request make some, those that are idle for longest first.
async fn place<A>(edge: &Edge<A>, room: &Room) -> Place {
    let of_listener = match &room.all {
        Some(all) => Some(permit(edge, all).await),
        None => None,
    };
    Place { _of_listener: of_listener, _of_process: permit(edge, &edge.connections).await, client: None }
}

async fn permit<A>(edge: &Edge<A>, room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    loop {
        match tokio::time::timeout(FULL, Arc::clone(room).acquire_owned()).await {
            Ok(Ok(permit)) => return permit,
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => edge.room.notify_one(),
        }
    }
}

impl PartialEq for Room {
    /// Two are equal when there is as much room in both, however much of it is taken.
    fn eq(&self, other: &Self) -> bool {
        (self.size, self.per_client) == (other.size, other.per_client)
    }
}

impl Eq for Room {}
