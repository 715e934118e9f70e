//! Where the secrets of signed requests are: a file, or Redis.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use ring::hmac;
use serde::Deserialize;

use super::super::live::{self, Live};
use super::super::{AuthScope, Mistake};
use super::known;
use crate::config::SignedKeysSpec;
use crate::config::value::Span;
use crate::step::identity::Identity;
use crate::step::redis_server::{Server, server};
use crate::step::shared::Keep;

/// Bytes of a secret at least.
const SHORTEST: usize = 16;
/// How long what Redis says is used, where the configuration does not say.
const CACHE: Duration = Duration::from_secs(10);
/// Access keys of which that is kept.
const CACHED: usize = 10_000;
const PREFIX: &str = "pylon:key:";

/// What is known of an access key.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) secret: hmac::Key,
    pub(super) identity: Arc<Identity>,
}

/// All access keys.
#[derive(Debug)]
pub(super) enum Keys {
    File(Arc<KeyFile>),
    Redis { server: Arc<Server>, prefix: String, cache: Arc<Answers> },
}

/// What Redis said, and when; also of keys that are not there.
#[derive(Debug)]
pub(super) struct Answers {
    fresh: Duration,
    known: Cache<String, (Instant, Option<Found>)>,
}

impl Keep for Answers {}

/// A file of keys, read again when it changes.
pub(super) struct KeyFile(Live<HashMap<String, Found>>);

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").finish_non_exhaustive()
    }
}

/// The settings of a file, apart from those of others.
#[derive(Clone, PartialEq)]
struct FileSettings(PathBuf);

impl Keys {
    /// Checks where the keys are.
    pub(super) fn compile(spec: &SignedKeysSpec, scope: &AuthScope<'_>) -> Result<Self, Mistake> {
        match (&spec.file, &spec.redis) {
            (Some(_), None) if spec.prefix.is_some() || spec.cache.is_some() => {
                let key = if spec.prefix.is_some() { "prefix" } else { "cache" };
                Err(Mistake::at(key, "this is about `redis`; remove it"))
            }
            (Some(file), None) => {
                let path = (scope.file)(file);
                let keys = Live::open_secret(path.clone(), parse).map_err(|message| Mistake::at("file", message))?;
                Ok(Self::File(scope.shared.keep(scope.before, &FileSettings(path), || KeyFile(keys))))
            }
            (None, Some(redis)) => {
                let fresh = spec.cache.map_or(CACHE, Span::duration);
                if fresh > Duration::from_secs(3600) {
                    return Err(Mistake::at("cache", "this is more than 1h; write one such as `10s`"));
                }
                let server = server(&redis.0, scope).map_err(|(key, message)| {
                    Mistake::new(crate::config::KeyPath::root().then("redis").then(key), message)
                })?;
                let make = || Answers { fresh, known: Cache::new(CACHED) };
                let cache = scope.shared.keep(scope.before, spec, make);
                Ok(Self::Redis { server, prefix: spec.prefix.clone().unwrap_or_else(|| PREFIX.to_owned()), cache })
            }
            _ => Err(Mistake::at("file", "write exactly one of `file` and `redis`")),
        }
    }

    /// What is known of an access key.
    ///
    /// # Errors
    /// Why that cannot be found out at the moment.
    pub(super) async fn find(&self, access: &str) -> Result<Option<Found>, String> {
        match self {
            Self::File(file) => Ok(file.0.get().value.get(access).cloned()),
            Self::Redis { server, prefix, cache } => {
                if let Some((_, found)) = cache.known.get(access).filter(|(at, _)| at.elapsed() < cache.fresh) {
                    return Ok(found);
                }
                let key = format!("{prefix}{access}");
                let fields = server.0.fields(key.as_bytes(), &["secret", "user", "groups"]).await;
                let found = match fields.map_err(|error| error.to_string())?.as_slice() {
                    [Some(secret), user, groups] if secret.len() >= SHORTEST => {
                        let groups = groups.as_deref().unwrap_or_default().split(',').map(str::trim);
                        let groups = groups.filter(|group| !group.is_empty()).map(str::to_owned).collect();
                        Some(known(access, secret, user.clone(), groups))
                    }
                    _ => None,
                };
                if !cache.fresh.is_zero() {
                    cache.known.insert(access.to_owned(), (Instant::now(), found.clone()));
                }
                Ok(found)
            }
        }
    }
}

/// A key in a file: its secret, or more of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Secret(String),
    Whole(Whole),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    secret: String,
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

/// Reads a file of keys. What is wrong is told without what stands in it.
fn parse(text: &str) -> Result<HashMap<String, Found>, String> {
    let form =
        "write one line for each key: `ACCESS_KEY: SECRET`, or `ACCESS_KEY: { secret: …, user: …, groups: […] }`";
    let written: HashMap<String, serde_yaml::Value> = serde_yaml::from_str(text).map_err(|error| {
        let at = error.location().map_or_else(String::new, |at| format!("line {}: ", at.line()));
        format!("{at}it is not a mapping of keys; {form}")
    })?;
    let mut keys = HashMap::with_capacity(written.len());
    for (access, value) in written {
        let value =
            serde_yaml::from_value(value).map_err(|_| format!("what it has for `{access}` has an odd form; {form}"))?;
        let Whole { secret, user, groups } = match value {
            Written::Secret(secret) => Whole { secret, user: None, groups: Vec::new() },
            Written::Whole(whole) => whole,
        };
        if secret.len() < SHORTEST {
            return Err(format!("the secret of `{access}` is too short; write {SHORTEST} characters or more"));
        }
        let found = known(&access, &secret, user, groups);
        keys.insert(access, found);
    }
    Ok(keys)
}

impl Keep for KeyFile {
    fn start(self: Arc<Self>) {
        live::watch(&self, |file| file.0.refresh());
    }
}
