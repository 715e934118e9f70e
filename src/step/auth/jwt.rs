//! `auth: { jwt: … }`: tokens that an issuer signed.
//!
//! ```yaml
//!   auth:
//!     jwt:
//!       issuer: https://id.example.org
//!       audience: pylon
//!       jwks: https://id.example.org/keys      # or jwks_file, public_keys, secret, discover: true
//!       claims: { user: preferred_username, groups: realm_access.roles }
//!       from: [bearer, cookie.session]
//! ```
//!
//! A token is good when one of the keys made its signature with an algorithm that is allowed and of the key's own type,
//! it has not expired, and issuer and audience are those that are wanted. Nothing else of its header is believed: keys
//! and addresses of keys that it brings along are not looked at. What was verified is remembered until the token expires
//! or the keys change.

mod cache;
mod compile;
mod crypto;
mod discovery;
mod keys;
mod mapping;
mod remote;
mod verify;

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{AUTHORIZATION, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::{JwtSpec, TokenPlace};
use crate::step::identity::Identity;
use crate::step::shared::Keep;

pub(super) use cache::{Remembered, seconds};
pub(super) use compile::{algorithms, ca, leeway};
pub(super) use crypto::install;
pub(super) use discovery::{Metadata, http_url, place};
pub(super) use mapping::Mapping;
pub(super) use remote::{Known, Origin, PAUSE, Remote, RemoteSettings};
use verify::Refused;
pub(super) use verify::{Claims, Rules, Wanted};

/// The step, compiled.
#[derive(Debug)]
pub(super) struct Jwt {
    keys: Keys,
    rules: Rules,
    mapping: Mapping,
    places: Vec<TokenPlace>,
    hide: bool,
    known: Arc<Verified>,
    /// What is asked for: where nothing came, and where what came was not good.
    challenges: [HeaderValue; 2],
}

/// Tokens that were verified, kept over reloads.
#[derive(Debug)]
struct Verified(Option<Remembered<Identity>>);

impl Keep for Verified {}

/// Where keys come from.
#[derive(Debug)]
enum Keys {
    Fixed(Arc<Known>),
    Remote(Arc<Remote>),
}

/// A token, and where it was.
struct Found<'a> {
    token: &'a str,
    place: &'a TokenPlace,
}

impl Jwt {
    /// Checks the step.
    pub(super) fn compile(spec: &JwtSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        compile::compile(spec, scope)
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let found = match self.find(asking) {
            Ok(Some(found)) => found,
            Ok(None) => return Finding::Absent,
            Err(reason) => return Finding::Wrong(reason.into()),
        };
        let known = match &self.keys {
            Keys::Fixed(known) => Arc::clone(known),
            Keys::Remote(remote) => match remote.known().await {
                Some(known) => known,
                None => return Finding::Unavailable("the keys of the issuer could not be fetched yet".to_owned()),
            },
        };
        let remembered = self.known.0.as_ref().and_then(|all| all.get(found.token, known.generation, asking.now));
        if let Some(identity) = remembered {
            return self.proven(identity, found.place);
        }
        match self.verify(found.token, known).await {
            Ok(identity) => self.proven(identity, found.place),
            Err(reason) => Finding::Wrong(reason),
        }
    }

    /// Verifies a token that is not remembered.
    async fn verify(&self, token: &str, known: Arc<Known>) -> Result<Arc<Identity>, Cow<'static, str>> {
        let (claims, known) = match &self.keys {
            Keys::Fixed(_) => (self.rules.verify(token, &known.keys).map_err(Refused::reason)?, known),
            Keys::Remote(remote) => remote.verify(&self.rules, token, known).await?,
        };
        let until = self.rules.until(&claims);
        let identity = Arc::new(self.mapping.identity(claims, "jwt")?);
        if let Some(all) = &self.known.0 {
            all.put(token, Arc::clone(&identity), known.generation, until);
        }
        Ok(identity)
    }

    /// The parameters of queries that hold a token.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.places.iter().filter_map(|place| match place {
            TokenPlace::Query(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The token of a request, in the first place that has one.
    fn find<'a>(&'a self, asking: &Asking<'a>) -> Result<Option<Found<'a>>, &'static str> {
        for place in &self.places {
            let token = match place {
                TokenPlace::Bearer => {
                    let is_one = asking.headers.get_all(AUTHORIZATION).iter().count() <= 1;
                    match asking.credentials("bearer") {
                        // What is behind Pylon could take the other.
                        Some(_) if !is_one => return Err("there is more than one `Authorization`"),
                        token => token,
                    }
                }
                TokenPlace::Header(name) => {
                    let mut values = asking.headers.get_all(name.get()).iter();
                    match (values.next(), values.next()) {
                        (Some(_), Some(_)) => return Err("there is more than one header of the token's name"),
                        (Some(value), None) => Some(value.to_str().map_err(|_| "the token is no text")?.trim()),
                        (None, _) => None,
                    }
                }
                TokenPlace::Cookie(name) => asking.cookie(name).map(|value| value.trim_matches('"')),
                TokenPlace::Query(name) => of_query(asking, name),
            };
            if let Some(token) = token {
                return Ok(Some(Found { token, place }));
            }
        }
        Ok(None)
    }

    fn proven(&self, identity: Arc<Identity>, place: &TokenPlace) -> Finding {
        let mut proof = Proof::of(identity);
        if self.hide {
            match place {
                TokenPlace::Bearer => proof.hide.push(AUTHORIZATION),
                TokenPlace::Header(name) => proof.hide.push(HeaderName::clone(name.get())),
                TokenPlace::Cookie(name) => proof.hide_cookie = Some(name.as_str().into()),
                TokenPlace::Query(_) => {}
            }
        }
        Finding::Proven(Box::new(proof))
    }

    /// What `WWW-Authenticate` says (RFC 6750 §3); `wrong` where credentials of this kind came and were not good.
    #[allow(clippy::unnecessary_wraps, reason = "one form for all ways")]
    pub(super) fn challenge(&self, wrong: bool) -> Option<HeaderValue> {
        Some(self.challenges[usize::from(wrong)].clone())
    }
}

/// A parameter of a request for a WebSocket, which cannot have headers of its own in browsers. Elsewhere it is not read:
/// addresses are kept in logs and histories.
fn of_query<'a>(asking: &Asking<'a>, name: &str) -> Option<&'a str> {
    let upgrade = asking.headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.filter(|value| value.eq_ignore_ascii_case("websocket"))?;
    let mut pairs = asking.query().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
