//! Where a request came in, and where it goes.

use std::net::IpAddr;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The scheme of the listener.
    pub scheme: &'static str,
    /// Its port.
    pub port: u16,
    /// The address of this machine that the client connected to, where that is known.
    pub address: Option<IpAddr>,
}

/// The values of the cookies that name a host.
pub type Cookies = smallvec::SmallVec<[Option<String>; 1]>;

/// The target of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicTarget {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host as it was named.
    pub host: String,
    /// The address, where the host is one.
    pub address: Option<IpAddr>,
    /// The port to connect to.
    pub port: u16,
    /// `host[:port]` for the `Host` header.
    pub authority: String,
    /// The path before that of each request.
    pub base_path: String,
    /// Whether it stands for this machine.
    pub local: bool,
    /// Whether it is a name of which only a look-up can tell whether it may be reached, and the request names another host.
    pub doubtful: bool,
}

/// Why a request has no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetRefusal {
    /// Host or port in the path are not such.
    Malformed,
    /// What names the target otherwise is not there, or is no host or port.
    Unfit(&'static str),
    /// The allow-list does not have it; holds an entry that would allow it.
    NotAllowed {
        /// The entry to add.
        entry: String,
    },
}
