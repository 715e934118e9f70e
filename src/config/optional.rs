//! What of a configuration is optional, switched off, or needs something else.

use serde_yaml::{Mapping, Value};

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

/// The optional limit that a path lies in, of a route or a bundle, and what to call it.
pub(super) fn optional_limit(document: &Document, path: &KeyPath) -> Option<(KeyPath, String)> {
    let [Segment::Key(part), holder, Segment::Key(key), ..] = path.segments() else { return None };
    if !["routes", "defaults"].contains(&part.as_str()) || key != "limit" {
        return None;
    }
    let prefix = |length: usize| path.segments().iter().take(length).cloned().collect::<KeyPath>();
    let at = if document.get(&prefix(3)).is_some_and(Value::is_sequence) { prefix(4) } else { prefix(3) };
    let text = |at: KeyPath| document.get(&at).and_then(Value::as_str).map(str::to_owned);
    let name = text(at.then("name")).unwrap_or_else(|| match holder {
        Segment::Key(bundle) => format!("of `{bundle}`"),
        Segment::Index(_) => format!("of `{}`", text(prefix(2).then("name")).unwrap_or_default()),
    });
    document.get(&at.then("optional")).is_some_and(is_true).then_some((at, name))
}

/// A bundle without what is omitted of its document.
pub(super) fn without_omitted(document: &Document, bundles: &Mapping) -> Mapping {
    let defaults = KeyPath::root().then("defaults");
    let mut bundles = bundles.clone();
    for (name, bundle) in &mut bundles {
        let (Some(name), Some(bundle)) = (name.as_str(), bundle.as_mapping_mut()) else { continue };
        let at = defaults.then(name).then("limit");
        if let Some(Value::Sequence(items)) = bundle.get_mut("limit") {
            let mut index = 0..;
            items.retain(|_| !index.next().is_some_and(|index: usize| document.omitted().covers(&at.then(index))));
        }
        if document.omitted().covers(&at) {
            bundle.remove("limit");
        }
    }
    bundles
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
