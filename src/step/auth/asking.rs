//! What a way sees of a request, and what it finds out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use smallvec::SmallVec;

use crate::step::cookies;
use crate::step::forwarded::Client;
use crate::step::identity::Identity;

/// What a step that finds out who asks sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query in origin form, byte for byte as the client sent them.
    pub target: &'a str,
    /// The normalised path, without query.
    pub path: &'a str,
    /// The authority that the client named, with its port.
    pub host: &'a str,
    /// The headers, as the client sent them.
    pub headers: &'a HeaderMap,
    /// Who sent it, over which scheme.
    pub client: &'a Client,
    /// Whether a body follows.
    pub has_body: bool,
    /// What the path pattern captured, by name.
    pub captures: &'a dyn Captures,
    /// When it came.
    pub now: SystemTime,
}

/// What a path pattern captured.
pub trait Captures: std::fmt::Debug + Send + Sync {
    /// The text of a capture.
    fn capture(&self, name: &str) -> Option<&str>;
}

impl Captures for () {
    fn capture(&self, _: &str) -> Option<&str> {
        None
    }
}

impl<'a> Asking<'a> {
    /// The query, without its `?`.
    #[must_use]
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of a cookie, as it came, where it is text; of several of one name the first.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        cookies::value(self.headers, name)
    }

    /// What stands after a scheme in `Authorization`: for `Bearer`, the token.
    #[must_use]
    pub fn credentials(&self, scheme: &str) -> Option<&'a str> {
        let value = self.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
        let (named, rest) = value.split_once(' ')?;
        named.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }

    /// Whether a person at a browser asks for a page, who can follow a redirect to a sign-in and back.
    #[must_use]
    pub fn is_browser(&self) -> bool {
        let page = matches!(*self.method, Method::GET | Method::HEAD);
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let by_script = header("x-requested-with").is_some_and(|value| value.eq_ignore_ascii_case("XMLHttpRequest"))
            || header("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
        page && !by_script && header("accept").is_some_and(|accept| accept.contains("text/html"))
    }
}

/// Who asks, proven, and what follows of how it was.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// Request headers that do not go to the upstream, as they hold the credentials.
    pub hide: SmallVec<[HeaderName; 1]>,
    /// A cookie that does not go to the upstream; those whose names begin so, where it ends in `*`.
    pub hide_cookie: Option<Arc<str>>,
    /// Request headers that go to the upstream beside those of `identity`, as a service said.
    pub request: HeaderMap,
    /// Response headers that the client gets, such as a session that was renewed.
    pub response: HeaderMap,
}

impl Proof {
    /// A proof of which nothing else follows.
    #[must_use]
    pub fn of(identity: Arc<Identity>) -> Self {
        Self {
            identity,
            hide: SmallVec::new(),
            hide_cookie: None,
            request: HeaderMap::new(),
            response: HeaderMap::new(),
        }
    }
}

/// An answer of a step's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers; those of framing are Pylon's.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What a way found out.
#[derive(Debug)]
pub enum Finding {
    /// The request has no credentials of this kind.
    Absent,
    /// It has, and they are good.
    Proven(Box<Proof>),
    /// It has, and they are not good. Why is for the log; it holds no secret.
    Wrong(Cow<'static, str>),
    /// They cannot be checked at the moment: nothing passes. Why is for the log.
    Unavailable(String),
    /// The way answers by itself: it sends to a sign-in, or comes back from one.
    Answer(Box<Reply>),
}

impl Finding {
    /// Somebody is proven, and nothing else follows.
    #[must_use]
    pub fn proven(identity: impl Into<Arc<Identity>>) -> Self {
        Self::Proven(Box::new(Proof::of(identity.into())))
    }
}
