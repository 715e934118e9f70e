//! Spec → `dynamic`.

use std::sync::Arc;

use super::doubts::Doubts;
use super::here::Here;
use super::{Dynamic, Local, Port, Source, Where};
use crate::config::value::is_cookie_name;
use crate::config::{DynamicSpec, KeyPath, LocalSpec, PortSpec};
use crate::route::allow::{AllowEntry, AllowList};
use crate::route::template::{Template, Vocabulary};
use crate::step::Mistake;
use crate::step::lookup::Lookup;

/// Compiles a look-up.
pub(crate) type CompileLookup<'a> = dyn Fn(&crate::config::LookupSpec) -> Result<Arc<Lookup>, Vec<Mistake>> + 'a;

/// What a dynamic target can refer to.
pub struct DynamicScope<'a> {
    /// What its templates can.
    pub vocabulary: &'a Vocabulary<'a>,
    /// What the word `upstreams` in the allow-list stands for.
    pub upstream_hosts: &'a [String],
    /// Compiles the look-up, which is shared with other routes.
    pub lookup: &'a CompileLookup<'a>,
    /// Compiles the path towards this machine.
    pub rewrite: &'a dyn Fn(&str) -> Result<Template, String>,
}

impl Dynamic {
    /// Checks the step.
    ///
    /// # Errors
    /// All mistakes, below `dynamic`.
    pub fn compile(spec: &DynamicSpec, scope: &DynamicScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let allow = note(allow(spec, scope.upstream_hosts), "allow", &mut mistakes);
        let host = compile_host(spec, scope, &mut mistakes);
        let port = note(compile_port(&spec.port, scope), "port", &mut mistakes);
        let local = spec.local.as_ref().and_then(|local| compile_local(local, scope, &mut mistakes));
        if spec.scheme == crate::config::TargetScheme::Http && spec.tls != crate::config::UpstreamTlsSpec::default() {
            let message = "it does nothing, as the targets are spoken to in http; write `scheme: https`, or remove it";
            mistakes.push(Mistake::at("tls", message));
        }
        if let (Some(Where::Named(sources)), Some(port)) = (&host, &port)
            && sources.iter().all(|source| matches!(source, Source::Template(host) if host.as_text().is_some()))
            && matches!(port, Port::Template(port) if port.as_text().is_some())
        {
            let message = "host and port are the same for every request; make an upstream of them, or write a capture of \
                           the path such as `{host}`";
            mistakes.push(Mistake::at("host", message));
        }
        match (host, port, allow) {
            (Some(host), Some(port), Some(allow)) if mistakes.is_empty() => Ok(Self {
                host,
                port,
                scheme: spec.scheme,
                local,
                allow,
                shown: shown(spec),
                doubts: Doubts::default(),
            }),
            _ => Err(mistakes),
        }
    }
}

/// What names the target, as it is written.
fn shown(spec: &DynamicSpec) -> String {
    let scheme = match spec.scheme {
        crate::config::TargetScheme::Http => "http",
        crate::config::TargetScheme::Https => "https",
        crate::config::TargetScheme::Same => "same",
    };
    let hosts: Vec<&str> = spec.host.iter().map(String::as_str).collect();
    let host = spec.lookup.as_ref().map_or_else(|| hosts.join("|"), |lookup| format!("look-up of {}", lookup.key));
    let port = if spec.port.0.is_empty() { String::new() } else { format!(":{}", spec.port) };
    format!("{scheme}://{host}{port}")
}

fn note<T>(result: Result<T, String>, key: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
    result.map_err(|message| mistakes.push(Mistake::at(key, message))).ok()
}

fn allow(spec: &DynamicSpec, upstream_hosts: &[String]) -> Result<AllowList, String> {
    let mut entries: Vec<AllowEntry> = Vec::new();
    let mut named = false;
    for text in spec.allow.iter().flat_map(|list| list.split(',')).map(str::trim) {
        if text == "upstreams" {
            named = true;
            entries.extend(upstream_hosts.iter().filter_map(|host| host.parse().ok()));
        } else if !text.is_empty() {
            entries.push(text.parse()?);
        }
    }
    if entries.is_empty() && !named {
        let message = "nothing is allowed; list networks and names, or `upstreams` for the hosts of the configured \
                       upstreams";
        return Err(message.to_owned());
    }
    Ok(AllowList::new(entries))
}

fn compile_host(spec: &DynamicSpec, scope: &DynamicScope<'_>, mistakes: &mut Vec<Mistake>) -> Option<Where> {
    let named = spec.host.iter().next().is_some();
    match (&spec.lookup, named) {
        (Some(_), true) => {
            mistakes.push(Mistake::at("lookup", "`host` is there as well; keep one of them"));
            return None;
        }
        (None, false) => {
            mistakes.push(Mistake::at("host", "missing; write a capture of the path such as `{host}`"));
            return None;
        }
        (Some(lookup), false) => {
            let below =
                |mistake: Mistake| Mistake::new(KeyPath::root().then("lookup").join(&mistake.path), mistake.message);
            let key = Template::parse(&lookup.key, scope.vocabulary)
                .map_err(|message| mistakes.push(Mistake::new(KeyPath::root().then("lookup").then("key"), message)));
            let compiled = (scope.lookup)(lookup).map_err(|found| mistakes.extend(found.into_iter().map(below))).ok();
            return Some(Where::Asked(compiled?, key.ok()?));
        }
        (None, true) => {}
    }
    let (mut sources, mut cookies) = (Vec::new(), 0);
    for text in &spec.host {
        if let Some(name) = text.strip_prefix("{cookie:").and_then(|text| text.strip_suffix('}')) {
            if !is_cookie_name(name) {
                mistakes.push(Mistake::at("host", format!("`{name}` is not the name of a cookie")));
            }
            sources.push(Source::Cookie(cookies, name.to_owned()));
            cookies += 1;
        } else {
            let template = Template::parse(text, scope.vocabulary);
            sources.extend(note(template, "host", mistakes).map(Source::Template));
        }
    }
    Some(Where::Named(sources))
}

fn compile_port(spec: &PortSpec, scope: &DynamicScope<'_>) -> Result<Port, String> {
    match spec.0.as_str() {
        "" => Err("missing; write a capture of the path such as `{port}`, a number, or `same`".to_owned()),
        "same" => Ok(Port::Same),
        text => {
            let template = Template::parse(text, scope.vocabulary)?;
            match template.as_text() {
                Some(text) if text.parse::<u16>().is_err() => {
                    Err(format!("`{text}` is not a port; write 0 to 65535, a template, or `same`"))
                }
                _ => Ok(Port::Template(template)),
            }
        }
    }
}

fn compile_local(spec: &LocalSpec, scope: &DynamicScope<'_>, mistakes: &mut Vec<Mistake>) -> Option<Local> {
    let mut wrong = |key: &'static str, message: String| {
        mistakes.push(Mistake::new(KeyPath::root().then("local").then(key), message));
    };
    let port = compile_port(&spec.port, scope).map_err(|message| wrong("port", message)).ok();
    let rewrite =
        spec.rewrite.as_deref().map(|text| (scope.rewrite)(text).map_err(|message| wrong("rewrite", message)));
    let rewrite = rewrite.transpose().ok();
    let host = spec.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
    if crate::route::allow::parse_address(&host).is_none() && !super::is_name(&host) {
        wrong("host", format!("`{host}` is not a host; write a name or an address"));
    }
    let names = spec.names.iter().flat_map(|names| names.split(',')).map(str::trim);
    Some(Local { here: Here::find(names), host, port: port?, rewrite: rewrite? })
}
