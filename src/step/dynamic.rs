//! `dynamic`: forward to an address that the path names, within an allow-list.
//!
//! ```yaml
//! - name: any
//!   path: /a/{host}:{port:digits}/**
//!   dynamic: { host: "{host}", port: "{port}", allow: ["10.0.0.0/8:1024-65535", "*.cluster.local"] }
//!   rewrite: "/{**}"
//! ```

use std::net::IpAddr;

use crate::config::DynamicSpec;
use crate::route::allow::{AllowEntry, AllowList, Permission, parse_address};
use crate::route::template::{Template, Values, Vocabulary};

/// A dynamic target that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dynamic {
    host: usize,
    port: usize,
    /// What it may reach.
    pub allow: AllowList,
}

/// The target of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicTarget {
    /// Host as the path has it.
    pub host: String,
    /// The address, where the host is one.
    pub address: Option<IpAddr>,
    /// The port to connect to.
    pub port: u16,
    /// `host[:port]` for the `Host` header.
    pub authority: String,
}

/// Why a request has no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetRefusal {
    /// Host or port are not such.
    Malformed,
    /// The allow-list does not have it; holds an entry that would allow it.
    NotAllowed {
        /// The entry to add.
        entry: String,
    },
}

impl Dynamic {
    /// Checks the step. `upstream_hosts` is what the word `upstreams` in the allow-list stands for.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn compile(
        spec: &DynamicSpec,
        vocabulary: &Vocabulary<'_>,
        upstream_hosts: &[String],
    ) -> Result<Self, (&'static str, String)> {
        let capture = |key: &'static str, text: &str| {
            let template = Template::parse(text, vocabulary).map_err(|message| (key, message))?;
            template.as_capture().ok_or_else(|| {
                (key, format!("`{text}` is not a capture of the path; write `{{{key}}}` and capture it in `path`"))
            })
        };
        let mut entries: Vec<AllowEntry> = Vec::new();
        let mut named = false;
        for text in spec.allow.iter().flat_map(|list| list.split(',')).map(str::trim) {
            if text == "upstreams" {
                named = true;
                let hosts = upstream_hosts.iter().filter_map(|host| host.parse().ok());
                entries.extend(hosts);
            } else if !text.is_empty() {
                entries.push(text.parse().map_err(|message| ("allow", message))?);
            }
        }
        if entries.is_empty() && !named {
            let message = "nothing is allowed; list networks and names, or `upstreams` for the hosts of the configured \
                           upstreams";
            return Err(("allow", message.to_owned()));
        }
        Ok(Self {
            host: capture("host", &spec.host)?,
            port: capture("port", &spec.port)?,
            allow: AllowList::new(entries),
        })
    }

    /// The indexes of the captures that hold host and port.
    #[must_use]
    pub fn captures(&self) -> (usize, usize) {
        (self.host, self.port)
    }

    /// The target of a request.
    ///
    /// # Errors
    /// Why there is none.
    pub fn target(&self, values: &Values<'_>) -> Result<DynamicTarget, TargetRefusal> {
        let host = values.capture(self.host);
        let digits = values.capture(self.port);
        let address = parse_address(host);
        let number: u16 = digits.parse().map_err(|_| TargetRefusal::Malformed)?;
        if address.is_none() && !is_name(host) {
            return Err(TargetRefusal::Malformed);
        }
        let port = if number == 0 { 80 } else { number };
        if self.allow.permits(host, port) == Permission::Refused {
            return Err(TargetRefusal::NotAllowed { entry: format!("{host}:{port}") });
        }
        let authority = if number == 0 { host.to_owned() } else { format!("{host}:{digits}") };
        Ok(DynamicTarget { host: host.to_owned(), address, port, authority })
    }
}

/// Whether a text can be a host name (letters, digits, `-`, `_`, `.`).
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
