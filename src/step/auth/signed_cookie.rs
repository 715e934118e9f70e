//! `auth: { signed_cookie: … }`: cookies that an application signed with a secret that it shares with Pylon.
//!
//! ```yaml
//!   auth:
//!     signed_cookie:
//!       secret: ${file:/etc/pylon/session.key}
//!       hash: sha1                           # default sha256
//!       cookies:
//!         - { name: my_auth, as: auth, signed: [u, t], signature: x, issued: t, max_age: 30d, optional: true }
//!         - { name: my_sess, as: sess, signed: [c, i, t], signature: x, issued: t, max_age: 30d }
//!         - name: my_port_{name}             # a capture of the path
//!           as: port
//!           signed: [auth.x, sess.x, { capture: name }, p]
//!           signature: x
//!           matches: { p: "[1-9][0-9]{4}" }
//!       user: ["{auth.u}", "{sess.c}"]
//! ```
//!
//! Cookies of an application are often base64 of JSON; others are fields with a separator:
//!
//! ```yaml
//!       cookies: { name: ticket, fields: [user, until, sig], signed: [user, until], join: "|", signature: sig,
//!                  expires: until }
//!       user: "{ticket.user}"
//!       signature_encoding: hex
//! ```
//!
//! Fields that are signed become claims: `sess.i`. Fields that are not are never believed, nor told. Values are text, or
//! whole numbers, which count as their digits; no other is good.
//!
//! Where an application signs values next to each other without anything between them, one signature is good for
//! each way to part them: that over `ab` and `c` is also one over `a` and `bc`. Such an application is to be mended with
//! a `join`; until then `matches` can say how each value looks. A time begins in a fixed form, and so ends what is before
//! it; where something is signed behind it, one of the two is asked for.

mod compile;
mod format;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use regex_automata::meta::Regex;
use ring::hmac;
use serde_json::{Map, Value};
use smallvec::SmallVec;

use self::format::{Fields, Format, decode_signature, encode_signature, moment};
use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::{CookieSignature, SignedCookieSpec};
use crate::step::identity::{Identity, is_name};

/// How far ahead clocks of applications may be.
const AHEAD: u64 = 300;
/// The most bytes of a value.
const MOST: usize = 8192;

/// The step, compiled.
#[derive(Debug)]
pub(super) struct SignedCookie {
    keys: Vec<hmac::Key>,
    signature: CookieSignature,
    cookies: Vec<Cookie>,
    user: Vec<Text>,
    name: Option<Text>,
    mail: Option<Text>,
    groups: Option<Text>,
    hide: Option<Arc<str>>,
}

/// A cookie, and what its signature is over.
#[derive(Debug)]
struct Cookie {
    name: Vec<Piece>,
    /// For people.
    alias: String,
    format: Format,
    signed: Vec<Part>,
    join: String,
    signature: String,
    optional: bool,
    issued: Option<(String, Duration)>,
    expires: Option<String>,
    matches: Vec<(String, Regex)>,
    /// Fields, and the claims that they become.
    claims: Vec<(String, String)>,
}

/// A piece of a name.
#[derive(Debug)]
enum Piece {
    Text(String),
    Capture(String),
}

/// A part of what is signed.
#[derive(Debug)]
enum Part {
    Own(String),
    Earlier(usize, String),
    Text(String),
    Capture(String),
}

/// A text that tells who asks: fixed pieces, each with the field that follows it.
#[derive(Debug)]
struct Text {
    pieces: Vec<(String, Option<(usize, String)>)>,
}

/// A cookie that is good.
#[derive(Debug)]
struct Good {
    fields: Fields,
    /// Its signature, as the application writes it.
    signature: String,
}

/// Why a cookie is not good.
enum Bad {
    Missing,
    Wrong(&'static str),
}

/// The cookies that were read so far; `None` for those that may be missing, and are.
type Read = SmallVec<[Option<Good>; 4]>;

impl SignedCookie {
    /// Checks the step.
    pub(super) fn compile(spec: &SignedCookieSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        compile::compile(spec, scope)
    }

    /// Finds out who asks.
    #[allow(clippy::unused_async, reason = "the ways have one form, and others wait")]
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        self.find(asking)
    }

    /// What `WWW-Authenticate` says: nothing, as no client can sign a cookie by itself.
    #[allow(clippy::unused_self, reason = "the ways have one form")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        None
    }

    fn find(&self, asking: &Asking<'_>) -> Finding {
        let mut read = Read::new();
        for cookie in &self.cookies {
            match self.read(cookie, &read, asking) {
                Ok(good) => read.push(Some(good)),
                Err(_) if cookie.optional => read.push(None),
                Err(Bad::Missing) => return Finding::Absent,
                Err(Bad::Wrong(why)) => return Finding::Wrong(format!("the cookie `{}` {why}", cookie.alias).into()),
            }
        }
        let Some(user) = self.user.iter().find_map(|text| text.render(&read)) else { return Finding::Absent };
        if !is_name(&user) {
            return Finding::Wrong("its cookies name no user, or none in plain text".into());
        }
        let known = |text: &Option<Text>| text.as_ref()?.render(&read).filter(|text| !text.is_empty());
        let groups = known(&self.groups).unwrap_or_default();
        let identity = Identity {
            name: known(&self.name),
            mail: known(&self.mail),
            groups: groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect(),
            claims: self.claims(&read),
            ..Identity::of(user, "signed_cookie")
        };
        let mut proof = Proof::of(Arc::new(identity));
        proof.hide_cookie.clone_from(&self.hide);
        Finding::Proven(Box::new(proof))
    }

    fn read(&self, cookie: &Cookie, before: &Read, asking: &Asking<'_>) -> Result<Good, Bad> {
        let name = cookie.name_for(asking);
        let value = asking.cookie(&name).map(unquoted).filter(|value| !value.is_empty()).ok_or(Bad::Missing)?;
        if value.len() > MOST {
            return Err(Bad::Wrong("is too large"));
        }
        let fields = cookie.format.read(value).map_err(Bad::Wrong)?;
        let given = fields.get(&cookie.signature).ok_or(Bad::Wrong("has no signature"))?;
        let given = decode_signature(self.signature, given).ok_or(Bad::Wrong("has a signature that is not encoded"))?;
        let message = cookie.message(&fields, before, asking).map_err(Bad::Wrong)?;
        if !self.keys.iter().any(|key| hmac::verify(key, message.as_bytes(), &given).is_ok()) {
            return Err(Bad::Wrong("has a signature that is not good"));
        }
        cookie.check(&fields, asking.now).map_err(Bad::Wrong)?;
        Ok(Good { signature: encode_signature(self.signature, &given), fields })
    }

    fn claims(&self, read: &Read) -> Map<String, Value> {
        let mut claims = Map::new();
        for (cookie, good) in self.cookies.iter().zip(read) {
            let Some(good) = good else { continue };
            for (field, claim) in &cookie.claims {
                if let Some(value) = good.fields.get(field) {
                    claims.insert(claim.clone(), Value::String(value.to_owned()));
                }
            }
        }
        claims
    }
}

impl Cookie {
    fn name_for(&self, asking: &Asking<'_>) -> Cow<'_, str> {
        if let [Piece::Text(name)] = self.name.as_slice() {
            return name.into();
        }
        let mut name = String::new();
        for piece in &self.name {
            name.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Capture(name) => asking.captures.capture(name).unwrap_or_default(),
            });
        }
        name.into()
    }

    /// What its signature is over.
    fn message(&self, fields: &Fields, before: &Read, asking: &Asking<'_>) -> Result<String, &'static str> {
        let mut message = String::with_capacity(128);
        for (index, part) in self.signed.iter().enumerate() {
            let text = match part {
                Part::Own(field) => fields.get(field).ok_or("lacks a field that is signed")?,
                Part::Earlier(cookie, field) => {
                    before.get(*cookie).and_then(Option::as_ref).and_then(|good| good.get(field)).unwrap_or_default()
                }
                Part::Text(text) => text,
                Part::Capture(name) => asking.captures.capture(name).ok_or("signs a capture that is not there")?,
            };
            if !self.join.is_empty() {
                if text.contains(&self.join) {
                    return Err("has a value that holds the separator of what is signed");
                }
                if index > 0 {
                    message.push_str(&self.join);
                }
            }
            message.push_str(text);
        }
        Ok(message)
    }

    /// Checks what is signed: its times, and how its values look.
    fn check(&self, fields: &Fields, now: SystemTime) -> Result<(), &'static str> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| "cannot be dated: the clock is not set")?;
        let time = |field: &str| fields.get(field).and_then(moment).ok_or("has a time that is none");
        if let Some((field, most)) = &self.issued {
            let issued = time(field)?;
            if issued > now.as_secs().saturating_add(AHEAD) {
                return Err("was made in the future");
            }
            if now.as_secs() > issued.saturating_add(most.as_secs()) {
                return Err("is too old");
            }
        }
        if let Some(field) = &self.expires
            && now.as_secs() >= time(field)?
        {
            return Err("is not good any more");
        }
        let fits = |(field, regex): &(String, Regex)| fields.get(field).is_some_and(|value| regex.is_match(value));
        if self.matches.iter().all(fits) { Ok(()) } else { Err("has a value that does not look as it must") }
    }
}

impl Good {
    /// A field that is signed, or the signature.
    fn get(&self, field: &str) -> Option<&str> {
        if field.is_empty() { Some(&self.signature) } else { self.fields.get(field) }
    }
}

impl Text {
    /// The text; `None` where a cookie that it needs is not there.
    fn render(&self, read: &Read) -> Option<String> {
        let mut out = String::new();
        for (text, field) in &self.pieces {
            out.push_str(text);
            if let Some((cookie, field)) = field {
                out.push_str(read.get(*cookie)?.as_ref()?.fields.get(field)?);
            }
        }
        Some(out)
    }
}

/// A value without the double quotes that it may stand in.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}
