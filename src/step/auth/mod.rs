//! `auth`: find out who asks. One file for each way; the gate here asks them in turn.
//!
//! ```yaml
//!   auth:
//!     - jwt: { issuer: https://id.example.org, audience: pylon, jwks: https://id.example.org/keys }
//!     - oidc: { … }                          # browsers, which bring no token, are asked to sign in
//!   require: { groups: [staff] }
//! ```
//!
//! The first way that the request has credentials for decides: wrong ones are not tried in another way. Nothing passes that
//! is not proven, whatever fails.

mod api_key;
mod basic;
mod forward;
mod jwt;
mod ldap;
mod oidc;
mod signed_cookie;
mod signed_request;
mod trusted_headers;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

pub use oidc::SignIn;

use super::Mistake;
use super::forwarded::Client;
use super::identity::{Identity, Require};
use super::shared::Shared;
use crate::config::{AuthSpec, KeyPath};
use crate::observe::Metrics;

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

    /// The value of a cookie, as it came; of several of one name the first.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let lines = self.headers.get_all(http::header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
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

/// Why a request does not pass.
#[derive(Debug)]
pub enum Denial {
    /// It does not prove who asks.
    Unknown {
        /// 401 with challenges; 403 where there is no challenge that a client could meet (RFC 9110 §11.6.1).
        status: StatusCode,
        /// Values of `WWW-Authenticate`.
        challenges: Vec<HeaderValue>,
        /// Why, for the log.
        reason: String,
    },
    /// Who asks is known, and may not.
    Forbidden {
        /// Who.
        identity: Arc<Identity>,
        /// Why, for the log.
        reason: String,
    },
    /// It cannot be found out at the moment.
    Unavailable {
        /// Why, for the log.
        reason: String,
    },
    /// The way answers by itself.
    Answer(Box<Reply>),
}

/// What ways can refer to when they are compiled.
pub struct AuthScope<'a> {
    /// Finds a file that the configuration names, relative to where it is named.
    pub file: &'a dyn Fn(&str) -> PathBuf,
    /// What steps keep in this configuration.
    pub shared: &'a Shared,
    /// What they kept in the one before.
    pub before: Option<&'a Shared>,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// Names of the captures of the route's path.
    pub captures: &'a [String],
}

/// What each file of a way gives: `compile`, `identify` and `challenge`, in one list.
macro_rules! ways {
    ($($key:ident: $way:ident in $module:ident,)+) => {
        /// A way to find out who asks.
        #[derive(Debug)]
        enum Way {
            $(
                #[doc = concat!("`", stringify!($key), "`")]
                $way($module::$way),
            )+
        }

        impl Way {
            /// Compiles the one way that a spec has.
            fn compile(spec: &AuthSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
                let keys: &[&'static str] = &[$(spec.$key.as_ref().map_or("", |_| stringify!($key)),)+];
                let keys: Vec<&str> = keys.iter().copied().filter(|key| !key.is_empty()).collect();
                let all = [$(concat!("`", stringify!($key), "`"),)+].join(", ");
                match keys.as_slice() {
                    [_] => {}
                    [] => return Err(vec![Mistake::new(KeyPath::root(), format!("it is empty; write one of {all}"))]),
                    [first, second, ..] => {
                        let message = format!("there are `{first}` and `{second}`; make an item of the list of each");
                        return Err(vec![Mistake::new(KeyPath::root().then(*second), message)]);
                    }
                }
                $(
                    if let Some(spec) = &spec.$key {
                        return $module::$way::compile(spec, scope)
                            .map(Self::$way)
                            .map_err(|mistakes| below(stringify!($key), mistakes));
                    }
                )+
                Err(Vec::new())
            }

            /// The key that switches it on.
            fn key(&self) -> &'static str {
                match self {
                    $(Self::$way(_) => stringify!($key),)+
                }
            }

            async fn identify(&self, asking: &Asking<'_>) -> Finding {
                match self {
                    $(Self::$way(way) => way.identify(asking).await,)+
                }
            }

            fn challenge(&self, wrong: bool) -> Option<HeaderValue> {
                match self {
                    $(Self::$way(way) => way.challenge(wrong),)+
                }
            }
        }
    };
}

ways! {
    basic: Basic in basic,
    ldap: Ldap in ldap,
    jwt: Jwt in jwt,
    oidc: Oidc in oidc,
    forward: Forward in forward,
    api_key: ApiKey in api_key,
    signed_request: SignedRequest in signed_request,
    signed_cookie: SignedCookie in signed_cookie,
    trusted_headers: TrustedHeaders in trusted_headers,
}

fn below(key: &str, mistakes: Vec<Mistake>) -> Vec<Mistake> {
    let deeper = |mistake: Mistake| Mistake::new(KeyPath::root().then(key).join(&mistake.path), mistake.message);
    mistakes.into_iter().map(deeper).collect()
}

/// The marker by which a reload sees that settings of a gate changed: a hash of a configuration does not see secrets.
struct Seen;

impl super::shared::Keep for Seen {}

/// What a route asks before anything passes.
#[derive(Debug)]
pub struct Gate {
    ways: Vec<Way>,
    require: Require,
}

impl Gate {
    /// Compiles the ways of a route.
    ///
    /// # Errors
    /// All mistakes, below `auth`.
    pub fn compile(specs: &[&AuthSpec], require: Require, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let (mut ways, mut mistakes) = (Vec::new(), Vec::new());
        for (index, spec) in specs.iter().enumerate() {
            match Way::compile(spec, scope) {
                Ok(way) => ways.push(way),
                Err(found) => mistakes.extend(found.into_iter().map(|mistake| {
                    let at = if specs.len() > 1 { KeyPath::root().then(index) } else { KeyPath::root() };
                    Mistake::new(at.join(&mistake.path), mistake.message)
                })),
            }
            scope.shared.keep(scope.before, *spec, || Seen);
        }
        if mistakes.is_empty() { Ok(Self { ways, require }) } else { Err(mistakes) }
    }

    /// The keys of the ways, for people.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.ways.iter().map(Way::key)
    }

    /// The ways that have paths of their own, whatever paths routes have.
    pub fn sign_ins(&self) -> impl Iterator<Item = SignIn> {
        self.ways.iter().filter_map(|way| match way {
            Way::Oidc(oidc) => Some(oidc.sign_in()),
            _ => None,
        })
    }

    /// Finds out who asks, and whether they may pass.
    ///
    /// # Errors
    /// Why the request does not pass.
    pub async fn admit(&self, asking: &Asking<'_>) -> Result<Box<Proof>, Denial> {
        for way in &self.ways {
            match way.identify(asking).await {
                Finding::Absent => {}
                Finding::Proven(proof) => {
                    return match self.require.check(&proof.identity) {
                        Ok(()) => Ok(proof),
                        Err(reason) => Err(Denial::Forbidden { identity: proof.identity, reason }),
                    };
                }
                Finding::Wrong(reason) => return Err(self.unknown(Some(way), format!("{}: {reason}", way.key()))),
                Finding::Unavailable(reason) => {
                    return Err(Denial::Unavailable { reason: format!("{}: {reason}", way.key()) });
                }
                Finding::Answer(reply) => return Err(Denial::Answer(reply)),
            }
        }
        Err(self.unknown(None, "the request says nothing of who asks".to_owned()))
    }

    fn unknown(&self, wrong: Option<&Way>, reason: String) -> Denial {
        let is_wrong = |way: &Way| wrong.is_some_and(|wrong| std::ptr::eq(wrong, way));
        let challenges: Vec<HeaderValue> = self.ways.iter().filter_map(|way| way.challenge(is_wrong(way))).collect();
        let status = if challenges.is_empty() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        Denial::Unknown { status, challenges, reason }
    }
}
