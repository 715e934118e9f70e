//! Networks, and addresses to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::ValueError;

/// The same network, of IPv4 where it is written as IPv4 mapped to IPv6 (`::ffff:10.0.0.0/104`; RFC 4291 section
/// 2.5.5.2), as addresses are that it is compared with.
#[must_use]
pub fn canonical(net: IpNet) -> IpNet {
    let mapped = match net.addr().to_canonical() {
        IpAddr::V4(address) => net.prefix_len().checked_sub(96).map(|length| IpNet::new(address.into(), length)),
        IpAddr::V6(_) => None,
    };
    match (net, mapped) {
        (IpNet::V6(_), Some(Ok(mapped))) => mapped,
        _ => net,
    }
}

/// A network, `10.0.0.0/8`, or a single address, `10.0.0.1`. All bits behind the prefix are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// The network.
    #[must_use]
    pub const fn net(self) -> IpNet {
        self.0
    }

    /// Whether an address is in this network. An IPv4 address mapped to IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address) || self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for Cidr {
    /// A single address without its prefix length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl FromStr for Cidr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &str| Err(ValueError::new(format!("{text:?} {why}")));
        let trimmed = text.trim();
        if let Ok(address) = trimmed.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        if let Ok(net) = trimmed.parse::<IpNet>() {
            if net != net.trunc() {
                let (meant, only) = (net.trunc(), net.addr());
                return refused(&format!(
                    "has bits set behind its prefix; write \"{meant}\", or \"{only}\" for the one address"
                ));
            }
            return Ok(Self(canonical(net)));
        }
        match trimmed.split_once('/').map(|(address, _)| address.parse::<IpAddr>()) {
            Some(Ok(IpAddr::V4(address))) => {
                refused(&format!("has no prefix length from 0 to 32; write one such as \"{address}/24\""))
            }
            Some(Ok(IpAddr::V6(address))) => {
                refused(&format!("has no prefix length from 0 to 128; write one such as \"{address}/64\""))
            }
            _ => refused("is not a network; write one such as \"10.0.0.0/8\", or an address such as \"10.0.0.1\""),
        }
    }
}

super::scalar!(Cidr, "a network such as \"10.0.0.0/8\"", {
    "description": "A network such as 10.0.0.0/8, or a single address.",
    "type": "string",
    "examples": ["10.0.0.0/8", "10.0.0.1", "fd00::/8"],
});
super::serialize_as_text!(Cidr);

/// An address and port to listen on: `0.0.0.0:80`, `[::1]:8080`, or `:80` for all addresses, `[::]:80`.
///
/// Port 0 lets the system choose a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    /// The address and port.
    #[must_use]
    pub const fn socket(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ListenAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = |why: String| Err(ValueError::new(format!("{text:?} {why}")));
        let trimmed = text.trim();
        if let Ok(address) = trimmed.parse() {
            return Ok(Self(address));
        }
        if let Some(port) = trimmed.strip_prefix(':').and_then(port) {
            return Ok(Self(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
        }
        if let Some(port) = port(trimmed) {
            return refused(format!("is only a port; write \":{port}\" for all addresses, or \"127.0.0.1:{port}\""));
        }
        let bare = trimmed.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let example = SocketAddr::from((address, 80));
            return refused(format!("has no port; write it behind the address, such as \"{example}\""));
        }
        match trimmed.rsplit_once(':').and_then(|(host, digits)| Some((host, port(digits)?))) {
            Some(("*", port)) => refused(format!("has no address; write \":{port}\" for all addresses")),
            Some(("localhost", port)) => refused(format!("has a name for its address; write \"127.0.0.1:{port}\"")),
            _ => refused(
                "is not an address to listen on; write one such as \"0.0.0.0:80\", \"[::1]:80\" or \":80\"".to_owned(),
            ),
        }
    }
}

/// A port in digits only; `parse` would take a sign, too.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

super::scalar!(ListenAddress, "an address such as \"0.0.0.0:80\"", {
    "description": "An address and port to listen on; :80 means all addresses.",
    "type": "string",
    "examples": ["0.0.0.0:80", "[::1]:8080", ":80"],
});
super::serialize_as_text!(ListenAddress);
