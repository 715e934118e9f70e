//! `lookup` of `dynamic`: a service says which hosts a key has.
//!
//! ```yaml
//!   path: /{collection}/{function}/**
//!   dynamic:
//!     lookup:
//!       url: "http://127.0.0.1:8887/?key={nonce}&sign={sign}"
//!       sign: { hash: sha1, secret: "${KEY}" }      # base64 of the HMAC of the random number
//!       key: "{collection}"
//!       default: all                                # the key whose hosts serve keys without
//!     port: 8887
//!     allow: [10.0.0.0/8, "127.0.0.1:8887"]
//!     local: { port: 8887 }                         # what is left where nobody is named
//! ```
//!
//! The answer is a JSON object, key → list of hosts. The service is asked in the background; requests wait for it only as
//! long as nothing is known of it. What it said last is used while it is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Mistake;
use super::shared::Keep;
use crate::config::value::{ByteSize, Span};
use crate::config::{Choice, LookupSpec, SignEncoding, SignHash, SignSpec};
use crate::remote::HttpClient;

/// After a question without an answer the next one comes after this, then after twice as long, up to the refresh.
const RETRY: Duration = Duration::from_secs(1);
/// The keys of an answer, and the hosts of a key.
const KEYS: usize = 10_000;
const HOSTS: usize = 1000;

/// Hosts by key.
type Known = HashMap<String, Vec<String>>;

/// A service that is asked.
pub struct Lookup {
    client: HttpClient,
    url: String,
    sign: Option<SignSpec>,
    default: Option<String>,
    fallback: Vec<String>,
    choose: Choice,
    refresh: Duration,
    timeout: Duration,
    most: usize,
    known: ArcSwapOption<Known>,
    next: AtomicUsize,
    /// How many questions have ended.
    asked: watch::Sender<u64>,
    /// Somebody waits for an answer.
    wanted: Notify,
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Lookup {
    /// Checks the step; `file` finds a file that the configuration names.
    ///
    /// # Errors
    /// All mistakes, below `lookup`.
    pub fn compile(spec: &LookupSpec, file: &dyn Fn(&str) -> std::path::PathBuf) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut wrong = |key: &str, message: String| mistakes.push(Mistake::at(key, message));
        match fill(&spec.url, "0", "0").parse::<Uri>() {
            Ok(url) if matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() => {}
            _ => {
                let message = format!(
                    "`{}` is not a URL; write one such as `http://127.0.0.1:8887/?key={{nonce}}&sign={{sign}}`",
                    spec.url
                );
                wrong("url", message);
            }
        }
        if spec.sign.is_some() != spec.url.contains("{sign}") {
            let message = "a signature has its place in the URL, `{sign}`; write both or neither".to_owned();
            wrong("sign", message);
        }
        if spec.sign.is_some() && !spec.url.contains("{nonce}") {
            wrong("url", "what is signed is not in it; add `{nonce}`".to_owned());
        }
        // Services that know SHA-1 alone have the secrets that they have.
        let weak = |sign: &SignSpec| sign.hash != SignHash::Sha1 && sign.secret.expose().len() < 16;
        if spec.sign.as_ref().is_some_and(weak) {
            wrong("sign", "the secret is shorter than 16 bytes; write one that nobody guesses".to_owned());
        }
        if spec.key.is_empty() {
            wrong("key", "missing; write a capture of the path such as `{collection}`".to_owned());
        }
        let refresh = spec.refresh.map_or(Duration::from_secs(60), Span::duration);
        if refresh < Duration::from_secs(1) {
            wrong("refresh", "it is too often; write 1s or more".to_owned());
        }
        let timeout = spec.timeout.map_or(Duration::from_secs(5), Span::duration);
        if timeout.is_zero() {
            wrong("timeout", "no answer comes in no time; write one such as 5s".to_owned());
        }
        let authorities = spec.ca.as_deref().map(file);
        let client = HttpClient::new(authorities.as_deref()).map_err(|message| wrong("ca", message));
        match client {
            Ok(client) if mistakes.is_empty() => Ok(Self {
                client,
                url: spec.url.clone(),
                sign: spec.sign.clone(),
                default: spec.default.clone(),
                fallback: spec.fallback.iter().cloned().collect(),
                choose: spec.choose,
                refresh,
                timeout,
                most: spec.max_size.map_or(1024 * 1024, ByteSize::as_usize),
                known: ArcSwapOption::empty(),
                next: AtomicUsize::new(0),
                asked: watch::channel(0).0,
                wanted: Notify::new(),
            }),
            _ => Err(mistakes),
        }
    }

    /// Waits until something is known of the service: the first requests for as long as an answer may take, others, where it
    /// did not answer before, not that long.
    pub async fn ready(&self) {
        if self.known.load().is_some() {
            return;
        }
        let mut asked = self.asked.subscribe();
        let first = *asked.borrow_and_update() == 0;
        self.wanted.notify_one();
        // It may be that nothing is known after it: then the service is away, and the request goes on without.
        let most = if first { self.timeout } else { self.timeout.min(RETRY) };
        let _ = tokio::time::timeout(most, asked.changed()).await;
    }

    /// What `tell` makes of one of the hosts of a key: of its own, else of the default key, else of the fallback. Where it makes
    /// nothing of the one that is chosen, the others are asked, and of none if there are none.
    ///
    /// # Errors
    /// Why it makes nothing of any.
    pub fn choose<T, E>(&self, key: &str, mut tell: impl FnMut(Option<&str>) -> Result<T, E>) -> Result<T, E> {
        let known = self.known.load();
        let of = |key: &str| known.as_ref()?.get(key).filter(|hosts| !hosts.is_empty());
        let hosts = of(key).or_else(|| of(self.default.as_deref()?)).unwrap_or(&self.fallback);
        let at = match self.choose {
            _ if hosts.is_empty() => return tell(None),
            Choice::Random => fastrand::usize(..hosts.len()),
            Choice::RoundRobin => self.next.fetch_add(1, Ordering::Relaxed) % hosts.len(),
        };
        let (before, from) = hosts.split_at(at);
        let mut told = from.iter().chain(before).map(|host| tell(Some(host)));
        match told.next() {
            Some(Err(error)) => told.find_map(Result::ok).ok_or(error),
            Some(found) => found,
            None => tell(None),
        }
    }

    async fn ask(&self) -> Result<Known, String> {
        let nonce = fastrand::u64(..).to_string();
        let sign = self.sign.as_ref().map(|spec| sign(spec, &nonce)).unwrap_or_default();
        let url = fill(&self.url, &nonce, &utf8_percent_encode(&sign, NON_ALPHANUMERIC).to_string());
        let url: Uri = url.parse().map_err(|_| "its URL is none".to_owned())?;
        let received = self.client.get(&url, self.timeout, self.most).await.map_err(|error| error.to_string())?;
        if !received.status.is_success() {
            return Err(format!("it answered {}", received.status.as_u16()));
        }
        read(&received.body)
    }

    /// Asks again and again, for as long as somebody has this.
    async fn keep_up(this: Weak<Self>) {
        let mut failures = 0_u32;
        loop {
            let Some(lookup) = this.upgrade() else { return };
            let began = Instant::now();
            match lookup.ask().await {
                Ok(known) => {
                    if failures > 0 {
                        tracing::info!(url = %lookup.shown(), "the look-up answers again");
                    }
                    failures = 0;
                    lookup.known.store(Some(Arc::new(known)));
                }
                Err(error) => {
                    if failures == 0 {
                        let kept = lookup.known.load().is_some();
                        tracing::warn!(url = %lookup.shown(), %error, kept, "the look-up does not answer");
                    }
                    failures = failures.saturating_add(1);
                }
            }
            lookup.asked.send_modify(|asked| *asked += 1);
            let refresh = lookup.refresh;
            let pause =
                if failures == 0 { refresh } else { RETRY.saturating_mul(1 << (failures - 1).min(10)).min(refresh) };
            let waits_for_first = lookup.known.load().is_none();
            drop(lookup);
            if waits_for_first {
                // Whoever comes now wants to know; but not more often than that.
                tokio::time::sleep_until(began + RETRY / 4).await;
                let wanted = async {
                    match this.upgrade() {
                        Some(lookup) => lookup.wanted.notified().await,
                        None => std::future::pending().await,
                    }
                };
                let _ = tokio::time::timeout(pause, wanted).await;
            } else {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Its URL without the query.
    fn shown(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }
}

impl Keep for Lookup {
    fn start(self: Arc<Self>) {
        tokio::spawn(Self::keep_up(Arc::downgrade(&self)));
    }
}

fn fill(url: &str, nonce: &str, sign: &str) -> String {
    url.replace("{nonce}", nonce).replace("{sign}", sign)
}

fn sign(spec: &SignSpec, text: &str) -> String {
    let algorithm = match spec.hash {
        SignHash::Sha1 => ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        SignHash::Sha256 => ring::hmac::HMAC_SHA256,
        SignHash::Sha512 => ring::hmac::HMAC_SHA512,
    };
    let key = ring::hmac::Key::new(algorithm, spec.secret.expose().as_bytes());
    let tag = ring::hmac::sign(&key, text.as_bytes());
    match spec.encoding {
        SignEncoding::Base64 => BASE64.encode(tag.as_ref()),
        SignEncoding::Base64url => BASE64URL_NOPAD.encode(tag.as_ref()),
        SignEncoding::Hex => HEXLOWER.encode(tag.as_ref()),
    }
}

fn read(body: &Bytes) -> Result<Known, String> {
    let known: Known = serde_json::from_slice(body)
        .map_err(|error| format!("its answer is no JSON object of lists of hosts: line {}", error.line()))?;
    if known.len() > KEYS || known.values().any(|hosts| hosts.len() > HOSTS) {
        return Err(format!("its answer has more than {KEYS} keys, or {HOSTS} hosts of one"));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(text: &str) -> Result<Lookup, Vec<Mistake>> {
        Lookup::compile(&serde_yaml::from_str(text).unwrap(), &|path| path.into())
    }

    #[test]
    fn a_question_is_signed() {
        let spec: SignSpec = serde_yaml::from_str("{ hash: sha1, secret: secret-key }").unwrap();
        // printf 7 | openssl dgst -sha1 -hmac secret-key -binary | base64
        assert_eq!(sign(&spec, "7"), "mRr7lQywTbumC7CMzxCVmPPMXu0=");
        assert_eq!(fill("http://h/?k={nonce}&s={sign}", "7", "a%3D"), "http://h/?k=7&s=a%3D");
    }

    #[test]
    fn keys_have_hosts_or_those_of_the_default_or_of_the_fallback() {
        let lookup =
            lookup("{ url: 'http://h/', key: '{k}', default: ' all ', fallback: [f], choose: round_robin }").unwrap();
        let choose = |key: &str| lookup.choose(key, |host| Ok::<_, ()>(host.map(str::to_owned))).unwrap();
        assert_eq!(choose("a").as_deref(), Some("f"));
        let body = Bytes::from_static(br#"{"a": ["1", "2"], "b": [], " all ": ["3"]}"#);
        lookup.known.store(Some(Arc::new(read(&body).unwrap())));
        let mut both = [choose("a").unwrap(), choose("a").unwrap()];
        both.sort();
        assert_eq!(both, ["1", "2"]);
        assert_eq!(choose("b").as_deref(), Some("3"));
        assert_eq!(choose("c").as_deref(), Some("3"));
        for _ in 0..4 {
            let second = |host: Option<&str>| host.filter(|host| *host == "2").map(str::to_owned).ok_or(());
            assert_eq!(lookup.choose("a", second).as_deref(), Ok("2"));
        }
        assert!(lookup.choose("a", |_| Err::<(), _>("none")).is_err());
        lookup.known.store(Some(Arc::default()));
        assert_eq!(choose("a").as_deref(), Some("f"));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in ["", "[]", "{\"a\": 1}", "{\"a\": [1]}", "{\"a\": \"h\"}"] {
            assert!(read(&Bytes::from_static(body.as_bytes())).is_err(), "{body}");
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, key, part) in [
            ("{ url: 'ftp://h/', key: k }", "url", "is not a URL"),
            ("{ url: 'http://h/?{sign}', key: k }", "sign", "both or neither"),
            ("{ url: 'http://h/?{sign}', key: k, sign: { secret: 0123456789abcdef } }", "url", "{nonce}"),
            ("{ url: 'http://h/?{nonce}{sign}', key: k, sign: { secret: short } }", "sign", "16 bytes"),
            ("{ url: 'http://h/', key: '' }", "key", "missing"),
            ("{ url: 'http://h/', key: k, refresh: 10ms }", "refresh", "too often"),
        ] {
            let mistakes = lookup(text).unwrap_err();
            let found = mistakes.iter().find(|m| m.path.to_string() == key).unwrap();
            assert!(found.message.contains(part), "{text}: {found:?}");
        }
    }
}
