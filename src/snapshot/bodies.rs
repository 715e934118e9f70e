//! Compiles what is done to bodies of text.

use super::compile::key;
use super::steps::RouteScope;
use crate::config::{KeyPath, Report, SubstituteSpec};
use crate::route::template::Vocabulary;
use crate::step::adapt::Adapt;
use crate::step::etag::Tag;
use crate::step::substitute::Substitute;

/// Compiles what is replaced in them.
pub(super) fn substitute(
    scope: &RouteScope<'_>,
    vocabulary: &Vocabulary<'_>,
    report: &mut Report,
) -> Option<Substitute> {
    let spec = &scope.entry.value;
    let needed = |rule: &SubstituteSpec| {
        rule.needs.iter().chain(&rule.url_of).all(|name| !scope.loaded.is_left_out_upstream(name))
    };
    let rules: Vec<(usize, &SubstituteSpec)> =
        spec.substitute.iter().enumerate().filter(|(_, rule)| needed(rule)).collect();
    if rules.is_empty() {
        return None;
    }
    let url_of = |name: &str| scope.url_of(name);
    Substitute::compile(&rules, &spec.substitute_types, vocabulary, &url_of)
        .map_err(|problems| {
            for (index, name, message) in problems {
                let mut path: KeyPath = key(scope.entry, &["substitute"]).then(index);
                if !name.is_empty() {
                    path.push(name);
                }
                report.push(scope.loaded.problem_at(scope.entry.document, path, message));
            }
        })
        .ok()
}

/// Compiles the tag of their versions.
pub(super) fn etag(
    scope: &RouteScope<'_>,
    substitute: Option<&Substitute>,
    adapt: &Adapt,
    report: &mut Report,
) -> Option<Tag> {
    let spec = &scope.entry.value;
    let text = match spec.etag.as_deref() {
        None if substitute.is_none() && !adapt.html => return None,
        None | Some("auto" | "") => {
            let rules = substitute.map_or(0, Substitute::fingerprint);
            format!("{:016x}", rules ^ u64::from(adapt.html))
        }
        Some(text) => text.to_owned(),
    };
    Tag::compile(&text).map_err(|message| scope.report(report, &["etag"], message)).ok()
}
