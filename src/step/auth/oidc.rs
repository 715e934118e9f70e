//! `auth: { oidc: … }`: people at browsers sign in at an `OpenID` provider.
//!
//! ```yaml
//!   auth:
//!     oidc:
//!       issuer: https://id.example.org
//!       client_id: pylon
//!       client_secret: ${file:/run/secrets/pylon-client}
//!       session: { keys: /run/secrets/pylon-session-keys, idle: 1h, lifetime: 12h }
//!       claims: { user: preferred_username, groups: groups }
//! ```
//!
//! A browser without a session is sent to the provider and comes back to the page that it asked for (code flow with
//! PKCE); everybody else gets 401. Nothing is kept here: a session is in the browser's cookie, encrypted with keys that
//! all instances share, and so is what a sign-in needs until it is finished. Tokens are renewed shortly before they
//! expire. What the provider announces at its issuer URL is fetched in the background; until that succeeded, and where
//! the provider is away, nothing passes that needs it.

mod compile;
mod cookies;
mod login;
mod logout;
mod provider;
mod renew;
mod seal;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use quick_cache::sync::Cache;

use super::jwt::{Mapping, Remembered, seconds};
use super::{Asking, AuthScope, Finding, Gate, Mistake, Proof, Reply, Require, Way};
use crate::config::OidcSpec;
use crate::observe::Metrics;
use crate::step::shared::Keep;

use cookies::Cookies;
use provider::Provider;
use renew::{Renewal, Renewed};
use seal::Seal;
use session::{Lifetimes, Opened, Session};

/// The step, compiled.
#[derive(Debug)]
pub(super) struct Oidc {
    desk: Arc<Desk>,
}

/// Where people sign in: the same for all routes with equal settings, and kept over reloads.
#[derive(Debug)]
struct Desk {
    provider: Provider,
    mapping: Mapping,
    seal: Seal,
    lifetimes: Lifetimes,
    /// Of browsers that come over http, and over https.
    cookies: [Cookies; 2],
    /// Scheme and host, where they are not those of the request.
    public_url: Option<String>,
    redirect_path: String,
    logout_path: String,
    after_logout: Option<String>,
    challenge: HeaderValue,
    /// Sessions that were opened, by their cookies.
    opened: Remembered<Opened>,
    /// What this process did with sessions.
    renewals: Cache<String, Arc<Renewal>>,
}

impl Keep for Desk {}

/// How browsers see Pylon in a request.
struct Here<'a> {
    /// Where the configuration says it.
    public_url: Option<&'a str>,
    scheme: &'static str,
    host: &'a str,
    is_https: bool,
    cookies: &'a Cookies,
}

impl Here<'_> {
    /// A URL at Pylon, with scheme and host: so no path, as `//other.example.org`, leads elsewhere.
    fn url(&self, path: &str) -> String {
        match self.public_url {
            Some(url) => format!("{url}{path}"),
            None => format!("{}://{}{path}", self.scheme, self.host),
        }
    }
}

impl Oidc {
    /// Checks the step.
    pub(super) fn compile(spec: &OidcSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        compile::compile(spec, scope).map(|desk| Self { desk })
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let desk = &self.desk;
        let here = desk.here(asking);
        let (is_get, is_post) = (*asking.method == Method::GET, *asking.method == Method::POST);
        if is_get && asking.path == desk.redirect_path {
            return Box::pin(desk.finish(asking, &here)).await;
        }
        if (is_get || is_post) && asking.path == desk.logout_path {
            return Box::pin(desk.log_out(asking, &here)).await;
        }
        let found = match desk.open(asking, &here) {
            Ok(found) => desk.current(found, asking).await,
            Err(why) => Err(why),
        };
        match found {
            Ok((opened, changed)) => desk.pass(asking, &here, &opened, changed),
            Err(NoSession::Unavailable(why)) => Finding::Unavailable(why),
            Err(_) if asking.is_browser() => Box::pin(desk.begin(asking, &here)).await,
            Err(NoSession::Absent) => Finding::Absent,
            Err(NoSession::Wrong(why)) => Finding::Wrong(why.into()),
        }
    }

    /// What `WWW-Authenticate` says.
    #[allow(clippy::unnecessary_wraps, reason = "one form for all ways")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        Some(self.desk.challenge.clone())
    }

    /// Its own paths, as the snapshot makes routes of them.
    pub(super) fn sign_in(&self) -> SignIn {
        SignIn { desk: Arc::clone(&self.desk) }
    }
}

/// Why there is no session.
enum NoSession {
    Absent,
    Wrong(&'static str),
    Unavailable(String),
}

impl Desk {
    fn here<'a>(&'a self, asking: &Asking<'a>) -> Here<'a> {
        let (public_url, scheme) = (self.public_url.as_deref(), asking.client.scheme);
        let is_https = public_url.map_or(scheme == "https", |url| url.starts_with("https:"));
        Here { public_url, scheme, host: asking.host, is_https, cookies: &self.cookies[usize::from(is_https)] }
    }

    /// What a session is encrypted for, so that it cannot stand for anything else: one of another provider, where a client
    /// may have the same name.
    fn purpose(&self, here: &Here<'_>) -> String {
        format!("session {} {} {}", here.cookies.session(), self.provider.issuer, self.provider.client_id)
    }

    /// The session of a request, as its cookie has it.
    fn open(&self, asking: &Asking<'_>, here: &Here<'_>) -> Result<Arc<Opened>, NoSession> {
        let Some(sealed) = here.cookies.read(asking) else {
            let is_there = here.cookies.has_session(asking);
            return Err(if is_there { NoSession::Wrong("the session is not whole") } else { NoSession::Absent });
        };
        // A session is bound to the name of its cookie, and so is what is known of it.
        let kind = u64::from(here.is_https);
        if let Some(opened) = self.opened.get(&sealed, kind, asking.now) {
            return Ok(opened);
        }
        let plain = self.seal.open(&self.purpose(here), &sealed);
        let session = plain.and_then(|plain| serde_json::from_slice::<Session>(&plain).ok());
        let session = session.ok_or(NoSession::Wrong("none of the keys opens the session"))?;
        let until = self.lifetimes.until(&session);
        if seconds(asking.now) > until {
            return Err(NoSession::Wrong("the session is over"));
        }
        let identity = session.identity(&self.mapping);
        let identity = Arc::new(identity.map_err(|_| NoSession::Wrong("the session does not tell the user"))?);
        let opened = Arc::new(Opened { session, identity });
        self.opened.put(&sealed, Arc::clone(&opened), kind, until);
        Ok(opened)
    }

    /// The session with the newest tokens, renewed where that is due; whether it is another than the browser has.
    async fn current(
        self: &Arc<Self>,
        found: Arc<Opened>,
        asking: &Asking<'_>,
    ) -> Result<(Arc<Opened>, bool), NoSession> {
        let now = seconds(asking.now);
        let renewal = self.renewals.get(&found.session.id);
        if renewal.as_ref().is_some_and(|renewal| renewal.is_over()) {
            return Err(NoSession::Wrong("the session is over"));
        }
        let newest = renewal.and_then(|renewal| renewal.newer_than(&found.session));
        let (found, changed) = newest.map_or((found, false), |newest| (newest, true));
        if found.session.refresh.is_none() || now < found.session.renew.min(found.session.expires) {
            return Ok((found, changed));
        }
        match self.renew(Arc::clone(&found), now).await {
            Renewed::New(fresh) => Ok((fresh, true)),
            // What it has is good until it expires.
            Renewed::Refused | Renewed::Unavailable(_) if now < found.session.expires => Ok((found, changed)),
            Renewed::Refused => Err(NoSession::Wrong("the provider has ended the session")),
            Renewed::Unavailable(why) => Err(NoSession::Unavailable(why)),
        }
    }

    /// Lets a session pass, and tells the browser of it where it has to know.
    fn pass(&self, asking: &Asking<'_>, here: &Here<'_>, opened: &Opened, changed: bool) -> Finding {
        let mut proof = Proof::of(Arc::clone(&opened.identity));
        let now = seconds(asking.now);
        if changed || self.lifetimes.is_due(&opened.session, now) {
            let seen = Session { seen: now, ..opened.session.clone() };
            self.give(asking, here, &seen, &mut proof.response);
        }
        Finding::Proven(Box::new(proof))
    }

    /// Gives a session to the browser; false where that is not possible.
    fn give(&self, asking: &Asking<'_>, here: &Here<'_>, session: &Session, response: &mut HeaderMap) -> bool {
        let plain = serde_json::to_vec(session).ok();
        let sealed = plain.and_then(|plain| self.seal.seal(&self.purpose(here), &plain));
        let left = self.lifetimes.until(session).saturating_sub(seconds(asking.now));
        sealed.is_some_and(|sealed| here.cookies.set(asking, &sealed, left.max(1), response))
    }
}

/// Sends a browser elsewhere.
fn redirect(location: &str, mut headers: HeaderMap) -> Finding {
    match HeaderValue::from_bytes(location.as_bytes()) {
        Ok(location) => {
            headers.insert(LOCATION, location);
            answer(StatusCode::FOUND, "", headers)
        }
        Err(_) => page(StatusCode::BAD_REQUEST, "There is no way on from here.", headers),
    }
}

/// A page of plain text; nothing of the request is in it.
fn page(status: StatusCode, text: &'static str, headers: HeaderMap) -> Finding {
    answer(status, text, headers)
}

fn answer(status: StatusCode, text: &'static str, mut headers: HeaderMap) -> Finding {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let body = if text.is_empty() { Bytes::new() } else { Bytes::from(format!("{text}\n")) };
    Finding::Answer(Box::new(Reply { status, headers, body }))
}

/// The paths that a sign-in needs for itself: the provider sends browsers there, whatever paths routes have.
#[derive(Debug, Clone)]
pub struct SignIn {
    desk: Arc<Desk>,
}

impl SignIn {
    /// Where browsers come back to, and where sessions end.
    #[must_use]
    pub fn paths(&self) -> [&str; 2] {
        [&self.desk.redirect_path, &self.desk.logout_path]
    }

    /// The names of its sessions. With what follows them behind a dot, they are for no upstream.
    #[must_use]
    pub fn cookies(&self) -> [&str; 2] {
        self.desk.cookies.each_ref().map(Cookies::session)
    }

    /// Whether both are of the same settings.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.desk, &other.desk)
    }

    /// What answers at its paths, and lets nothing pass.
    #[must_use]
    pub fn gate(&self, metrics: &Metrics) -> Gate {
        let way = Way::Oidc(Oidc { desk: Arc::clone(&self.desk) });
        let metrics = metrics.auth(way.key());
        let about = vec![format!("the way back from {}, and the end of sessions", self.desk.provider.issuer)];
        Gate { ways: vec![(way, metrics)], require: Require::default(), about }
    }
}

#[cfg(test)]
mod tests;
