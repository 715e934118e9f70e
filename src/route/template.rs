//! Text with places to fill in: rewritten paths, redirects, header values, replacements.
//!
//! ```text
//! {name}             what the path pattern captured
//! {**}               the rest of the path with its leading slash, or nothing; `/{**}` is the same
//! {scheme}           `http` or `https`, as the client sees it
//! {public_host}      the host that the client named, with its port
//! {prefix}           the part of the path before the rest
//! {authority:NAME}   `host:port` of the first endpoint of an upstream
//! {user} {name} {mail} {groups} {claim:NAME}   who asks, where a route finds that out
//! $1                 a group of a regular expression, in replacements
//! {{  }}  $$         a brace, a dollar
//! ```

use std::fmt::Write as _;

use super::asker::{Asker, Who};
use super::table::{Capture, Match};

/// A template that has been checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The capture with this index.
    Capture(usize),
    /// The rest of the path.
    Rest,
    /// `http` or `https`, as the client sees it.
    Scheme,
    /// The authority that the client named.
    Host,
    /// The path before the rest.
    Prefix,
    /// A group of a regular expression.
    Group(usize),
    /// Something about who asks.
    Who(Who),
}

/// What a template may refer to.
#[derive(Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Names of captures, in the order of their indexes.
    pub captures: &'a [String],
    /// Whether there is a rest.
    pub rest: bool,
    /// How many groups `$n` can name; `None` where a dollar is just a dollar.
    pub groups: Option<usize>,
    /// The authority of an upstream by name.
    pub authority: &'a dyn Fn(&str) -> Option<String>,
    /// Whether it is known who asks.
    pub asker: bool,
}

/// What a template is filled in with.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The normalised path of the request.
    pub path: &'a str,
    /// What matched it.
    pub found: &'a Match,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The authority that the client named.
    pub host: &'a str,
    /// Who asks, where that is known.
    pub identity: Option<&'a dyn Asker>,
}

impl<'a> Values<'a> {
    /// The value of a capture.
    #[must_use]
    pub fn capture(&self, index: usize) -> &'a str {
        match self.found.captures.get(index) {
            Some(Capture::Range(start, end)) => self.path.get(*start..*end).unwrap_or_default(),
            Some(Capture::Text(text)) => text,
            None => "",
        }
    }

    /// The path before the rest.
    #[must_use]
    pub fn prefix(&self) -> &'a str {
        self.path.get(..self.found.rest).unwrap_or(self.path)
    }

    /// The rest, with its leading slash.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.path.get(self.found.rest..).unwrap_or_default()
    }
}

impl Template {
    /// Checks a text against what it may refer to.
    ///
    /// # Errors
    /// What is wrong with the text, and what to write.
    pub fn parse(text: &str, vocabulary: &Vocabulary<'_>) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut literal = String::new();
        let mut left = text;
        while let Some(at) = left.find(['{', '}', '$']) {
            literal.push_str(&left[..at]);
            let here = &left[at..];
            let (piece, length) = special(here, text, vocabulary)?;
            match piece {
                Piece::Text(text) => literal.push_str(&text),
                piece => {
                    if piece == Piece::Rest && literal.ends_with('/') {
                        literal.pop();
                    }
                    flush(&mut literal, &mut pieces);
                    pieces.push(piece);
                }
            }
            left = &here[length..];
        }
        literal.push_str(left);
        flush(&mut literal, &mut pieces);
        Ok(Self { pieces })
    }

    /// The first character of its text that cannot stand in a URL as it is (RFC 3986 §2).
    #[must_use]
    pub fn illegal_in_url(&self) -> Option<char> {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            _ => None,
        });
        let illegal = |c: &char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(*c);
        texts.flat_map(|text| text.chars()).find(illegal)
    }

    /// The pieces, for who fills them in another way.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text, where nothing is to be filled in.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The capture, where the template is nothing else.
    #[must_use]
    pub fn as_capture(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [Piece::Capture(index)] => Some(*index),
            _ => None,
        }
    }

    /// Whether the template ends in the rest of the path.
    #[must_use]
    pub fn ends_in_rest(&self) -> bool {
        self.pieces.last() == Some(&Piece::Rest)
    }

    /// Appends the filled-in text. Groups stay empty.
    pub fn render(&self, values: &Values<'_>, out: &mut String) {
        for piece in &self.pieces {
            render_piece(piece, values, out);
        }
    }

    /// The filled-in text; `None` where something about who asks is not known.
    #[must_use]
    pub fn render_whole(&self, values: &Values<'_>) -> Option<String> {
        let known = |piece: &Piece| match piece {
            Piece::Who(who) => values.identity.is_some_and(|asker| asker.tell(who).is_some()),
            _ => true,
        };
        if !self.pieces.iter().all(known) {
            return None;
        }
        let mut out = String::new();
        self.render(values, &mut out);
        Some(out)
    }

    /// Whether it says something about who asks.
    #[must_use]
    pub fn asks_who(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Who(_)))
    }

    /// The filled-in text without a rest at its end.
    #[must_use]
    pub fn render_before_rest(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for piece in self.pieces.iter().filter(|piece| **piece != Piece::Rest) {
            render_piece(piece, values, &mut out);
        }
        out
    }
}

/// Appends the text of one piece. A group has none.
pub fn render_piece(piece: &Piece, values: &Values<'_>, out: &mut String) {
    match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Capture(index) => out.push_str(values.capture(*index)),
        Piece::Rest => out.push_str(values.rest()),
        Piece::Scheme => out.push_str(values.scheme),
        Piece::Host => out.push_str(values.host),
        Piece::Prefix => out.push_str(values.prefix()),
        Piece::Who(who) => {
            if let Some(text) = values.identity.and_then(|asker| asker.tell(who)) {
                out.push_str(&text);
            }
        }
        Piece::Group(_) => {}
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

/// Reads what starts with a brace or a dollar: the piece, and how long it stands in the text.
fn special(here: &str, whole: &str, vocabulary: &Vocabulary<'_>) -> Result<(Piece, usize), String> {
    let literal = |text: &str, length: usize| Ok((Piece::Text(text.to_owned()), length));
    if here.starts_with("{{") {
        return literal("{", 2);
    }
    if here.starts_with("}}") {
        return literal("}", 2);
    }
    if here.starts_with('$') {
        return dollar(here, whole, vocabulary);
    }
    let Some(end) = here.strip_prefix('{').and_then(|inner| inner.find('}')) else {
        return literal(&here[..1], 1);
    };
    let name = &here[1..=end];
    let named = |piece: Piece| Ok((piece, end + 2));
    match name {
        "**" if vocabulary.rest => named(Piece::Rest),
        "**" => {
            Err(format!("`{{**}}` stands in `{whole}`, but the path pattern has no rest; end the pattern with `/**`"))
        }
        "scheme" => named(Piece::Scheme),
        "public_host" => named(Piece::Host),
        "prefix" => named(Piece::Prefix),
        _ => {
            if let Some(index) = vocabulary.captures.iter().position(|c| c == name) {
                return named(Piece::Capture(index));
            }
            if let Some(who) = Who::named(name).filter(|_| vocabulary.asker) {
                return named(Piece::Who(who));
            }
            if let Some(upstream) = name.strip_prefix("authority:") {
                return match (vocabulary.authority)(upstream) {
                    Some(text) => named(Piece::Text(text)),
                    None => Err(format!("`{upstream}` in `{whole}` is not an upstream")),
                };
            }
            if is_name(name) {
                return Err(unknown(name, whole, vocabulary));
            }
            literal("{", 1)
        }
    }
}

fn dollar(here: &str, whole: &str, vocabulary: &Vocabulary<'_>) -> Result<(Piece, usize), String> {
    let text = |length: usize| Ok((Piece::Text("$".to_owned()), length));
    let Some(groups) = vocabulary.groups else {
        return text(1);
    };
    if here.starts_with("$$") {
        return text(2);
    }
    let digits = here[1..].bytes().take_while(u8::is_ascii_digit).count();
    let Ok(group) = here[1..=digits].parse::<usize>() else {
        return text(1);
    };
    if group > groups {
        return Err(format!("`${group}` stands in `{whole}`, but there are {groups} groups; write `$$` for a dollar"));
    }
    Ok((Piece::Group(group), digits + 1))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
}

fn unknown(name: &str, whole: &str, vocabulary: &Vocabulary<'_>) -> String {
    let mut known = String::from("`{scheme}`, `{public_host}`, `{prefix}`");
    for capture in vocabulary.captures {
        let _ = write!(known, ", `{{{capture}}}`");
    }
    if vocabulary.rest {
        known.push_str(", `{**}`");
    }
    if vocabulary.asker {
        known.push_str(", `{user}`, `{name}`, `{mail}`, `{groups}`, `{claim:NAME}`");
    }
    format!("`{{{name}}}` in `{whole}` is not known; there are {known}; write `{{{{` for a brace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, path: &str) -> Result<String, String> {
        let captures = ["host".to_owned(), "port".to_owned()];
        let template = Template::parse(
            template,
            &Vocabulary {
                captures: &captures,
                rest: true,
                groups: None,
                authority: &|name| (name == "yarn").then(|| "10.0.0.1:8088".to_owned()),
                asker: false,
            },
        )?;
        let found = Match {
            route: 0,
            pattern: 0,
            captures: [Capture::Range(1, 2), Capture::Range(3, 5)].into_iter().collect(),
            rest: 5,
        };
        let values = Values { path, found: &found, scheme: "https", host: "public:1", identity: None };
        let mut out = String::new();
        template.render(&values, &mut out);
        Ok(out)
    }

    #[test]
    fn places_are_filled_in() {
        assert_eq!(render("/api/{**}", "/h:80/x").unwrap(), "/api/x");
        assert_eq!(render("/api/{**}", "/h:80").unwrap(), "/api");
        assert_eq!(render("{scheme}://{host}.{port}{prefix}", "/h:80").unwrap(), "https://h.80/h:80");
        assert_eq!(render("/{authority:yarn}", "/h:80").unwrap(), "/10.0.0.1:8088");
        assert_eq!(render("{{x}} $1 {\"a\": 1} {", "/h:80").unwrap(), "{x} $1 {\"a\": 1} {");
    }

    #[test]
    fn what_is_not_known_is_an_error_that_lists_what_is() {
        let message = render("{prot}", "/h:80").unwrap_err();
        assert!(message.contains("`{port}`") && message.contains("{{"), "{message}");
        assert!(render("{authority:x}", "/h:80").is_err());
    }

    #[test]
    fn groups_are_counted() {
        let vocabulary = Vocabulary { captures: &[], rest: false, groups: Some(1), authority: &|_| None, asker: false };
        let template = Template::parse("a$1$$1", &vocabulary).unwrap();
        assert_eq!(template.pieces(), [Piece::Text("a".into()), Piece::Group(1), Piece::Text("$1".into())]);
        assert!(Template::parse("$2", &vocabulary).is_err());
        assert!(Template::parse("{**}", &vocabulary).is_err());
    }
}
