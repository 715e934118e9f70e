//! A session: what the provider said of a user, and until when. All of it is in the browser's cookie.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::jwt::{Claims, Mapping};
use super::provider::Tokens;
use crate::step::identity::Identity;

/// A session. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Session {
    /// Random: what is told apart by it while tokens are renewed.
    #[serde(rename = "i")]
    pub(super) id: String,
    /// The ID token, which was verified when it came.
    #[serde(rename = "t")]
    pub(super) id_token: String,
    /// What userinfo tells otherwise than the ID token, or besides; null where it tells a claim no more.
    #[serde(rename = "c", default, skip_serializing_if = "Claims::is_empty")]
    pub(super) claims: Claims,
    /// Names of claims that userinfo tells as the ID token does.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) alike: Vec<String>,
    /// Whether userinfo is newer than the ID token, and counts in its place.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_newer: bool,
    /// What new tokens are asked for with.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<String>,
    /// When that is done; later than `expires` where it has to be tried again.
    #[serde(rename = "n")]
    pub(super) renew: u64,
    /// When it must have been done.
    #[serde(rename = "e")]
    pub(super) expires: u64,
    #[serde(rename = "b")]
    pub(super) begun: u64,
    #[serde(rename = "s")]
    pub(super) seen: u64,
}

/// How long sessions last, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) idle: u64,
    pub(super) whole: u64,
}

/// A session that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) identity: Arc<Identity>,
}

impl Lifetimes {
    /// The last second of a session.
    pub(super) fn until(self, session: &Session) -> u64 {
        session.begun.saturating_add(self.whole).min(session.seen.saturating_add(self.idle))
    }

    /// Whether a browser is to be told that its session was seen.
    pub(super) fn is_due(self, session: &Session, now: u64) -> bool {
        now > session.seen.saturating_add(self.idle / 8)
            // Soon there will be new tokens, which another instance may be getting: theirs must not be overwritten.
            && (session.refresh.is_none() || now.saturating_add(30) < session.renew)
    }
}

impl Session {
    /// A session that begins.
    pub(super) fn begin(id: String, tokens: Tokens, id_token: String, now: u64) -> Self {
        let told = tokens.told.ok().flatten().unwrap_or_default();
        let mut session = Self {
            id,
            id_token,
            claims: told.claims,
            alike: told.alike,
            is_newer: false,
            refresh: tokens.refresh,
            renew: 0,
            expires: 0,
            begun: now,
            seen: now,
        };
        session.expire(tokens.lifetime, now);
        session
    }

    /// The session with new tokens; what the provider does not send anew stays.
    pub(super) fn renewed(&self, tokens: Tokens, now: u64) -> Self {
        let mut session = self.clone();
        let is_newer = tokens.id.is_none();
        if let Some(id_token) = tokens.id {
            session.id_token = id_token;
            session.is_newer = false;
        }
        // What is not told any more does not hold any more.
        if let Ok(Some(mut told)) = tokens.told {
            if is_newer {
                for name in self.alike.iter().chain(self.claims.keys()) {
                    if !told.alike.contains(name) {
                        told.claims.entry(name.clone()).or_insert(Value::Null);
                    }
                }
            }
            (session.claims, session.alike, session.is_newer) = (told.claims, told.alike, is_newer);
        }
        session.refresh = tokens.refresh.or(session.refresh);
        session.seen = now;
        session.expire(tokens.lifetime, now);
        session
    }

    /// The session as it was, with what new tokens are asked for with from now on, and when.
    pub(super) fn kept(&self, refresh: Option<String>, renew: u64) -> Self {
        let mut session = self.clone();
        session.refresh = refresh.or(session.refresh);
        session.renew = renew;
        session
    }

    fn expire(&mut self, lifetime: Duration, now: u64) {
        let lifetime = lifetime.as_secs();
        self.expires = now.saturating_add(lifetime);
        self.renew = self.expires - (lifetime / 4).min(60);
    }

    /// Who it is of.
    pub(super) fn identity(&self, mapping: &Mapping) -> Result<Identity, Cow<'static, str>> {
        let mut claims = claims_of(&self.id_token).ok_or("the ID token cannot be read")?;
        for (name, value) in &self.claims {
            if self.is_newer && value.is_null() {
                claims.remove(name);
            } else if self.is_newer || !claims.contains_key(name) {
                claims.insert(name.clone(), value.clone());
            }
        }
        mapping.identity(claims, "oidc")
    }
}

/// The claims of a token that was verified before.
pub(super) fn claims_of(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    match serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}
