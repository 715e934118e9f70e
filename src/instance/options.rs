//! What a configuration says of instances, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::value::{HttpUrl, Secret};
use crate::config::{EtcdSpec, InstancesSpec, KeyPath, Loaded, Report};
use crate::remote::HttpClient;
use crate::route::allow::{AllowEntry, AllowList};

const DEADLINE: Duration = Duration::from_secs(2);
const PREFIX: &str = "/pylon/instances/";
const CACHE_AGE: Duration = Duration::from_secs(3600);
/// Where instances may be unless something else is said; special addresses are not in it by the rules of allow-lists.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Where instances are kept, and where they may be.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    pub(super) keep: Keep,
    pub(super) allow: AllowList,
}

/// Where instances are kept.
#[derive(Debug, Clone)]
pub(super) enum Keep {
    Memory,
    File(PathBuf),
    Etcd(Box<EtcdOptions>),
}

/// How an etcd cluster is reached.
#[derive(Debug, Clone)]
pub(super) struct EtcdOptions {
    pub(super) http: HttpClient,
    pub(super) endpoints: Vec<HttpUrl>,
    pub(super) prefix: String,
    pub(super) credentials: Option<(String, Secret)>,
    pub(super) deadline: Duration,
    pub(super) cache: Option<(PathBuf, Duration)>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { keep: Keep::Memory, allow: everywhere() }
    }
}

/// All but special addresses.
pub(super) fn everywhere() -> AllowList {
    AllowList::new(EVERYWHERE.iter().filter_map(|entry| entry.parse().ok()).collect())
}

impl RegistryOptions {
    /// Checks `instances`. Files of certificates are read; nothing is started or written.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn compile(loaded: &Loaded) -> Result<Self, Report> {
        let Some(spec) = &loaded.process.instances else { return Ok(Self::default()) };
        let mut wrong = Wrong { loaded, report: Report::new() };
        let allow = allow(spec, &mut wrong);
        let keep = match (&spec.file, &spec.etcd) {
            (Some(_), Some(_)) => {
                wrong.say(&["file"], "there is `etcd` as well; instances are kept in one place, so remove one of them");
                Keep::Memory
            }
            (Some(file), None) => {
                if file.is_empty() || file.ends_with('/') {
                    wrong.say(&["file"], "it names no file; write one such as /var/lib/pylon/instances.json");
                }
                Keep::File(loaded.resolve_path(0, file))
            }
            (None, Some(spec)) => {
                etcd(spec, loaded, &mut wrong).map_or(Keep::Memory, |etcd| Keep::Etcd(Box::new(etcd)))
            }
            (None, None) => Keep::Memory,
        };
        wrong.report.into_result(Self { keep, allow })
    }
}

/// Collects problems below `instances`.
struct Wrong<'a> {
    loaded: &'a Loaded,
    report: Report,
}

impl Wrong<'_> {
    fn say(&mut self, keys: &[&str], message: impl Into<String>) {
        let path = keys.iter().fold(KeyPath::root().then("instances"), |path, key| path.then(*key));
        self.report.push(self.loaded.problem_at(0, path, message));
    }
}

fn allow(spec: &InstancesSpec, wrong: &mut Wrong<'_>) -> AllowList {
    let texts = || spec.allow.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let mut entries: Vec<AllowEntry> = Vec::new();
    for text in texts() {
        match text.parse() {
            Ok(entry) => entries.push(entry),
            Err(message) => wrong.say(&["allow"], message),
        }
    }
    if texts().next().is_none() { everywhere() } else { AllowList::new(entries) }
}

fn etcd(spec: &EtcdSpec, loaded: &Loaded, wrong: &mut Wrong<'_>) -> Option<EtcdOptions> {
    let endpoints: Vec<HttpUrl> = spec.endpoints.iter().cloned().collect();
    if endpoints.is_empty() {
        wrong.say(
            &["etcd", "endpoints"],
            "there is none; list the members of the cluster, such as http://10.0.0.1:2379",
        );
    }
    let prefix = spec.prefix.clone().unwrap_or_else(|| PREFIX.to_owned());
    if prefix.len() < 2 || !prefix.ends_with('/') || prefix.chars().any(char::is_control) {
        wrong.say(
            &["etcd", "prefix"],
            format!("{prefix:?} is no prefix of keys; write one that ends in `/`, such as {PREFIX}"),
        );
    }
    let credentials = match (&spec.user, &spec.password) {
        (Some(user), Some(password)) => Some((user.clone(), password.clone())),
        (None, None) => None,
        (Some(_), None) => {
            wrong.say(&["etcd", "user"], "it has no password; write `password: \"${file:/run/secrets/etcd}\"`");
            None
        }
        (None, Some(_)) => {
            wrong.say(&["etcd", "password"], "nobody is named whose it is; write `user` as well, or remove it");
            None
        }
    };
    let deadline = spec.deadline.map_or(DEADLINE, Into::into);
    if !(Duration::from_millis(100)..=Duration::from_secs(20)).contains(&deadline) {
        wrong.say(&["etcd", "deadline"], "it is not from 100ms to 20s; 2s does as a rule");
    }
    let age = spec.cache_max_age.map_or(CACHE_AGE, Into::into);
    if spec.cache.is_none() && spec.cache_max_age.is_some() {
        wrong.say(&["etcd", "cache_max_age"], "there is no `cache`; write the file that it is about, or remove it");
    }
    let cache = spec.cache.as_deref().map(|file| (loaded.resolve_path(0, file), age));
    let http = client(spec, loaded).map_err(|(key, message)| wrong.say(&["etcd", "tls", key], message)).ok()?;
    Some(EtcdOptions { http, endpoints, prefix, credentials, deadline, cache })
}

/// A client that speaks TLS as the spec has it; else the key that is wrong.
fn client(spec: &EtcdSpec, loaded: &Loaded) -> Result<HttpClient, (&'static str, String)> {
    let file = |name: &Option<String>| name.as_deref().map(|name| loaded.resolve_path(0, name));
    let (ca, cert, key) = (file(&spec.tls.ca), file(&spec.tls.cert), file(&spec.tls.key));
    let own = match (&cert, &key) {
        (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
        (None, None) => None,
        (Some(_), None) => return Err(("cert", "it has no key; write `key` as well".to_owned())),
        (None, Some(_)) => return Err(("key", "it has no certificate; write `cert` as well".to_owned())),
    };
    HttpClient::new(ca.as_deref()).map_err(|message| ("ca", message))?;
    HttpClient::with_certificate(ca.as_deref(), own).map_err(|message| ("cert", message))
}
