//! The steps that a route can switch on: one file each, with its compiled form and what it does to a request, a
//! response or a body. They see headers through [`Headers`] and never a session, so they run without sockets.

pub mod access;
pub mod adapt;
pub mod answer;
pub mod auth;
pub mod body;
pub mod compress;
pub mod cookies;
pub mod dynamic;
pub mod errors;
pub mod etag;
pub mod files;
pub mod forwarded;
pub mod grpc_web;
pub mod headers;
pub mod identity;
pub mod instance;
pub mod limit;
pub mod lookup;
pub mod redirect;
mod redis_server;
pub mod reserved;
pub mod shared;
pub mod substitute;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::KeyPath;

/// A mistake in a step: where below its key, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its place.
    pub path: KeyPath,
    /// What is wrong, and the cure. It never holds a secret.
    pub message: String,
}

impl Mistake {
    /// A mistake at a place.
    #[must_use]
    pub fn new(path: KeyPath, message: impl Into<String>) -> Self {
        Self { path, message: message.into() }
    }

    /// A mistake at a key of the step.
    #[must_use]
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self::new(KeyPath::root().then(key), message)
    }
}

/// What a step sees of a header section.
pub trait Headers {
    /// All lines, to read.
    fn map(&self) -> &HeaderMap;
    /// Replaces all lines of a name by one.
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    /// Adds a line.
    fn append(&mut self, name: &HeaderName, value: HeaderValue);
    /// Removes all lines of a name.
    fn remove(&mut self, name: &HeaderName);

    /// The first line of a name, where it is text.
    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.map().get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// Replaces all lines of a name by one, where the text can stand in a header.
    fn set_text(&mut self, name: &HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            self.set(name, value);
        }
    }
}

impl Headers for HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.insert(name.clone(), value);
    }

    fn append(&mut self, name: &HeaderName, value: HeaderValue) {
        Self::append(self, name.clone(), value);
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }
}

/// FNV-1a (Fowler, Noll, Vo): a hash that is the same on every machine and build, for tags that a fleet shares.
#[derive(Debug)]
pub struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
