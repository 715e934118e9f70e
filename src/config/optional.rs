//! What of a configuration is optional, switched off, or needs something else.

use serde_yaml::Value;

use super::document::Document;
use super::report::{KeyPath, Segment};
use super::route_spec::RouteSpec;

/// The keys that are read at start only.
pub const PROCESS_KEYS: [&str; 10] = [
    "listeners",
    "admin",
    "workers",
    "grace_period",
    "upgrade_socket",
    "log",
    "recorder",
    "tracing",
    "resolver",
    "instances",
];

pub(super) fn is_process(path: &KeyPath) -> bool {
    matches!(path.segments().first(), Some(Segment::Key(key)) if PROCESS_KEYS.contains(&key.as_str()))
}

pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => text.parse::<super::value::Flag>().is_ok_and(|flag| flag.0),
        _ => false,
    }
}

/// Leaves out the listeners that are not enabled; their variables need not be set.
pub(super) fn omit_disabled(document: &mut Document) -> Vec<KeyPath> {
    let count = document.value().get("listeners").and_then(Value::as_sequence).map_or(0, Vec::len);
    let mut off = Vec::new();
    for index in 0..count {
        let at = KeyPath::root().then("listeners").then(index);
        let enabled = document.get(&at.then("enabled")).is_none_or(|value| {
            is_true(value) || matches!(value, Value::String(text) if text.parse::<super::value::Flag>().is_err())
        });
        if !enabled {
            document.omit(&at);
            off.push(at);
        }
    }
    off
}

/// The bundles that no route uses, of a document whose bundles others cannot use; their variables need not be set, so that a
/// variable can choose one of several.
pub(super) fn idle_bundles(document: &Document) -> Vec<KeyPath> {
    let bundles = document.value().get("defaults").and_then(Value::as_mapping);
    let routes = document.value().get("routes").and_then(Value::as_sequence).map_or(&[][..], Vec::as_slice);
    if routes.is_empty() || document.value().get("include").is_some() {
        return Vec::new();
    }
    let used = |name: &str| {
        let mut lists = routes.iter().filter_map(|route| route.get("use").and_then(Value::as_sequence));
        lists.any(|list| list.iter().any(|one| one.as_str() == Some(name)))
    };
    let names = bundles.into_iter().flat_map(serde_yaml::Mapping::keys).filter_map(Value::as_str);
    let idle = names.filter(|name| !used(name));
    idle.map(|name| KeyPath::root().then("defaults").then(name)).collect()
}

/// The index in the file of the n-th listener that was read.
pub(super) fn original_index(document: &Document, nth: usize) -> usize {
    let count = document.value().get("listeners").and_then(Value::as_sequence).map_or(0, Vec::len);
    let at = |index: usize| KeyPath::root().then("listeners").then(index);
    (0..count).filter(|index| !document.omitted().covers(&at(*index))).nth(nth).unwrap_or(nth)
}

/// The upstreams without which a route makes no sense.
pub(super) fn needs(route: &RouteSpec) -> Vec<String> {
    let mut names = route.needs.clone();
    names.extend(route.upstream.clone());
    names.extend(route.fallback.clone());
    let templates = route.redirect.iter().map(|redirect| redirect.to.as_str()).chain(route.rewrite.as_deref());
    for template in templates {
        let named = template.split("{authority:").skip(1).filter_map(|part| part.split('}').next());
        names.extend(named.map(str::to_owned));
    }
    names
}
