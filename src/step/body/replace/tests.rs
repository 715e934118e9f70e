use proptest::prelude::*;

use super::*;

fn literal(text: &str) -> Rule {
    Rule { find: Find::Literal(text.into()), boundary: false, once: false }
}

fn regex(pattern: &str) -> Rule {
    Rule { find: Find::Regex(pattern.into()), boundary: false, once: false }
}

fn bounded(rule: Rule) -> Rule {
    Rule { boundary: true, ..rule }
}

fn once(rule: Rule) -> Rule {
    Rule { once: true, ..rule }
}

fn compile(rules: &[Rule]) -> Substitution {
    Substitution::compile(rules).unwrap()
}

fn bytes(text: &str) -> Part {
    Part::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

/// `<RULE:groups,…>`, which shows which rule matched what.
fn marks(set: &Substitution) -> Vec<Replacement> {
    let mark = |rule| {
        let mut parts = vec![bytes(&format!("<{rule}:")), Part::Group(0)];
        for group in 1..=set.groups(rule) {
            parts.extend([bytes(","), Part::Group(group)]);
        }
        parts.push(bytes(">"));
        parts.into()
    };
    (0..set.rules()).map(mark).collect()
}

/// Runs a body through, cut into pieces whose sizes `cuts` gives in turn.
fn run(set: &Substitution, body: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut stream, mut out) = (set.stream(marks(set)), Vec::new());
    let (mut rest, mut cuts) = (body, cuts.iter().cycle());
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let (chunk, after) = rest.split_at(cut);
        rest = after;
        stream.push(chunk, &mut out).unwrap();
        assert!(stream.held() <= set.max_held());
    }
    stream.finish(&mut out).unwrap();
    assert_eq!(stream.held(), 0);
    out
}

/// What rules make of a body, checked to be the same byte by byte.
fn marked(rules: &[Rule], body: &str) -> String {
    let set = compile(rules);
    let whole = run(&set, body.as_bytes(), &[]);
    for cuts in [&[1][..], &[2], &[3], &[1, 5]] {
        let cut = run(&set, body.as_bytes(), cuts);
        assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&cut), "{cuts:?}");
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn leftmost_then_longest_literal_then_regex_then_order() {
    assert_eq!(marked(&[literal("ab"), literal("abcd"), literal("b")], "abcd abc b"), "<1:abcd> <0:ab>c <2:b>");
    assert_eq!(marked(&[regex("a[a-z]{1,3}"), literal("ab")], "abcd axyz"), "<1:ab>cd <0:axyz>");
    assert_eq!(marked(&[regex("a."), regex("ab.")], "abc"), "<0:ab>c");
    assert_eq!(marked(&[literal("bcd"), regex("abc")], "abcd"), "<1:abc>d");
    assert_eq!(marked(&[literal("x"), literal("x")], "x"), "<0:x>");
    assert_eq!(marked(&[literal("aa")], "aaaaa"), "<0:aa><0:aa>a");
}

#[test]
fn replaced_text_is_not_scanned_again() {
    let set = compile(&[literal("a"), literal("b")]);
    let replacement = |text| Replacement::from([bytes(text)]);
    let mut stream = set.stream(vec![replacement("b"), replacement("a")]);
    let mut out = Vec::new();
    stream.push(b"abab", &mut out).unwrap();
    stream.finish(&mut out).unwrap();
    assert_eq!(out, b"baba");
}

#[test]
fn groups_are_filled_in() {
    let rules = [regex(r#"(?i)(src|HREF)="/([^"]{0,255})"(x)?"#)];
    assert_eq!(marked(&rules, r#"<a href="/p">"#), r#"<a <0:href="/p",href,p,>>"#);
    let set = compile(&[literal("x"), regex("(?P<host>[a-z]{1,9}):(?:y)(z)")]);
    assert_eq!((set.groups(0), set.groups(1), set.groups(9)), (0, 2, 0));
    assert_eq!((set.group_named(1, "host"), set.group_named(1, "port")), (Some(1), None));
    // A group that is not there is empty, and a rule without a replacement changes nothing.
    let mut stream = set.stream(vec![Replacement::from([Part::Group(3), bytes("!")])]);
    let mut out = Vec::new();
    stream.push(b"x abc:yz", &mut out).unwrap();
    stream.finish(&mut out).unwrap();
    assert_eq!(out, b"! abc:yz");
}

#[test]
fn a_boundary_ends_an_authority() {
    for rule in [literal("http://10.0.0.1:80"), regex(r"http://10\.0\.0\.1:80")] {
        let rules = [bounded(rule)];
        for yes in ["", "/", "\"", " ", ".", ":", ". ", "./", ":/", "?a", "é", "\\/"] {
            let body = format!("http://10.0.0.1:80{yes}");
            assert_eq!(marked(&rules, &body), format!("<0:http://10.0.0.1:80>{yes}"));
        }
        for no in ["80", "a", "-", "_", ".1", ":1", ".x"] {
            let body = format!("http://10.0.0.1:80{no}");
            assert_eq!(marked(&rules, &body), body);
        }
    }
}

#[test]
fn where_a_boundary_fails_the_next_match_is_tried() {
    let rules = [bounded(literal("abc")), literal("ab")];
    assert_eq!(marked(&rules, "abcd abc"), "<1:ab>cd <0:abc>");
    let rules = [bounded(literal("ab")), regex("(a)bc")];
    assert_eq!(marked(&rules, "abc ab"), "<1:abc,a> <0:ab>");
    let rules = [bounded(literal("aba")), literal("ba")];
    assert_eq!(marked(&rules, "abac"), "a<1:ba>c");
    let rules = [bounded(regex("h://([a-z]{1,9})"))];
    assert_eq!(marked(&rules, "h://ab-c h://ab/"), "h://ab-c <0:h://ab,ab>/");
    let rules = [bounded(literal("ab")), literal("ab")];
    assert_eq!(marked(&rules, "ab abc"), "<0:ab> <1:ab>c");
}

#[test]
fn once_replaces_the_first() {
    assert_eq!(marked(&[once(literal("a")), literal("b")], "ab ab"), "<0:a><1:b> a<1:b>");
    assert_eq!(marked(&[once(regex("a(.)"))], "ab ac"), "<0:ab,b> ac");
}

#[test]
fn word_boundaries_look_at_what_has_left() {
    assert_eq!(marked(&[regex(r"\bab\b")], "ab cab abc ab"), "<0:ab> cab abc <0:ab>");
    assert_eq!(marked(&[literal("x"), regex(r"\Ba")], "xa a ba"), "<0:x><1:a> a b<1:a>");
}

#[test]
fn bytes_that_are_not_utf8_pass() {
    let body = b"\xff\xfea\x00\xc3(b\x80";
    let set = compile(&[literal("a"), regex("b")]);
    for cuts in [&[][..], &[1], &[2]] {
        assert_eq!(run(&set, body, cuts), b"\xff\xfe<0:a>\x00\xc3(<1:b>\x80");
    }
    let set = compile(&[Rule { find: Find::Literal(vec![0xff, 0xfe]), boundary: false, once: false }]);
    assert_eq!(run(&set, body, &[1]), b"<0:\xff\xfe>a\x00\xc3(b\x80");
}

/// How many bytes are held after each push.
fn held_after(rules: &[Rule], chunks: &[&str]) -> Vec<usize> {
    let set = compile(rules);
    let mut stream = set.stream(marks(&set));
    let mut held = |chunk: &&str| {
        stream.push(chunk.as_bytes(), &mut Vec::new()).unwrap();
        stream.held()
    };
    chunks.iter().map(&mut held).collect()
}

#[test]
fn only_undecided_bytes_are_held() {
    let url = "http://10.0.0.1:80";
    assert_eq!(held_after(&[literal(url)], &["data: x\n\n", "see ht", "tp", "x", url]), [0, 2, 4, 0, 0]);
    // The whole text came: decided at once without a boundary, and held until one more byte with it.
    assert_eq!(held_after(&[bounded(literal(url))], &[url, " ", url, ".", " "]), [18, 0, 18, 19, 0]);
    assert_eq!(held_after(&[literal("ab"), literal("abcd")], &["ab", "c", "x", "abcd"]), [2, 3, 0, 0]);
    let quoted = regex(r#"url":"/([^"]{0,255})""#);
    assert_eq!(held_after(&[quoted], &["data: x\n\n", "{\"url\":\"/abc", "\"", "}", "u"]), [0, 10, 0, 0, 1]);
    assert_eq!(held_after(&[regex("\n\n")], &["data: x\n\n", "\n"]), [0, 1]);
    assert_eq!(held_after(&[regex("x[0-9]{1,3}")], &["x1", "2", "3", "x1a"]), [2, 3, 0, 0]);
    assert_eq!(held_after(&[regex(r"\bab\b")], &["cab", " ab", " "]), [0, 2, 0]);
}

#[test]
fn a_long_stream_takes_constant_memory() {
    let rules = [bounded(literal("http://10.0.0.1:80")), literal("href=\"/"), regex(r#""url":"/([^"]{0,255})""#)];
    let set = compile(&rules);
    let mut stream = set.stream(vec![Replacement::from([bytes("http://p")]); 3]);
    let block = r#"<a href="/x">http://10.0.0.1:8080 http://10.0.0.1:80/</a>{"url":"/abc"}"#.repeat(700);
    let (mut out, mut total, mut came) = (Vec::new(), 0, 0);
    while came < 100 << 20 {
        out.clear();
        stream.push(block.as_bytes(), &mut out).unwrap();
        assert!(stream.held() <= set.max_held());
        assert!(stream.scanner.capacity() <= 4 * set.max_held() + 64);
        came += block.len();
        total += out.len();
    }
    assert!(total > came / 2);
}

#[test]
fn rules_that_cannot_work_name_the_cure() {
    let message = |rule: Rule| Substitution::compile(&[literal("ok"), rule]).err().unwrap().to_string();
    assert_eq!(message(regex("href=\"[^\"]*\"")), "rule 1: `[^\"]*` has no upper bound; write `[^\"]{0,255}`");
    assert_eq!(message(regex("(a|b)+?c")), "rule 1: `(a|b)+?` has no upper bound; write `(a|b){1,255}?`");
    assert_eq!(message(regex("xé{300,}")), "rule 1: `é{300,}` has no upper bound; write `é{300,300}`");
    assert!(message(regex("a{0,3}")).contains("matches the empty text"));
    assert!(message(regex("[a-z]{1,5000}")).contains("5000 bytes"));
    assert!(message(regex("^a")).contains("start of the body"));
    assert!(message(regex("(?m)a$")).contains("end of a line"));
    assert!(message(regex(r"(?u)\ba")).contains("Unicode"));
    assert!(message(regex("[a&&b]")).contains("never match"));
    assert!(message(regex("a(")).contains("unclosed group"));
    assert!(message(regex("(?=a)b")).contains("look"));
    assert!(message(literal("")).contains("at least one byte"));
    assert!(message(literal(&"x".repeat(4097))).contains("4097"));
}

#[test]
fn no_rules_pass_everything() {
    assert_eq!(marked(&[], "abc"), "abc");
}

/// The rules of the module doc, in the plainest words: at each position each candidate in order, anchored.
fn reference(rules: &[Rule], body: &[u8]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by_key(|&rule| match &rules[rule].find {
        Find::Literal(text) => (0, usize::MAX - text.len()),
        Find::Regex(_) => (1, 0),
    });
    let engines: Vec<Option<regex_automata::meta::Regex>> = rules.iter().map(reference_engine).collect();
    let (mut out, mut at) = (Vec::new(), 0);
    'next: while at < body.len() {
        for &rule in &order {
            let found = match (&rules[rule].find, &engines[rule]) {
                (Find::Literal(text), _) => {
                    let rest = &body[at..];
                    let matches = rest.starts_with(text) && (!rules[rule].boundary || is_boundary(&rest[text.len()..]));
                    matches.then(|| format!("<{rule}:{}>", String::from_utf8_lossy(text))).map(|m| (m, text.len()))
                }
                (_, Some(engine)) => {
                    let mut caps = engine.create_captures();
                    let input = regex_automata::Input::new(body).range(at..).anchored(regex_automata::Anchored::Yes);
                    engine.search_captures(&input, &mut caps);
                    caps.is_match().then(|| {
                        let group = |n: usize| {
                            caps.get_group(n).map_or("".into(), |s| String::from_utf8_lossy(&body[s.range()]))
                        };
                        let rest: Vec<String> = (2..caps.group_len()).map(group).map(String::from).collect();
                        let rest = rest.iter().fold(String::new(), |all, one| all + "," + one);
                        (format!("<{rule}:{}{rest}>", group(1)), caps.get_group(1).unwrap().len())
                    })
                }
                _ => None,
            };
            if let Some((mark, length)) = found {
                out.extend_from_slice(mark.as_bytes());
                at += length;
                continue 'next;
            }
        }
        out.push(body[at]);
        at += 1;
    }
    out
}

fn reference_engine(rule: &Rule) -> Option<regex_automata::meta::Regex> {
    let Find::Regex(pattern) = &rule.find else {
        return None;
    };
    let tail = if rule.boundary { r"(?:[^\w.:\-]|[.:](?:\W|\z)|\z)" } else { "" };
    let syntax = regex_automata::util::syntax::Config::new().unicode(false).utf8(false);
    let config = regex_automata::meta::Config::new().utf8_empty(false);
    let full = format!("({pattern}){tail}");
    Some(regex_automata::meta::Builder::new().syntax(syntax).configure(config).build(&full).unwrap())
}

fn is_boundary(rest: &[u8]) -> bool {
    let word = |at: usize| rest.get(at).is_some_and(|b: &u8| b.is_ascii_alphanumeric() || *b == b'_');
    !(word(0) || rest.first() == Some(&b'-') || (matches!(rest.first(), Some(b'.' | b':')) && word(1)))
}

fn any_find() -> impl Strategy<Value = Find> {
    prop_oneof![
        3 => "[ab.:]{1,5}".prop_map(|text| Find::Literal(text.into_bytes())),
        1 => "[ab]{6,12}".prop_map(|text| Find::Literal(text.into_bytes())),
        3 => prop::sample::select(vec![
            "a(b{0,3})a", "(a|ab)(c|bcd)?", "[ab]{2,5}?:", "a.{0,4}b", "(?:ab){1,3}", r"\ba", r"b\b", r"\Bab{1,2}",
            "(?i)AB", "a{2,9}", "(b)|(a:)", ":[^:]{0,6}:", "a{1,3}b{1,3}?", r"(?:a|b|:\b){1,4}",
        ]).prop_map(|pattern| Find::Regex(pattern.into())),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    (any_find(), any::<bool>()).prop_map(|(find, boundary)| Rule { find, boundary, once: false })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn cuts_do_not_matter_and_the_rules_hold(
        rules in prop::collection::vec(any_rule(), 1..6),
        body in "[ab]{0,3}([abc.: -]|a{1,3}|ab){0,60}",
        cuts in prop::collection::vec(1_usize..9, 1..12),
    ) {
        let set = compile(&rules);
        let expected = String::from_utf8(reference(&rules, body.as_bytes())).unwrap();
        let whole = String::from_utf8(run(&set, body.as_bytes(), &[])).unwrap();
        prop_assert_eq!(&whole, &expected);
        let cut = String::from_utf8(run(&set, body.as_bytes(), &cuts)).unwrap();
        prop_assert_eq!(&cut, &expected);
        let single = String::from_utf8(run(&set, body.as_bytes(), &[1])).unwrap();
        prop_assert_eq!(&single, &expected);
    }

    #[test]
    fn noise_without_matches_is_untouched(
        body in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(1_usize..50, 1..9),
    ) {
        let set = compile(&[literal("needle-in-noise"), regex("xx[0-9]{9}yy")]);
        prop_assert_eq!(run(&set, &body, &cuts), body);
    }
}
