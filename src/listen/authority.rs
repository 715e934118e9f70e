//! `host[:port]`, as a client may name it.

/// Whether a text is a host with an optional port (RFC 9110 §7.2, RFC 3986 §3.2.2): a name of letters, digits, `-`, `.`,
/// `_` and `~`, or an address; never userinfo.
#[must_use]
pub fn is_authority(text: &[u8]) -> bool {
    // RFC 1035 §2.3.4: a name has 255 octets at most; behind it is a port.
    if text.len() > 255 + ":65535".len() {
        return false;
    }
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (host, port) = crate::route::host::split_port(text);
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let valid_host = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
        }
    };
    valid_host && port.is_none_or(|port| port.is_empty() || (is_digits(port) && port.parse::<u16>().is_ok()))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_hosts() {
        for good in ["h", "h:80", "10.0.0.1", "[::1]:80", "a_b.c-d", "h:"] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in ["", ":80", "h/x", "a b", "u@h", "h'x", "h;x", "[::1", "h:8x", "[zz]", "h:65536", "h:123456", "::1"]
        {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }
}
