//! The structure of the source, held: sizes, the direction of imports, reasons for exceptions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, without its tests.
const LONG_FILE: usize = 330;
/// Lines of a function.
const LONG_FUNCTION: usize = 60;

/// Files that are longer, and why.
const LONG_FILES: [(&str, &str); 1] =
    [("src/config/assemble.rs", "the one place where documents become a configuration")];

/// Functions that are longer, and why.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

/// Who may import whom: a module only from groups behind its own, or from its own group as long as that makes no circle.
/// The last are leaves: all may import them, they import nothing.
const ORDER: [&[&str]; 9] = [
    &["main"],
    &["cli"],
    &["server"],
    &["admin", "explain", "listen", "proxy", "reload"],
    &["snapshot"],
    &["instance", "route", "step", "tls", "upstream"],
    &["remote"],
    &["config"],
    &["demo", "lifecycle", "observe"],
];

/// Modules that know no type of Pingora.
const WITHOUT_PINGORA: [&str; 5] = ["config", "observe", "remote", "route", "step"];

/// Names of systems, of which the code knows none: they are files in `conf`.
const SYSTEMS: [&str; 13] = [
    "pai",
    "yarn",
    "hdfs",
    "webhdfs",
    "grafana",
    "kubernetes",
    "k8s",
    "dshuttle",
    "marketplace",
    "jupyter",
    "juliabox",
    "mliy",
    "zeppelin",
];

/// Where a system is named all the same, and why.
const NAMES_SYSTEMS: [(&str, &str); 1] = [("src/config/source.rs", "the list of what is built in")];

/// A source file.
struct Source {
    /// From the root of the package, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The top module that it belongs to.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap();
        below.split(['/', '.']).next().unwrap()
    }

    /// Its lines before the tests in it; none where all of it is tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.path.ends_with("/tests.rs") || self.path.ends_with("/testing.rs");
        let lines = self.text.lines().take_while(move |line| !tests && line.trim() != "#[cfg(test)]");
        (1..).zip(lines)
    }

    /// Its code without comments.
    fn statements(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// All files below a folder that end so.
fn files(folder: &str, extension: &str) -> Vec<Source> {
    let (mut found, mut left) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = left.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: relative, text: fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn source() -> Vec<Source> {
    let found = files("src", "rs");
    assert!(found.len() > 80, "only {} files in src", found.len());
    found
}

/// The words of a line: letters and digits as they stand together.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase)
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn files_are_short() {
    let long = source().into_iter().filter_map(|file| {
        let lines = file.code().count();
        let allowed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        (lines > LONG_FILE && !allowed).then(|| format!("{}: {lines} lines", file.path))
    });
    none(&format!("longer than {LONG_FILE} lines; split it, or list it with a reason"), &long.collect::<Vec<_>>());
}

/// The functions of a file, with their length; one ends at the brace that stands below its beginning.
fn functions(file: &Source) -> Vec<(String, usize)> {
    let lines: Vec<&str> = file.code().map(|(_, line)| line).collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let before = code.split("fn ").next().unwrap_or_default();
        let is_function = code.contains("fn ")
            && before.split(' ').all(|word| {
                word.is_empty()
                    || ["pub", "async", "const"].contains(&word)
                    || word.starts_with("pub(")
                    || word == "super)"
            });
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == end);
        if let (true, Some(length)) = (is_function && !code.ends_with(';'), length) {
            let name = code.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next()).unwrap_or_default();
            found.push((format!("{}: fn {name}", file.path), length + 1));
        }
    }
    found
}

#[test]
fn functions_are_short() {
    let all: Vec<_> = source().iter().flat_map(functions).collect();
    assert!(all.len() > 500, "only {} functions found", all.len());
    let long = all
        .into_iter()
        .filter(|(name, length)| *length > LONG_FUNCTION && !LONG_FUNCTIONS.iter().any(|(listed, _)| listed == name));
    let long: Vec<String> = long.map(|(name, length)| format!("{name}: {length} lines")).collect();
    none(&format!("longer than {LONG_FUNCTION} lines; split it, or list it with a reason"), &long);
}

/// The other top modules that a file names, by line.
fn imports(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in file.statements() {
        let crates = ["crate::", "pylon::"];
        for rest in crates.iter().flat_map(|name| line.split(name).skip(1)) {
            let module: String = rest.chars().take_while(|c| *c == '_' || c.is_ascii_alphanumeric()).collect();
            if module != file.module() && ORDER.iter().any(|group| group.contains(&module.as_str())) {
                found.push((number, module));
            }
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    let place = |module: &str| ORDER.iter().position(|group| group.contains(&module));
    let mut wrong = Vec::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in source().iter().filter(|file| file.path != "src/lib.rs") {
        let from = file.module();
        let Some(own) = place(from) else {
            wrong.push(format!("{}: the module `{from}` has no place in the order", file.path));
            continue;
        };
        for (line, to) in imports(file) {
            if place(&to).is_none_or(|other| other < own) || own == ORDER.len() - 1 {
                wrong.push(format!("{}:{line}: `{from}` imports `{to}`", file.path));
            }
            edges.entry(from.to_owned()).or_default().insert(to);
        }
    }
    none("imports against the order", &wrong);
    assert!(edges.len() > 8 && edges["cli"].contains("server"), "{edges:?}");
    // What is left when modules that import nothing left are taken away again and again goes in circles.
    loop {
        let ends: Vec<String> = edges.values().flatten().filter(|to| !edges.contains_key(*to)).cloned().collect();
        if ends.is_empty() {
            break;
        }
        for targets in edges.values_mut() {
            targets.retain(|to| !ends.contains(to));
        }
        edges.retain(|_, targets| !targets.is_empty());
    }
    assert!(edges.is_empty(), "these import each other: {edges:?}");
}

#[test]
fn only_the_data_path_knows_pingora() {
    let inner = source().into_iter().filter(|file| WITHOUT_PINGORA.contains(&file.module()));
    let mut found = Vec::new();
    for file in inner {
        let outside_text = |line: &str| line.split('"').step_by(2).any(|part| part.contains("pingora"));
        let lines = file.statements().filter(|(_, line)| outside_text(line));
        found.extend(lines.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("Pingora's types stay out of these modules", &found);
}

#[test]
fn no_system_is_named_in_code() {
    let exempt = |file: &Source| file.module() == "demo" || NAMES_SYSTEMS.iter().any(|(path, _)| *path == file.path);
    let mut found = Vec::new();
    for file in source().iter().filter(|file| !exempt(file)) {
        let lines = file.statements().filter(|(_, line)| words(line).any(|word| SYSTEMS.contains(&word.as_str())));
        found.extend(lines.map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("a system is a file in conf; code knows routes, upstreams and steps", &found);
}

#[test]
fn every_exception_to_a_lint_has_a_reason() {
    let mut found = Vec::new();
    for file in source().into_iter().chain(files("tests", "rs")) {
        for start in ["#[", "#!["].iter().flat_map(|open| ["allow(", "expect("].map(|lint| format!("{open}{lint}"))) {
            for (at, _) in file.text.match_indices(&start) {
                let attribute = file.text[at..].split(")]").next().unwrap();
                let begins_line = file.text[..at].lines().next_back().is_none_or(|before| before.trim().is_empty());
                if begins_line && !attribute.contains("reason = \"") {
                    let line = file.text[..at].matches('\n').count() + 1;
                    found.push(format!("{}:{line}: {}", file.path, attribute.lines().next().unwrap()));
                }
            }
        }
    }
    none("write `reason = \"…\"`", &found);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO", "FIX", "XX"].into_iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}"));
    let macros = ["todo", "unimplemented"].map(|name| format!("{name}!"));
    let marks: Vec<String> = marks.chain(macros).collect();
    let mut found = Vec::new();
    let all = [("src", "rs"), ("tests", "rs"), ("conf", "yaml")].map(|(folder, extension)| files(folder, extension));
    for file in all.iter().flatten() {
        let lines = file.text.lines().zip(1..).filter(|(line, _)| marks.iter().any(|mark| line.contains(mark)));
        found.extend(lines.map(|(line, number)| format!("{}:{number}: {}", file.path, line.trim())));
    }
    none("do it now, or say what holds", &found);
}

/// A list of exceptions must not outlive them.
#[test]
fn every_listed_exception_is_needed() {
    let source = source();
    let functions: Vec<(String, usize)> = source.iter().flat_map(functions).collect();
    let long_file = |path: &str| source.iter().any(|file| file.path == path && file.code().count() > LONG_FILE);
    let long_function = |name: &str| functions.iter().any(|(known, length)| known == name && *length > LONG_FUNCTION);
    let files = LONG_FILES.iter().filter(|(path, _)| !long_file(path)).map(|(path, _)| path);
    let functions = LONG_FUNCTIONS.iter().filter(|(name, _)| !long_function(name)).map(|(name, _)| name);
    let stale: Vec<String> = files.chain(functions).map(ToString::to_string).collect();
    none("take these off the list", &stale);
}

#[test]
fn every_file_says_what_it_is() {
    let all = source().into_iter().chain(files("tests", "rs"));
    let own = all.filter(|file| !file.path.ends_with("/tests.rs"));
    let silent = own.filter(|file| !file.text.starts_with("//! "));
    none("begin with a module doc", &silent.map(|file| file.path).collect::<Vec<_>>());
}
