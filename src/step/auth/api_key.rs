//! `auth: { api_key: … }`: keys of programs, checked against a file.
//!
//! ```yaml
//!   auth:
//!     api_key:
//!       file: keys                           # backup:sha256:9f86d081…:operators
//!       header: X-API-Key                    # the default
//!       scheme: Bearer                       # or: Authorization: Bearer KEY
//! ```
//!
//! A key is made by `openssl rand -hex 32`, and its line by `printf %s "$KEY" | sha256sum`. A key is looked up by its SHA-256,
//! so that the time that takes tells nothing of the keys that there are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::live::{self, Live, lines};
use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::ApiKeySpec;
use crate::step::identity::Identity;
use crate::step::shared::Keep;

/// The fewest bytes of a key that stands in the file itself.
const KEY: usize = 32;

/// The step, compiled.
pub(super) struct ApiKey {
    keys: Arc<KeyFile>,
    header: Option<HeaderName>,
    scheme: Option<String>,
    query: Option<String>,
    challenge: Option<HeaderValue>,
    forward: bool,
}

/// What all steps with the same file share.
struct KeyFile(Live<Keys>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Path(PathBuf);

/// A key, and the header that holds it.
type Given<'a> = (Cow<'a, [u8]>, Option<&'a HeaderName>);

/// Whose the keys are, by their SHA-256.
#[derive(Default)]
struct Keys(HashMap<[u8; 32], Arc<Identity>>);

impl Keep for KeyFile {
    fn start(self: Arc<Self>) {
        live::watch(&self, |keys| keys.0.refresh());
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").finish_non_exhaustive()
    }
}

impl ApiKey {
    /// Checks the step.
    pub(super) fn compile(spec: &ApiKeySpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let scheme = spec.scheme.as_deref().map(str::trim);
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(scheme) = scheme.filter(|scheme| !is_token(scheme)) {
            mistakes.push(Mistake::at("scheme", format!("{scheme:?} is not a scheme; write one such as `Bearer`")));
        }
        if spec.query.as_deref() == Some("") {
            mistakes.push(Mistake::at("query", "it is empty; write the name of the parameter, such as `api_key`"));
        }
        if spec.header.as_ref().is_some_and(|name| *name.get() == AUTHORIZATION) {
            mistakes.push(Mistake::at("header", "a key in `Authorization` stands behind a scheme; write `scheme`"));
        }
        let path = Path((scope.file)(&spec.file));
        let keys = if spec.file.is_empty() {
            Err("it is missing; write the path of a file with lines `name:sha256:HEX`".to_owned())
        } else {
            // It is read even where it is known already: a reload tells what is wrong with it.
            Live::open(path.0.clone(), Keys::parse)
        };
        let keys = match keys {
            Ok(keys) if mistakes.is_empty() => keys,
            Ok(_) => return Err(mistakes),
            Err(why) => {
                mistakes.push(Mistake::at("file", why));
                return Err(mistakes);
            }
        };
        let default = (spec.scheme.is_none() && spec.query.is_none()).then(|| HeaderName::from_static("x-api-key"));
        let challenge = scheme.and_then(|scheme| HeaderValue::from_str(&format!("{scheme} realm=\"Pylon\"")).ok());
        Ok(Self {
            keys: scope.shared.keep(scope.before, &path, || KeyFile(keys)),
            header: spec.header.as_ref().map(|name| name.get().clone()).or(default),
            scheme: scheme.map(str::to_owned),
            query: spec.query.clone(),
            challenge,
            forward: spec.forward_credentials.0,
        })
    }

    /// Finds out who asks.
    #[allow(clippy::unused_async, reason = "the ways have one form, and others wait")]
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let (key, hide) = match self.given(asking) {
            Ok(Some(given)) => given,
            Ok(None) => return Finding::Absent,
            Err(why) => return Finding::Wrong(why.into()),
        };
        let digest: [u8; 32] = Sha256::digest(&*key).into();
        let Some(identity) = self.keys.0.get().value.0.get(&digest).cloned() else {
            return Finding::Wrong("the key is not known".into());
        };
        let mut proof = Proof::of(identity);
        proof.hide.extend(hide.filter(|_| !self.forward).cloned());
        Finding::Proven(Box::new(proof))
    }

    /// What `WWW-Authenticate` says, where keys stand behind a scheme.
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        self.challenge.clone()
    }

    /// The parameter of the query that holds a key.
    pub(super) fn parameter(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The one key of a request, and the header that holds it.
    fn given<'a>(&'a self, asking: &Asking<'a>) -> Result<Option<Given<'a>>, &'static str> {
        let mut found: Option<Given<'a>> = None;
        let mut add = |key: Cow<'a, [u8]>, header: Option<&'a HeaderName>| match found.replace((key, header)) {
            Some(_) => Err("there is more than one key"),
            None => Ok(()),
        };
        if let Some(name) = &self.header {
            for line in asking.headers.get_all(name) {
                add(Cow::Borrowed(line.as_bytes().trim_ascii()), Some(name))?;
            }
        }
        if let Some(scheme) = &self.scheme
            && let Some(key) = asking.credentials(scheme)
        {
            if asking.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
                return Err("there is more than one `Authorization`");
            }
            add(Cow::Borrowed(key.as_bytes()), Some(&AUTHORIZATION))?;
        }
        if let Some(name) = &self.query {
            for (_, value) in url::form_urlencoded::parse(asking.query().as_bytes()).filter(|(key, _)| key == name) {
                add(Cow::Owned(value.into_owned().into_bytes()), None)?;
            }
        }
        Ok(found.filter(|(key, _)| !key.is_empty()))
    }
}

impl Keys {
    /// Reads a file.
    fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Self::default();
        for (number, line) in lines(text) {
            let at = |why: &str| format!("line {number}: {why}");
            let (name, rest) = line.split_once(':').ok_or_else(|| at("it is not `name:sha256:HEX`"))?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(at("it has no name before its colon"));
            }
            let (digest, groups) = match rest.strip_prefix("sha256:") {
                Some(rest) => {
                    let (hex, groups) = rest.split_once(':').unwrap_or((rest, ""));
                    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                    (bytes.ok_or_else(|| at("after `sha256:` there are not 64 hexadecimal digits"))?, groups)
                }
                None => {
                    let (key, groups) = rest.split_once(':').unwrap_or((rest, ""));
                    if key.len() < KEY {
                        let why =
                            "the key is shorter than 32 bytes and could be guessed; make one by `openssl rand -hex 32`";
                        return Err(at(why));
                    }
                    (Sha256::digest(key.as_bytes()).into(), groups)
                }
            };
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let identity = Identity { groups: groups.map(str::to_owned).collect(), ..Identity::of(name, "api_key") };
            if keys.0.insert(digest, Arc::new(identity)).is_some() {
                return Err(at("the key is there already; remove one of the lines"));
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::observe::Metrics;
    use crate::step::forwarded::Client;
    use crate::step::shared::Shared;

    const PLAIN: &str = "0123456789abcdef0123456789abcdef";
    /// The SHA-256 of `test`.
    const HASHED: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn compile(more: &str) -> Result<ApiKey, Vec<Mistake>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, format!("# keys\nann:{PLAIN}\nbackup:sha256:{HASHED}:operators, staff\n")).unwrap();
        let scope = AuthScope {
            file: &|_| path.clone(),
            shared: &Shared::default(),
            before: None,
            metrics: &Metrics::default(),
            captures: &[],
        };
        ApiKey::compile(&serde_yaml::from_str(&format!("{{ file: keys, {more} }}")).unwrap(), &scope)
    }

    async fn ask(step: &ApiKey, target: &str, lines: &[(&str, &str)]) -> Finding {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let peer = "127.0.0.1".parse().unwrap();
        let asking = Asking {
            method: &Method::GET,
            target,
            path: "/",
            host: "site",
            headers: &headers,
            client: &Client { peer, trusted: false, address: peer, scheme: "https" },
            has_body: false,
            captures: &(),
            now: std::time::SystemTime::now(),
        };
        step.identify(&asking).await
    }

    #[tokio::test]
    async fn keys_are_found_where_they_are_looked_for() {
        let all = "header: X-Key, scheme: Bearer, query: key";
        for (spec, target, lines, user, hidden) in [
            ("", "/", &[("X-API-Key", PLAIN)][..], "ann", Some("x-api-key")),
            ("", "/", &[("x-api-key", " test ")], "backup", Some("x-api-key")),
            ("forward_credentials: true", "/", &[("x-api-key", "test")], "backup", None),
            ("scheme: Bearer", "/", &[("Authorization", "bearer test")], "backup", Some("authorization")),
            (all, "/?a=1&key=te%73t", &[], "backup", None),
            (all, "/", &[("X-Key", "test"), ("X-API-Key", "other")], "backup", Some("x-key")),
        ] {
            let Finding::Proven(proof) = ask(&compile(spec).unwrap(), target, lines).await else { panic!("{spec}") };
            assert_eq!(proof.identity.user, user, "{spec}");
            assert_eq!(proof.hide.first().map(HeaderName::as_str), hidden, "{spec}");
            let groups: &[&str] = if user == "backup" { &["operators", "staff"] } else { &[] };
            assert_eq!(proof.identity.groups, groups);
        }
    }

    #[tokio::test]
    async fn other_keys_and_other_places_prove_nothing() {
        for (spec, target, lines) in [
            ("", "/?key=test", &[][..]),
            ("", "/?api_key=test", &[("Authorization", "Bearer test")]),
            ("scheme: Bearer", "/", &[("X-API-Key", "test"), ("Authorization", "Basic test")]),
            ("query: key", "/?Key=test", &[("X-API-Key", "test")]),
            ("", "/", &[("X-API-Key", "")]),
        ] {
            assert!(matches!(ask(&compile(spec).unwrap(), target, lines).await, Finding::Absent), "{spec} {target}");
        }
        for (spec, target, lines) in [
            ("", "/", &[("X-API-Key", HASHED)][..]),
            ("", "/", &[("X-API-Key", "tes")]),
            ("", "/", &[("X-API-Key", "test"), ("X-API-Key", "test")]),
            ("query: key", "/?key=test&key=x", &[]),
            ("header: X-Key, query: key", "/?key=test", &[("X-Key", "test")]),
            ("scheme: Bearer", "/", &[("Authorization", "Bearer test"), ("Authorization", "Bearer test")]),
        ] {
            assert!(matches!(ask(&compile(spec).unwrap(), target, lines).await, Finding::Wrong(_)), "{spec} {target}");
        }
    }

    #[test]
    fn mistakes_name_the_line_and_no_key() {
        for (line, expected) in [
            ("short:secret", "line 2: the key is shorter than 32 bytes"),
            ("x:sha256:abcd", "there are not 64 hexadecimal digits"),
            ("x", "it is not `name:sha256:HEX`"),
            (&format!(":{PLAIN}x"), "it has no name"),
            (&format!("x:{PLAIN}"), "the key is there already"),
        ] {
            let message = Keys::parse(&format!("ann:{PLAIN}\n{line}\n")).err().unwrap();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("secret") && !message.contains(PLAIN), "{message}");
        }
        for (spec, key) in [("scheme: 'a b'", "scheme"), ("query: ''", "query"), ("header: Authorization", "header")] {
            assert_eq!(compile(spec).unwrap_err()[0].path.to_string(), key);
        }
    }
}
