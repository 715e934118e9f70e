//! The PROXY protocol, versions 1 and 2: the address of a client behind a load balancer that forwards TCP
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its CRLF included (§2.1).
const V1_LONGEST: usize = 107;
/// What version 2 begins with (§2.2).
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 2 that is read: addresses, and TLVs that are skipped.
const V2_LONGEST: usize = 16 + 4096;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its length; what follows is the client's.
    pub length: usize,
    /// Where the client is, and where it connected to; `None` where the proxy speaks for itself (LOCAL), or of something
    /// that is not TCP over IP (UNKNOWN, UNSPEC, a UNIX socket).
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// The begin of a header.
    Partial,
    /// A header.
    Complete(ProxyHeader),
    /// No header: the connection speaks without.
    Absent,
}

/// Reads a header.
///
/// # Errors
/// When it begins like a header and is none.
pub fn read(bytes: &[u8]) -> Result<Read, Malformed> {
    let begins = |with: &[u8]| {
        let length = with.len().min(bytes.len());
        bytes[..length] == with[..length]
    };
    if begins(V2_SIGNATURE) {
        return if bytes.len() < 16 { Ok(Read::Partial) } else { read_v2(bytes) };
    }
    if begins(b"PROXY ") {
        return read_v1(bytes);
    }
    Ok(Read::Absent)
}

/// A header that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

fn read_v1(bytes: &[u8]) -> Result<Read, Malformed> {
    let Some(end) = bytes.iter().take(V1_LONGEST).position(|b| *b == b'\n') else {
        return if bytes.len() < V1_LONGEST { Ok(Read::Partial) } else { Err(Malformed) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let length = end + 1;
    let words: Vec<&str> = line.split(' ').collect();
    let addresses = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let v4 = *family == "TCP4";
            let client = SocketAddr::new(address(source, v4)?, port(source_port)?);
            Some((client, SocketAddr::new(address(destination, v4)?, port(destination_port)?)))
        }
        _ => return Err(Malformed),
    };
    Ok(Read::Complete(ProxyHeader { length, addresses }))
}

fn address(text: &str, v4: bool) -> Result<IpAddr, Malformed> {
    let address: IpAddr = text.parse().map_err(|_| Malformed)?;
    if address.is_ipv4() == v4 { Ok(address) } else { Err(Malformed) }
}

/// A port in decimal, without sign or leading zeros.
fn port(text: &str) -> Result<u16, Malformed> {
    let sound = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| sound).ok_or(Malformed)
}

fn read_v2(bytes: &[u8]) -> Result<Read, Malformed> {
    let [version_command, family, high, low] = *bytes.get(12..16).and_then(|b| b.first_chunk()).ok_or(Malformed)?;
    let length = 16 + usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || length > V2_LONGEST {
        return Err(Malformed);
    }
    let local = match version_command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(Malformed),
    };
    let Some(body) = bytes.get(16..length) else {
        return Ok(Read::Partial);
    };
    let addresses = match family {
        _ if local => None,
        0x11 => {
            let block: &[u8; 12] = body.first_chunk().ok_or(Malformed)?;
            let (source, rest) = block.split_first_chunk::<4>().ok_or(Malformed)?;
            let (destination, ports) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            let [sh, sl, dh, dl] = *ports.first_chunk().ok_or(Malformed)?;
            let client = SocketAddr::from((Ipv4Addr::from(*source), u16::from_be_bytes([sh, sl])));
            Some((client, SocketAddr::from((Ipv4Addr::from(*destination), u16::from_be_bytes([dh, dl])))))
        }
        0x21 => {
            let block: &[u8; 36] = body.first_chunk().ok_or(Malformed)?;
            let (source, rest) = block.split_first_chunk::<16>().ok_or(Malformed)?;
            let (destination, ports) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            let [sh, sl, dh, dl] = *ports.first_chunk().ok_or(Malformed)?;
            let client = SocketAddr::from((Ipv6Addr::from(*source), u16::from_be_bytes([sh, sl])));
            Some((client, SocketAddr::from((Ipv6Addr::from(*destination), u16::from_be_bytes([dh, dl])))))
        }
        // UNSPEC, datagrams and UNIX sockets: the proxy does not tell a client that could be used.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err(Malformed),
    };
    Ok(Read::Complete(ProxyHeader { length, addresses }))
}

/// A header of version 2, for a server behind Pylon.
#[must_use]
pub fn write_v2(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    match (client.ip().to_canonical(), local.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x21, 0x11, 0, 12]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (from, to) => {
            bytes.extend([0x21, 0x21, 0, 36]);
            bytes.extend(v6(from).octets());
            bytes.extend(v6(to).octets());
        }
    }
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes
}

/// A header of version 1, for a server behind Pylon.
#[must_use]
pub fn write_v1(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
    let (family, from, to) = if from.is_ipv4() && to.is_ipv4() {
        ("TCP4", from, to)
    } else {
        ("TCP6", IpAddr::V6(v6(from)), IpAddr::V6(v6(to)))
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(bytes: &[u8]) -> ProxyHeader {
        match read(bytes) {
            Ok(Read::Complete(header)) => header,
            other => panic!("{other:?} of {}", bytes.escape_ascii()),
        }
    }

    #[test]
    fn both_versions_are_read_as_written_in_any_split() {
        let pairs = [("1.2.3.4:5", "6.7.8.9:80"), ("[2001:db8::1]:5", "[::1]:65535"), ("1.2.3.4:5", "[::1]:443")];
        for (client, local) in pairs {
            let (client, local): (SocketAddr, SocketAddr) = (client.parse().unwrap(), local.parse().unwrap());
            for header in [write_v1(client, local), write_v2(client, local)] {
                for cut in 1..header.len() {
                    assert_eq!(read(&header[..cut]), Ok(Read::Partial), "{}", header[..cut].escape_ascii());
                }
                let read = complete(&[&header[..], b"GET / HTTP/1.1\r\n"].concat());
                assert_eq!(read.length, header.len());
                let (from, to) = read.addresses.unwrap();
                assert_eq!((from.ip().to_canonical(), from.port()), (client.ip(), client.port()));
                assert_eq!((to.ip().to_canonical(), to.port()), (local.ip(), local.port()));
            }
        }
    }

    #[test]
    fn tlvs_are_skipped_and_local_says_nothing() {
        let mut header = write_v2("1.2.3.4:5".parse().unwrap(), "6.7.8.9:80".parse().unwrap());
        header.extend([1, 0, 2, b'h', b'2']);
        header[15] += 5;
        assert_eq!(complete(&header).length, header.len());
        header[12] = 0x20;
        assert_eq!(complete(&header).addresses, None);
        assert_eq!(complete(b"PROXY UNKNOWN\r\n").addresses, None);
        assert_eq!(complete(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").addresses, None);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let long = format!("PROXY TCP6 {}\r\n", "f".repeat(200));
        let bad = [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.400 5.6.7.8 1 2\r\n",
            "PROXY \r\n",
            &long,
        ];
        for bytes in bad {
            assert_eq!(read(bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
        let good = write_v2("1.2.3.4:5".parse().unwrap(), "6.7.8.9:80".parse().unwrap());
        for (at, value) in [(12, 0x11), (12, 0x22), (13, 0x41), (13, 0x13), (14, 0xff), (15, 11)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(read(&bad), Err(Malformed), "{at}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), Ok(Read::Absent));
        assert_eq!(read(b"PROXX"), Ok(Read::Absent));
    }
}
