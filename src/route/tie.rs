//! Patterns of different shape that are equally specific and could match the same path.

use super::matcher::Matcher;
use super::pattern::{Part, PathPattern, Segment};
use super::table::{Conflict, specificity};

/// Finds the routes whose patterns differ in shape and tie all the same.
pub(super) fn find(routes: &[(usize, &Matcher)], conflicts: &mut Vec<Conflict>) {
    for (at, (second, b)) in routes.iter().enumerate() {
        for (first, a) in &routes[..at] {
            if a.rank() != b.rank() || !a.overlaps(b) {
                continue;
            }
            let same_host = a.hosts.iter().any(|host| b.hosts.iter().any(|other| host.is_same(other)));
            let tied_hosts = a.hosts.iter().any(|host| b.hosts.iter().any(|other| host.ties(other)));
            let tie = |p: &PathPattern, q: &PathPattern| {
                (same_host && ties(p, q)) || (tied_hosts && (ties(p, q) || same_shape(p, q)))
            };
            let pairs = a.paths.iter().flat_map(|p| b.paths.iter().map(move |q| (p, q)));
            for (_, path) in pairs.filter(|(p, q)| tie(p, q)) {
                conflicts.push(Conflict { first: *first, second: *second, path: path.as_str().to_owned() });
            }
        }
    }
}

/// Whether two patterns of different shape tie: neither is more specific, and some path fits both.
pub(super) fn ties(a: &PathPattern, b: &PathPattern) -> bool {
    let same_length = a.segments().len() == b.segments().len() && a.has_rest() == b.has_rest();
    let mut differ = false;
    let tie = |(a, b): (&Segment, &Segment)| match (a, b) {
        (Segment::Literal(a), Segment::Literal(b)) => a == b,
        (Segment::Captures(a), Segment::Captures(b)) => {
            differ |= a != b;
            a == b || (specificity(a) == specificity(b) && overlap(a, b))
        }
        _ => false,
    };
    same_length && a.segments().iter().zip(b.segments()).all(tie) && differ
}

/// Whether two patterns differ in nothing but the names of their captures.
fn same_shape(a: &PathPattern, b: &PathPattern) -> bool {
    a.segments() == b.segments() && a.has_rest() == b.has_rest()
}

/// Whether two labels of hosts that differ in shape are equally specific, and some host fits both.
pub(super) fn labels_tie(a: &[Part], b: &[Part]) -> bool {
    a != b && specificity(a) == specificity(b) && overlap(a, b)
}

/// Whether some text could fit both: told by the literal text that each begins and ends with. Where that leaves it
/// open, they could.
fn overlap(a: &[Part], b: &[Part]) -> bool {
    let begins = |parts: &[Part]| literal(parts.first());
    let ends = |parts: &[Part]| literal(parts.last());
    let (begin_a, begin_b, end_a, end_b) = (begins(a), begins(b), ends(a), ends(b));
    (begin_a.starts_with(&begin_b) || begin_b.starts_with(&begin_a))
        && (end_a.ends_with(&end_b) || end_b.ends_with(&end_a))
}

fn literal(part: Option<&Part>) -> Vec<u8> {
    match part {
        Some(Part::Literal(bytes)) => bytes.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_path_could_fit_ties() {
        for (a, b, expected) in [
            ("/a/{x}:{y}", "/a/{x}-{y}", true),
            ("/x/a{b}/one", "/x/{b}a/two", false),
            ("/x/a{b}", "/x/{b}a", true),
            ("/x/a{b}", "/x/c{b}", false),
            ("/x/{b}a", "/x/{b}c", false),
            ("/x/{b}", "/x/{c}", false),
            ("/{x}:{y:digits}", "/{x}:{y}", false),
            ("/a{x}/**", "/{x}a", false),
        ] {
            assert_eq!(ties(&a.parse().unwrap(), &b.parse().unwrap()), expected, "{a} {b}");
        }
    }
}
