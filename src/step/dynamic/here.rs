//! This machine, as requests may name it.

use std::net::{IpAddr, Ipv6Addr};

use crate::route::allow::parse_address;

/// The names and addresses of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Here {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Here {
    /// What the system knows, and what is configured besides.
    pub(super) fn find<'n>(more: impl Iterator<Item = &'n str>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut here = Self::of(&read("/proc/net/fib_trie"), &read("/proc/net/if_inet6"));
        let host_name = read("/proc/sys/kernel/hostname");
        let known = ["localhost", "127.0.0.1", "::1", host_name.trim()].map(str::to_owned);
        for text in known.into_iter().chain(more.map(str::to_owned)) {
            match parse_address(&text) {
                Some(address) => here.addresses.push(address.to_canonical()),
                None if text.is_empty() => {}
                None => here.names.push(crate::route::host::normalise(&text).into_owned()),
            }
        }
        here
    }

    /// The addresses in the tables of the system.
    fn of(routes: &str, interfaces: &str) -> Self {
        let lines: Vec<&str> = routes.lines().map(str::trim).collect();
        let v4 = lines.windows(2).filter(|pair| pair[1] == "/32 host LOCAL");
        let v4 = v4.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok());
        let v6 = interfaces.lines().filter_map(|line| u128::from_str_radix(line.split(' ').next()?, 16).ok());
        let v6 = v6.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)));
        Self { names: Vec::new(), addresses: v4.chain(v6).collect() }
    }

    /// Whether a host is this machine.
    pub(super) fn is(&self, host: &str) -> bool {
        match parse_address(host) {
            Some(address) => self.addresses.contains(&address.to_canonical()),
            None => {
                let host = crate::route::host::normalise(host);
                self.names.iter().any(|name| *name == *host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_system_tell_addresses() {
        let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n        \
                      /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        let interfaces = "fd000000000000000000000000000002 04 40 00 82     eth0\n";
        let here = Here::of(routes, interfaces);
        assert!(here.is("10.0.0.5") && here.is("::ffff:10.0.0.5") && here.is("[fd00::2]"));
        assert!(!here.is("10.0.0.255") && !here.is("10.0.0.0") && !here.is("localhost"));
    }

    #[test]
    fn names_are_compared_as_hosts() {
        let here = Here::find(["Node-1", "192.0.2.77"].into_iter());
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "::1", "node-1", "192.0.2.77"] {
            assert!(here.is(host), "{host}");
        }
        assert!(!here.is("node-2") && !here.is("127.0.0.2") && !here.is(""));
    }
}
