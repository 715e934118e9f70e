//! A configuration with everything in it: what `compile` works on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::document::Document;
use super::listener_spec::ListenerSpec;
use super::pool_spec::UpstreamSpec;
use super::report::{KeyPath, Problem};
use super::route_spec::RouteSpec;
use super::spec::Spec;
use super::value::Cidr;

/// A part of a configuration, and where it stands.
#[derive(Debug, Clone)]
pub struct Entry<T> {
    /// What was written.
    pub value: T,
    /// Which of the documents it stands in.
    pub document: usize,
    /// Its path there.
    pub at: KeyPath,
}

/// A part that was left out because it is optional and not configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// `upstream`, `route`, `listener` or `limit`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A configuration from one file or system, with its systems and includes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The process part, from the main document.
    pub process: Spec,
    /// Pools by name.
    pub upstreams: BTreeMap<String, Entry<UpstreamSpec>>,
    /// Routes, in the order in which they were read.
    pub routes: Vec<Entry<RouteSpec>>,
    /// Proxies before Pylon that are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// A hash of all of this, the same wherever it is the same.
    pub hash: String,
    /// The files it was read from, for who watches them.
    pub files: Vec<PathBuf>,
    pub(super) documents: Vec<Document>,
    pub(super) listeners: Vec<Entry<ListenerSpec>>,
    pub(super) left_out_upstreams: BTreeSet<String>,
}

impl Loaded {
    /// A problem with a key below an entry.
    #[must_use]
    pub fn problem<T>(&self, entry: &Entry<T>, keys: &[&str], message: impl Into<String>) -> Problem {
        let path = keys.iter().fold(entry.at.clone(), |path, key| path.then(*key));
        self.problem_at(entry.document, path, message)
    }

    /// A problem at a path of a document.
    #[must_use]
    pub fn problem_at(&self, document: usize, path: KeyPath, message: impl Into<String>) -> Problem {
        match self.documents.get(document) {
            Some(document) => document.problem(path, message),
            None => Problem::new(None, path, message),
        }
    }

    /// Where an entry stands, as ` (file:line:column)`.
    #[must_use]
    pub fn place<T>(&self, entry: &Entry<T>) -> String {
        let place = self.documents.get(entry.document).and_then(|document| document.place(&entry.at));
        place.map_or_else(String::new, |place| format!(" ({place})"))
    }

    /// The listeners, with their places.
    pub fn listeners(&self) -> impl Iterator<Item = (&Entry<ListenerSpec>, &ListenerSpec)> {
        self.listeners.iter().map(|entry| (entry, &entry.value))
    }

    /// Whether an upstream was left out.
    #[must_use]
    pub fn is_left_out_upstream(&self, name: &str) -> bool {
        self.left_out_upstreams.contains(name)
    }

    /// Whether a route was left out.
    #[must_use]
    pub fn is_left_out_route(&self, name: &str) -> bool {
        self.left_out.iter().any(|out| out.kind == "route" && out.name == name)
    }

    /// Whether a value of the main document was read from a file that is empty.
    #[must_use]
    pub fn is_empty_file(&self, path: &KeyPath) -> bool {
        self.documents.first().is_some_and(|document| {
            let empty = |value: &serde_yaml::Value| value.as_str().is_some_and(str::is_empty);
            document.secrets().iter().any(|known| known == path) && document.get(path).is_some_and(empty)
        })
    }

    /// A path of a document, which stands relative to its file.
    #[must_use]
    pub fn resolve_path(&self, document: usize, path: &str) -> PathBuf {
        let file = self.documents.get(document).map(|document| PathBuf::from(&**document.name()));
        match file.as_deref().and_then(Path::parent) {
            Some(folder) if Path::new(path).is_relative() => folder.join(path),
            _ => PathBuf::from(path),
        }
    }

    /// A text with every secret value in it blotted out.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.documents.iter().flat_map(|document| {
            document.secrets().iter().filter_map(|path| document.get(path).and_then(serde_yaml::Value::as_str))
        });
        let secrets = secrets.filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    fn redact_value(&self, value: &mut serde_yaml::Value) {
        match value {
            serde_yaml::Value::String(text) => *text = self.redact(text),
            serde_yaml::Value::Sequence(list) => list.iter_mut().for_each(|inner| self.redact_value(inner)),
            serde_yaml::Value::Mapping(map) => map.iter_mut().for_each(|(_, inner)| self.redact_value(inner)),
            _ => {}
        }
    }

    /// The configuration in effect, as YAML: variables expanded, systems and includes merged, secrets
    /// blotted out.
    ///
    /// # Errors
    /// When it cannot be written as YAML: a fault of this program.
    pub fn effective(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&self.effective_value()?)
    }

    /// The same as a value.
    ///
    /// # Errors
    /// When it cannot be written as YAML: a fault of this program.
    pub fn effective_value(&self) -> Result<serde_yaml::Value, serde_yaml::Error> {
        #[derive(Serialize)]
        struct Effective<'a> {
            listeners: Vec<&'a ListenerSpec>,
            admin: &'a Option<super::spec::AdminSpec>,
            workers: super::spec::Workers,
            grace_period: &'a Option<super::value::Span>,
            upgrade_socket: &'a Option<String>,
            log: &'a super::log_spec::LogSpec,
            recorder: &'a super::log_spec::RecorderSpec,
            tracing: &'a super::log_spec::TracingSpec,
            resolver: &'a super::spec::ResolverSpec,
            instances: &'a Option<super::instance_spec::InstancesSpec>,
            #[serde(flatten)]
            routing: Routing<'a>,
        }
        let effective = Effective {
            listeners: self.listeners.iter().map(|entry| &entry.value).collect(),
            admin: &self.process.admin,
            workers: self.process.workers,
            grace_period: &self.process.grace_period,
            upgrade_socket: &self.process.upgrade_socket,
            log: &self.process.log,
            recorder: &self.process.recorder,
            tracing: &self.process.tracing,
            resolver: &self.process.resolver,
            instances: &self.process.instances,
            routing: self.routing(),
        };
        let mut value = serde_yaml::to_value(effective)?;
        // What bundles gave is in the routes already.
        for route in value.get_mut("routes").and_then(serde_yaml::Value::as_sequence_mut).into_iter().flatten() {
            route.as_mapping_mut().and_then(|route| route.remove("use"));
        }
        prune(&mut value);
        self.redact_value(&mut value);
        Ok(value)
    }

    pub(super) fn routing(&self) -> Routing<'_> {
        Routing {
            trusted_proxies: &self.trusted_proxies,
            upstreams: self.upstreams.iter().map(|(name, entry)| (name, &entry.value)).collect(),
            routes: self.routes.iter().map(|entry| &entry.value).collect(),
        }
    }
}

/// The part that is reloaded live.
#[derive(Serialize)]
pub(super) struct Routing<'a> {
    trusted_proxies: &'a [Cidr],
    upstreams: BTreeMap<&'a String, &'a UpstreamSpec>,
    routes: Vec<&'a RouteSpec>,
}

/// Flags that are off by default.
const OFF: [&str; 7] = ["optional", "dedicated", "redirect_to_https", "strict_sni", "once", "drop_body", "tcp"];

/// Removes what says nothing: nulls, empty lists and mappings, flags that are off by default.
fn prune(value: &mut serde_yaml::Value) {
    use serde_yaml::Value;
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Sequence(list) => list.is_empty(),
        Value::Mapping(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::Sequence(list) => list.iter_mut().for_each(prune),
        Value::Mapping(map) => {
            for (_, inner) in map.iter_mut() {
                prune(inner);
            }
            map.retain(|key, inner| {
                let off = *inner == Value::Bool(false) && key.as_str().is_some_and(|key| OFF.contains(&key));
                !off && !empty(inner)
            });
        }
        _ => {}
    }
}
