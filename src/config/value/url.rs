//! The URL of an endpoint.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

use super::ValueError;

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The port where a URL names none: 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The URL of an endpoint: `http://10.0.0.1:9186`, `https://name/base`, `http://[::1]:80`.
///
/// It has a scheme and a host, maybe a port (1 to 65535) and a base path, and no user, query or fragment. Host, port and
/// base path stay as they were written, but for slashes at the end of the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpUrl {
    scheme: Scheme,
    authority: String,
    /// The host in the authority, without brackets.
    host: Range16,
    port: u16,
    base_path: String,
}

/// A range of bytes in an authority; [`Range`] has no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Range16 {
    start: usize,
    end: usize,
}

impl From<Range<usize>> for Range16 {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

impl HttpUrl {
    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the endpoint speaks TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        matches!(self.scheme, Scheme::Https)
    }

    /// Host and port exactly as written, as for a `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host: a name, an IPv4 address, or an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.authority[self.host.start..self.host.end]
    }

    /// The port, by default that of the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path that goes before that of each request: empty, or with a slash at its start and none at its end.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.base_path)
    }
}

impl FromStr for HttpUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        let parsed = parse(trimmed);
        // What stands before an `@` may be a password.
        let shown = trimmed.rsplit_once('@').map_or_else(|| trimmed.to_owned(), |(_, rest)| format!("***@{rest}"));
        parsed.map_err(|why| ValueError::new(format!("{shown:?} {why}")))
    }
}

/// Parses a URL; an error is what to say behind the text of the URL.
fn parse(text: &str) -> Result<HttpUrl, String> {
    if text.is_empty() {
        return Err("is not a URL; write one such as \"http://10.0.0.1:8080\"".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let rest = text.trim_start_matches('/');
        return Err(format!("has no scheme; write \"http://{}\"", rest.escape_debug()));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => {
            return Err(format!("has the scheme {other:?}; write \"http\" or \"https\""));
        }
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("has a user in it; write it without, and the password where the configuration has a place for it"
            .to_owned());
    }
    let (host, port) = split_port(authority)?;
    let base_path = base_path(path)?;
    Ok(HttpUrl {
        scheme,
        authority: authority.to_owned(),
        host: host.into(),
        port: port.unwrap_or(scheme.default_port()),
        base_path: base_path.to_owned(),
    })
}

/// Finds the host, without brackets, and the port in an authority.
fn split_port(authority: &str) -> Result<(Range<usize>, Option<u16>), String> {
    let (host, rest) = if let Some(bracketed) = authority.strip_prefix('[') {
        let end = bracketed
            .find(']')
            .filter(|end| bracketed[..*end].parse::<Ipv6Addr>().is_ok())
            .ok_or("has no IPv6 address in its brackets; write one such as \"http://[::1]:80\"")?;
        (1..end + 1, &bracketed[end + 1..])
    } else {
        if authority.parse::<Ipv6Addr>().is_ok() {
            return Err(format!("has an IPv6 address without brackets; write \"[{authority}]\""));
        }
        let end = authority.find(':').unwrap_or(authority.len());
        check_host(&authority[..end])?;
        (0..end, &authority[end..])
    };
    if rest.is_empty() {
        return Ok((host, None));
    }
    let port = rest
        .strip_prefix(':')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|port| *port > 0)
        .ok_or("has no sound port; write one from 1 to 65535, such as \":8080\"")?;
    Ok((host, Some(port)))
}

/// A host is a name of letters, digits, `-`, `_` and `.`, or an IPv4 address.
fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("has no host; write one behind the \"://\"".to_owned());
    }
    let is_numeric = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.rsplit('.').next().is_some_and(is_numeric) && host.parse::<Ipv4Addr>().is_err() {
        return Err("has no sound IPv4 address; write four numbers from 0 to 255, such as \"10.0.0.1\"".to_owned());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err("has no sound host; write a name of letters, digits and dashes, or an address".to_owned());
    }
    Ok(())
}

/// Checks a path and takes the slashes off its end.
fn base_path(path: &str) -> Result<&str, String> {
    if path.contains(['?', '#']) {
        return Err("has a query or fragment; write it without".to_owned());
    }
    let is_sound = |b: u8| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b);
    let escapes_are_sound =
        path.split('%').skip(1).all(|rest| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2);
    if !path.bytes().all(is_sound) || !escapes_are_sound {
        return Err(
            "has a character in its path that a URL can't hold; write it as % and two hexadecimal digits".to_owned()
        );
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("has \".\" or \"..\" in its path; write the path it leads to".to_owned());
    }
    Ok(path.trim_end_matches('/'))
}

super::scalar!(HttpUrl, "a URL such as \"http://10.0.0.1:8080\"", {
    "description": "The URL of an endpoint: scheme, host, maybe a port and a base path.",
    "type": "string",
    "pattern": r"^\s*[hH][tT][tT][pP][sS]?://[^/?#@]+(/[^?#]*)?\s*$|\$\{",
    "examples": ["http://10.0.0.1:8080", "https://service.internal/base"],
});
super::serialize_as_text!(HttpUrl);
