//! `auth: { signed_request: … }`: requests that are signed with a secret that the client and Pylon share.
//!
//! ```yaml
//!   auth:
//!     signed_request:
//!       schemes: [MyScheme]
//!       date: [Date, X-My-Date]
//!       version: X-My-Version
//!       unsigned_body_from: v4.20181215
//!       keys: { file: /etc/pylon/keys.yaml }
//! ```
//!
//! The client sends `Authorization: MyScheme signMethod=HMAC-SHA256, credential=ACCESS_KEY:SIGNATURE`. The signature is the
//! HMAC, in hexadecimal, of these lines: the method; path and query; the date as it is sent; `host:` with the Host;
//! `content-type:` with the media type alone; the version's header and value, with `:` between; the SHA-256 of the body,
//! which counts as empty where bodies are not signed. Its key is the HMAC of the Host under the HMAC of the day (`20181215`,
//! in the date's own time zone) under the secret.
//!
//! Who asks is the `user` of the key, else the access key; the claim `access_key` has it in either case. The header stays in
//! the request, for an upstream that checks it too.

mod date;
mod keys;
mod once;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::{digest, hmac};

use self::date::SignedDate;
use self::keys::{Found, Keys};
use self::once::Once;
use super::{Asking, AuthScope, Finding, Mistake};
use crate::config::value::Span;
use crate::config::{KeyPath, SignedRequestSpec};
use crate::step::identity::Identity;

const METHOD: &str = "HMAC-SHA256";
const WITHIN: Duration = Duration::from_secs(15 * 60);
/// What a signature fails with, whether its key is known or not.
const WRONG: &str = "the access key is not known, or the signature does not fit";

/// The step, compiled.
#[derive(Debug)]
pub(super) struct SignedRequest {
    schemes: Vec<String>,
    date: Vec<HeaderName>,
    version: Vec<HeaderName>,
    within: Duration,
    unsigned_body_from: Option<String>,
    once: Option<Arc<Once>>,
    keys: Keys,
    /// The secret of those whose access key is not known: they take the same way.
    nobody: hmac::Key,
    challenge: HeaderValue,
}

/// The parameters of `Authorization`.
#[derive(Debug, PartialEq, Eq)]
struct Credential<'a> {
    access: &'a str,
    signature: &'a str,
}

impl SignedRequest {
    /// Checks the step.
    pub(super) fn compile(spec: &SignedRequestSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let names = |list: &[crate::config::value::HeaderName]| -> Vec<HeaderName> {
            list.iter().map(|name| name.get().clone()).collect()
        };
        let schemes: Vec<String> = spec.schemes.to_vec();
        let challenge =
            schemes.first().and_then(|scheme| HeaderValue::try_from(format!("{scheme} signMethod={METHOD}")).ok());
        if schemes.is_empty() {
            mistakes.push(Mistake::at("schemes", "it is missing; write the word that `Authorization` begins with"));
        }
        for (index, scheme) in schemes.iter().enumerate().filter(|(_, scheme)| !is_token(scheme)) {
            let at = KeyPath::root().then("schemes").then(index);
            mistakes.push(Mistake::new(at, format!("{scheme:?} is not one word; write one such as `MyScheme`")));
        }
        let within = spec.within.map_or(WITHIN, Span::duration);
        if within < Duration::from_secs(1) || within > Duration::from_secs(86_400) {
            mistakes.push(Mistake::at("within", "this is not from 1s to 1d; write one such as `15m`"));
        }
        if spec.unsigned_body_from.is_some() && spec.version.is_empty() {
            let message = "no header says which version a request is of; add `version`";
            mistakes.push(Mistake::at("unsigned_body_from", message));
        }
        let keys = Keys::compile(&spec.keys, scope).map_err(|mistake| {
            mistakes.push(Mistake::new(KeyPath::root().then("keys").join(&mistake.path), mistake.message));
        });
        let mut nobody = [0_u8; 32];
        let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nobody);
        if filled.is_err() {
            mistakes.push(Mistake::new(KeyPath::root(), "the system gives no random numbers"));
        }
        let date = if spec.date.is_empty() { vec![http::header::DATE] } else { names(&spec.date) };
        let (Ok(keys), Some(challenge), true) = (keys, challenge, mistakes.is_empty()) else { return Err(mistakes) };
        Ok(Self {
            schemes,
            date,
            version: names(&spec.version),
            within,
            unsigned_body_from: spec.unsigned_body_from.clone(),
            once: spec.once.0.then(|| scope.shared.keep(scope.before, &spec.clone(), Once::default)),
            keys,
            nobody: hmac::Key::new(hmac::HMAC_SHA256, &nobody),
            challenge,
        })
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let parameters = match self.parameters(asking.headers) {
            Ok(Some(parameters)) => parameters,
            Ok(None) => return Finding::Absent,
            Err(reason) => return Finding::Wrong(reason),
        };
        let read = credential(parameters).and_then(|credential| Ok((credential, self.string_to_sign(asking)?)));
        let (credential, (text, date, host)) = match read {
            Ok(read) => read,
            Err(reason) => return Finding::Wrong(reason.into()),
        };
        let found = match self.keys.find(credential.access).await {
            Ok(found) => found,
            Err(reason) => return Finding::Unavailable(reason),
        };
        let secret = found.as_ref().map_or(&self.nobody, |found| &found.secret);
        let fits = fits(secret, &date.day, host, &text, credential.signature);
        let (Some(found), true) = (found, fits) else { return Finding::Wrong(WRONG.into()) };
        let is_new = self.once.as_ref().is_none_or(|once| once.take(credential.signature, asking.now, self.within * 2));
        if !is_new {
            return Finding::Wrong("the signature was used before".into());
        }
        Finding::proven(found.identity.clone())
    }

    /// What `WWW-Authenticate` says; `wrong` where credentials of this kind came and were not good.
    #[allow(clippy::unnecessary_wraps, reason = "one form for all ways")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }

    /// What stands behind the scheme, where it is one of ours.
    fn parameters<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, Cow<'static, str>> {
        let lines = headers.get_all(AUTHORIZATION).iter().filter_map(|line| line.to_str().ok());
        let ours = |line: &'a str| {
            let (scheme, rest) = line.trim().split_once(' ')?;
            self.schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)).then_some(rest)
        };
        let mut lines = lines;
        let found = lines.find_map(ours);
        if found.is_some() && headers.get_all(AUTHORIZATION).iter().count() > 1 {
            return Err("`Authorization` is there more than once".into());
        }
        Ok(found)
    }

    /// What the client signed, the date in it, and the Host.
    fn string_to_sign<'a>(&self, asking: &Asking<'a>) -> Result<(String, SignedDate, &'a str), &'static str> {
        let raw = first_of(asking.headers, &self.date)?.ok_or("there is no date")?.1;
        let date = SignedDate::parse(raw).ok_or("the date cannot be read")?;
        if !date.is_within(self.within, asking.now) {
            return Err("the date is too far from now");
        }
        let host = only(asking.headers, &HOST)?.unwrap_or(asking.host);
        let content_type = media_type(only(asking.headers, &CONTENT_TYPE)?);
        let mut lines =
            format!("{}\n{}\n{raw}\nhost:{host}\ncontent-type:{content_type}\n", asking.method, asking.target);
        let mut body_is_signed = true;
        if !self.version.is_empty() {
            let (name, version) = first_of(asking.headers, &self.version)?.ok_or("there is no version")?;
            body_is_signed = self.unsigned_body_from.as_deref().is_none_or(|from| version < from);
            lines.push_str(&format!("{name}:{version}\n"));
        }
        if body_is_signed && asking.has_body && content_type != "multipart/form-data" {
            return Err("a body of this version is signed, which Pylon does not check");
        }
        let empty = digest::digest(&digest::SHA256, b"");
        lines.push_str(&data_encoding::HEXLOWER.encode(empty.as_ref()));
        Ok((lines, date, host))
    }
}

/// Whether a signature is that of a text. This takes the same time wherever it differs.
fn fits(secret: &hmac::Key, day: &str, host: &str, text: &str, signature: &str) -> bool {
    let of_day = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(secret, day.as_bytes()).as_ref());
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&of_day, host.as_bytes()).as_ref());
    let claimed = data_encoding::HEXLOWER.decode(signature.as_bytes()).unwrap_or_default();
    hmac::verify(&key, text.as_bytes(), &claimed).is_ok()
}

/// Reads the parameters of a credential; each may be there once.
fn credential(parameters: &str) -> Result<Credential<'_>, &'static str> {
    let (mut method, mut credential) = (None, None);
    for parameter in parameters.split(',') {
        let (name, value) = parameter.split_once('=').ok_or("a parameter of `Authorization` has no value")?;
        let place = match name.trim() {
            "signMethod" => &mut method,
            "credential" => &mut credential,
            _ => continue,
        };
        if place.replace(value.trim()).is_some() {
            return Err("a parameter of `Authorization` is there twice");
        }
    }
    if !method.is_some_and(|method| method.eq_ignore_ascii_case(METHOD)) {
        return Err("`signMethod` is not HMAC-SHA256");
    }
    let (access, signature) = credential.and_then(|text| text.split_once(':')).ok_or("there is no credential")?;
    let is_sound = (1..=256).contains(&access.len()) && access.bytes().all(|b| b.is_ascii_graphic());
    if is_sound { Ok(Credential { access, signature }) } else { Err("the access key has an odd form") }
}

/// The value of a header that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, &'static str> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return Err("a header that is signed is there more than once");
    }
    first
        .map(|value| std::str::from_utf8(value.as_bytes()).map_err(|_| "a header that is signed is no text"))
        .transpose()
}

/// The first of these headers that is there and not empty.
fn first_of<'a, 'n>(
    headers: &'a HeaderMap,
    names: &'n [HeaderName],
) -> Result<Option<(&'n HeaderName, &'a str)>, &'static str> {
    for name in names {
        if let Some(value) = only(headers, name)?.filter(|value| !value.is_empty()) {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// The media type alone, as the other side reads it: one that is not one counts as text (RFC 2045 §5.2).
fn media_type(content_type: Option<&str>) -> String {
    let Some(text) = content_type else { return "application/octet-stream".to_owned() };
    let alone = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if alone.matches('/').count() == 1 { alone } else { "text/plain".to_owned() }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The identity of an access key.
fn identity(access: &str, user: Option<String>, groups: Vec<String>) -> Arc<Identity> {
    let user = user.filter(|user| !user.is_empty()).unwrap_or_else(|| access.to_owned());
    let mut identity = Identity { groups, ..Identity::of(user, "signed_request") };
    identity.claims.insert("access_key".to_owned(), access.into());
    Arc::new(identity)
}

/// What is known of an access key.
fn known(access: &str, secret: &str, user: Option<String>, groups: Vec<String>) -> Found {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    Found { secret, identity: identity(access, user, groups) }
}
