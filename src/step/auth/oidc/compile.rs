//! Checks what a config file says of sign-ins.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use quick_cache::sync::Cache;

use super::super::jwt::{
    Mapping, Origin, PAUSE, Remembered, Remote, RemoteSettings, Rules, Wanted, algorithms, ca, http_url, install,
    leeway, place,
};
use super::cookies::Cookies;
use super::provider::Provider;
use super::seal::{self, Bytes, Seal};
use super::session::Lifetimes;
use super::{AuthScope, Desk, Mistake};
use crate::config::value::{Span, is_cookie_name};
use crate::config::{KeyPath, OidcSessionSpec, OidcSpec};

/// How often the provider is asked for what it offers and for its keys.
const REFRESH: Duration = Duration::from_secs(600);
/// How long it has for an answer.
const TIMEOUTS: std::ops::RangeInclusive<Span> = Span::from_millis(100)..=Span::from_secs(60);
/// Sessions that are remembered as opened, and those whose tokens this process renewed.
const REMEMBERED: usize = 10_000;
/// Parameters of a sign-in that are Pylon's.
const OWN: [&str; 9] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// What is checked by itself.
struct Checked {
    origin: Origin,
    rules: Rules,
    timeout: Duration,
    public_url: Option<String>,
    redirect_path: String,
    logout_path: String,
    after_logout: Option<String>,
    lifetimes: Lifetimes,
    keys: Vec<Bytes>,
    challenge: HeaderValue,
}

pub(super) fn compile(spec: &OidcSpec, scope: &AuthScope<'_>) -> Result<Arc<Desk>, Vec<Mistake>> {
    install();
    let mut mistakes = Vec::new();
    let checked = check(spec, scope, &mut mistakes);
    let client = ca(spec.ca.as_deref(), scope).map_err(|mistake| mistakes.push(mistake)).ok();
    let (Some(checked), Some((client, ca))) = (checked, client) else { return Err(mistakes) };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let Checked { origin, rules, timeout, public_url, redirect_path, logout_path, after_logout, .. } = checked;
    let settings = RemoteSettings { origin, ca: ca.clone(), refresh: REFRESH, timeout, pause: PAUSE };
    let remote = scope.shared.keep(scope.before, &settings, || Remote::new(settings.clone(), client));
    let mut scopes: Vec<String> = spec.scopes.iter().cloned().collect();
    if scopes.is_empty() {
        scopes.extend(["profile", "email"].map(str::to_owned));
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        scopes.insert(0, "openid".to_owned());
    }
    let cookie = spec.session.cookie.as_deref();
    let make = || Desk {
        provider: Provider {
            remote,
            issuer: spec.issuer.clone(),
            client_id: spec.client_id.clone(),
            client_secret: spec.client_secret.clone(),
            scopes,
            parameters: spec.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            rules,
            userinfo: spec.userinfo.map(crate::config::value::Flag::get),
            timeout,
        },
        mapping: Mapping::new(&spec.claims),
        seal: Seal::new(&checked.keys),
        lifetimes: checked.lifetimes,
        cookies: [Cookies::new(cookie, false), Cookies::new(cookie, true)],
        public_url,
        redirect_path,
        logout_path,
        after_logout,
        challenge: checked.challenge,
        opened: Remembered::new(REMEMBERED),
        renewals: Cache::new(REMEMBERED),
    };
    Ok(scope.shared.keep(scope.before, &(spec.clone(), checked.keys.clone(), ca), make))
}

fn check(spec: &OidcSpec, scope: &AuthScope<'_>, mistakes: &mut Vec<Mistake>) -> Option<Checked> {
    let origin = keep(mistakes, origin(&spec.issuer));
    let challenge = format!("Cookie realm=\"{}\"", spec.issuer.replace(['"', '\\'], ""));
    let challenge = keep(
        mistakes,
        HeaderValue::try_from(challenge).map_err(|_| Mistake::at("issuer", "it is no plain text; write a URL")),
    );
    if spec.client_id.is_empty() {
        mistakes.push(Mistake::at(
            "client_id",
            "it is missing; write the client as which Pylon is registered at the provider",
        ));
    }
    let algorithms = keep(mistakes, algorithms(&spec.algorithms, false));
    let leeway = keep(mistakes, leeway(spec.leeway));
    let timeout = keep(mistakes, timeout(spec.timeout));
    for name in spec.parameters.keys() {
        if OWN.contains(&name.as_str()) {
            let at = KeyPath::root().then("parameters").then(name.as_str());
            mistakes.push(Mistake::new(at, format!("`{name}` is Pylon's to set; leave it out")));
        }
    }
    let public_url = keep(mistakes, spec.public_url.as_deref().map(public_url).transpose());
    let redirect_path = keep(mistakes, path("redirect_path", spec.redirect_path.as_deref(), "/oauth2/callback"));
    let logout_path = keep(mistakes, path("logout_path", spec.logout_path.as_deref(), "/oauth2/logout"));
    if redirect_path.is_some() && redirect_path == logout_path {
        mistakes.push(Mistake::at("logout_path", "it is the same as `redirect_path`; choose another"));
    }
    let after_logout = keep(mistakes, spec.after_logout.as_deref().map(after_logout).transpose());
    let lifetimes = lifetimes(&spec.session, mistakes);
    let keys = keep(mistakes, keys(&spec.session, scope));
    if let Some(name) = spec.session.cookie.as_deref().filter(|name| !is_cookie_name(name) || name.ends_with('*')) {
        let at = KeyPath::root().then("session").then("cookie");
        mistakes.push(Mistake::new(at, format!("`{name}` cannot name a cookie; write letters, digits, `-` and `_`")));
    }
    Some(Checked {
        origin: origin?,
        rules: Rules::new(&Wanted {
            algorithms: &algorithms?,
            issuers: std::slice::from_ref(&spec.issuer),
            audiences: Some(std::slice::from_ref(&spec.client_id)),
            required: &["sub".to_owned(), "iat".to_owned()],
            may_lack_expiry: false,
            leeway: leeway?,
        }),
        timeout: timeout?,
        public_url: public_url?,
        redirect_path: redirect_path?,
        logout_path: logout_path?,
        after_logout: after_logout?,
        lifetimes,
        keys: keys?,
        challenge: challenge?,
    })
}

fn keep<T>(mistakes: &mut Vec<Mistake>, checked: Result<T, Mistake>) -> Option<T> {
    checked.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn origin(issuer: &str) -> Result<Origin, Mistake> {
    if issuer.is_empty() {
        return Err(Mistake::at(
            "issuer",
            "it is missing; write the URL of the provider, such as `https://id.example.org`",
        ));
    }
    let url = place(issuer).map_err(|why| Mistake::at("issuer", why))?;
    Ok(Origin::Issuer(issuer.to_owned(), url))
}

fn timeout(span: Option<Span>) -> Result<Duration, Mistake> {
    let span = span.unwrap_or(Span::from_secs(5));
    if TIMEOUTS.contains(&span) {
        return Ok(span.duration());
    }
    let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
    Err(Mistake::at("timeout", format!("{span} is too short or too long; write {least} to {most}")))
}

/// Scheme and host, without a slash at their end.
fn public_url(text: &str) -> Result<String, Mistake> {
    let url = http_url(text).map_err(|why| Mistake::at("public_url", why))?;
    match url.authority() {
        Some(authority) if url.path() == "/" && url.query().is_none() => {
            Ok(format!("{}://{authority}", url.scheme_str().unwrap_or("https")))
        }
        _ => Err(Mistake::at(
            "public_url",
            "it has more than scheme and host; write them alone: `https://www.example.org`",
        )),
    }
}

/// A path as requests have it, when it is normalised.
fn path(key: &str, given: Option<&str>, default: &str) -> Result<String, Mistake> {
    let path = given.unwrap_or(default);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    let segments = path.split('/').skip(1);
    if path.len() > 1
        && path.starts_with('/')
        && path.bytes().all(is_plain)
        && !segments.clone().any(|s| s.is_empty() || s == "." || s == "..")
    {
        return Ok(path.to_owned());
    }
    Err(Mistake::at(key, format!("`{path}` is not a plain path; write one such as `{default}`")))
}

fn after_logout(text: &str) -> Result<String, Mistake> {
    let is_path = text.starts_with('/') && !text.starts_with("//") && !text.contains(['\\', '\r', '\n']);
    match http_url(text) {
        Ok(url) => Ok(url.to_string()),
        Err(_) if is_path => Ok(text.to_owned()),
        Err(_) => {
            Err(Mistake::at("after_logout", format!("`{text}` is neither a path nor a URL; write one such as `/`")))
        }
    }
}

fn lifetimes(spec: &OidcSessionSpec, mistakes: &mut Vec<Mistake>) -> Lifetimes {
    let mut seconds = |key: &str, span: Option<Span>, default: u64| {
        let span = span.unwrap_or(Span::from_secs(default));
        if span < Span::from_secs(60) {
            let message = format!("{span} is too short for people; write 1m at least");
            mistakes.push(Mistake::new(KeyPath::root().then("session").then(key), message));
        }
        span.duration().as_secs()
    };
    Lifetimes { idle: seconds("idle", spec.idle, 3600), whole: seconds("lifetime", spec.lifetime, 12 * 3600) }
}

fn keys(spec: &OidcSessionSpec, scope: &AuthScope<'_>) -> Result<Vec<Bytes>, Mistake> {
    let at = || KeyPath::root().then("session").then("keys");
    let cure = "make one with `openssl rand -base64 32`";
    if spec.keys.is_empty() {
        return Err(Mistake::new(at(), format!("it is missing; name a file with a key for sessions, and {cure}")));
    }
    let path = (scope.file)(&spec.keys);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Mistake::new(at(), format!("`{}` cannot be read: {}; {cure}", path.display(), error.kind()))
    })?;
    seal::read(&text).map_err(|why| Mistake::new(at(), format!("`{}`: {why}; {cure}", path.display())))
}
