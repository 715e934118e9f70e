//! How many bytes move between Pylon and its upstreams, as the kernel counts them: TLS, HTTP/2 and tunnels included, and
//! while they flow.
//!
//! Each connection is asked when somebody wants to know, and once more when it is closed; requests cost nothing.

use std::collections::HashSet;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::Lazy;
use pingora::protocols::l4::ext::get_tcp_info;

use crate::observe::BytesTotals;

/// So many groups of connections are locked one after the other, each for a short time.
const GROUPS: usize = 64;

/// The open connections to upstreams.
#[derive(Debug)]
pub struct Sockets {
    groups: [Group; GROUPS],
}

#[derive(Debug, Default)]
struct Group {
    open: Mutex<HashSet<RawFd>>,
    /// Of those that are closed.
    received: AtomicU64,
    sent: AtomicU64,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { groups: std::array::from_fn(|_| Group::default()) }
    }
}

/// A connection that is counted until this is dropped, which has to be before its socket is closed.
#[derive(Debug)]
pub(super) struct Counted {
    sockets: Arc<Sockets>,
    fd: RawFd,
}

/// The connections of this process: as file descriptors are, they are one for all.
static OF_PROCESS: Lazy<Arc<Sockets>> = Lazy::new(Arc::default);

impl Sockets {
    /// The connections of this process.
    #[must_use]
    pub fn of_process() -> &'static Arc<Self> {
        &OF_PROCESS
    }

    /// Counts a connection.
    pub(super) fn count(self: &Arc<Self>, fd: RawFd) -> Counted {
        self.group(fd).open.lock().unwrap_or_else(PoisonError::into_inner).insert(fd);
        Counted { sockets: Arc::clone(self), fd }
    }

    fn group(&self, fd: RawFd) -> &Group {
        &self.groups[usize::try_from(fd).unwrap_or_default() % GROUPS]
    }

    /// Bytes that were received and sent until now.
    #[must_use]
    pub fn bytes(&self) -> BytesTotals {
        let mut totals = BytesTotals::default();
        for group in &self.groups {
            let open = group.open.lock().unwrap_or_else(PoisonError::into_inner);
            totals.received += group.received.load(Ordering::Relaxed);
            totals.sent += group.sent.load(Ordering::Relaxed);
            for bytes in open.iter().map(|fd| ask(*fd)) {
                totals.received += bytes.received;
                totals.sent += bytes.sent;
            }
        }
        totals
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let group = self.sockets.group(self.fd);
        let mut open = group.open.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = ask(self.fd);
        group.received.fetch_add(bytes.received, Ordering::Relaxed);
        group.sent.fetch_add(bytes.sent, Ordering::Relaxed);
        open.remove(&self.fd);
    }
}

/// What the kernel has counted on a connection: bytes without those that were sent twice.
fn ask(fd: RawFd) -> BytesTotals {
    get_tcp_info(fd).map_or_else(
        |_| BytesTotals::default(),
        |info| BytesTotals {
            received: info.tcpi_bytes_received,
            sent: info.tcpi_bytes_sent.saturating_sub(info.tcpi_bytes_retrans),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn bytes_count_while_they_flow_and_stay_counted() {
        let sockets = Arc::new(Sockets::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        let counted = sockets.count(ours.as_raw_fd());
        ours.write_all(&[1; 1000]).unwrap();
        theirs.read_exact(&mut [0; 1000]).unwrap();
        theirs.write_all(&[1; 300]).unwrap();
        ours.read_exact(&mut [0; 300]).unwrap();
        let expected = BytesTotals { received: 300, sent: 1000 };
        assert_eq!(sockets.bytes(), expected);
        drop(counted);
        drop(ours);
        assert_eq!(sockets.bytes(), expected);
    }
}
