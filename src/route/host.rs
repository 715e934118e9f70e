//! Host patterns: exact names, `*.suffix`, and any.

use std::fmt;
use std::str::FromStr;

/// A host pattern, in lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name or address only.
    Exact(String),
    /// Any name that ends in this suffix (with its leading dot) and has at least one label before it.
    Suffix(String),
    /// Every host, and requests without one.
    Any,
}

impl HostPattern {
    /// Whether a host, as [`normalise`] gives it, fits.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Any => true,
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        let bracketed = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || name.contains(['/', '*', ' ']) || (name.contains(':') && !bracketed) {
            return Err(format!(
                "`{text}` is not a host; write a name or address without a port (`www.example.org`) or a suffix \
                 (`*.example.org`)"
            ));
        }
        Ok(if lower.starts_with("*.") {
            Self::Suffix(format!(".{name}"))
        } else {
            Self::Exact(name.trim_end_matches('.').to_owned())
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The host of an authority (`host[:port]`) in the form that patterns are matched with: no port, no final dot, lower
/// case.
#[must_use]
pub fn normalise(authority: &str) -> std::borrow::Cow<'_, str> {
    let host = split_port(authority).0;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|b| b.is_ascii_uppercase()) { host.to_ascii_lowercase().into() } else { host.into() }
}

/// Splits an authority into its host (IPv6 addresses keep their brackets) and its port, as written.
#[must_use]
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    let end_of_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end_of_host..].rfind(':') {
        Some(at) => (&authority[..end_of_host + at], Some(&authority[end_of_host + at + 1..])),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_need_a_label() {
        let pattern: HostPattern = "*.Example.org".parse().unwrap();
        assert!(pattern.matches("a.example.org"));
        assert!(pattern.matches("a.b.example.org"));
        assert!(!pattern.matches("example.org"));
        assert!(!pattern.matches("badexample.org"));
    }

    #[test]
    fn authorities_lose_port_dot_and_case() {
        assert_eq!(normalise("WWW.Example.org.:8080"), "www.example.org");
        assert_eq!(normalise("[2001:DB8::1]:80"), "[2001:db8::1]");
        assert_eq!(split_port("h"), ("h", None));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("h:"), ("h", Some("")));
    }

    #[test]
    fn a_port_in_a_pattern_is_refused() {
        assert!("example.org:80".parse::<HostPattern>().is_err());
        assert!("[::1]".parse::<HostPattern>().is_ok());
        assert!("".parse::<HostPattern>().is_err());
    }
}
