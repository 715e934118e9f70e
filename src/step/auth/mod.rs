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

mod about;
mod api_key;
mod asking;
mod basic;
mod dn;
mod forward;
mod jwt;
mod ldap;
mod live;
mod oidc;
mod remembered;
mod signed_cookie;
mod signed_request;
mod trusted_headers;
mod user_password;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

pub use asking::{Asking, Captures, Finding, Proof, Reply};
pub use oidc::SignIn;

use super::Mistake;
use super::identity::{Identity, Require};
use super::shared::Shared;
use crate::config::{AuthSpec, KeyPath};
use crate::observe::{AuthMetrics, AuthResult, Metrics};

/// Why a request does not pass.
#[derive(Debug)]
pub enum Denial {
    /// It does not prove who asks.
    Unknown {
        /// 401 with challenges; 403 where there is no challenge that a client could meet (RFC 9110 §11.6.1).
        status: StatusCode,
        /// Values of `WWW-Authenticate`.
        challenges: Vec<HeaderValue>,
        /// Whether it has a password or a key that is wrong: what people guess. What was signed once and has expired is none.
        guess: bool,
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
    /// Each with its counts.
    ways: Vec<(Way, AuthMetrics)>,
    require: Require,
    /// The ways in words.
    about: Vec<String>,
}

/// What a gate asks for, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The ways in their order: the key of each, and what it is about.
    pub ways: Vec<(&'static str, String)>,
    /// What is required of those who are known.
    pub require: Vec<String>,
    /// What a request gets that says nothing of who asks: unless a way answers by itself, this status,
    pub status: StatusCode,
    /// and these values of `WWW-Authenticate`.
    pub challenges: Vec<String>,
}

impl Denial {
    /// Whether the request is a guess; `named` tells whether it has an `Authorization`, of which a service said that it is
    /// wrong.
    #[must_use]
    pub fn is_guess(&self, named: bool) -> bool {
        match self {
            Self::Unknown { guess, .. } => *guess,
            Self::Answer(reply) => named && matches!(reply.status.as_u16(), 401 | 403),
            Self::Forbidden { .. } | Self::Unavailable { .. } => false,
        }
    }
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
                Ok(way) => {
                    let metrics = scope.metrics.auth(way.key());
                    ways.push((way, metrics));
                }
                Err(found) => mistakes.extend(found.into_iter().map(|mistake| {
                    let at = if specs.len() > 1 { KeyPath::root().then(index) } else { KeyPath::root() };
                    Mistake::new(at.join(&mistake.path), mistake.message)
                })),
            }
            scope.shared.keep(scope.before, *spec, || Seen);
        }
        let about = specs.iter().map(|spec| about::about(spec)).collect();
        if mistakes.is_empty() { Ok(Self { ways, require, about }) } else { Err(mistakes) }
    }

    /// The keys of the ways, for people.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.ways.iter().map(|(way, _)| way.key())
    }

    /// What it asks for, for people.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let (status, challenges) = self.challenges(None);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Asked {
            ways: self.keys().zip(self.about.iter().cloned()).collect(),
            require: self.require.told(),
            status,
            challenges: challenges.iter().map(text).collect(),
        }
    }

    /// Names of headers by which others tell who asks, under which nothing that a client sends may pass.
    pub fn reserved(&self) -> impl Iterator<Item = &HeaderName> {
        self.ways.iter().flat_map(|(way, _)| {
            let (of_proxy, of_service) = match way {
                Way::TrustedHeaders(way) => (Some(way.names().iter()), None),
                Way::Forward(way) => (None, Some(way.reserves())),
                _ => (None, None),
            };
            of_proxy.into_iter().flatten().chain(of_service.into_iter().flatten())
        })
    }

    /// Parameters of queries that prove who asks: what they hold is for no log.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.ways.iter().flat_map(|(way, _)| {
            let (of_key, of_token) = match way {
                Way::ApiKey(way) => (way.parameter(), None),
                Way::Jwt(way) => (None, Some(way.parameters())),
                _ => (None, None),
            };
            of_key.into_iter().chain(of_token.into_iter().flatten())
        })
    }

    /// The ways that have paths of their own, whatever paths routes have.
    pub fn sign_ins(&self) -> impl Iterator<Item = SignIn> {
        self.ways.iter().filter_map(|(way, _)| match way {
            Way::Oidc(oidc) => Some(oidc.sign_in()),
            _ => None,
        })
    }

    /// Finds out who asks, and whether they may pass.
    ///
    /// # Errors
    /// Why the request does not pass.
    pub async fn admit(&self, asking: &Asking<'_>) -> Result<Box<Proof>, Denial> {
        for (way, metrics) in &self.ways {
            let (result, admitted) = match way.identify(asking).await {
                Finding::Absent => {
                    metrics.count(AuthResult::Absent);
                    continue;
                }
                Finding::Proven(proof) => match self.require.check(&proof.identity) {
                    Ok(()) => (AuthResult::Proven, Ok(proof)),
                    Err(reason) => (AuthResult::Forbidden, Err(Denial::Forbidden { identity: proof.identity, reason })),
                },
                Finding::Wrong(reason) => {
                    (AuthResult::Wrong, Err(self.unknown(Some(way), format!("{}: {reason}", way.key()))))
                }
                Finding::Unavailable(reason) => {
                    let reason = format!("{}: {reason}", way.key());
                    (AuthResult::Unavailable, Err(Denial::Unavailable { reason }))
                }
                Finding::Answer(reply) => (AuthResult::Answered, Err(Denial::Answer(reply))),
            };
            metrics.count(result);
            return admitted;
        }
        Err(self.unknown(None, "the request says nothing of who asks".to_owned()))
    }

    fn unknown(&self, wrong: Option<&Way>, reason: String) -> Denial {
        let (status, challenges) = self.challenges(wrong);
        let guess = wrong.is_some_and(|way| matches!(way, Way::Basic(_) | Way::Ldap(_) | Way::ApiKey(_)));
        Denial::Unknown { status, challenges, guess, reason }
    }

    fn challenges(&self, wrong: Option<&Way>) -> (StatusCode, Vec<HeaderValue>) {
        let is_wrong = |way: &Way| wrong.is_some_and(|wrong| std::ptr::eq(wrong, way));
        let challenges: Vec<HeaderValue> =
            self.ways.iter().filter_map(|(way, _)| way.challenge(is_wrong(way))).collect();
        let status = if challenges.is_empty() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        (status, challenges)
    }
}
