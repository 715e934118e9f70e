//! The addresses that clients connect to, and the loop that serves their connections.

mod accept;
mod admin;
mod authority;
mod closing;
pub mod connection;
mod counted;
pub mod h1;
pub mod h2;
mod io;
mod lent;
mod limits;
mod opening;
mod own;
pub mod pace;
pub mod proxy_header;
mod refusal;
mod serve;
mod service;
mod socket;
pub mod takeover;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

pub use accept::{Room, bind, connections_limit};
pub use authority::is_authority;
pub use connection::Connection;
pub use limits::Timeouts;
pub use opening::ProxyProtocol;
pub use pace::Pace;
pub use service::{EdgeService, Handover};

use crate::config::{KeyPath, Loaded, Problem, Report};
use crate::route::public::Origin;
use crate::tls::Policy;

pub use tls::{Renewals, tls_files};

/// An address that clients connect to, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, for routes that are bound to it.
    pub name: Option<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether only routes that name it are served.
    pub dedicated: bool,
    /// Whether everything but `/healthz` is sent to https.
    pub redirect_to_https: bool,
    /// What is done about TLS, where it is terminated.
    pub tls: Option<Arc<Policy>>,
    /// Who tells the client's address in a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long clients have.
    pub timeouts: Timeouts,
    /// How large header sections may be.
    pub head: h1::HeadLimits,
    /// How much of HTTP/2 a client may use.
    pub http2: h2::Http2Limits,
    /// Room for connections.
    pub room: Arc<Room>,
}

/// When a certificate ends to be valid.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Expiry {
    /// The listener's address.
    pub listener: String,
    /// The certificate's first name.
    pub name: String,
    /// In seconds of Unix time.
    pub not_after: i64,
}

/// All listeners of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    all: Vec<Arc<Listener>>,
    admin: Option<SocketAddr>,
    warnings: Vec<Problem>,
}

impl Listeners {
    /// Checks the listeners of a configuration; nothing is bound yet.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn compile(loaded: &Loaded) -> Result<Self, Report> {
        let mut report = Report::default();
        let (mut all, mut warnings) = (Vec::<Arc<Listener>>::new(), Vec::new());
        for (entry, spec) in loaded.listeners() {
            let address = spec.address.socket();
            let problem = |key: &str, message: String| loaded.problem_at(entry.document, entry.at.then(key), message);
            if all.iter().any(|other| other.address == address && address.port() != 0) {
                report.push(problem("address", format!("`{address}` is listened on twice; remove one of the two")));
            }
            if spec.name.is_some() && all.iter().any(|other| other.name == spec.name) {
                let name = spec.name.as_deref().unwrap_or_default();
                report.push(problem("name", format!("`{name}` is the name of another listener; choose another")));
            }
            let tls = spec.tls.as_ref().and_then(|spec| tls::compile(loaded, entry, spec, &mut warnings, &mut report));
            let mut limits = limits::Checked::new(spec, |key, message| {
                report.push(loaded.problem_at(
                    entry.document,
                    key.iter().fold(entry.at.clone(), |at, key| at.then(*key)),
                    message,
                ));
            });
            all.push(Arc::new(Listener {
                name: spec.name.clone(),
                address,
                dedicated: spec.dedicated.0,
                redirect_to_https: spec.redirect_to_https.0,
                tls,
                proxy_protocol: limits.proxy_protocol(),
                timeouts: limits.timeouts(),
                head: limits.head(),
                http2: limits.http2(),
                room: limits.room(),
            }));
        }
        let admin = admin::check(loaded, &all, &mut report);
        if all.is_empty() {
            let message = "there is no listener, so nobody could connect; add `listeners: [{ address: 0.0.0.0:80 }]`";
            report.push(loaded.problem_at(0, KeyPath::root().then("listeners"), message));
        }
        report.into_result(Self { all, admin, warnings })
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Arc<Listener>] {
        &self.all
    }

    /// What is worth knowing of them, but no reason to refuse them.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// When the certificates of all listeners end to be valid.
    #[must_use]
    pub fn certificates(&self) -> Vec<Expiry> {
        let mut all = Vec::new();
        for listener in &self.all {
            let ends = listener.tls.iter().flat_map(|policy| policy.expiries());
            all.extend(ends.map(|(name, not_after)| Expiry {
                listener: listener.address.to_string(),
                name,
                not_after,
            }));
        }
        all
    }

    /// Whether an address is one of this process itself: a listener, or the admin port. `local` is where a connection
    /// came in, which tells the machine's address behind `0.0.0.0`.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr, local: Option<SocketAddr>) -> bool {
        let ip = address.ip().to_canonical();
        let here = || {
            ip.is_loopback()
                || ip.is_unspecified()
                || local.is_some_and(|l| l.ip().to_canonical() == ip)
                || own::is_of_this_machine(ip)
        };
        let own = self.all.iter().map(|listener| listener.address).chain(self.admin);
        own.filter(|own| own.port() == address.port())
            .any(|own| own.ip().to_canonical() == ip || ip.is_unspecified() || (own.ip().is_unspecified() && here()))
    }

    /// The origin under which routes bound to `wanted` listeners are served, for a client that came in through a route
    /// bound to `own` listeners at `origin`.
    ///
    /// Where both are served on the same listener, that is `origin`; else the client's host with the port of the first
    /// listener that serves them.
    #[must_use]
    pub fn origin_of(&self, wanted: &[String], own: &[String], origin: &Origin) -> Origin {
        let serves = |listener: &Listener, bound: &[String]| match &listener.name {
            _ if bound.is_empty() => !listener.dedicated,
            Some(name) => bound.contains(name),
            None => false,
        };
        if own.is_empty() || self.all.iter().filter(|l| serves(l, own)).any(|l| serves(l, wanted)) {
            return origin.clone();
        }
        let Some(target) = self.all.iter().find(|l| serves(l, wanted) && !l.redirect_to_https) else {
            return origin.clone();
        };
        let (scheme, default) = if target.tls.is_some() { ("https", 443) } else { ("http", 80) };
        let host = crate::route::host::split_port(&origin.authority).0;
        let port = target.address.port();
        let authority = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        Origin { scheme, authority }
    }
}
