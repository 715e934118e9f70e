//! `X-Forwarded-*`, `X-Real-IP` and `X-Request-Id`: on every route, without a switch.
//!
//! What a client says of itself is replaced; only what a trusted proxy before Pylon says is believed and appended to.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::Headers;

/// `X-Forwarded-For`.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `Forwarded` (RFC 7239).
pub static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// `X-Forwarded-Proto`.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Prefix`.
pub static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// `X-Real-IP`.
pub static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// `X-Request-Id`.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Proxies before Pylon that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

/// Who sent a request, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the peer is a trusted proxy.
    pub trusted: bool,
    /// The client: the rightmost address that is not a trusted proxy.
    pub address: IpAddr,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
}

impl TrustedProxies {
    /// Trusts these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks }
    }

    /// Whether an address is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// Finds out who sent a request. `scheme` is that of the connection.
    #[must_use]
    pub fn client(&self, peer: IpAddr, scheme: &'static str, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let mut client = Client { peer, trusted: false, address: peer, scheme };
        if self.networks.is_empty() || !self.trusts(peer) {
            return client;
        }
        client.trusted = true;
        let of_proxy = headers.contains_key(&X_FORWARDED_FOR);
        let name = if of_proxy { &X_FORWARDED_FOR } else { &FORWARDED };
        // Part by part: what a client wrote, text or not, must not hide what proxies wrote behind it.
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            let hop = std::str::from_utf8(hop).unwrap_or_default();
            let hop = if of_proxy { Some(hop.trim()) } else { forwarded_for(hop) };
            let Some(address) = hop.and_then(hop_address) else {
                break;
            };
            client.address = address;
            if !self.trusts(address) {
                break;
            }
        }
        client.scheme = match headers.get(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ => scheme,
        };
        client
    }
}

/// Who asked, by an element of `Forwarded` (RFC 7239 §4). A quoted comma is none that an address could hold.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    Some(node.trim().trim_matches('"'))
}

/// The address of a hop, which may carry a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = crate::route::host::split_port(hop).0;
    let address: Option<IpAddr> = hop.parse().ok();
    address.or_else(|| crate::route::allow::parse_address(bare)).map(|address| address.to_canonical())
}

/// Sets the headers on a request towards an upstream.
///
/// `host` is the authority that the client named, `prefix` the public prefix that the upstream does not see.
pub fn apply(
    headers: &mut dyn Headers,
    client: &Client,
    host: Option<&HeaderValue>,
    prefix: Option<HeaderValue>,
    request_id: HeaderValue,
) {
    let mut chain = String::with_capacity(48);
    if client.trusted {
        for line in headers.map().get_all(&X_FORWARDED_FOR) {
            // Of what is no text, the rest goes on.
            chain.extend(line.as_bytes().iter().copied().filter(u8::is_ascii).map(char::from));
            chain.push_str(", ");
        }
    }
    let start = chain.len();
    let _ = std::fmt::Write::write_fmt(&mut chain, format_args!("{}", client.peer));
    headers.set_text(&X_FORWARDED_FOR, &chain);
    let real = client.address;
    if real == client.peer {
        headers.set_text(&X_REAL_IP, &chain[start..]);
    } else {
        headers.set_text(&X_REAL_IP, &real.to_string());
    }
    headers.set(&X_FORWARDED_PROTO, HeaderValue::from_static(client.scheme));
    match host {
        Some(host) => headers.set(&X_FORWARDED_HOST, host.clone()),
        None => headers.remove(&X_FORWARDED_HOST),
    }
    match prefix {
        Some(prefix) => headers.set(&X_FORWARDED_PREFIX, prefix),
        None => headers.remove(&X_FORWARDED_PREFIX),
    }
    if client.trusted && headers.map().contains_key(&FORWARDED) {
        let node =
            if client.peer.is_ipv6() { format!("for=\"[{}]\"", client.peer) } else { format!("for={}", client.peer) };
        if let Ok(element) = HeaderValue::from_str(&node) {
            headers.append(&FORWARDED, element);
        }
    } else {
        headers.remove(&FORWARDED);
    }
    for name in ["x-forwarded-port", "x-forwarded-server", "x-forwarded-ssl"] {
        headers.remove(&HeaderName::from_static(name));
    }
    headers.set(&X_REQUEST_ID, request_id);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append((*name).clone(), HeaderValue::from_static(value));
        }
        map
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_no_text_does_not_hide_the_client() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let proxy: IpAddr = "10.0.0.5".parse().unwrap();
        for value in [&b"\xff, 203.0.113.5"[..], b"10.0.0.9\xff,203.0.113.5", b"\xc3\xa9,10.0.0.7,203.0.113.5"] {
            let mut map = HeaderMap::new();
            map.insert(&X_FORWARDED_FOR, HeaderValue::from_bytes(value).unwrap());
            let client = trusted.client(proxy, "http", &map);
            assert_eq!(client.address.to_string(), "203.0.113.5", "{value:?}");
            apply(&mut map, &client, None, None, HeaderValue::from_static("-"));
            assert!(map[&X_FORWARDED_FOR].to_str().unwrap().ends_with("203.0.113.5, 10.0.0.5"));
        }
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let spoofed = headers(&[(&X_FORWARDED_FOR, "6.6.6.6, 1.2.3.4:99"), (&X_FORWARDED_FOR, "10.0.0.7")]);
        let client = trusted.client(ip("10.0.0.1"), "http", &spoofed);
        assert_eq!((client.trusted, client.address), (true, ip("1.2.3.4")));
        let client = trusted.client(ip("9.9.9.9"), "http", &spoofed);
        assert_eq!((client.trusted, client.address), (false, ip("9.9.9.9")));
        let client = trusted.client(ip("::ffff:10.0.0.1"), "http", &headers(&[(&X_FORWARDED_FOR, "junk")]));
        assert_eq!((client.trusted, client.address), (true, ip("10.0.0.1")));
    }

    #[test]
    fn forwarded_counts_where_no_other_chain_is() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let of = |value: &'static str| trusted.client(ip("10.0.0.1"), "http", &headers(&[(&FORWARDED, value)])).address;
        assert_eq!(of("for=6.6.6.6, for=1.2.3.4;proto=https, by=x;For=\"10.0.0.7:80\""), ip("1.2.3.4"));
        assert_eq!(of("for=\"[2001:db8::1]:99\""), ip("2001:db8::1"));
        assert_eq!(of("for=unknown, for=10.0.0.9"), ip("10.0.0.9"));
        let both = headers(&[(&FORWARDED, "for=6.6.6.6"), (&X_FORWARDED_FOR, "1.2.3.4")]);
        assert_eq!(trusted.client(ip("10.0.0.1"), "http", &both).address, ip("1.2.3.4"));
    }

    #[test]
    fn the_chain_is_appended_to_or_replaced() {
        let chain = |trusted| {
            let mut map = headers(&[(&X_FORWARDED_FOR, "1.1.1.1"), (&X_FORWARDED_HOST, "evil")]);
            let client = Client { peer: ip("10.0.0.1"), trusted, address: ip("1.1.1.1"), scheme: "https" };
            let prefix = HeaderValue::from_static("/grafana");
            apply(&mut map, &client, None, Some(prefix), HeaderValue::from_static("id"));
            assert!(!map.contains_key(&X_FORWARDED_HOST));
            assert_eq!(map[&X_FORWARDED_PREFIX], "/grafana");
            map[&X_FORWARDED_FOR].to_str().unwrap().to_owned()
        };
        assert_eq!(chain(true), "1.1.1.1, 10.0.0.1");
        assert_eq!(chain(false), "10.0.0.1");
    }
}
