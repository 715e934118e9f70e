//! Addresses of this machine, as its kernel knows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;
use quick_cache::sync::Cache;

/// For so long an answer is good: addresses of a machine come and go.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// So many answers are kept.
const MOST: usize = 1024;

static KNOWN: Lazy<Cache<IpAddr, (Instant, bool)>> = Lazy::new(|| Cache::new(MOST));

/// Whether an address is one of this machine.
pub(super) fn is_of_this_machine(ip: IpAddr) -> bool {
    if let Some((since, own)) = KNOWN.get(&ip)
        && since.elapsed() < GOOD_FOR
    {
        return own;
    }
    let Ok(from) = source_towards(ip) else { return false };
    KNOWN.insert(ip, (Instant::now(), from == ip));
    from == ip
}

/// The address from which the kernel goes to another; from an address of its own it goes to itself. Nothing is sent.
fn source_towards(ip: IpAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((ip, 1))?;
    Ok(socket.local_addr()?.ip())
}
