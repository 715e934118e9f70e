//! Paths of keys.

use std::fmt;

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// A key of a mapping.
    Key(String),
    /// An item of a list, counted from 0.
    Index(usize),
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<String> for Segment {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way from the root of a document to one of its nodes, such as `routes[3].redirect.status`.
///
/// A key that is not a plain word is shown in quotes: `upstreams."a b"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Segment>);

impl KeyPath {
    /// The root of a document: the empty path.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// This path, one key or index further down.
    #[must_use]
    pub fn then(&self, segment: impl Into<Segment>) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment.into());
        Self(segments)
    }

    /// This path, followed by all of `tail`.
    #[must_use]
    pub fn join(&self, tail: &Self) -> Self {
        self.0.iter().chain(&tail.0).cloned().collect()
    }

    /// Goes one key or index further down, in place.
    pub fn push(&mut self, segment: impl Into<Segment>) {
        self.0.push(segment.into());
    }

    /// Goes one step up and returns the segment that was left.
    pub fn pop(&mut self) -> Option<Segment> {
        self.0.pop()
    }

    /// The path of the node that holds this one; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, head) = self.0.split_last()?;
        Some(Self(head.to_vec()))
    }

    /// The last segment; none for the root.
    #[must_use]
    pub fn last(&self) -> Option<&Segment> {
        self.0.last()
    }

    /// The segments from the root on.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl FromIterator<Segment> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if is_plain(key) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a key needs no quotes in a path: letters, digits, `_` and `-`, not led by a digit or a dash.
fn is_plain(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_not_words_are_quoted() {
        let root = KeyPath::root();
        assert_eq!(root.then("upstreams").then("a b").to_string(), r#"upstreams."a b""#);
        assert_eq!(root.then("rest-server").then("x_1").to_string(), "rest-server.x_1");
        assert_eq!(root.then("errors").then("404").to_string(), r#"errors."404""#);
        assert_eq!(root.then("").to_string(), r#""""#);
        assert_eq!(root.then(0).then(1).then("a").to_string(), "[0][1].a");
    }

    #[test]
    fn paths_go_up_and_down() {
        let path = KeyPath::root().then("a").then(1);
        assert_eq!(path.parent(), Some(KeyPath::root().then("a")));
        assert_eq!(KeyPath::root().parent(), None);
        assert!(KeyPath::root().contains(&path) && path.contains(&path));
        assert!(!path.contains(&KeyPath::root().then("a")));
        assert_eq!(KeyPath::root().then("x").join(&path).to_string(), "x.a[1]");
    }
}
