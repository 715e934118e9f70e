//! The sockets that a process listens on: bound, or taken over from the process before it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use crate::config::Loaded;
use crate::listen::takeover::{self, Taken};
use crate::listen::{Listener, Listeners, bind};

/// The sockets of a process, before anything is served on them.
pub(super) struct Sockets {
    /// Of the listeners.
    pub(super) data: Vec<(Arc<Listener>, TcpListener)>,
    /// Of the operator's port.
    pub(super) admin: Option<TcpListener>,
    /// The process that they were taken over from.
    pub(super) taken: Option<Taken>,
    /// All of them once more, to be handed on.
    pub(super) again: Vec<(SocketAddr, TcpListener)>,
}

/// Listens on all addresses; connections wait until they are accepted. With `upgrade`, sockets that the running process has
/// are taken over, when it is told to hand them over.
///
/// # Errors
/// What the system refuses, and the cure.
pub(super) async fn claim(loaded: &Loaded, listeners: &Listeners, upgrade: bool) -> Result<Sockets, StartError> {
    let mut taken = if upgrade { Some(take_over(loaded)?) } else { None };
    let mut again = Vec::new();
    let mut socket = |address: SocketAddr, what: &str| {
        let socket = match taken.as_mut().and_then(|taken| taken.take(address)) {
            Some(socket) => socket,
            None => bind(address).map_err(|error| cannot_listen(what, address, &error))?,
        };
        let prepared = socket.set_nonblocking(true).and_then(|()| socket.try_clone());
        again.push((address, prepared.map_err(|error| cannot_listen(what, address, &error))?));
        Ok::<_, StartError>(socket)
    };
    let mut data = Vec::new();
    for listener in listeners.all() {
        data.push((Arc::clone(listener), socket(listener.address, "")?));
    }
    let admin = loaded.process.admin.as_ref().map(|admin| admin.address.socket());
    let admin = admin.map(|address| socket(address, "admin: ")).transpose()?;
    Ok(Sockets { data, admin, taken, again })
}

/// Where sockets change hands.
pub(super) fn upgrade_socket(loaded: &Loaded) -> Option<PathBuf> {
    loaded.process.upgrade_socket.as_ref().map(PathBuf::from)
}

fn take_over(loaded: &Loaded) -> Result<Taken, StartError> {
    let Some(path) = upgrade_socket(loaded) else {
        let message = "--upgrade needs to know where; add `upgrade_socket: /run/pylon/upgrade.sock` to the configuration \
                       of both, and restart the running one once";
        return Err(StartError::System(message.to_owned()));
    };
    takeover::wait(&path).map_err(|error| no_sockets(&path, &error))
}

fn no_sockets(path: &Path, error: &std::io::Error) -> StartError {
    let message = format!(
        "no sockets came to {}: {error}; send QUIT to the running process within a minute, or start without --upgrade",
        path.display()
    );
    StartError::System(message)
}

/// Says in words why an address cannot be listened on.
fn cannot_listen(what: &str, address: SocketAddr, error: &std::io::Error) -> StartError {
    let cure = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; or choose another, as with PYLON_LISTEN=0.0.0.0:8080"
        }
        std::io::ErrorKind::AddrInUse => "stop what listens there, or choose another port",
        _ => "choose an address of this machine",
    };
    StartError::System(format!("{what}cannot listen on {address}: {error}; {cure}"))
}
