//! Listening sockets handed from a running process to the one that replaces it, so that no connection is refused between.
//!
//! The new process waits at a UNIX socket; the old one connects to it when it is told to (QUIT), and sends its sockets with
//! the addresses they listen on. When the new one serves, it says so, and the old one lets its requests finish.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// The new process waits for so long for the old one, and the old one for the new one to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sockets in one message (`SCM_MAX_FD` of Linux is 253).
const MOST: usize = 200;
/// Bytes of their addresses.
const TEXT: usize = MOST * 64;
/// What the new process says when it serves.
const READY: &[u8] = b"ready\n";

/// Sockets that were taken over, and whom to tell.
#[derive(Debug)]
pub struct Taken {
    sockets: Vec<(SocketAddr, TcpListener)>,
    old: UnixStream,
}

impl Taken {
    /// The socket of an address, where the old process had one.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(known, _)| *known == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Tells the old process that this one serves.
    ///
    /// # Errors
    /// When it is gone.
    pub fn ready(mut self) -> io::Result<()> {
        self.old.write_all(READY)
    }
}

/// Waits at `path` for the sockets of the running process.
///
/// # Errors
/// When none come in time, or the system refuses something.
pub fn wait(path: &Path) -> io::Result<Taken> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    tracing::info!(path = %path.display(), "waiting for the sockets of the running process; send it QUIT");
    let end = Instant::now() + PATIENCE;
    let taken = loop {
        match listener.accept() {
            Ok((stream, _)) => break receive(stream),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => break Err(error),
            Err(_) if Instant::now() >= end => break Err(io::ErrorKind::TimedOut.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let _ = std::fs::remove_file(path);
    taken
}

fn receive(old: UnixStream) -> io::Result<Taken> {
    old.set_nonblocking(false)?;
    old.set_read_timeout(Some(PATIENCE))?;
    let mut text = vec![0; TEXT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read =
        rustix::net::recvmsg(&old, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    let addresses = std::str::from_utf8(&text[..read]).map_err(io::Error::other)?;
    let addresses: Vec<SocketAddr> =
        addresses.lines().map(str::parse).collect::<Result<_, _>>().map_err(io::Error::other)?;
    if addresses.len() != descriptors.len() {
        return Err(io::Error::other("the running process sent another number of sockets than of addresses"));
    }
    let sockets = addresses.into_iter().zip(descriptors.into_iter().map(TcpListener::from)).collect();
    Ok(Taken { sockets, old })
}

/// Sends sockets to the process that waits at `path`; returns when that one serves.
///
/// # Errors
/// When nobody waits there, or it does not come to serve: then this process has to go on.
pub fn hand_over(path: &Path, sockets: &[(SocketAddr, TcpListener)]) -> io::Result<()> {
    if sockets.len() > MOST {
        return Err(io::Error::other(format!("there are more than {MOST} sockets")));
    }
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let addresses: Vec<String> = sockets.iter().map(|(address, _)| address.to_string()).collect();
    let text = addresses.join("\n");
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there are too many sockets"));
    }
    rustix::net::sendmsg(&stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::empty())?;
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer)?;
    if answer == READY { Ok(()) } else { Err(io::Error::other("the new process answered with something else")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_change_hands_and_go_on_listening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/upgrade.sock");
        let sockets: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let sockets: Vec<_> = sockets.into_iter().map(|socket| (socket.local_addr().unwrap(), socket)).collect();
        let addresses: Vec<SocketAddr> = sockets.iter().map(|(address, _)| *address).collect();
        let waits = path.clone();
        let new = std::thread::spawn(move || wait(&waits).unwrap());
        let old = std::thread::spawn(move || {
            while hand_over(&path, &sockets)
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::ConnectionRefused)
            {
                std::thread::yield_now();
            }
        });
        let mut taken = new.join().unwrap();
        assert!(taken.take("127.0.0.1:1".parse().unwrap()).is_none());
        let kept: Vec<TcpListener> = addresses.iter().map(|address| taken.take(*address).unwrap()).collect();
        taken.ready().unwrap();
        old.join().unwrap();
        for (address, socket) in addresses.iter().zip(kept) {
            let _client = std::net::TcpStream::connect(address).unwrap();
            socket.accept().unwrap();
        }
    }
}
