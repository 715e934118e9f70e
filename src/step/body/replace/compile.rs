//! From rules to engines: checks each rule, and builds one automaton for the literals and one for the regexes.

use regex_syntax::ast::{self, RepetitionKind, RepetitionRange};
use regex_syntax::hir::{Hir, Look, LookSet};

use super::literals::{self, Literals};
use super::patterns::{self, Patterns};
use super::{Find, MAX_LENGTH, Rule, RuleError};

/// A set of rules, ready to search.
pub(in crate::step::body) struct Compiled {
    pub(super) rules: Vec<RuleInfo>,
    pub(super) literals: Option<Literals>,
    pub(super) patterns: Option<Patterns>,
    /// A match that begins this far before the end of what is known is decided.
    pub(super) window: usize,
    /// Whether a search looks at the byte before it.
    pub(super) looks_behind: bool,
}

/// What a stream must know of a rule.
pub(super) struct RuleInfo {
    pub(super) once: bool,
    /// The capture groups and the names of those that have one.
    pub(super) names: Vec<Option<String>>,
}

impl Compiled {
    pub(in crate::step::body) fn new(rules: &[Rule]) -> Result<Self, RuleError> {
        let (mut infos, mut literals, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            let failed = |message| RuleError { index, message };
            let mut names = Vec::new();
            match &rule.find {
                Find::Literal(bytes) => {
                    check_literal(bytes).map_err(failed)?;
                    literals.push(literals::Source { rule: index, bytes, boundary: rule.boundary });
                }
                Find::Regex(pattern) => {
                    let hir = parse(pattern).map_err(failed)?;
                    names = group_names(pattern);
                    regexes.push(patterns::Source { rule: index, hir, boundary: rule.boundary });
                }
            }
            infos.push(RuleInfo { once: rule.once, names });
        }
        let literals = Literals::new(&literals)?;
        let patterns = Patterns::new(&regexes)?;
        let window = literals.as_ref().map_or(0, |l| l.window).max(patterns.as_ref().map_or(0, |p| p.window));
        let looks_behind = regexes.iter().any(|source| !source.hir.properties().look_set().is_empty());
        Ok(Self { rules: infos, literals, patterns, window, looks_behind })
    }
}

fn check_literal(bytes: &[u8]) -> Result<(), String> {
    match bytes.len() {
        0 => Err("there is nothing to find; write at least one byte".into()),
        1..=MAX_LENGTH => Ok(()),
        length => Err(format!("the text to find is {length} bytes long; write at most {MAX_LENGTH}")),
    }
}

/// Parses a pattern in bytes mode.
pub(super) fn parse_hir(pattern: &str) -> Result<Hir, String> {
    regex_syntax::ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .parse(pattern)
        .map_err(|error| error.to_string())
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let hir = parse_hir(pattern)?;
    let properties = hir.properties();
    for look in properties.look_set().iter() {
        if !allowed_looks().contains(look) {
            return Err(format!(
                "`{}` is not there in a stream; leave it out, or write an ASCII word boundary `\\b`",
                look_text(look)
            ));
        }
    }
    let Some(length) = properties.maximum_len() else {
        // Without a maximum and without a loop there is nothing it could match at all.
        return Err(unbounded(pattern).unwrap_or_else(|| "this can never match".into()));
    };
    if length > MAX_LENGTH {
        return Err(format!("this can match {length} bytes; write smaller bounds, for at most {MAX_LENGTH}"));
    }
    match properties.minimum_len() {
        Some(0) => Err("this matches the empty text; make at least one part of it required".into()),
        Some(_) => Ok(hir),
        None => Err("this can never match".into()),
    }
}

fn allowed_looks() -> LookSet {
    [
        Look::WordAscii,
        Look::WordAsciiNegate,
        Look::WordStartAscii,
        Look::WordEndAscii,
        Look::WordStartHalfAscii,
        Look::WordEndHalfAscii,
    ]
    .into_iter()
    .fold(LookSet::empty(), LookSet::insert)
}

fn look_text(look: Look) -> &'static str {
    match look {
        Look::Start => "^ (the start of the body)",
        Look::End => "$ (the end of the body)",
        Look::StartLF | Look::StartCRLF => "^ (the start of a line)",
        Look::EndLF | Look::EndCRLF => "$ (the end of a line)",
        _ => "\\b (a Unicode word boundary)",
    }
}

fn syntax_tree(pattern: &str) -> Option<ast::Ast> {
    ast::parse::Parser::new().parse(pattern).ok()
}

/// Finds the loop that makes a pattern unbounded, and says what to write for it.
fn unbounded(pattern: &str) -> Option<String> {
    struct Loops(Vec<ast::Repetition>);
    impl ast::Visitor for Loops {
        type Output = Vec<ast::Repetition>;
        type Err = std::convert::Infallible;
        fn finish(self) -> Result<Self::Output, Self::Err> {
            Ok(self.0)
        }
        fn visit_pre(&mut self, ast: &ast::Ast) -> Result<(), Self::Err> {
            if let ast::Ast::Repetition(repetition) = ast {
                self.0.push((**repetition).clone());
            }
            Ok(())
        }
    }
    let Ok(loops) = ast::visit(&syntax_tree(pattern)?, Loops(Vec::new()));
    loops.iter().find_map(|found| {
        let least = match &found.op.kind {
            RepetitionKind::ZeroOrMore => 0,
            RepetitionKind::OneOrMore => 1,
            RepetitionKind::Range(RepetitionRange::AtLeast(least)) => *least,
            _ => return None,
        };
        let text = |span: &ast::Span| pattern.get(span.start.offset..span.end.offset);
        let (whole, inner) = (text(&found.span)?, text(found.ast.span())?);
        let lazy = if found.greedy { "" } else { "?" };
        let most = least.max(255);
        Some(format!("`{whole}` has no upper bound; write `{inner}{{{least},{most}}}{lazy}`"))
    })
}

/// The capture groups of a pattern in order, with their names.
fn group_names(pattern: &str) -> Vec<Option<String>> {
    struct Groups(Vec<Option<String>>);
    impl ast::Visitor for Groups {
        type Output = Vec<Option<String>>;
        type Err = std::convert::Infallible;
        fn finish(self) -> Result<Self::Output, Self::Err> {
            Ok(self.0)
        }
        fn visit_pre(&mut self, ast: &ast::Ast) -> Result<(), Self::Err> {
            if let ast::Ast::Group(group) = ast {
                match &group.kind {
                    ast::GroupKind::CaptureIndex(_) => self.0.push(None),
                    ast::GroupKind::CaptureName { name, .. } => {
                        self.0.push(Some(name.name.clone()));
                    }
                    ast::GroupKind::NonCapturing(_) => {}
                }
            }
            Ok(())
        }
    }
    let Some(tree) = syntax_tree(pattern) else {
        return Vec::new();
    };
    let Ok(names) = ast::visit(&tree, Groups(Vec::new()));
    names
}
