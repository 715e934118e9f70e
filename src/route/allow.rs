//! What a dynamic target may reach: an allow-list of networks, names and ports.
//!
//! The last word is spoken on the address that is really connected to, so a name that is re-bound between look-up and
//! connection gains nothing. Special addresses (loopback, link-local, cloud metadata, unspecified, multicast) need an
//! entry that lies within their own block: `0.0.0.0/0` does not open them, `127.0.0.0/8` does.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use once_cell::sync::Lazy;

use crate::config::value::canonical;

/// Networks, names and ports that may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<AllowEntry>,
}

/// One entry, `10.0.0.0/8:1-65535` or `*.cluster.local:8042`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowEntry {
    place: Where,
    ports: RangeInclusive<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Where {
    Net(IpNet),
    Name(String),
    Suffix(String),
}

/// What the list says of a host before it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// The address is allowed, or the name is and its address only has to pass the special ones.
    Allowed,
    /// Only the address that the name stands for can tell.
    AskAddress,
    /// No entry allows it.
    Refused,
}

impl AllowList {
    /// A list of entries.
    #[must_use]
    pub fn new(entries: Vec<AllowEntry>) -> Self {
        Self { entries }
    }

    /// Whether nothing at all is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the list says of a host (a name, an IPv4 address, or an IPv6 address with or without brackets).
    #[must_use]
    pub fn permits(&self, host: &str, port: u16) -> Permission {
        if let Some(address) = parse_address(host) {
            return if self.permits_address(address, port) { Permission::Allowed } else { Permission::Refused };
        }
        if self.permits_name(host, port) {
            Permission::Allowed
        } else if self.entries.iter().any(|e| matches!(e.place, Where::Net(_)) && e.ports.contains(&port)) {
            Permission::AskAddress
        } else {
            Permission::Refused
        }
    }

    /// Whether a connection for this host may go to this address, which the host's name was found to stand for.
    #[must_use]
    pub fn permits_connection(&self, host: &str, address: IpAddr, port: u16) -> bool {
        if self.permits_address(address, port) {
            return true;
        }
        let own_loopback = address.to_canonical().is_loopback() && host.eq_ignore_ascii_case("localhost");
        self.permits_name(host, port) && (special_block(address).is_none() || own_loopback)
    }

    fn permits_name(&self, host: &str, port: u16) -> bool {
        let host = super::host::normalise(host);
        self.entries.iter().any(|entry| {
            entry.ports.contains(&port)
                && match &entry.place {
                    Where::Net(_) => false,
                    Where::Name(name) => *name == *host,
                    Where::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
                }
        })
    }

    fn permits_address(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let special = special_block(address);
        self.entries.iter().any(|entry| match &entry.place {
            Where::Net(net) => {
                entry.ports.contains(&port) && net.contains(&address) && special.is_none_or(|block| block.contains(net))
            }
            Where::Name(_) | Where::Suffix(_) => false,
        })
    }
}

/// An address as a host writes it, IPv6 with or without brackets.
#[must_use]
pub fn parse_address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// The block of special addresses that an address belongs to.
fn special_block(address: IpAddr) -> Option<IpNet> {
    let address = address.to_canonical();
    let mut blocks = SPECIAL.iter();
    blocks.find(|block| block.contains(&address)).copied()
}

/// Loopback, link-local, "this network", multicast, broadcast, and the metadata services that have an address of
/// their own (RFC 6890, RFC 4291).
static SPECIAL: Lazy<Vec<IpNet>> = Lazy::new(|| {
    const BLOCKS: [&str; 11] = [
        "127.0.0.0/8",
        "::1/128",
        "169.254.0.0/16",
        "fe80::/10",
        "0.0.0.0/8",
        "::/128",
        "224.0.0.0/4",
        "ff00::/8",
        "255.255.255.255/32",
        "100.100.100.200/32",
        "fd00:ec2::254/128",
    ];
    BLOCKS.iter().filter_map(|block| block.parse().ok()).collect()
});

impl FromStr for AllowEntry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a target; write a network (`10.0.0.0/8`), an address or a name (`*.cluster.local`), \
                 each with ports if they matter (`10.0.0.0/8:8042`, `node:1024-65535`)"
            )
        };
        let (place, ports) = split_ports(text);
        let ports = match ports {
            None => 1..=u16::MAX,
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                let first: u16 = first.parse().map_err(|_| wrong())?;
                let last: u16 = last.parse().map_err(|_| wrong())?;
                if first == 0 || first > last {
                    return Err(wrong());
                }
                first..=last
            }
        };
        let place = if let Some(address) = parse_address(place) {
            Where::Net(IpNet::from(address.to_canonical()))
        } else if place.contains('/') {
            let bare = place.replace(['[', ']'], "");
            Where::Net(canonical(bare.parse::<IpNet>().map_err(|_| wrong())?.trunc()))
        } else {
            match place.parse().map_err(|_| wrong())? {
                super::host::HostPattern::Exact(name) if is_name(&name) => Where::Name(name),
                super::host::HostPattern::Suffix(suffix) if is_name(suffix.trim_start_matches('.')) => {
                    Where::Suffix(suffix)
                }
                _ => return Err(wrong()),
            }
        };
        Ok(Self { place, ports })
    }
}

/// Whether it is a name that something can have: what ends in a number is an address, or a mistake in one.
fn is_name(text: &str) -> bool {
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.rsplit('.').next().is_none_or(is_number)
}

/// Splits the ports off: `fd00::/8` has none, `[fd00::]/8:80` has.
fn split_ports(text: &str) -> (&str, Option<&str>) {
    let colons = text.matches(':').count();
    if colons > 1 && !text.contains(']') {
        return (text, None);
    }
    super::host::split_port(text)
}

impl fmt::Display for AllowEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Where::Net(net @ IpNet::V6(_)) => write!(f, "[{}]/{}", net.addr(), net.prefix_len())?,
            Where::Net(net) => write!(f, "{net}")?,
            Where::Name(name) => f.write_str(name)?,
            Where::Suffix(suffix) => write!(f, "*{suffix}")?,
        }
        match (*self.ports.start(), *self.ports.end()) {
            (1, u16::MAX) => Ok(()),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> AllowList {
        AllowList::new(text.split(',').map(|e| e.parse().unwrap()).collect())
    }

    fn connects(list: &AllowList, host: &str, address: &str, port: u16) -> bool {
        list.permits_connection(host, address.parse().unwrap(), port)
    }

    #[test]
    fn networks_names_and_ports_are_told_apart() {
        let list = list("10.0.0.0/8:1-65535,*.cluster.local:8042,node,[fd00::]/8:80");
        assert_eq!(list.permits("10.1.2.3", 1), Permission::Allowed);
        assert_eq!(list.permits("11.1.2.3", 1), Permission::Refused);
        assert_eq!(list.permits("[fd00::1]", 80), Permission::Allowed);
        assert_eq!(list.permits("[fd00::1]", 81), Permission::Refused);
        assert_eq!(list.permits("A.Cluster.Local", 8042), Permission::Allowed);
        assert_eq!(list.permits("a.cluster.local", 8043), Permission::AskAddress);
        assert_eq!(list.permits("node", 9), Permission::Allowed);
        assert!(connects(&list, "other", "10.0.0.1", 22));
        assert!(!connects(&list, "other", "192.168.0.1", 22));
        assert!(connects(&self::list("[::ffff:10.0.0.0]/104:22"), "other", "10.0.0.1", 22));
    }

    #[test]
    fn special_addresses_are_listed_by_themselves_or_not_reached() {
        for (entries, host, address, expected) in [
            ("0.0.0.0/0", "127.0.0.1", "127.0.0.1", false),
            ("0.0.0.0/0", "x", "169.254.169.254", false),
            ("*.example.org", "a.example.org", "127.0.0.1", false),
            ("*.example.org", "a.example.org", "::ffff:127.0.0.1", false),
            ("*.example.org", "a.example.org", "10.0.0.1", true),
            ("127.0.0.0/8", "x", "127.0.0.1", true),
            ("127.0.0.0/8", "x", "::ffff:127.0.0.1", true),
            ("169.254.169.254", "x", "169.254.169.254", true),
            ("localhost", "localhost", "127.0.0.1", true),
            ("localhost", "localhost", "169.254.1.1", false),
            ("::/0", "x", "::1", false),
        ] {
            assert_eq!(connects(&list(entries), host, address, 80), expected, "{entries} {host} {address}");
        }
    }

    #[test]
    fn entries_print_as_they_are_written() {
        for text in ["10.0.0.0/8", "10.0.0.0/8:80", "*.a.b:1-9", "node:80", "node-1_a.b", "[fd00::]/8:80"] {
            assert_eq!(text.parse::<AllowEntry>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "10.0.0.0/33",
            "a:b",
            "a:0",
            "a:9-1",
            "*",
            "a b",
            "10.0.0.1;10.0.0.2",
            "10.0.0.1-10.0.0.9",
            "10.0.0",
            "*.0.1",
            "a@b",
        ] {
            assert!(text.parse::<AllowEntry>().is_err(), "{text}");
        }
    }
}
