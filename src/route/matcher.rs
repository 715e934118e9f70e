//! What a request must be for a route.

use http::{HeaderMap, Method};

use super::host::HostPattern;
use super::path;
use super::pattern::PathPattern;

/// What a request must be for a route to match it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// Hosts; never empty.
    pub hosts: Vec<HostPattern>,
    /// Paths; never empty.
    pub paths: Vec<PathPattern>,
    /// The names of what paths and hosts capture, in the order of a match: that of the host comes last.
    pub captures: Vec<String>,
    /// What the path must fit besides; all must.
    pub path_regexes: Vec<PathRegex>,
    /// Methods; empty for any.
    pub methods: Vec<Method>,
    /// Header conditions; all must hold.
    pub headers: Vec<HeaderCondition>,
}

/// A regular expression for paths. It sees them percent-decoded, but for slashes that are encoded.
#[derive(Debug, Clone)]
pub struct PathRegex {
    text: String,
    regex: regex_automata::meta::Regex,
}

impl PathRegex {
    /// Whether a normalised path fits.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        if !path.contains('%') {
            return self.regex.is_match(path);
        }
        let mut decoded: Vec<u8> = Vec::with_capacity(path.len());
        for (index, segment) in path.split('/').enumerate() {
            if index > 0 {
                decoded.push(b'/');
            }
            for byte in path::decode(segment).iter() {
                match byte {
                    b'/' => decoded.extend_from_slice(b"%2F"),
                    byte => decoded.push(*byte),
                }
            }
        }
        self.regex.is_match(&decoded)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::str::FromStr for PathRegex {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("`{text}` is not a regular expression: {error}");
        let limits = regex_automata::meta::Config::new().nfa_size_limit(Some(1024 * 1024));
        let mut builder = regex_automata::meta::Builder::new();
        let regex = builder.configure(limits).build(text).map_err(|error| {
            wrong(error.syntax_error().map_or_else(|| error.to_string(), |why| last_line(&why.to_string())))
        })?;
        Ok(Self { text: text.to_owned(), regex })
    }
}

/// The last line of a message, which says what is wrong; those before show where.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim_start_matches("error: ").to_owned()
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathRegex {}

/// A condition on a request header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The header's name.
    pub name: http::HeaderName,
    /// The value that one of its lines must have; `None`: present is enough.
    pub value: Option<String>,
}

impl HeaderCondition {
    /// Whether the condition holds.
    #[must_use]
    pub fn holds(&self, headers: &HeaderMap) -> bool {
        match &self.value {
            None => headers.contains_key(&self.name),
            Some(wanted) => headers.get_all(&self.name).iter().any(|value| value.as_bytes() == wanted.as_bytes()),
        }
    }
}

impl Matcher {
    /// Whether method, headers and the conditions on the path fit; host and path pattern are the trie's.
    #[must_use]
    pub fn accepts(&self, method: &Method, headers: &HeaderMap, path: &str) -> bool {
        self.accepts_method(method) && self.accepts_path(path) && self.headers.iter().all(|c| c.holds(headers))
    }

    /// Whether the conditions on the path hold.
    #[must_use]
    pub fn accepts_path(&self, path: &str) -> bool {
        self.path_regexes.iter().all(|regex| regex.fits(path))
    }

    /// Whether the method fits. A route for GET answers HEAD as well (RFC 9110 §9.3.2).
    #[must_use]
    pub fn accepts_method(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// How specific method and conditions are.
    pub(super) fn rank(&self) -> (bool, usize) {
        (!self.methods.is_empty(), self.headers.len() + self.path_regexes.len())
    }

    /// Whether some request could satisfy the method and header conditions of both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|m| other.methods.contains(m));
        let disjoint = self.headers.iter().any(|mine| {
            other.headers.iter().any(|theirs| {
                mine.name == theirs.name && matches!((&mine.value, &theirs.value), (Some(a), Some(b)) if a != b)
            })
        });
        methods && !disjoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_on_the_path_sees_it_decoded_but_for_slashes() {
        let fits = |regex: &str, path: &str| regex.parse::<PathRegex>().unwrap().fits(path);
        assert!(fits("^/[^/]+/", "/a/") && !fits("^/[^/]+/", "/a"));
        assert!(fits("/auth/.+", "/x/%61uth/y") && !fits("/auth/", "/x/a%2Fauth/y%2Fauth%2F"));
        assert!("(".parse::<PathRegex>().unwrap_err().contains("not a regular expression"));
    }
}
