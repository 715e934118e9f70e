//! Keys at a URL: fetched in the background, anew at a key that is not known, and kept while their issuer is away.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::{StatusCode, Uri};
use parking_lot::Mutex;

use super::discovery::{Metadata, http_url};
use super::keys::KeySet;
use super::verify::{Claims, Refused, Rules};
use crate::observe::redact;
use crate::remote::HttpClient;
use crate::step::shared::Keep;

/// What an issuer publishes is shorter.
const MOST: usize = 1 << 20;
/// How often requests, which anybody can send, may cause a fetch.
pub(in crate::step::auth) const PAUSE: Duration = Duration::from_secs(5);
/// How long to wait after a failure; twice as long after each further one, up to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where keys are found.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::step::auth) enum Origin {
    /// At a URL.
    Keys(Uri),
    /// Where this issuer says at a URL.
    Issuer(String, Uri),
}

/// Settings of one [`Remote`].
#[derive(Debug, Clone, PartialEq)]
pub(in crate::step::auth) struct RemoteSettings {
    pub(in crate::step::auth) origin: Origin,
    /// The authorities that are believed, as they stand in their file.
    pub(in crate::step::auth) ca: Option<Vec<u8>>,
    /// How often keys are fetched anew.
    pub(in crate::step::auth) refresh: Duration,
    /// How long each answer may take.
    pub(in crate::step::auth) timeout: Duration,
    /// Requests, which anybody can send, cause one fetch in this time at most.
    pub(in crate::step::auth) pause: Duration,
}

/// Keys, and what their issuer says of itself where it was asked.
#[derive(Debug)]
pub(in crate::step::auth) struct Known {
    pub(in crate::step::auth) keys: KeySet,
    /// Grows whenever the keys change.
    pub(in crate::step::auth) generation: u64,
    pub(in crate::step::auth) metadata: Option<Metadata>,
}

/// Keys at a URL.
#[derive(Debug)]
pub(in crate::step::auth) struct Remote {
    settings: RemoteSettings,
    client: HttpClient,
    known: ArcSwapOption<Known>,
    /// Held while keys are fetched.
    turn: tokio::sync::Mutex<()>,
    /// When the last fetch ended.
    last: Mutex<Option<Instant>>,
    /// Whether the last fetch failed: each change is logged, and not each failure.
    failing: AtomicBool,
}

impl Remote {
    pub(in crate::step::auth) fn new(settings: RemoteSettings, client: HttpClient) -> Self {
        Self {
            settings,
            client,
            known: ArcSwapOption::empty(),
            turn: tokio::sync::Mutex::default(),
            last: Mutex::default(),
            failing: AtomicBool::default(),
        }
    }

    /// Asks whom its keys come from.
    pub(in crate::step::auth) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// What is known now; where nothing is, as Pylon has just started, it waits for the fetch that is under way.
    pub(in crate::step::auth) async fn known(self: &Arc<Self>) -> Option<Arc<Known>> {
        if let Some(known) = self.known.load_full() {
            return Some(known);
        }
        self.again().await
    }

    /// What is known after another look at the issuer, unless the last was a moment ago.
    pub(in crate::step::auth) async fn again(self: &Arc<Self>) -> Option<Arc<Known>> {
        if !self.was_just_fetched() {
            let this = Arc::clone(self);
            // A task of its own: a client that goes away must not cut off what it caused.
            let fetch = tokio::spawn(async move {
                let _turn = this.turn.lock().await;
                if !this.was_just_fetched() {
                    this.fetch().await;
                }
            });
            let _ = fetch.await;
        }
        self.known.load_full()
    }

    /// Verifies a token with the keys that are known, and once more where there may be newer ones; with which it was.
    ///
    /// # Errors
    /// Why it is not good.
    pub(in crate::step::auth) async fn verify(
        self: &Arc<Self>,
        rules: &Rules,
        token: &str,
        known: Arc<Known>,
    ) -> Result<(Claims, Arc<Known>), Cow<'static, str>> {
        let verified = rules.verify(token, &known.keys);
        if let Err(Refused::Key(_)) = &verified
            && let Some(fresh) = self.again().await
            && fresh.generation != known.generation
        {
            return rules.verify(token, &fresh.keys).map(|claims| (claims, fresh)).map_err(Refused::reason);
        }
        verified.map(|claims| (claims, known)).map_err(Refused::reason)
    }

    fn was_just_fetched(&self) -> bool {
        self.last.lock().is_some_and(|last| last.elapsed() < self.settings.pause)
    }

    /// Fetches keys; whether that went well.
    async fn fetch(&self) -> bool {
        let fetched = self.try_fetch().await;
        *self.last.lock() = Some(Instant::now());
        let failed = fetched.as_ref().err();
        let before = self.failing.swap(failed.is_some(), Ordering::Relaxed);
        match failed {
            Some(error) if !before => tracing::warn!(
                origin = %self.settings.origin, %error, kept = self.known.load().is_some(), "keys of tokens cannot be fetched"
            ),
            None if before => tracing::info!(origin = %self.settings.origin, "keys of tokens are fetched again"),
            _ => {}
        }
        if let Ok((keys, metadata)) = fetched {
            self.keep(keys, metadata);
            return true;
        }
        false
    }

    fn keep(&self, keys: KeySet, metadata: Option<Metadata>) {
        let before = self.known.load();
        let generation = match &*before {
            Some(before) if before.keys.is_same(&keys) => before.generation,
            Some(before) => before.generation + 1,
            None => 0,
        };
        let is_known = before.as_ref().is_some_and(|b| b.generation == generation && b.metadata == metadata);
        if !is_known {
            self.known.store(Some(Arc::new(Known { keys, generation, metadata })));
        }
    }

    async fn try_fetch(&self) -> Result<(KeySet, Option<Metadata>), String> {
        let (url, metadata) = match &self.settings.origin {
            Origin::Keys(url) => (url.clone(), None),
            Origin::Issuer(issuer, url) => {
                let found = Metadata::read(&self.get(url).await?, issuer);
                let metadata = found.map_err(|why| format!("{}: {why}", shown(url)))?;
                (http_url(&metadata.jwks_uri)?, Some(metadata))
            }
        };
        let keys = KeySet::of_jwks(&self.get(&url).await?).map_err(|why| format!("{}: {why}", shown(&url)))?;
        Ok((keys, metadata))
    }

    async fn get(&self, url: &Uri) -> Result<bytes::Bytes, String> {
        let answer = self.client.get(url, self.settings.timeout, MOST).await;
        let answer = answer.map_err(|error| format!("{}: {error}", shown(url)))?;
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            status => Err(format!("{}: the answer is {status}", shown(url))),
        }
    }
}

/// A URL for people: what is secret in its query is not told.
fn shown(url: &Uri) -> String {
    redact::url(&url.to_string(), &[]).into_owned()
}

impl Keep for Remote {
    fn start(self: Arc<Self>) {
        let weak = Arc::downgrade(&self);
        tokio::spawn(async move {
            let mut retry = RETRY.0;
            loop {
                let Some(this) = weak.upgrade() else { return };
                let fetched = {
                    let _turn = this.turn.lock().await;
                    this.fetch().await
                };
                let wait = if fetched { this.settings.refresh } else { retry.min(this.settings.refresh) };
                retry = if fetched { RETRY.0 } else { (retry * 2).min(RETRY.1) };
                drop(this);
                tokio::time::sleep(wait).await;
            }
        });
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(url) => f.write_str(&shown(url)),
            Self::Issuer(issuer, _) => issuer.fmt(f),
        }
    }
}
