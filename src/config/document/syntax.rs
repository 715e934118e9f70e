//! Puts syntax errors into words that say what to do.

use saphyr_parser::ScanError;

use super::Position;
use super::frame;

/// What the parser says, in part, and what to say instead.
const WORDS: &[(&str, &str)] = &[
    (
        "mapping values are not allowed",
        "a key can't stand here; line it up with its neighbours, put text that contains `: ` in quotes, and write a space after each `:`",
    ),
    ("illegal placement of ':'", "a key can't stand here; is a `]` or `}` missing on a line above?"),
    ("a flow sequence, expected", "this list is not closed; write `,` between its items and `]` at its end"),
    (
        "a flow mapping, did not find",
        "this mapping is not closed; write `,` between its keys and `}` at its end, or put text that starts with `{` in quotes",
    ),
    (
        "invalid indentation in flow",
        "this list or mapping is not closed; write `]` or `}` at its end, or indent its lines",
    ),
    ("misplaced bracket", "a bracket closes here that was never opened; remove it, or put the text in quotes"),
    ("unexpected end of stream", "the quote that opens here is never closed; close it"),
    (
        "invalid indentation in quoted",
        "the quote that opens here is not closed; close it, or indent the lines of the text",
    ),
    ("content after double-quoted", "nothing can follow a closing quote; put the whole value in quotes"),
    (
        "unknown escape character",
        "this escape is unknown; write `\\\\` for a backslash, or use single quotes, where a backslash is just that",
    ),
    (
        "found unknown anchor",
        "text that starts with `*` names an anchor, and there is none of this name; write it in quotes if it is text",
    ),
    ("scanning an anchor or alias", "text that starts with `*` or `&` is not just text in YAML; write it in quotes"),
    (
        "a block mapping, did not find expected key",
        "this line does not belong to the keys above it; line it up with them, or put the value in quotes",
    ),
    ("did not find expected '-'", "this line does not belong to the list above it; start it with `- `, or indent it"),
    (
        "block sequence entries are not allowed",
        "a list can't start here; write each `- ` on a line of its own, below the key",
    ),
    ("must be followed by a valid YAML whitespace", "write a space here"),
    ("recursion limit exceeded", "nested too deeply; flatten it"),
];

/// Where to show an error: where the parser stopped, or the tab that stopped it.
pub(super) fn position(error: &ScanError, text: &str) -> Position {
    let stopped = frame::position(*error.marker());
    indenting_tab(error, text).unwrap_or(stopped)
}

/// What is wrong and what to write instead.
pub(super) fn message(error: &ScanError, text: &str) -> String {
    let info = error.info();
    let line = line(text, error.marker().line()).unwrap_or_default();
    if indenting_tab(error, text).is_some() {
        return "a tab can't indent YAML; use spaces".to_owned();
    }
    if info.contains("whitespace") && line.contains(":\t") || info.contains("tab") {
        return "a tab can't stand here; use spaces".to_owned();
    }
    if info.contains("flow") && line.contains("${") {
        return r#"inside [ ] and { } a variable needs quotes; write "${NAME}""#.to_owned();
    }
    if let Some(character) = info.strip_prefix("unexpected character: `") {
        let character = character.strip_suffix('\'').unwrap_or(character);
        return format!("text can't start with {character:?} unquoted; write it in quotes");
    }
    WORDS.iter().find(|(said, _)| info.contains(said)).map_or_else(|| info.to_owned(), |(_, words)| (*words).to_owned())
}

/// The first tab in the indentation of the line where the parser stopped, or of the next if it complains of a tab.
fn indenting_tab(error: &ScanError, text: &str) -> Option<Position> {
    let stopped = error.marker().line();
    let last = if error.info().contains("tab") { stopped + 1 } else { stopped };
    (stopped..=last).find_map(|number| {
        let line = line(text, number)?;
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = line[..indent].find('\t')?;
        Some(Position { line: u32::try_from(number).ok()?, column: u32::try_from(tab + 1).ok()? })
    })
}

/// A line by its number from 1.
fn line(text: &str, number: usize) -> Option<&str> {
    text.lines().nth(number.checked_sub(1)?)
}
