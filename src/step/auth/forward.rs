//! `auth: { forward: … }`: ask a service of yours.
//!
//! ```yaml
//!   auth:
//!     forward:
//!       url: http://10.0.0.7:4180/check
//!       headers: [Authorization, Cookie, Accept]
//!       user: X-Auth-Request-User
//!       groups: X-Auth-Request-Groups
//!       pass: [X-Auth-Request-Email]       # on to the upstream
//!       cache: { time: 5s }
//! ```
//!
//! The service sees a GET without a body: the headers that are named, and method, URL and client in `X-Forwarded-*`. What it
//! answers lets the request pass (2xx), goes to the client (401, 403, a redirect to a sign-in), or is a failure: then nothing
//! passes, and the client gets 503. With a cache, requests with the same credentials that come meanwhile wait for the one
//! answer.

mod answer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Full;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use self::answer::Reading;
use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::value::{Flag, HeaderName as Name, Span};
use crate::config::{ForwardAuthSpec, KeyPath};
use crate::observe::redact;
use crate::remote::HttpClient;
use crate::step::Headers;
use crate::step::forwarded::{self, X_FORWARDED_FOR, X_REQUEST_ID};
use crate::step::headers::is_of_the_message;
use crate::step::shared::Keep;

/// The method of the request that the service is asked about.
static X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
/// Its target: path and query.
static X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// How long the service may take where the route does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer is kept where the route does not say.
const KEPT: Duration = Duration::from_secs(5);
/// How many answers are kept where the route does not say.
const ENTRIES: u32 = 10_000;
/// Bytes of an answer's body.
const BODY: usize = 256 * 1024;

/// The step, compiled.
#[derive(Debug)]
pub(super) struct Forward {
    url: Uri,
    headers: Vec<HeaderName>,
    timeout: Duration,
    reading: Reading,
    by_path: bool,
    kept: Arc<Kept>,
}

/// What outlives a reload: connections, and answers.
struct Kept {
    client: HttpClient,
    answers: Option<Answers>,
}

struct Answers {
    cache: Cache<[u8; 32], Passed>,
    time: Duration,
}

/// Somebody whom the service let pass.
#[derive(Clone)]
struct Passed {
    proof: Arc<Proof>,
    until: Instant,
}

impl Keep for Kept {}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

/// What these are kept for: the step as it is written, and the authorities that its file holds.
type Settings = (ForwardAuthSpec, Option<Vec<u8>>);

impl Forward {
    /// Checks the step.
    pub(super) fn compile(spec: &ForwardAuthSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let url = url(&spec.url).map_err(|message| mistakes.push(Mistake::at("url", message))).ok();
        let named = |list: &[Name]| list.iter().map(|name| name.get().clone()).collect();
        let headers: Vec<HeaderName> =
            spec.headers.as_ref().map_or_else(|| vec![AUTHORIZATION, COOKIE], |headers| named(headers));
        let pass: Vec<HeaderName> = named(&spec.pass);
        for (key, names) in [("headers", &headers), ("pass", &pass)] {
            for (index, name) in names.iter().enumerate() {
                let cookie = key == "pass" && *name == COOKIE;
                if is_of_the_message(name) || is_set_by_pylon(name) || cookie {
                    let at = KeyPath::root().then(key).then(index);
                    mistakes.push(Mistake::new(at, format!("`{name}` is set by Pylon alone; remove it")));
                }
            }
        }
        let mut time = |path: &[&str], span: Option<Span>, default, range: (Duration, Duration)| {
            let time = span.map_or(default, Span::duration);
            if !(range.0..=range.1).contains(&time) {
                let at = path.iter().fold(KeyPath::root(), |path, key| path.then(*key));
                let message = format!("it is {time:?}; write a time from {:?} to {:?}", range.0, range.1);
                mistakes.push(Mistake::new(at, message));
            }
            time
        };
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let timeout = time(&["timeout"], spec.timeout, TIMEOUT, (Duration::from_millis(10), minutes(1)));
        let cache = spec.cache.clone().unwrap_or_default();
        let kept_for = time(&["cache", "time"], cache.time, KEPT, (Duration::from_secs(1), minutes(60)));
        let entries = cache.entries.map_or(ENTRIES, |count| count.0).max(1) as usize;
        let ca = spec.ca.as_deref().map(scope.file);
        let client = HttpClient::new(ca.as_deref());
        let client = client.map_err(|message| mistakes.push(Mistake::at("ca", message))).ok();
        let (Some(url), Some(client), []) = (url, client, mistakes.as_slice()) else { return Err(mistakes) };
        let settings: Settings = (spec.clone(), ca.and_then(|path| std::fs::read(path).ok()));
        let answers = || Answers { cache: Cache::new(entries), time: kept_for };
        let kept = || Kept { client, answers: spec.cache.as_ref().map(|_| answers()) };
        Ok(Self {
            url,
            headers,
            timeout,
            reading: Reading::new(spec, pass),
            by_path: cache.by_path.unwrap_or(Flag(true)).get(),
            kept: scope.shared.keep(scope.before, &settings, kept),
        })
    }

    /// Headers that only the service may give the upstream, on any route. `Authorization` is what clients bring.
    pub(super) fn reserves(&self) -> impl Iterator<Item = &HeaderName> {
        self.reading.pass.iter().filter(|name| **name != AUTHORIZATION)
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let told = self.told(asking);
        let asked = async {
            match &self.kept.answers {
                None => self.ask(told).await,
                Some(answers) => self.recall(answers, asking, told).await,
            }
        };
        let late = || Finding::Unavailable(format!("{} does not answer within {:?}", self.shown(), self.timeout));
        tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| late())
    }

    /// What `WWW-Authenticate` says; `wrong` where credentials of this kind came and were not good.
    #[allow(clippy::unused_self, reason = "each way has one of these")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        None
    }

    /// What the service is told.
    fn told(&self, asking: &Asking<'_>) -> HeaderMap {
        let mut told = HeaderMap::with_capacity(self.headers.len() + 8);
        for line in asking.headers.get_all(&X_FORWARDED_FOR) {
            told.append(X_FORWARDED_FOR.clone(), line.clone());
        }
        let host = HeaderValue::from_str(asking.host).ok();
        forwarded::apply(&mut told, asking.client, host.as_ref(), None, HeaderValue::from_static("-"));
        told.remove(&X_REQUEST_ID);
        told.set_text(&X_FORWARDED_METHOD, asking.method.as_str());
        told.set_text(&X_FORWARDED_URI, asking.target);
        for name in self.headers.iter().filter(|name| **name != COOKIE) {
            for line in asking.headers.get_all(name) {
                told.append(name.clone(), line.clone());
            }
        }
        if self.headers.contains(&COOKIE) && asking.headers.contains_key(COOKIE) {
            // HTTP/2 splits it, HTTP/1.1 must not (RFC 9113 §8.2.3).
            let lines: Vec<&[u8]> = asking.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
                told.insert(COOKIE, joined);
            }
        }
        told
    }

    /// Asks the service.
    async fn ask(&self, told: HeaderMap) -> Finding {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = told;
        match self.kept.client.send(request, self.timeout, BODY).await {
            Ok(received) => self.reading.read(received),
            Err(error) => Finding::Unavailable(format!("{}: {error}", self.shown())),
        }
    }

    /// The URL for people: what is secret in its query is not told.
    fn shown(&self) -> String {
        redact::url(&self.url.to_string(), &[]).into_owned()
    }

    /// Asks the service, unless it let the same pass before.
    async fn recall(&self, answers: &Answers, asking: &Asking<'_>, told: HeaderMap) -> Finding {
        let key = self.key(asking, &told);
        answers.cache.remove_if(&key, |passed| passed.until <= Instant::now());
        let passed = answers.cache.get_or_insert_async(&key, async {
            match self.ask(told).await {
                Finding::Proven(proof) if proof.response.is_empty() => {
                    Ok(Passed { proof: Arc::from(proof), until: Instant::now() + answers.time })
                }
                other => Err(other),
            }
        });
        match passed.await {
            Ok(passed) => Finding::Proven(Box::new((*passed.proof).clone())),
            Err(other) => other,
        }
    }

    /// What keeps answers apart; of credentials, nothing but this is kept.
    fn key(&self, asking: &Asking<'_>, told: &HeaderMap) -> [u8; 32] {
        let mut key = Sha256::new();
        let mut add = |bytes: &[u8]| {
            key.update((bytes.len() as u64).to_le_bytes());
            key.update(bytes);
        };
        if self.by_path {
            add(asking.method.as_str().as_bytes());
            add(asking.target.as_bytes());
        }
        for (name, value) in told.iter().filter(|(name, _)| **name != X_FORWARDED_METHOD && **name != X_FORWARDED_URI) {
            add(name.as_str().as_bytes());
            add(value.as_bytes());
        }
        key.finalize().into()
    }
}

/// Whether Pylon sets a header on every request.
fn is_set_by_pylon(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || ["forwarded", "x-real-ip", "x-request-id", "traceparent"].contains(&name)
}

/// The URL of the service.
fn url(text: &str) -> Result<Uri, String> {
    if text.is_empty() {
        return Err("it is missing; write the URL of the service, such as `http://10.0.0.7:4180/check`".to_owned());
    }
    let known = |uri: &Uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        scheme && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    };
    let uri: Option<Uri> = text.parse().ok().filter(known).filter(|_| !text.contains('#'));
    uri.ok_or_else(|| "it is not a URL; write one such as `http://10.0.0.7:4180/check`, without a user".to_owned())
}

#[cfg(test)]
mod tests;
