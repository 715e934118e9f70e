//! Values of pools: hash keys, status ranges, addresses of DNS servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::{HeaderName, StatusCode, ValueError};

/// What of a request decides about its server: `client_ip`, `header.NAME` or `cookie.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The address of the client.
    ClientIp,
    /// The value of a header.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
        }
    }
}

impl FromStr for HashKey {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim().split_once('.') {
            None if text.trim() == "client_ip" => Ok(Self::ClientIp),
            Some(("header", name)) => name.parse().map(Self::Header),
            Some(("cookie", name)) if is_cookie_name(name) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(ValueError::new(format!(
                "{text:?} is nothing to hash by; write \"client_ip\", \"header.NAME\" or \"cookie.NAME\""
            ))),
        }
    }
}

super::scalar!(HashKey, "what to hash by, such as \"client_ip\"", {
    "description": "client_ip, header.NAME or cookie.NAME.",
    "type": "string",
    "pattern": r"^\s*(client_ip|header\..+|cookie\..+)\s*$|\$\{",
    "examples": ["client_ip", "header.x-user", "cookie.session"],
});

/// Whether a text can name a cookie: a token (RFC 6265 §4.1.1).
#[must_use]
pub fn is_cookie_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A status or a range of them: `200`, `200-399`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    first: StatusCode,
    last: StatusCode,
}

impl StatusRange {
    /// Whether a status is in it.
    #[must_use]
    pub fn contains(self, status: ::http::StatusCode) -> bool {
        (self.first.get()..=self.last.get()).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for StatusRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<StatusCode>(), last.parse::<StatusCode>()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(ValueError::new(format!(
                "{text:?} is not a status or a range of them; write one such as \"200\" or \"200-399\""
            ))),
        }
    }
}

super::scalar!(StatusRange, "a status or a range such as \"200-399\"", {
    "description": "A status such as 200, or a range such as 200-399.",
    "type": ["string", "integer"],
    "examples": [200, "200-399"],
});

/// The address of a server with an optional port: `10.0.0.53`, `127.0.0.1:5353`, `[fd00::1]:53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    ip: IpAddr,
    port: Option<u16>,
}

impl ServerAddress {
    /// The address, with `port` where none was written.
    #[must_use]
    pub fn or_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        if let Ok(ip) = trimmed.parse() {
            return Ok(Self { ip, port: None });
        }
        trimmed.parse::<SocketAddr>().map(|address| Self { ip: address.ip(), port: Some(address.port()) }).map_err(
            |_| {
                ValueError::new(format!(
                    "{text:?} is not an address; write one such as \"10.0.0.53\" or \"10.0.0.53:53\""
                ))
            },
        )
    }
}

super::scalar!(ServerAddress, "an address such as \"10.0.0.53\"", {
    "description": "An address with an optional port.",
    "type": "string",
    "examples": ["10.0.0.53", "127.0.0.1:5353"],
});
super::serialize_as_text!(HashKey StatusRange ServerAddress);
