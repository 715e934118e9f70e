//! Servers that no pool has: how they are connected to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;

use super::dial::{self, Dialer};
use super::trust::Trust;
use super::{KEPT, Mistake};
use crate::config::UpstreamTlsSpec;

/// How servers are connected to that no pool has: HTTP/1.1, maybe over TLS.
#[derive(Clone)]
pub struct Outside {
    trust: Trust,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl Outside {
    /// Checks how they are verified. `file` finds a file that the configuration names.
    ///
    /// # Errors
    /// All mistakes; their keys begin with `tls`.
    pub fn compile(spec: &UpstreamTlsSpec, file: &dyn Fn(&str) -> PathBuf) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let names: Vec<&str> = spec.server_name.as_deref().into_iter().collect();
        let trust = Trust::compile(spec, &names, file, &mut mistakes);
        if mistakes.is_empty() { Ok(Self { trust }) } else { Err(mistakes) }
    }

    /// A peer for an address; `https` has the name by which it is verified.
    #[must_use]
    pub fn peer(&self, address: SocketAddr, https: Option<&str>, connect: Duration) -> HttpPeer {
        let name = https.map_or_else(String::new, |host| self.trust.name(host).to_owned());
        let mut peer = HttpPeer::new(address, https.is_some(), name);
        if https.is_some() {
            self.trust.apply(&mut peer);
            peer.group_key = self.trust.fingerprint();
        }
        peer.options.alpn = dial::http1();
        peer.options.idle_timeout = Some(KEPT);
        peer.options.custom_l4 = Some(Arc::new(Dialer { state: None, timeout: connect, preamble: Vec::new() }));
        peer
    }

    /// Whether the server that was connected to is the one whose certificate is pinned, where one is.
    #[must_use]
    pub fn believes(&self, digest: Option<&Digest>) -> bool {
        self.trust.believes(digest.and_then(|digest| digest.ssl_digest.as_deref()))
    }
}
