//! From files to one configuration: systems and includes read, variables expanded, what is optional left out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};
use sha2::{Digest, Sha256};

use super::document::Document;
use super::expand::{Unset, Variables, expand};
use super::loaded::{Entry, LeftOut, Loaded};
use super::optional::{
    PROCESS_KEYS, idle_bundles, is_process, is_true, needs, omit_disabled, optional_limit, original_index,
    without_omitted,
};
use super::read::read;
use super::report::{KeyPath, Problem, Report, Segment};
use super::route_spec::RouteSpec;
use super::source::{BUILT_IN, built_in};
use super::spec::Spec;

/// Reads a file with its systems and includes.
///
/// # Errors
/// All problems, each with its place.
pub fn load(path: &Path, variables: &dyn Variables) -> Result<Loaded, Report> {
    let mut loader = Loader::new(variables);
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            loader.files.push(path.to_owned());
            loader.main(&name, &text);
        }
        Err(error) => {
            let message = format!("cannot read the file: {error}; give its path with `--config`");
            let place = super::report::Place { file: name.as_str().into(), line: 1, column: 1 };
            loader.report.push(Problem::new(Some(place), KeyPath::root(), message));
        }
    }
    loader.finish()
}

/// Reads a built-in system as the main configuration: the stand-alone mode.
///
/// # Errors
/// All problems, each with its place.
pub fn load_system(system: &str, variables: &dyn Variables) -> Result<Loaded, Report> {
    let mut loader = Loader::new(variables);
    match built_in(system) {
        Some(text) => loader.main(&format!("conf/{system}.yaml"), text),
        None => {
            let message = unknown_name("built-in system", system, BUILT_IN.iter().map(|(name, _)| name));
            loader.report.push(Problem::new(None, KeyPath::root(), message));
        }
    }
    loader.finish()
}

/// Says that a name is not known, and which one was probably meant.
pub fn unknown_name<S: AsRef<str>>(kind: &str, name: &str, known: impl IntoIterator<Item = S>) -> String {
    let known: Vec<String> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
    let nearest = super::read::nearest(name, known.iter().map(String::as_str));
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    match nearest {
        Some(meant) => format!("`{name}` is not the name of {article} {kind}; did you mean `{meant}`?"),
        None if known.is_empty() => format!("`{name}` is not the name of {article} {kind}; there is none yet"),
        None => format!("`{name}` is not the name of {article} {kind}; there are {}", known.join(", ")),
    }
}

/// What part a document plays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    System,
    Include,
}

struct Loader<'v> {
    variables: &'v dyn Variables,
    documents: Vec<Document>,
    specs: Vec<(Role, Spec)>,
    bundles: Mapping,
    left_out: Vec<LeftOut>,
    left_out_upstreams: BTreeSet<String>,
    files: Vec<PathBuf>,
    report: Report,
}

impl<'v> Loader<'v> {
    fn new(variables: &'v dyn Variables) -> Self {
        Self {
            variables,
            documents: Vec::new(),
            specs: Vec::new(),
            bundles: Mapping::new(),
            left_out: Vec::new(),
            left_out_upstreams: BTreeSet::new(),
            files: Vec::new(),
            report: Report::default(),
        }
    }

    fn main(&mut self, name: &str, text: &str) {
        self.document(name, text, Role::Main);
        let Some((_, spec)) = self.specs.first() else { return };
        let (systems, includes) = (spec.systems.clone(), spec.include.clone());
        for (index, system) in systems.iter().enumerate() {
            match built_in(system) {
                Some(text) => self.document(&format!("conf/{system}.yaml"), text, Role::System),
                None => {
                    let message = unknown_name("built-in system", system, BUILT_IN.iter().map(|(name, _)| name));
                    self.problem(0, KeyPath::root().then("systems").then(index), message);
                }
            }
        }
        for (index, pattern) in includes.iter().enumerate() {
            self.include(name, index, pattern);
        }
    }

    /// Reads the files that a pattern stands for, in the order of their names.
    fn include(&mut self, main: &str, index: usize, pattern: &str) {
        let at = KeyPath::root().then("include").then(index);
        let folder = Path::new(main).parent().unwrap_or(Path::new(""));
        let full = folder.join(pattern);
        let paths = match glob::glob(&full.to_string_lossy()) {
            Ok(paths) => paths.filter_map(Result::ok).collect::<Vec<_>>(),
            Err(error) => {
                return self.problem(0, at, format!("`{pattern}` is not a path or glob: {error}"));
            }
        };
        if paths.is_empty() && !pattern.contains(['*', '?', '[']) {
            let message = format!("`{}` does not exist; create it or remove it from `include`", full.display());
            return self.problem(0, at, message);
        }
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    self.document(&path.display().to_string(), &text, Role::Include);
                    self.files.push(path);
                }
                Err(error) => self.problem(0, at.clone(), format!("cannot read `{}`: {error}", path.display())),
            }
        }
    }

    /// Reads one document; its problems go to the report.
    fn document(&mut self, name: &str, text: &str, role: Role) {
        let mut document = match Document::parse(name, text) {
            Ok(document) => document,
            Err(report) => return self.report.extend(report),
        };
        let expansion = expand(&mut document, self.variables);
        let off = omit_disabled(&mut document);
        let idle = idle_bundles(&document);
        let concerns = |path: &KeyPath| {
            let out = off.iter().chain(&idle).any(|part| part.contains(path));
            !out && (role == Role::Main || !is_process(path))
        };
        for unset in expansion.unset.iter().filter(|unset| concerns(&unset.path)) {
            self.leave_out(&mut document, unset);
        }
        for problem in expansion.report.problems().iter().filter(|problem| concerns(&problem.path)) {
            self.report.push(problem.clone());
        }
        if role == Role::System {
            for key in PROCESS_KEYS {
                document.omit(&KeyPath::root().then(key));
            }
        }
        if role == Role::Include {
            self.refuse_process_part(&document);
        }
        self.spread_bundles(&mut document, role);
        let (spec, report) = read::<Spec>(&document, &KeyPath::root());
        self.report.extend(report);
        self.documents.push(document);
        self.specs.push((role, spec.unwrap_or_default()));
    }

    /// Leaves the optional part out whose variable is not set, or reports it.
    fn leave_out(&mut self, document: &mut Document, unset: &Unset) {
        let part: KeyPath = unset.path.segments().iter().take(2).cloned().collect();
        let optional = document.get(&part.then("optional")).is_some_and(is_true);
        let reason = format!("{} is not set", unset.name);
        if let Some((limit, name)) = optional_limit(document, &unset.path) {
            if !document.omitted().covers(&limit) {
                self.left_out.push(LeftOut { kind: "limit", name, reason });
                document.omit(&limit);
            }
            return;
        }
        match part.segments() {
            [Segment::Key(kind), Segment::Key(name)] if optional && kind == "upstreams" => {
                if self.left_out_upstreams.insert(name.clone()) {
                    self.left_out.push(LeftOut { kind: "upstream", name: name.clone(), reason });
                }
                document.omit(&part);
            }
            [Segment::Key(kind), Segment::Index(_)] if optional && kind == "listeners" => {
                let name = document.get(&part.then("name")).and_then(Value::as_str).unwrap_or("?").to_owned();
                self.left_out.push(LeftOut { kind: "listener", name, reason });
                document.omit(&part);
            }
            _ => self.report.push(unset.problem(document)),
        }
    }

    fn refuse_process_part(&mut self, document: &Document) {
        for key in PROCESS_KEYS.iter().chain(&["systems", "include"]) {
            let path = KeyPath::root().then(*key);
            if document.get(&path).is_some() {
                let message = "an included file holds routes and upstreams; move this to the main file";
                self.report.push(document.key_problem(path, message));
            }
        }
    }

    /// Gives each route the keys of the bundles it uses. An included file can use the bundles of the main one.
    fn spread_bundles(&mut self, document: &mut Document, role: Role) {
        let own = document.value().get("defaults").and_then(Value::as_mapping).cloned().unwrap_or_default();
        let mut bundles = if role == Role::Include { self.bundles.clone() } else { Mapping::new() };
        bundles.extend(own.clone());
        if role == Role::Main {
            self.bundles = without_omitted(document, &own);
        }
        let mut problems: Vec<(KeyPath, String)> = Vec::new();
        let mut copied: Vec<(KeyPath, KeyPath)> = Vec::new();
        let routes = document.value_mut().get_mut("routes").and_then(Value::as_sequence_mut);
        for (index, route) in routes.into_iter().flatten().enumerate() {
            let Some(route) = route.as_mapping_mut() else { continue };
            let used = route.get("use").and_then(Value::as_sequence).cloned().unwrap_or_default();
            for (position, name) in used.iter().enumerate() {
                let Some(name) = name.as_str() else { continue };
                match bundles.get(name).and_then(Value::as_mapping) {
                    Some(bundle) => {
                        for (key, value) in bundle {
                            if !route.contains_key(key) {
                                route.insert(key.clone(), value.clone());
                                let key = key.as_str().unwrap_or_default();
                                let from = KeyPath::root().then("defaults").then(name).then(key);
                                copied.push((from, KeyPath::root().then("routes").then(index).then(key)));
                            }
                        }
                    }
                    None => {
                        let known = bundles.keys().filter_map(Value::as_str);
                        let at = KeyPath::root().then("routes").then(index).then("use").then(position);
                        problems.push((at, unknown_name("bundle in `defaults`", name, known)));
                    }
                }
            }
        }
        for (from, to) in copied {
            document.mark_copied(&from, &to);
        }
        for (at, message) in problems {
            self.report.push(document.problem(at, message));
        }
    }

    fn problem(&mut self, document: usize, path: KeyPath, message: impl Into<String>) {
        let problem = match self.documents.get(document) {
            Some(document) => document.problem(path, message),
            None => Problem::new(None, path, message),
        };
        self.report.push(problem);
    }

    fn finish(mut self) -> Result<Loaded, Report> {
        let mut loaded = Loaded {
            process: Spec::default(),
            upstreams: std::collections::BTreeMap::new(),
            routes: Vec::new(),
            trusted_proxies: Vec::new(),
            left_out: Vec::new(),
            hash: String::new(),
            files: std::mem::take(&mut self.files),
            documents: std::mem::take(&mut self.documents),
            listeners: Vec::new(),
            left_out_upstreams: BTreeSet::new(),
        };
        for (document, (role, spec)) in std::mem::take(&mut self.specs).into_iter().enumerate() {
            self.merge(&mut loaded, document, role, spec);
        }
        loaded.left_out_upstreams = std::mem::take(&mut self.left_out_upstreams);
        loaded.left_out_upstreams.retain(|name| !loaded.upstreams.contains_key(name));
        self.drop_routes(&mut loaded);
        loaded.left_out = self.left_out;
        loaded.hash = hash(&loaded);
        self.report.into_result(loaded)
    }

    /// Adds a document. What the main file defines replaces what a system of the same name does.
    fn merge(&mut self, loaded: &mut Loaded, document: usize, role: Role, mut spec: Spec) {
        let root = KeyPath::root();
        let lists = std::mem::take(&mut spec.trusted_proxies).into_iter();
        loaded.trusted_proxies.extend(lists.flat_map(|list| list.0));
        for (name, value) in std::mem::take(&mut spec.upstreams) {
            let entry = Entry { value, document, at: root.then("upstreams").then(name.as_str()) };
            match loaded.upstreams.get(&name) {
                Some(_) if role == Role::System => {}
                Some(first) => {
                    let place = loaded.place(first);
                    let message = format!("`{name}` is defined already{place}; remove one of the two");
                    self.report.push(loaded.problem(&entry, &[], message));
                }
                None => {
                    loaded.upstreams.insert(name, entry);
                }
            }
        }
        for (index, value) in std::mem::take(&mut spec.routes).into_iter().enumerate() {
            let known = |entry: &Entry<RouteSpec>| entry.value.name == value.name;
            if role == Role::System && loaded.routes.iter().any(known) {
                continue;
            }
            loaded.routes.push(Entry { value, document, at: root.then("routes").then(index) });
        }
        if role == Role::Main {
            let listeners = std::mem::take(&mut spec.listeners).into_iter().enumerate();
            let at = |index: usize| original_index(&loaded.documents[document], index);
            loaded.listeners = listeners
                .map(|(index, value)| Entry { value, document, at: root.then("listeners").then(at(index)) })
                .collect();
            spec.listeners = loaded.listeners.iter().map(|entry| entry.value.clone()).collect();
            loaded.process = spec;
        } else if role == Role::System {
            self.drop_unbound(loaded, document);
        }
    }

    /// Leaves out the routes of a system that are bound to listeners which the main file does not have.
    fn drop_unbound(&mut self, loaded: &mut Loaded, document: usize) {
        let names: Vec<String> = loaded.listeners.iter().filter_map(|entry| entry.value.name.clone()).collect();
        let (left_out, listeners) = (&mut self.left_out, names);
        loaded.routes.retain(|entry| {
            let missing = entry.value.listeners.iter().find(|name| !listeners.contains(name));
            let out = entry.document == document && missing.is_some();
            if let (true, Some(missing)) = (out, missing) {
                let reason = format!("there is no listener `{missing}`");
                left_out.push(LeftOut { kind: "route", name: entry.value.name.clone(), reason });
            }
            !out
        });
    }

    /// Leaves out the routes that need an upstream or a listener which is left out, and checks the names they need.
    fn drop_routes(&mut self, loaded: &mut Loaded) {
        let unbound: BTreeSet<String> =
            self.left_out.iter().filter(|o| o.kind == "listener").map(|o| o.name.clone()).collect();
        let routes = std::mem::take(&mut loaded.routes);
        let mut kept = Vec::new();
        for entry in routes {
            let needs = needs(&entry.value);
            let missing = needs.iter().find(|name| loaded.left_out_upstreams.contains(*name));
            let listener = entry.value.listeners.iter().find(|name| unbound.contains(*name));
            if let Some(name) = missing {
                let reason = format!("the upstream `{name}` is left out");
                self.left_out.push(LeftOut { kind: "route", name: entry.value.name, reason });
                continue;
            }
            if let Some(name) = listener {
                let reason = format!("the listener `{name}` is left out");
                self.left_out.push(LeftOut { kind: "route", name: entry.value.name, reason });
                continue;
            }
            for name in entry.value.needs.iter().filter(|name| !loaded.upstreams.contains_key(*name)) {
                let message = unknown_name("upstream", name, loaded.upstreams.keys());
                self.report.push(loaded.problem(&entry, &["needs"], message));
            }
            for name in &entry.value.listeners {
                if !loaded.listeners.iter().any(|l| l.value.name.as_ref() == Some(name)) {
                    let known = loaded.listeners.iter().filter_map(|l| l.value.name.as_deref());
                    let message = unknown_name("listener", name, known);
                    self.report.push(loaded.problem(&entry, &["listeners"], message));
                }
            }
            kept.push(entry);
        }
        loaded.routes = kept;
    }
}

fn hash(loaded: &Loaded) -> String {
    let text = serde_yaml::to_string(&loaded.routing()).unwrap_or_default();
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
