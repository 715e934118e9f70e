//! The names that a certificate is for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// A name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// A DNS name, in lower case.
    Exact(String),
    /// `*.` before this DNS name: any one label.
    Wildcard(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// All names of one or several certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names(pub(super) BTreeSet<Name>);

impl Names {
    /// The names in `subjectAltName`. The common name is none: no client has looked at it for years.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
        Self(names.filter_map(|name| Name::of(name)).collect())
    }

    /// The first of them.
    pub(super) fn first(certificate: &X509Certificate<'_>) -> Option<Name> {
        let alternative = certificate.subject_alternative_name().ok().flatten()?;
        alternative.value.general_names.iter().find_map(Name::of)
    }

    /// Whether a host, a name or an address in lower case, is among them.
    pub(super) fn cover(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => self.0.contains(&Name::Address(address)),
            Err(_) => {
                self.0.contains(&Name::Exact(host.to_owned()))
                    || host.split_once('.').is_some_and(|(_, rest)| self.0.contains(&Name::Wildcard(rest.to_owned())))
            }
        }
    }

    /// Whether everything that a name stands for is among them.
    pub(super) fn hold(&self, name: &Name) -> bool {
        match name {
            Name::Exact(host) => self.cover(host),
            other => self.0.contains(other),
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Name {
    fn of(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(text) => {
                let lower = text.trim_end_matches('.').to_ascii_lowercase();
                Some(match lower.strip_prefix("*.") {
                    Some(rest) => Self::Wildcard(rest.to_owned()),
                    None => Self::Exact(lower),
                })
            }
            GeneralName::IPAddress(bytes) => address(bytes).map(Self::Address),
            _ => None,
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
