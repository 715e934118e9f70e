//! Host patterns.
//!
//! ```text
//! www.example.org          exactly this name
//! {name}.apps.example.org  one capture in the first label, `i-{name:digits}.example.org` too
//! *.example.org            every name below this one
//! www.*                    every name that begins so
//! ```

use std::fmt;
use std::str::FromStr;

use super::pattern::{Part, Segment, match_parts, parse_segment};
use super::tie::labels_tie;

/// A host pattern, in lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name or address only.
    Exact(String),
    /// Names of which the first label is captured.
    Capture(HostCapture),
    /// Any name that ends in this suffix (with its leading dot) and has at least one label before it.
    Suffix(String),
    /// Any name that begins with this (with its final dot) and has at least one label behind it.
    Prefix(String),
    /// Every host, and requests without one.
    Any,
}

/// A name with a capture in its first label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostCapture {
    name: String,
    text: String,
    label: Vec<Part>,
    /// All behind the first label, with its leading dot.
    suffix: String,
}

impl HostCapture {
    /// The name of the capture.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn label(&self) -> &[Part] {
        &self.label
    }

    /// All behind the first label, with its leading dot.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.suffix
    }
}

/// What a pattern captures of the first label of a host.
pub(super) fn capture<'h>(parts: &[Part], label: &'h str) -> Option<&'h str> {
    let mut found: smallvec::SmallVec<[(usize, usize); 4]> = smallvec::SmallVec::new();
    if !match_parts(parts, label.as_bytes(), 0, &mut found) {
        return None;
    }
    found.first().and_then(|(start, end)| label.get(*start..*end))
}

impl HostPattern {
    /// Whether a host, as [`normalise`] gives it, fits.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Capture(pattern) => host.split_once('.').is_some_and(|(label, rest)| {
                pattern.suffix.strip_prefix('.') == Some(rest) && capture(&pattern.label, label).is_some()
            }),
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Self::Prefix(prefix) => host.len() > prefix.len() && host.starts_with(prefix.as_str()),
            Self::Any => true,
        }
    }

    /// The name of its capture.
    #[must_use]
    pub fn capture(&self) -> Option<&str> {
        match self {
            Self::Capture(pattern) => Some(&pattern.name),
            _ => None,
        }
    }

    /// Whether two patterns fit the same hosts and differ in nothing but the name of a capture.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Capture(a), Self::Capture(b)) => a.label == b.label && a.suffix == b.suffix,
            _ => self == other,
        }
    }

    /// Whether two patterns of different shape are equally specific, and some host fits both.
    pub(super) fn ties(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Capture(a), Self::Capture(b)) => a.suffix == b.suffix && labels_tie(&a.label, &b.label),
            _ => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['{', '}']) {
            return captured(text).map(Self::Capture);
        }
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        if let Some(prefix) = lower.strip_suffix(".*")
            && !prefix.is_empty()
            && !prefix.contains(['/', '*', ' ', ':', '['])
        {
            return Ok(Self::Prefix(format!("{prefix}.")));
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

/// Reads a host with a capture.
fn captured(text: &str) -> Result<HostCapture, String> {
    let wrong = |why: &str| format!("`{text}` is not a host: {why}; write one such as `{{name}}.example.org`");
    let (label, rest) = text.split_once('.').ok_or_else(|| wrong("a domain stands behind a capture"))?;
    let domain: HostPattern = rest.parse().map_err(|_| wrong("its capture stands in the first label alone"))?;
    let HostPattern::Exact(domain) = domain else {
        return Err(wrong("a capture and `*` exclude each other"));
    };
    let mut names = Vec::new();
    let Segment::Captures(mut parts) = parse_segment(label, &mut names)? else {
        return Err(wrong("its capture stands in the first label alone"));
    };
    for part in &mut parts {
        if let Part::Literal(bytes) = part {
            bytes.make_ascii_lowercase();
        }
    }
    let is_sound = |part: &Part| match part {
        Part::Literal(bytes) => bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
        Part::Capture(..) => true,
    };
    if !parts.iter().all(is_sound) {
        return Err(wrong("its first label has characters that no name has"));
    }
    match names.pop() {
        Some(name) if names.is_empty() => {
            Ok(HostCapture { name, text: text.to_owned(), label: parts, suffix: format!(".{domain}") })
        }
        _ => Err(wrong("it captures more than once")),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Capture(pattern) => f.write_str(&pattern.text),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
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
    fn a_label_is_captured_and_a_name_may_begin_so() {
        let pattern: HostPattern = "I-{Name:digits}.Example.org".parse().unwrap();
        assert_eq!((pattern.capture(), pattern.to_string().as_str()), (Some("Name"), "I-{Name:digits}.Example.org"));
        assert!(pattern.matches("i-7.example.org"));
        for other in ["i-.example.org", "i-x.example.org", "i-7.a.example.org", "7.example.org", "i-7.example.com"] {
            assert!(!pattern.matches(other), "{other}");
        }
        let api: HostPattern = "api.*".parse().unwrap();
        assert!(api.matches("api.example.org") && !api.matches("api.") && !api.matches("api"));
        for wrong in ["{a}", "{a}-{b}.x.org", "a.{b}.org", "{a.x.org", "{a}.*.org", "{a}.*", "a b{c}.org", "a:{c}.org"]
        {
            let message = wrong.parse::<HostPattern>().unwrap_err();
            assert!(message.contains("write"), "{wrong}: {message}");
        }
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
