//! Accepting connections: as many tasks as workers on each address, no more connections than there is room for.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::apps::HttpServerApp;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Listener;
use super::connection::Connection;
use super::serve::{Edge, serve};
use crate::observe::Rejection;

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

/// How many connections there may be, of all clients and of each.
#[derive(Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    size: usize,
    per_client: Option<usize>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    client: Option<(IpAddr, Arc<Room>)>,
}

impl Room {
    /// Room for so many connections.
    #[must_use]
    pub fn new(all: usize, per_client: Option<usize>) -> Self {
        let size = all.min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(size)), size, per_client, clients: Mutex::default() }
    }

    /// Connections that are open.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.size - self.all.available_permits()
    }

    /// Gives a client a place; `None` when it has as many as it may have.
    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit, client: IpAddr) -> Option<Place> {
        let Some(most) = self.per_client else {
            return Some(Place { _permit: permit, client: None });
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { _permit: permit, client: Some((client, Arc::clone(self))) })
    }
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
        let permit = tokio::select! {
            permit = permit(&edge, &listener.room) => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((tcp, peer)) => begin(&edge, permit, tcp, peer, &listener),
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tracing::debug!(%error, "cannot accept a connection");
                    edge.room.notify_one();
                    tokio::time::sleep(FULL).await;
                }
            }
        }
    }
    while let Ok(permit) = Arc::clone(&listener.room.all).try_acquire_owned() {
        match tokio::time::timeout(Duration::from_millis(1), socket.accept()).await {
            Ok(Ok((tcp, peer))) => begin(&edge, permit, tcp, peer, &listener),
            _ => break,
        }
    }
}

fn begin<A>(
    edge: &Arc<Edge<A>>,
    permit: OwnedSemaphorePermit,
    tcp: tokio::net::TcpStream,
    peer: SocketAddr,
    listener: &Arc<Listener>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Some(place) = listener.room.place(permit, peer.ip().to_canonical()) else {
        edge.reject(
            &Connection::new(Arc::clone(listener), peer, listener.address, None),
            Rejection::ClientConnections,
            None,
        );
        return;
    };
    let (edge, listener) = (Arc::clone(edge), Arc::clone(listener));
    tokio::spawn(async move {
        serve(edge, tcp, peer, listener).await;
        drop(place);
    });
}

/// Waits for room; meanwhile connections without a request make some, those that are idle for longest first.
async fn permit<A>(edge: &Edge<A>, room: &Room) -> OwnedSemaphorePermit {
    loop {
        match tokio::time::timeout(FULL, Arc::clone(&room.all).acquire_owned()).await {
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
