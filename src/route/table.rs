//! Which route matches: a trie of segments for each host pattern.
//!
//! Of all routes that match a request the most specific wins, compared in this order: host (exact, captured label, longest
//! suffix, longest prefix, any), path (segment by segment: literal, literal text with captures, capture, `**`), methods
//! (named, any), number of conditions on headers and path. Two routes that tie and could both match are an error when the table is built.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::host::{self, HostPattern};
use super::matcher::Matcher;
use super::path;
use super::pattern::{Chars, Part, PathPattern, Segment, match_parts};
use super::tie;

/// The value of a capture: a range of the request path, or text of its own where percent-encoding had to go first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// Bytes of the normalised request path.
    Range(usize, usize),
    /// Decoded text.
    Text(String),
}

/// A route that matches, and what its pattern captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The route's index in the list that the table was built from.
    pub route: usize,
    /// Which of the route's path patterns matched.
    pub pattern: usize,
    /// Captures, in the order of [`Matcher::captures`].
    pub captures: SmallVec<[Capture; 4]>,
    /// Where the rest (`**`) starts in the path; the path's length without a rest.
    pub rest: usize,
}

/// Two routes that match the same requests equally well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The route that was there first.
    pub first: usize,
    /// The route that ties with it.
    pub second: usize,
    /// The pattern of the second.
    pub path: String,
}

/// All routes of a listener, ready to be matched.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<String, Node>,
    /// By all behind the first label: what captures in that one, the most specific first.
    labels: HashMap<String, Vec<(Vec<Part>, Node)>>,
    suffixes: Vec<(String, Node)>,
    prefixes: Vec<(String, Node)>,
    any: Node,
    /// Whether all of them fit every host.
    any_host: bool,
}

/// A pattern that ends at a node: which route and which of its patterns.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    route: usize,
    pattern: usize,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Vec<u8>, Node>,
    captures: Vec<(Vec<Part>, Node)>,
    exact: Vec<Leaf>,
    rest: Vec<Leaf>,
}

impl RouteTable {
    /// Builds the table of the given routes; `index` is what a [`Match`] will name.
    ///
    /// # Errors
    /// Every pair of routes that tie.
    pub fn build<'r>(routes: impl Iterator<Item = (usize, &'r Matcher)> + Clone) -> Result<Self, Vec<Conflict>> {
        let mut table = Self { any_host: true, ..Self::default() };
        let mut conflicts = Vec::new();
        let matchers: HashMap<usize, &Matcher> = routes.clone().collect();
        tie::find(&routes.clone().collect::<Vec<_>>(), &mut conflicts);
        for (route, matcher) in routes {
            for host in &matcher.hosts {
                let root = table.root(host);
                for (pattern, path) in matcher.paths.iter().enumerate() {
                    let leaf = Leaf { route, pattern };
                    root.insert(path.segments(), path, leaf, &matchers, &mut conflicts);
                }
            }
        }
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        table.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        for labels in table.labels.values_mut() {
            labels.sort_by_key(|(label, _)| std::cmp::Reverse(specificity(label)));
        }
        conflicts.dedup_by_key(|conflict| (conflict.first, conflict.second));
        if conflicts.is_empty() { Ok(table) } else { Err(conflicts) }
    }

    fn root(&mut self, host: &HostPattern) -> &mut Node {
        self.any_host &= *host == HostPattern::Any;
        match host {
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostPattern::Any => &mut self.any,
            HostPattern::Suffix(suffix) => node_of(&mut self.suffixes, suffix),
            HostPattern::Prefix(prefix) => node_of(&mut self.prefixes, prefix),
            HostPattern::Capture(pattern) => {
                let labels = self.labels.entry(pattern.suffix().to_owned()).or_default();
                node_of(labels, pattern.label())
            }
        }
    }

    /// The most specific route that `accept` takes, for a normalised path and the authority that the client named.
    ///
    /// `accept` is asked about the routes whose host and path match, most specific first.
    pub fn find(&self, authority: &str, path: &str, mut accept: impl FnMut(usize) -> bool) -> Option<Match> {
        let mut search = Search { path, captures: SmallVec::new(), accept: &mut accept };
        if !self.any_host
            && let Some(found) = self.find_host(&host::normalise(authority), &mut search)
        {
            return Some(found);
        }
        search.visit(&self.any, 0)
    }

    /// What routes that name hosts have for this one.
    fn find_host(&self, host: &str, search: &mut Search<'_, '_>) -> Option<Match> {
        if let Some(found) = self.exact.get(host).and_then(|node| search.visit(node, 0)) {
            return Some(found);
        }
        if !self.labels.is_empty()
            && let Some(dot) = host.find('.')
            && let Some(labels) = self.labels.get(&host[dot..])
        {
            for (parts, node) in labels {
                if let Some(captured) = host::capture(parts, &host[..dot])
                    && let Some(mut found) = search.visit(node, 0)
                {
                    found.captures.push(Capture::Text(captured.to_owned()));
                    return Some(found);
                }
            }
        }
        let below = self.suffixes.iter().filter(|(s, _)| host.len() > s.len() && host.ends_with(s.as_str()));
        let begins = self.prefixes.iter().filter(|(p, _)| host.len() > p.len() && host.starts_with(p.as_str()));
        below.chain(begins).find_map(|(_, node)| search.visit(node, 0))
    }
}

/// The node of a key, which is made where there is none.
fn node_of<'n, K, Q>(nodes: &'n mut Vec<(K, Node)>, key: &Q) -> &'n mut Node
where
    K: PartialEq + std::borrow::Borrow<Q>,
    Q: ToOwned<Owned = K> + PartialEq + ?Sized,
{
    let known = nodes.iter().position(|(known, _)| known.borrow() == key);
    let at = known.unwrap_or_else(|| {
        nodes.push((key.to_owned(), Node::default()));
        nodes.len() - 1
    });
    &mut nodes[at].1
}

impl Node {
    fn insert(
        &mut self,
        segments: &[Segment],
        path: &PathPattern,
        leaf: Leaf,
        matchers: &HashMap<usize, &Matcher>,
        conflicts: &mut Vec<Conflict>,
    ) {
        match segments.split_first() {
            Some((Segment::Literal(bytes), others)) => {
                let node = self.literals.entry(bytes.clone()).or_default();
                node.insert(others, path, leaf, matchers, conflicts);
            }
            Some((Segment::Captures(parts), others)) => {
                let at = self.capture_node(parts);
                self.captures[at].1.insert(others, path, leaf, matchers, conflicts);
            }
            None => {
                let leaves = if path.has_rest() { &mut self.rest } else { &mut self.exact };
                let matcher = matchers[&leaf.route];
                for known in leaves.iter() {
                    let other = matchers[&known.route];
                    if other.rank() == matcher.rank() && other.overlaps(matcher) {
                        conflicts.push(Conflict {
                            first: known.route,
                            second: leaf.route,
                            path: path.as_str().to_owned(),
                        });
                    }
                }
                leaves.push(leaf);
                leaves.sort_by_key(|leaf| std::cmp::Reverse(matchers[&leaf.route].rank()));
            }
        }
    }

    /// The child for a capturing segment.
    fn capture_node(&mut self, parts: &[Part]) -> usize {
        if let Some(at) = self.captures.iter().position(|(known, _)| known == parts) {
            return at;
        }
        self.captures.push((parts.to_vec(), Node::default()));
        self.captures.sort_by_key(|(parts, _)| std::cmp::Reverse(specificity(parts)));
        self.captures.iter().position(|(known, _)| known == parts).unwrap_or_default()
    }
}

/// How specific a capturing segment is: literal bytes first, then captures held to digits, to words, to a length.
pub(super) fn specificity(parts: &[Part]) -> [usize; 4] {
    let literal = parts.iter().map(|part| match part {
        Part::Literal(bytes) => bytes.len(),
        Part::Capture(..) => 0,
    });
    let count = |fits: fn(&Part) -> bool| parts.iter().filter(|part| fits(part)).count();
    [
        literal.sum(),
        count(|part| matches!(part, Part::Capture(Chars::Digits, _))),
        count(|part| matches!(part, Part::Capture(Chars::Word, _))),
        count(|part| matches!(part, Part::Capture(_, most) if *most < usize::MAX)),
    ]
}

/// A walk through the trie, most specific branch first.
struct Search<'p, 'a> {
    path: &'p str,
    captures: SmallVec<[Capture; 4]>,
    accept: &'a mut dyn FnMut(usize) -> bool,
}

impl Search<'_, '_> {
    /// `at` is where the slash before the next segment stands, or the path's length.
    fn visit(&mut self, node: &Node, at: usize) -> Option<Match> {
        if at == self.path.len() {
            return self.leaf(&node.exact, at).or_else(|| self.leaf(&node.rest, at));
        }
        let start = at + 1;
        let end = self.path[start..].find('/').map_or(self.path.len(), |n| start + n);
        let decoded = path::decode(&self.path[start..end]);
        if let Some(found) = node.literals.get(decoded.as_ref()).and_then(|n| self.visit(n, end)) {
            return Some(found);
        }
        for (parts, child) in &node.captures {
            let depth = self.captures.len();
            if self.capture(parts, start, end)
                && let Some(found) = self.visit(child, end)
            {
                return Some(found);
            }
            self.captures.truncate(depth);
        }
        self.leaf(&node.rest, at)
    }

    fn capture(&mut self, parts: &[Part], start: usize, end: usize) -> bool {
        let raw = &self.path[start..end];
        let mut ranges: SmallVec<[(usize, usize); 4]> = SmallVec::new();
        if match_parts(parts, raw.as_bytes(), 0, &mut ranges) {
            let found = ranges.iter().map(|&(a, b)| Capture::Range(start + a, start + b));
            self.captures.extend(found);
            return true;
        }
        if !raw.contains('%') {
            return false;
        }
        let decoded = path::decode(raw);
        ranges.clear();
        let Ok(text) = std::str::from_utf8(&decoded) else {
            return false;
        };
        if !match_parts(parts, &decoded, 0, &mut ranges) {
            return false;
        }
        let found = ranges.iter().map(|&(a, b)| text.get(a..b).unwrap_or_default().to_owned());
        self.captures.extend(found.map(Capture::Text));
        true
    }

    fn leaf(&mut self, leaves: &[Leaf], at: usize) -> Option<Match> {
        let leaf = leaves.iter().find(|leaf| (self.accept)(leaf.route))?;
        Some(Match { route: leaf.route, pattern: leaf.pattern, captures: self.captures.clone(), rest: at })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;

    fn matcher(path: &str) -> Matcher {
        Matcher {
            hosts: vec![HostPattern::Any],
            paths: vec![path.parse().unwrap()],
            captures: Vec::new(),
            path_regexes: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
        }
    }

    fn table(matchers: &[Matcher]) -> Result<RouteTable, Vec<Conflict>> {
        RouteTable::build(matchers.iter().enumerate())
    }

    fn winner(paths: &[&str], path: &str) -> Option<String> {
        let matchers: Vec<_> = paths.iter().map(|p| matcher(p)).collect();
        let found = table(&matchers).unwrap().find("h", path, |_| true)?;
        Some(paths[found.route].to_owned())
    }

    #[test]
    fn the_most_specific_path_wins() {
        let paths = ["/**", "/a/**", "/a/{x}", "/a/b", "/a/b/", "/a/{x}:{y}/**", "/a/{x}:{y:digits}/**", "/a/{x}/c"];
        for (path, expected) in [
            ("/", "/**"),
            ("/a", "/a/**"),
            ("/ab", "/**"),
            ("/a/", "/a/**"),
            ("/a/b", "/a/b"),
            ("/%61/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a/z", "/a/{x}"),
            ("/a/z/c", "/a/{x}/c"),
            ("/a/z/d", "/a/**"),
            ("/a/h:p", "/a/{x}:{y}/**"),
            ("/a/h:1/q", "/a/{x}:{y:digits}/**"),
            ("/a/h%3A1/q", "/a/{x}:{y:digits}/**"),
        ] {
            assert_eq!(winner(&paths, path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn captures_and_rest_are_told() {
        let matchers = [matcher("/yarn/{host}:{port:digits}/**")];
        let found = table(&matchers).unwrap().find("h", "/yarn/h:80/x/y", |_| true).unwrap();
        assert_eq!(found.captures.as_slice(), [Capture::Range(6, 7), Capture::Range(8, 10)]);
        assert_eq!(found.rest, 10);
    }

    #[test]
    fn hosts_come_before_paths() {
        let mut exact = matcher("/**");
        exact.hosts = vec!["a.example.org".parse().unwrap()];
        let mut suffix = matcher("/x/**");
        suffix.hosts = vec!["*.example.org".parse().unwrap()];
        let any = matcher("/x/y");
        let table = RouteTable::build([exact, suffix, any].iter().enumerate()).unwrap();
        let route = |host: &str, path| table.find(host, path, |_| true).map(|m| m.route);
        assert_eq!(route("A.example.org:80", "/x/y"), Some(0));
        assert_eq!(route("b.example.org", "/x/y"), Some(1));
        assert_eq!(route("b.example.org", "/x"), Some(1));
        assert_eq!(route("example.org", "/x/y"), Some(2));
        assert_eq!(route("example.org", "/x"), None);
    }

    #[test]
    fn a_captured_label_comes_after_the_exact_host_and_before_suffixes() {
        let at = |host: &str| Matcher { hosts: vec![host.parse().unwrap()], ..matcher("/{x}/**") };
        let hosts = ["a.x.org", "{n}.x.org", "{n}-1.x.org", "{n:digits}.x.org", "*.x.org", "b.*", "*"];
        let table = table(&hosts.map(at)).unwrap();
        for (host, expected, captured) in [
            ("A.x.org:80", 0, None),
            ("b.x.org", 1, Some("b")),
            ("b-1.x.org.", 2, Some("b")),
            ("17.x.org", 3, Some("17")),
            ("c.d.x.org", 4, None),
            ("b.y.org", 5, None),
            ("x.org", 6, None),
        ] {
            let found = table.find(host, "/p/q", |_| true).unwrap();
            assert_eq!(found.route, expected, "{host}");
            let expected = captured.map(|text| Capture::Text(text.to_owned()));
            assert_eq!((found.captures.get(1), found.rest), (expected.as_ref(), 2), "{host}");
        }
    }

    #[test]
    fn captured_labels_that_tie_are_conflicts() {
        let at = |host: &str, path: &str| Matcher { hosts: vec![host.parse().unwrap()], ..matcher(path) };
        assert!(table(&[at("{a}.x.org", "/a"), at("{b}.x.org", "/a")]).is_err());
        assert!(table(&[at("{a}-x.x.org", "/a"), at("x-{b}.x.org", "/a")]).is_err());
        assert!(table(&[at("{a}-x.x.org", "/a"), at("x-{b}.x.org", "/b")]).is_ok());
        assert!(table(&[at("{a}-x.x.org", "/{c}:{d}"), at("x-{b}.x.org", "/{c}-{d}")]).is_err());
        assert!(table(&[at("{a}-x.x.org", "/a"), at("{b}-y.x.org", "/a")]).is_ok());
        assert!(table(&[at("{a}.x.org", "/a"), at("{b}.y.org", "/a")]).is_ok());
    }

    #[test]
    fn a_refused_route_leaves_the_next() {
        let matchers = [matcher("/a"), matcher("/**")];
        let table = table(&matchers).unwrap();
        assert_eq!(table.find("h", "/a", |r| r != 0).map(|m| m.route), Some(1));
    }

    #[test]
    fn ties_are_conflicts_unless_conditions_part_them() {
        let with = |path: &str, method: Method| Matcher { methods: vec![method], ..matcher(path) };
        assert!(table(&[matcher("/a/{x}"), matcher("/a/{y}")]).is_err());
        assert!(table(&[matcher("/a/{x}:{y}"), matcher("/a/{x}-{y}")]).is_err());
        assert!(table(&[with("/a", Method::GET), with("/a", Method::PUT)]).is_ok());
        assert!(table(&[with("/a", Method::GET), with("/a", Method::GET)]).is_err());
        assert!(table(&[with("/a", Method::GET), matcher("/a")]).is_ok());
        let fitting = Matcher { path_regexes: vec!["a".parse().unwrap()], ..matcher("/a") };
        assert!(table(&[fitting.clone(), matcher("/a")]).is_ok());
        assert!(table(&[fitting.clone(), fitting.clone()]).is_err());
        let more = Matcher { path_regexes: vec!["a".parse().unwrap(), "/".parse().unwrap()], ..matcher("/a") };
        let both = table(&[fitting, more]).unwrap();
        assert_eq!(both.find("h", "/a", |_| true).map(|found| found.route), Some(1));
    }

    proptest! {
        /// Adding a pattern never makes a less specific one win over a literal match.
        #[test]
        fn a_literal_path_always_wins(
            segments in prop::collection::vec("[a-c]{1,2}", 1..4),
            others in prop::collection::vec(prop::collection::vec("[a-c]{1,2}|\\{x\\}", 0..4), 0..6),
        ) {
            let literal = format!("/{}", segments.join("/"));
            let mut paths: Vec<String> = others
                .iter()
                .map(|s| {
                    let mut names = 0;
                    let parts: Vec<String> = s.iter().map(|p| if p == "{x}" { names += 1; format!("{{x{names}}}") } else { p.clone() }).collect();
                    format!("/{}", [parts.as_slice(), &["**".to_owned()]].concat().join("/"))
                })
                .collect();
            paths.sort();
            paths.dedup();
            paths.push(literal.clone());
            let matchers: Vec<_> = paths.iter().map(|p| matcher(p)).collect();
            if let Ok(table) = table(&matchers) {
                let found = table.find("h", &literal, |_| true).unwrap();
                prop_assert_eq!(&paths[found.route], &literal);
            }
        }
    }
}
