//! `auth: { ldap: … }`: user names and passwords (RFC 7617), asked of a directory (RFC 4511).
//!
//! ```yaml
//!   auth:
//!     ldap:
//!       url: [ldaps://ldap1.example.org, ldaps://ldap2.example.org]
//!       ca: /etc/pylon/directory.pem
//!       user_dn: "uid={user},ou=people,dc=example,dc=org"
//!       group_search: { base: "ou=groups,dc=example,dc=org", filter: "(member={dn})" }
//! ```
//!
//! Where users are at different places of the tree, their entry is searched for first:
//!
//! ```yaml
//!       bind_dn: cn=pylon,dc=example,dc=org
//!       bind_password: ${file:/etc/pylon/ldap.password}
//!       search: { base: "dc=example,dc=org", filter: "(sAMAccountName={user})" }
//! ```
//!
//! A password is good when the directory lets the user in with it. Empty ones are refused here: to a directory they say
//! that nobody signs in, which it may let in too (RFC 4513 §5.1.2). Groups are called after the CN of their names.

mod ask;
mod entry;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use url::Url;

use self::entry::Attributes;
use super::remembered::Remembered;
use super::user_password::{self, UserPassword};
use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::value::Span;
use crate::config::{KeyPath, LdapGroupSearchSpec, LdapSpec};
use crate::remote::tls_config;
use crate::step::shared::Keep;

/// The step, compiled.
pub(super) struct Ldap {
    directory: Arc<Directory>,
    challenge: HeaderValue,
    forward: bool,
}

/// What all steps with the same settings share.
struct Directory {
    servers: Vec<Server>,
    starttls: bool,
    tls: Arc<ClientConfig>,
    place: Place,
    /// As whom Pylon searches, with the password.
    own: Option<(String, String)>,
    attributes: Attributes,
    groups: Option<GroupSearch>,
    connect: Duration,
    timeout: Duration,
    remember: (Duration, Duration),
    remembered: Remembered,
    turns: Semaphore,
    began: Instant,
}

/// A server.
struct Server {
    url: Url,
    /// Until when others are asked first, in milliseconds from the beginning.
    avoided: AtomicU64,
    /// Connections that wait for the next question, where Pylon has a name of its own.
    idle: parking_lot::Mutex<Vec<ask::Line>>,
}

/// Where the entry of a user is.
enum Place {
    Named(String),
    Searched { base: String, filter: String },
}

/// How groups are found.
struct GroupSearch {
    base: String,
    filter: String,
    attribute: String,
}

impl Keep for Directory {
    fn start(self: Arc<Self>) {
        for server in self.servers.iter().filter(|server| server.url.scheme() == "ldap" && !self.starttls) {
            let is_near = match server.url.host_str().map(str::parse::<IpAddr>) {
                Some(Ok(address)) => address.is_loopback(),
                _ => server.url.host_str() == Some("localhost"),
            };
            if !is_near {
                tracing::warn!(url = %server.url, "passwords go to this directory in the clear; use ldaps or `starttls`");
            }
        }
    }
}

impl std::fmt::Debug for Ldap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ldap").finish_non_exhaustive()
    }
}

impl Ldap {
    /// Checks the step.
    pub(super) fn compile(spec: &LdapSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let challenge = user_password::challenge(spec.realm.as_deref()).map_err(|mistake| mistakes.push(mistake));
        let ca = spec.ca.as_ref().map(|path| (scope.file)(path));
        // What the file holds is a setting as well.
        let authorities = ca.as_ref().and_then(|path| std::fs::read(path).ok());
        let tls = tls_config(ca.as_deref()).map_err(|why| mistakes.push(Mistake::at("ca", why)));
        let directory = directory(spec, &mut mistakes);
        let (Ok(challenge), Ok(tls), Some(make), []) = (challenge, tls, directory, mistakes.as_slice()) else {
            return Err(mistakes);
        };
        let directory = scope.shared.keep(scope.before, &(spec.clone(), authorities), || make(Arc::new(tls)));
        Ok(Self { directory, challenge, forward: spec.forward_credentials.0 })
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let given = match UserPassword::of(asking) {
            Ok(Some(given)) => given,
            Ok(None) => return Finding::Absent,
            Err(why) => return Finding::Wrong(why.into()),
        };
        if given.password.is_empty() {
            return Finding::Wrong("the password is empty".into());
        }
        let directory = &self.directory;
        let ask = directory.ask(&given);
        let answer = directory.remembered.or_ask(&given, (0, 0), directory.remember, ask);
        // Others may ask the same, one after the other: none of them waits longer than its own time.
        match tokio::time::timeout(directory.timeout, answer).await {
            Ok(Ok(Some(identity))) => {
                let mut proof = Proof::of(identity);
                if !self.forward {
                    proof.hide.push(AUTHORIZATION);
                }
                Finding::Proven(Box::new(proof))
            }
            Ok(Ok(None)) => Finding::Wrong("the user name or the password is not good".into()),
            Ok(Err(why)) => Finding::Unavailable(why),
            Err(_) => Finding::Unavailable(format!("the directory does not answer within {:?}", directory.timeout)),
        }
    }

    /// What `WWW-Authenticate` says.
    #[allow(clippy::unnecessary_wraps, reason = "the ways have one form")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }
}

/// Checks the settings; gives what makes a directory of them.
fn directory(
    spec: &LdapSpec,
    mistakes: &mut Vec<Mistake>,
) -> Option<impl FnOnce(Arc<ClientConfig>) -> Directory + use<>> {
    let servers = servers(spec, mistakes);
    let place = place(spec, mistakes);
    let own = own_name(spec, mistakes);
    let groups = spec.group_search.as_ref().map(|search| group_search(search, mistakes));
    let compared = match &place {
        Some(Place::Named(text) | Place::Searched { filter: text, .. }) => compared(text),
        None => None,
    };
    let user = spec.user.clone().or_else(|| compared.map(str::to_owned));
    if user.is_none() && place.is_some() {
        mistakes.push(Mistake::at("user", "it is missing; write the attribute that users are called after: `uid`"));
    }
    let remembered = Remembered::new();
    if remembered.is_none() {
        mistakes.push(Mistake::new(KeyPath::root(), "the system has no random numbers; check /dev/urandom"));
    }
    let attributes = Attributes::new(spec, user?);
    let time = |span: Option<Span>, default: u64| span.map_or(Duration::from_millis(default), Span::duration);
    let (connect, timeout) = (time(spec.connect_timeout, 2000), time(spec.timeout, 5000));
    if connect.is_zero() || timeout.is_zero() {
        mistakes.push(Mistake::at("timeout", "it is zero, in which nothing answers; write one such as `5s`"));
    }
    let (place, remembered) = (place?, remembered?);
    let remember = (time(spec.remember, 60_000), time(spec.remember_bad, 5000));
    let turns = spec.connections.map_or(32, crate::config::value::Count::as_usize).clamp(1, Semaphore::MAX_PERMITS);
    let starttls = spec.starttls.0;
    Some(move |tls| Directory {
        turns: Semaphore::new(turns),
        began: Instant::now(),
        servers,
        starttls,
        tls,
        place,
        own,
        attributes,
        groups,
        connect,
        timeout,
        remember,
        remembered,
    })
}

/// As whom Pylon searches, with the password.
fn own_name(spec: &LdapSpec, mistakes: &mut Vec<Mistake>) -> Option<(String, String)> {
    match (&spec.bind_dn, &spec.bind_password) {
        (Some(dn), Some(password)) if !dn.is_empty() => Some((dn.clone(), password.expose().to_owned())),
        (None, None) => None,
        _ => {
            let message =
                "`bind_dn` and `bind_password` are there only together; write both, or none for an anonymous search";
            mistakes.push(Mistake::at("bind_dn", message));
            None
        }
    }
}

fn group_search(spec: &LdapGroupSearchSpec, mistakes: &mut Vec<Mistake>) -> GroupSearch {
    let at = |key: &str| KeyPath::root().then("group_search").then(key);
    if spec.base.is_empty() {
        mistakes.push(Mistake::new(at("base"), "it is missing; write the entry below which groups are"));
    }
    if let Err(message) = check_filter(&spec.filter, &["{dn}", "{user}"]) {
        mistakes.push(Mistake::new(at("filter"), message));
    }
    let attribute = spec.attribute.clone().unwrap_or_else(|| "cn".to_owned());
    GroupSearch { base: spec.base.clone(), filter: spec.filter.clone(), attribute }
}

fn servers(spec: &LdapSpec, mistakes: &mut Vec<Mistake>) -> Vec<Server> {
    let mut servers = Vec::new();
    for (index, text) in spec.url.iter().enumerate() {
        let parsed = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "ldap" | "ldaps")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        match parsed {
            Some(url) => servers.push(Server { url, avoided: AtomicU64::new(0), idle: parking_lot::Mutex::default() }),
            None => {
                let at = KeyPath::root().then("url");
                let at = if spec.url.len() > 1 { at.then(index) } else { at };
                let message = "it is not the URL of a directory; write one such as `ldaps://ldap.example.org`";
                mistakes.push(Mistake::new(at, message));
            }
        }
    }
    if spec.url.is_empty() {
        mistakes.push(Mistake::at("url", "it is missing; write the URL of a directory: `ldaps://ldap.example.org`"));
    }
    servers
}

fn place(spec: &LdapSpec, mistakes: &mut Vec<Mistake>) -> Option<Place> {
    match (&spec.user_dn, &spec.search) {
        (Some(dn), None) => {
            let is_name = dn.split_once("{user}").is_some_and(|(before, _)| before.ends_with('='));
            if !is_name {
                let message = "it must hold `{user}` behind a `=`; write one such as `uid={user},ou=people,dc=example`";
                mistakes.push(Mistake::at("user_dn", message));
                return None;
            }
            Some(Place::Named(dn.clone()))
        }
        (None, Some(search)) => {
            let at = |key: &str| KeyPath::root().then("search").then(key);
            if search.base.is_empty() {
                mistakes.push(Mistake::new(at("base"), "it is missing; write the entry below which users are"));
            }
            if let Err(message) = check_filter(&search.filter, &["{user}"]) {
                mistakes.push(Mistake::new(at("filter"), message));
            }
            Some(Place::Searched { base: search.base.clone(), filter: search.filter.clone() })
        }
        (Some(_), Some(_)) => {
            mistakes.push(Mistake::at("search", "`user_dn` is there as well; keep one of them"));
            None
        }
        (None, None) => {
            let message = "it is missing, and so is `search`; write where users are: `uid={user},ou=people,dc=example`";
            mistakes.push(Mistake::at("user_dn", message));
            None
        }
    }
}

fn check_filter(text: &str, places: &[&str]) -> Result<(), String> {
    if !places.iter().any(|place| text.contains(place)) {
        let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
        return Err(format!("`{text}` does not hold {}, so that it finds the same for all", places.join(" or ")));
    }
    let filled = places.iter().fold(text.to_owned(), |text, place| text.replace(place, "x"));
    let why = |()| format!("`{text}` is not a filter; write one such as `(uid={{user}})` (RFC 4515)");
    ldap3::parse_filter(filled).map(|_| ()).map_err(why)
}

/// The first attribute that a text compares with the user.
fn compared(text: &str) -> Option<&str> {
    let (before, _) = text.split_once("={user}")?;
    let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))).map_or(0, |at| at + 1);
    Some(&before[start..]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;
    use crate::step::shared::Shared;

    fn compile(text: &str) -> Result<Ldap, Vec<Mistake>> {
        let scope = AuthScope {
            file: &|path| path.into(),
            shared: &Shared::default(),
            before: None,
            metrics: &Metrics::default(),
            captures: &[],
        };
        Ldap::compile(&serde_yaml::from_str(text).unwrap(), &scope)
    }

    #[test]
    fn the_user_is_called_after_what_is_compared() {
        for (text, name) in [
            ("uid={user},ou=people", Some("uid")),
            ("(&(objectClass=person)(|(sAMAccountName={user})(mail={user})))", Some("sAMAccountName")),
            ("(mail={user}@example.org)", Some("mail")),
            ("(uid=x{user})", None),
        ] {
            assert_eq!(compared(text), name, "{text}");
        }
    }

    #[test]
    fn mistakes_name_the_key_and_the_cure() {
        let good = "url: 'ldap://127.0.0.1', user_dn: 'uid={user},dc=x'";
        assert!(compile(&format!("{{ {good} }}")).is_ok());
        for (text, key) in [
            ("user_dn: 'uid={user},dc=x'", "url"),
            ("url: 'http://x', user_dn: 'uid={user}'", "url"),
            ("url: ['ldap://x', 'ldap:///'], user_dn: 'uid={user}'", "url[1]"),
            ("url: 'ldap://ann:x@x', user_dn: 'uid={user}'", "url"),
            ("url: 'ldapi://x', user_dn: 'uid={user}'", "url"),
            ("url: 'ldap://x'", "user_dn"),
            ("url: 'ldap://x', user_dn: 'uid=x'", "user_dn"),
            ("url: 'ldap://x', user_dn: '{user}'", "user_dn"),
            ("url: 'ldap://x', search: { base: dc=x, filter: '(uid=x)' }", "search.filter"),
            ("url: 'ldap://x', search: { base: dc=x, filter: '(uid={user}' }", "search.filter"),
            ("url: 'ldap://x', search: { filter: '(uid={user})' }", "search.base"),
            ("url: 'ldap://x', search: { base: dc=x, filter: '(uid=x{user})' }", "user"),
            (&format!("{good}, search: {{ base: dc=x, filter: '(uid={{user}})' }}"), "search"),
            (&format!("{good}, bind_dn: cn=x"), "bind_dn"),
            (&format!("{good}, bind_password: x"), "bind_dn"),
            (&format!("{good}, timeout: 0s"), "timeout"),
            (&format!("{good}, ca: /nowhere/ca.pem"), "ca"),
            (&format!("{good}, realm: 'a\"b'"), "realm"),
            (&format!("{good}, group_search: {{ base: dc=x, filter: '(cn=x)' }}"), "group_search.filter"),
        ] {
            let mistakes = compile(&format!("{{ {text} }}")).unwrap_err();
            assert_eq!(mistakes[0].path.to_string(), key, "{text}");
        }
    }
}
