//! Problems of reading in plain words, each with its cure.

use std::fmt::Write;

use serde::de::Unexpected;
use serde_yaml::Value;

use super::error::Kind;

/// What is wrong and what to write instead. Unknown keys have [`unknown_key`], as they need more than the error knows.
pub(super) fn message(kind: &Kind) -> String {
    match kind {
        Kind::UnknownKey { key, expected } => unknown_key(key, expected, nearest(key, expected.iter().copied()), None),
        Kind::MissingKey(key) => format!("missing key `{key}`; add it"),
        Kind::WrittenTwice(key) => {
            format!("`{key}` is written twice, under two of its names; keep one of them")
        }
        Kind::UnknownVariant { found, expected } => {
            let cure = cure(nearest(found, expected.iter().copied()), expected);
            format!("unknown value `{found}`; {cure}")
        }
        Kind::Mismatch { found, expected } => {
            let mut message = format!("expected {expected}, found {found}");
            let scalar = found.starts_with("the number") || found.starts_with("the boolean");
            if found == NOTHING {
                message.push_str("; write a value, or remove the key");
            } else if expected == TEXT && scalar {
                message.push_str("; put it in quotes");
            } else if expected == LIST
                && let Some(text) = found.strip_prefix("the string ")
            {
                let _ = write!(message, "; write [{text}]");
            }
            message
        }
        Kind::Custom(message) => message.clone(),
    }
}

/// An unknown key: what it is called now, what was likely meant, or else all that can be written.
pub(super) fn unknown_key(
    key: &str,
    expected: &'static [&'static str],
    meant: Option<&'static str>,
    new_name: Option<&'static str>,
) -> String {
    match new_name {
        Some(name) => format!("`{key}` was renamed `{name}`; write that"),
        None if expected.is_empty() => {
            format!("unknown key `{key}`; remove it, no key can stand here")
        }
        None => format!("unknown key `{key}`; {}", cure(meant, expected)),
    }
}

fn cure(meant: Option<&'static str>, expected: &'static [&'static str]) -> String {
    meant.map_or_else(|| format!("write {}", one_of(expected)), |name| format!("did you mean `{name}`?"))
}

/// The known word that a mistyped one was likely meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |word: &str| word.to_lowercase().replace('-', "_");
    let word = alike(word);
    let allowed = 1 + word.chars().count() / 4;
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &alike(name)), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `one of a, b, c`, or just `a`.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [only] => format!("`{only}`"),
        _ => format!("one of {}", names.join(", ")),
    }
}

const NOTHING: &str = "nothing";
const TEXT: &str = "a string";
const LIST: &str = "a list";
const MAPPING: &str = "a mapping";

/// What was found.
pub(super) fn found(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("the boolean {value}"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the string {text:?}"),
        Unexpected::Char(text) => format!("the string {:?}", text.to_string()),
        Unexpected::Unit | Unexpected::Option => NOTHING.to_owned(),
        Unexpected::Seq => LIST.to_owned(),
        Unexpected::Map => MAPPING.to_owned(),
        Unexpected::UnitVariant => "the name alone".to_owned(),
        other => other.to_string(),
    }
}

/// What was found, from the value itself.
pub(super) fn found_value(value: &Value) -> String {
    found(&match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => match number.as_u64() {
            Some(value) => Unexpected::Unsigned(value),
            None => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Unexpected::Str(text),
        Value::Sequence(_) => Unexpected::Seq,
        Value::Mapping(_) => Unexpected::Map,
        Value::Tagged(tagged) => return found_value(&tagged.value),
    })
}

/// What `serde` says it expected, in the words of a user.
pub(super) fn expected(words: &str) -> String {
    let whole = |from: &str, to: &str| format!("a whole number from {from} to {to}");
    match words {
        "a sequence" => LIST.to_owned(),
        "a map" | "map" => MAPPING.to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" | "path string" => TEXT.to_owned(),
        "newtype variant" | "tuple variant" | "struct variant" => "this name with a value".to_owned(),
        "unit" => NOTHING.to_owned(),
        "u8" => whole("0", "255"),
        "u16" => whole("0", "65535"),
        "u32" => whole("0", "4294967295"),
        "u64" | "usize" | "u128" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        _ if words.contains("nonzero") => "a whole number, 1 or more".to_owned(),
        _ if words.starts_with("struct ") => MAPPING.to_owned(),
        _ if words.starts_with("enum ") => "the name of a choice".to_owned(),
        _ if words.starts_with("tuple ") => LIST.to_owned(),
        _ => words.replace("a tuple of size", "a list of length").replace("an array of length", "a list of length"),
    }
}
