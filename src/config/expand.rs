//! `${VARIABLES}` in the values of a document.
//!
//! | written | means |
//! |---|---|
//! | `${NAME}` | the variable; it must be set |
//! | `${NAME:-default}` | the variable, or the default, which may be empty or hold variables itself |
//! | `${NAME:?what it is}` | the variable; when it is not set, a problem says what it is |
//! | `${file:/path}` | the contents of a file without its last line end; such a value is secret |
//! | `$${` | a literal `${` |
//!
//! An empty variable counts as not set. Variables are expanded in parsed scalars, never in raw text, so that no line end or
//! quote in a variable can add to the configuration; and what a variable holds is not expanded again. Keys stay as they are.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Value;

use crate::config::document::Document;
use crate::config::report::{KeyPath, Problem, Report, Segment};

/// `${A:-${B:-x}}` goes this deep.
const MAX_NESTED: usize = 2;

/// Where the values of variables come from.
pub trait Variables {
    /// The value of a variable, or none if it is not set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process. A variable that is not UTF-8 counts as not set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Env;

impl Variables for Env {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned()
    }
}

/// A scalar that needs a variable which is not set and has no default. The scalar is left as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// The scalar.
    pub path: KeyPath,
    /// The variable.
    pub name: String,
}

impl Unset {
    /// This as a problem of its document, for a part that is not optional.
    #[must_use]
    pub fn problem(&self, document: &Document) -> Problem {
        let name = &self.name;
        let message = format!("the variable {name} is not set; set it, or write a default: ${{{name}:-default}}");
        document.problem(self.path.clone(), message)
    }
}

/// What came of expanding a document.
#[derive(Debug, Clone, Default)]
pub struct Expansion {
    /// Variables without default that are not set, by scalar. The caller decides whether that part is optional.
    pub unset: Vec<Unset>,
    /// Malformed references, unreadable files, and what `:?` asks for.
    pub report: Report,
    /// The scalars filled from `${file:…}`; they are marked in the document, too.
    pub secrets: Vec<KeyPath>,
    /// The names of all variables that were looked up, set or not.
    pub used: BTreeSet<String>,
}

/// Expands all scalars of a document in place. A scalar with a problem stays as it was written.
pub fn expand(document: &mut Document, variables: &dyn Variables) -> Expansion {
    let mut expansion = Expansion::default();
    let mut value = std::mem::take(document.value_mut());
    let mut path = KeyPath::root();
    walk(&mut value, &mut path, &mut |text, path| {
        let mut used = BTreeSet::new();
        let mut scalar = Scalar::new(variables, &mut used);
        let expanded = scalar.text(text, 0);
        let (is_secret, unset, problems) = (scalar.is_secret, scalar.unset, scalar.problems);
        let filling: Vec<&str> =
            used.iter().map(String::as_str).filter(|name| variables.get(name).is_some_and(|v| !v.is_empty())).collect();
        document.mark_filled(path.clone(), &filling);
        expansion.used.extend(used);
        if unset.is_empty() && problems.is_empty() {
            *text = expanded;
        } else {
            document.mark_unexpanded(path.clone());
        }
        if is_secret {
            expansion.secrets.push(path.clone());
            document.mark_secret(path.clone());
        }
        for message in problems {
            expansion.report.push(document.problem(path.clone(), message));
        }
        let path = || path.clone();
        expansion.unset.extend(unset.into_iter().map(|name| Unset { path: path(), name }));
    });
    *document.value_mut() = value;
    expansion
}

/// Calls `each` for every text that holds a `${`.
fn walk(value: &mut Value, path: &mut KeyPath, each: &mut dyn FnMut(&mut String, &KeyPath)) {
    match value {
        Value::String(text) if text.contains("${") => each(text, path),
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index);
                walk(item, path, each);
                path.pop();
            }
        }
        Value::Mapping(entries) => {
            for (key, item) in entries.iter_mut() {
                let Value::String(key) = key else { continue };
                path.push(Segment::Key(key.clone()));
                walk(item, path, each);
                path.pop();
            }
        }
        _ => {}
    }
}

/// The expansion of one scalar.
struct Scalar<'a> {
    variables: &'a dyn Variables,
    used: &'a mut BTreeSet<String>,
    is_secret: bool,
    unset: BTreeSet<String>,
    problems: Vec<String>,
}

impl<'a> Scalar<'a> {
    fn new(variables: &'a dyn Variables, used: &'a mut BTreeSet<String>) -> Self {
        Self { variables, used, is_secret: false, unset: BTreeSet::new(), problems: Vec::new() }
    }

    fn text(&mut self, text: &str, nested: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                out.push_str("${");
                rest = after;
            } else if let Some(inner) = rest.strip_prefix("${") {
                let Some(end) = closing_brace(inner) else {
                    self.problems
                        .push(format!("`{rest}` is not closed; write a `}}` at its end, or $${{ for a literal ${{"));
                    return out;
                };
                out.push_str(&self.reference(&inner[..end], nested));
                rest = &inner[end + 1..];
            } else {
                out.push('$');
                rest = &rest[1..];
            }
        }
        out.push_str(rest);
        out
    }

    /// What stands between `${` and `}`.
    fn reference(&mut self, body: &str, nested: usize) -> String {
        if nested >= MAX_NESTED {
            self.problems.push(format!(
                "`${{{body}}}` is nested too deeply; a default can hold a variable with a default, and no more"
            ));
            return String::new();
        }
        if let Some(path) = body.strip_prefix("file:") {
            return self.file(path, nested);
        }
        let (name, modifier) = body.split_at(name_length(body));
        if name.is_empty() {
            self.malformed(body);
            return String::new();
        }
        let fallback = match modifier.split_at_checked(2) {
            Some((":-", default)) => Fallback::Default(default),
            Some((":?", what)) => Fallback::Required(what),
            _ if modifier.is_empty() => Fallback::None,
            _ => {
                self.malformed(body);
                return String::new();
            }
        };
        self.used.insert(name.to_owned());
        if let Some(value) = self.variables.get(name).filter(|value| !value.is_empty()) {
            return value;
        }
        match fallback {
            Fallback::Default(default) => return self.text(default, nested + 1),
            Fallback::Required("") => self.problems.push(format!("the variable {name} is not set; set it")),
            Fallback::Required(what) => self.problems.push(format!("the variable {name} is not set: {what}; set it")),
            Fallback::None => {
                self.unset.insert(name.to_owned());
            }
        }
        String::new()
    }

    fn file(&mut self, path: &str, nested: usize) -> String {
        let path = self.text(path, nested + 1);
        self.is_secret = true;
        file::read(&path).unwrap_or_else(|message| {
            self.problems.push(message);
            String::new()
        })
    }

    fn malformed(&mut self, body: &str) {
        self.problems.push(format!(
            "`${{{body}}}` is not a variable; write ${{NAME}} or ${{NAME:-default}} with a name of letters, digits and _, \
             or $${{ for a literal ${{"
        ));
    }
}

enum Fallback<'a> {
    None,
    Default(&'a str),
    Required(&'a str),
}

/// The length of the name a reference starts with; 0 if it starts with none.
fn name_length(body: &str) -> usize {
    if body.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    body.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(body.len())
}

/// The `}` that closes a reference, past those nested in it, escaped ones too.
fn closing_brace(text: &str) -> Option<usize> {
    let mut nested = 0_usize;
    let mut at = 0;
    loop {
        at += text[at..].find(['$', '}'])?;
        let rest = &text[at..];
        if rest.starts_with("$${") {
            nested += 1;
            at += 3;
        } else if rest.starts_with("${") {
            nested += 1;
            at += 2;
        } else if rest.starts_with('$') {
            at += 1;
        } else if nested == 0 {
            return Some(at);
        } else {
            nested -= 1;
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("A", "alpha"), ("EMPTY", ""), ("EVIL", "x\nadmin: {open: true}"), ("REF", "${A}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn expand_scalar(text: &str) -> (String, Expansion) {
        let mut document = Document::parse("t.yaml", "k: x").unwrap();
        let at = KeyPath::root().then("k");
        if let Value::Mapping(map) = document.value_mut() {
            map.insert("k".into(), text.into());
        }
        let expansion = expand(&mut document, &variables());
        let value = document.get(&at).and_then(Value::as_str).unwrap();
        (value.to_owned(), expansion)
    }

    fn fine(text: &str) -> String {
        let (value, expansion) = expand_scalar(text);
        assert!(expansion.unset.is_empty() && expansion.report.is_empty(), "{expansion:?}");
        value
    }

    fn wrong(text: &str) -> String {
        let (value, expansion) = expand_scalar(text);
        assert_eq!(value, text, "stays as written");
        expansion.report.to_string()
    }

    #[test]
    fn each_form_expands() {
        for (text, expected) in [
            ("${A}", "alpha"),
            ("http://${A}:80/${A}", "http://alpha:80/alpha"),
            ("${A:-x}", "alpha"),
            ("${B:-x}", "x"),
            ("${B:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${B:-${A}}", "alpha"),
            ("${B:-${C:-x}}y", "xy"),
            ("${B:-a $${b} c}", "a ${b} c"),
            ("${A:?what}", "alpha"),
            ("$${A}", "${A}"),
            ("$${A} ${A}", "${A} alpha"),
            ("$A $ $$ ${A}$", "$A $ $$ alpha$"),
            ("${REF}", "${A}"),
            ("${B:-http://x?a=b&c={1}", "http://x?a=b&c={1"),
        ] {
            assert_eq!(fine(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_returned() {
        for (text, names) in [("${B}", vec!["B"]), ("${EMPTY}${B}${B}", vec!["B", "EMPTY"]), ("${B:-${C}}", vec!["C"])]
        {
            let (value, expansion) = expand_scalar(text);
            assert_eq!(value, text);
            assert!(expansion.report.is_empty());
            let unset: Vec<_> = expansion.unset.iter().map(|unset| unset.name.as_str()).collect();
            assert_eq!(unset, names);
        }
        let (_, expansion) = expand_scalar("${B:-${C}}");
        assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["B", "C"]);
        let document = Document::parse("t.yaml", "k: ${B}").unwrap();
        assert_eq!(
            expansion.unset[0].problem(&document).to_string(),
            "t.yaml:1:4  k: the variable C is not set; set it, or write a default: ${C:-default}"
        );
    }

    #[test]
    fn problems_name_the_cure() {
        for (text, expected) in [
            ("${B:?URL of the server}", "the variable B is not set: URL of the server; set it"),
            ("${EMPTY:?}", "the variable EMPTY is not set; set it"),
            ("a ${A", "`${A` is not closed; write a `}` at its end, or $${ for a literal ${"),
            ("${B:-${A}", "`${B:-${A}` is not closed; write a `}` at its end, or $${ for a literal ${"),
            (
                "${B:-${C:-${D}}}",
                "`${D}` is nested too deeply; a default can hold a variable with a default, and no more",
            ),
            ("${file:x/y}", "`x/y` is not a full path; write one that starts with `/`"),
            ("${file:/}", "/ is not a file; name a regular file"),
            ("${file:/does/not/exist}", "the file /does/not/exist does not exist; create it, or correct the path"),
        ] {
            assert_eq!(wrong(text), format!("t.yaml:1:4  k: {expected}"));
        }
        for text in ["${}", "${1}", "${a-b}", "${A-x}", "${A:+x}", "${ A }", "${é}", "${A:é}", "${A:}"] {
            assert!(wrong(text).contains("is not a variable; write ${NAME}"), "{text}");
        }
        let (_, expansion) = expand_scalar("${1} ${2}");
        assert_eq!(expansion.report.len(), 2, "all of a scalar at once");
    }

    #[test]
    fn a_variable_cannot_add_to_the_tree() {
        let mut document = Document::parse("t.yaml", "a: ${EVIL}\n${A}: ['${A}', 5]\n").unwrap();
        let expansion = expand(&mut document, &variables());
        assert!(expansion.report.is_empty());
        let expected: Value = serde_yaml::from_str("{a: \"x\\nadmin: {open: true}\", \"${A}\": [alpha, 5]}").unwrap();
        assert_eq!(document.value(), &expected);
        let item = KeyPath::root().then("${A}").then(0);
        assert_eq!(document.place(&item).unwrap().to_string(), "t.yaml:2:8");
    }

    #[test]
    fn files_are_secret_and_lose_one_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for (contents, expected) in [("s3\n", "s3"), ("s3\r\n", "s3"), ("s3\n\n", "s3\n"), ("s3", "s3"), ("", "")] {
            std::fs::write(&file, contents).unwrap();
            let (value, expansion) = expand_scalar(&format!("x${{file:{}}}", file.display()));
            assert_eq!(value, format!("x{expected}"));
            assert_eq!(expansion.secrets, [KeyPath::root().then("k")]);
        }
        std::fs::write(&file, [0xff]).unwrap();
        assert!(wrong(&format!("${{file:{}}}", file.display())).contains("not UTF-8"));
        std::fs::write(&file, "x".repeat(1024 * 1024 + 1)).unwrap();
        assert!(wrong(&format!("${{file:{}}}", file.display())).contains("larger than 1 MiB"));
        let text = format!("${{file:${{DIR:-{}}}/nope}}", folder.path().display());
        assert!(wrong(&text).contains("/nope does not exist"));
    }

    proptest! {
        #[test]
        fn any_text_expands_or_is_refused(parts in prop::collection::vec(
            prop::sample::select(vec!["$", "{", "}", "${", "$${", ":", "-", "?", "A", "B", "é", "file:", "/", " ", "1"]), 0..24)
        ) {
            let text = parts.concat();
            let (value, expansion) = expand_scalar(&text);
            if !expansion.unset.is_empty() || !expansion.report.is_empty() {
                prop_assert_eq!(value, text);
            }
        }

        #[test]
        fn escaped_text_stays_itself(text in "[^$]*") {
            prop_assert_eq!(fine(&format!("$${{{text}")), format!("${{{text}"));
        }
    }
}
