//! `substitute`: replace text in bodies, in one pass over the stream.
//!
//! ```yaml
//!   substitute:
//!     - { find: '"url":"/', replace: '"url":"./' }
//!     - { regex: '"log":"http://([^/"]{1,255}):8042/', replace: '"log":"{scheme}://{public_host}/yarn/$1:8042/' }
//!     - { url_of: grafana, replace: /grafana }
//!   substitute_types: [text/html]
//! ```

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::body::content_type::{media_type, text_type};
use super::body::replace::{Find, Part, Replacement, Rule, SubstituteStream, Substitution};
use crate::config::SubstituteSpec;
use crate::route::template::{Piece, Template, Values, Vocabulary, render_piece};

/// The step, checked.
#[derive(Clone)]
pub struct Substitute {
    engine: Arc<Substitution>,
    replacements: Vec<Ready>,
    types: Vec<String>,
    fingerprint: u64,
}

/// A replacement, ready where nothing depends on the request.
#[derive(Debug, Clone)]
enum Ready {
    Fixed(Replacement),
    Template(Template),
}

impl std::fmt::Debug for Substitute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Substitute").field("replacements", &self.replacements).finish_non_exhaustive()
    }
}

impl Substitute {
    /// Checks the rules that remain. `url_of` finds the URL of an upstream.
    ///
    /// # Errors
    /// For each mistake the index of its rule, its key, and what to write.
    pub fn compile(
        rules: &[(usize, &SubstituteSpec)],
        types: &[String],
        vocabulary: &Vocabulary<'_>,
        url_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<(usize, &'static str, String)>> {
        let mut problems = Vec::new();
        let mut compiled: Vec<(usize, &SubstituteSpec, Rule)> = Vec::new();
        for (index, spec) in rules {
            match rule(spec, url_of) {
                Ok(rule) => compiled.push((*index, spec, rule)),
                Err((key, message)) => problems.push((*index, key, message)),
            }
        }
        let only: Vec<Rule> = compiled.iter().map(|(_, _, rule)| rule.clone()).collect();
        let engine = match Substitution::compile(&only) {
            Ok(engine) => Arc::new(engine),
            Err(error) => {
                let index = compiled.get(error.index).map_or(0, |(index, _, _)| *index);
                problems.push((index, "", error.message));
                return Err(problems);
            }
        };
        let mut replacements = Vec::new();
        for (at, (index, spec, _)) in compiled.iter().enumerate() {
            let groups = Some(engine.groups(at));
            match Template::parse(&spec.replace, &Vocabulary { groups, ..*vocabulary }) {
                Ok(template) => replacements.push(ready(template)),
                Err(message) => problems.push((*index, "replace", message)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let fingerprint = fingerprint(rules, types, url_of);
        let types = types.iter().map(|t| t.to_ascii_lowercase()).collect();
        Ok(Self { engine, replacements, types, fingerprint })
    }

    /// A hash of the rules, for the ETag of what they change.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether bodies of this `Content-Type` are changed.
    #[must_use]
    pub fn concerns(&self, content_type: &str) -> bool {
        if self.types.is_empty() {
            return text_type(content_type);
        }
        let media = media_type(content_type);
        self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(media))
    }

    /// The replacement of one body.
    #[must_use]
    pub fn stream(&self, values: &Values<'_>) -> SubstituteStream {
        let replacements = self.replacements.iter().map(|ready| match ready {
            Ready::Fixed(replacement) => Arc::clone(replacement),
            Ready::Template(template) => render(template, values),
        });
        self.engine.stream(replacements.collect())
    }
}

/// One rule as the engine takes it.
fn rule(spec: &SubstituteSpec, url_of: &dyn Fn(&str) -> Option<String>) -> Result<Rule, (&'static str, String)> {
    let once = spec.once.0;
    let (find, boundary) = match (&spec.find, &spec.regex, &spec.url_of) {
        (Some(text), None, None) if text.is_empty() => {
            return Err(("find", "the text to find is empty; write what to replace".to_owned()));
        }
        (Some(text), None, None) => (Find::Literal(text.clone().into_bytes()), false),
        (None, Some(regex), None) => (Find::Regex(regex.clone()), false),
        (None, None, Some(name)) => {
            let url = url_of(name).ok_or_else(|| ("url_of", format!("`{name}` is not an upstream")))?;
            let text = format!("{url}{}", spec.path.as_deref().unwrap_or_default());
            (Find::Literal(text.into_bytes()), true)
        }
        _ => {
            let message = "write exactly one of `find`, `regex` and `url_of`";
            return Err(("", message.to_owned()));
        }
    };
    if spec.path.is_some() && spec.url_of.is_none() {
        return Err(("path", "`path` goes with `url_of` only; put it into the text to find".to_owned()));
    }
    Ok(Rule { find, boundary, once })
}

fn ready(template: Template) -> Ready {
    let fixed = template.pieces().iter().all(|p| matches!(p, Piece::Text(_) | Piece::Group(_)));
    if !fixed {
        return Ready::Template(template);
    }
    let parts = template.pieces().iter().map(|piece| match piece {
        Piece::Group(group) => Part::Group(*group),
        Piece::Text(text) => Part::Bytes(text.clone().into_bytes().into()),
        _ => Part::Bytes(bytes::Bytes::new()),
    });
    Ready::Fixed(parts.collect())
}

fn render(template: &Template, values: &Values<'_>) -> Replacement {
    let mut parts = Vec::new();
    let mut text = String::new();
    for piece in template.pieces() {
        if let Piece::Group(group) = piece {
            parts.push(Part::Bytes(std::mem::take(&mut text).into_bytes().into()));
            parts.push(Part::Group(*group));
        } else {
            render_piece(piece, values, &mut text);
        }
    }
    parts.push(Part::Bytes(text.into_bytes().into()));
    parts.into()
}

/// A hash that is the same on every instance of a fleet with the same rules.
fn fingerprint(rules: &[(usize, &SubstituteSpec)], types: &[String], url_of: &dyn Fn(&str) -> Option<String>) -> u64 {
    let mut hasher = super::StableHasher::default();
    types.hash(&mut hasher);
    for (_, spec) in rules {
        (&spec.find, &spec.regex, &spec.path, &spec.replace, spec.once.0).hash(&mut hasher);
        spec.url_of.as_deref().and_then(url_of).hash(&mut hasher);
    }
    hasher.finish()
}
