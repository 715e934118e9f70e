use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Document {
    Document::parse("t.yaml", text).unwrap()
}

fn errors(text: &str) -> String {
    Document::parse("t.yaml", text).unwrap_err().to_string()
}

fn path(segments: &[&str]) -> KeyPath {
    let segment = |s: &&str| s.parse::<usize>().map_or_else(|_| Segment::from(*s), Segment::from);
    segments.iter().map(segment).collect()
}

fn place_of(document: &Document, segments: &[&str]) -> (u32, u32) {
    let place = document.place(&path(segments)).unwrap();
    (place.line, place.column)
}

#[test]
fn every_node_has_its_place() {
    let document = parse("routes:\n  - name: a\n    hosts: [x, y]\n    empty:\n  - name: \"b\"\nlast: |\n  text\n");
    assert_eq!(place_of(&document, &["routes"]), (2, 3));
    assert_eq!(place_of(&document, &["routes", "0"]), (2, 5));
    assert_eq!(place_of(&document, &["routes", "0", "name"]), (2, 11));
    assert_eq!(place_of(&document, &["routes", "0", "hosts", "1"]), (3, 16));
    assert_eq!(place_of(&document, &["routes", "0", "empty"]), (4, 5));
    assert_eq!(place_of(&document, &["routes", "1", "name"]), (5, 11));
    let key = document.key_place(&path(&["routes", "0", "hosts"])).unwrap();
    assert_eq!(key.to_string(), "t.yaml:3:5");
    assert_eq!(document.get(&path(&["routes", "0", "hosts", "1"])), Some(&Value::from("y")));
}

#[test]
fn a_missing_node_has_the_place_of_what_would_hold_it() {
    let document = parse("a:\n  b: 1\n");
    assert_eq!(place_of(&document, &["a", "x", "y"]), (2, 3));
    assert_eq!(place_of(&document, &["x"]), (1, 1));
    let key = document.key_place(&path(&["a", "x"])).unwrap();
    assert_eq!((key.line, key.column), (2, 3));
}

#[test]
fn columns_count_characters() {
    assert_eq!(place_of(&parse("{é: ü, a: 1}"), &["a"]), (1, 11));
    assert_eq!(place_of(&parse("\u{feff}a: 1"), &["a"]), (1, 4));
}

#[test]
fn an_empty_text_is_an_empty_mapping() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~"] {
        assert_eq!(parse(text).value(), &Value::Mapping(serde_yaml::Mapping::new()), "{text:?}");
        assert_eq!(place_of(&parse(text), &["x"]), (1, 1));
    }
}

#[test]
fn aliases_and_merge_keys_keep_the_place_of_their_anchor() {
    let document = parse(
        "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nx:\n  <<: [*base, *more]\n  a: 9\ny: *base\nz:\n  <<: *base\n",
    );
    let expected: Value = serde_yaml::from_str("{a: 9, b: 2, c: 4}").unwrap();
    assert_eq!(document.get(&path(&["x"])), Some(&expected));
    assert_eq!(place_of(&document, &["x", "a"]), (5, 6));
    assert_eq!(place_of(&document, &["x", "b"]), (1, 23));
    assert_eq!(place_of(&document, &["x", "c"]), (2, 23));
    assert_eq!(place_of(&document, &["y", "a"]), (1, 17));
    assert_eq!(document.get(&path(&["z"])), document.get(&path(&["base"])));
    assert_eq!(
        errors("x:\n  <<: 1\n"),
        "t.yaml:2:3  x.<<: `<<` takes in a mapping, or a list of mappings; write an alias such as `<<: *name`"
            .replace("x.<<", "x.\"<<\"")
    );
    assert!(errors("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n").contains("written twice, on lines 3 and 4"));
    assert_eq!(parse("\"<<\": 1").get(&path(&["<<"])), Some(&Value::from(1)));
}

#[test]
fn a_key_written_twice_names_both_lines() {
    assert_eq!(
        errors("a:\n  b: 1\n  c: 2\n  b: 3\nd: 1\nd: 2\n"),
        "t.yaml:4:3  a.b: written twice, on lines 2 and 4; keep one of them\n\
         t.yaml:6:1  d: written twice, on lines 5 and 6; keep one of them"
    );
}

#[test]
fn keys_must_be_text() {
    assert_eq!(
        errors("errors:\n  1.0: x\n  true: y\n"),
        "t.yaml:2:3  errors: the key 1.0 is not text; write it in quotes: \"1.0\"\n\
         t.yaml:3:3  errors: the key true is not text; write it in quotes: \"true\""
    );
    assert!(errors("[a]: 1").contains("a list or mapping can't be a key"));
    assert!(errors("404: a\n'404': b").contains("written twice, on lines 1 and 2"));
    assert!(errors("0x10: a").contains("the key 0x10 is not text"));
    let document = parse("404: a");
    let status: KeyPath = [Segment::from("404")].into_iter().collect();
    assert_eq!(document.get(&status), Some(&Value::from("a")));
    assert!(errors(": 1").contains("a key is missing"));
    assert!(errors("a: &x 5\n*x : 1\n").contains("is not text"));
    let document = parse("\"404\": x\na: &x y\n*x : 1\n!!str 5: z\n");
    assert_eq!(document.get(&path(&["a"])), Some(&Value::from("y")));
    assert_eq!(document.get(&path(&["y"])), Some(&Value::from(1)));
    let quoted: KeyPath = [Segment::from("404")].into_iter().collect();
    assert_eq!(document.get(&quoted), Some(&Value::from("x")));
}

#[test]
fn syntax_errors_name_the_place_and_the_cure() {
    let cases = [
        ("a:\n\tb: 1\n", "t.yaml:2:1  a tab can't indent YAML; use spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "t.yaml:3:1  a tab can't indent YAML; use spaces"),
        ("b:\t2\n", "t.yaml:1:4  a tab can't stand here; use spaces"),
        ("a: @x\n", "t.yaml:1:4  text can't start with \"@\" unquoted; write it in quotes"),
        ("a: [${A}]\n", "t.yaml:1:6  inside [ ] and { } a variable needs quotes; write \"${NAME}\""),
        ("a: \"abc\n", "t.yaml:1:4  the quote that opens here is never closed; close it"),
        (
            "h: *.x\n",
            "t.yaml:1:4  text that starts with `*` names an anchor, and there is none of this name; write it in quotes if it is text",
        ),
        ("a: [1, 2\nb: 3\n", "t.yaml:2:2  a key can't stand here; is a `]` or `}` missing on a line above?"),
        (
            "a: 1\n---\nb: 2\n",
            "t.yaml:2:1  a second document starts here; a file holds one, so remove the line `---` or use two files",
        ),
        ("a: !foo 1\n", "t.yaml:1:4  a: the tag !foo means nothing here; remove it"),
        ("a: &x [*x]\n", "t.yaml:1:8  a[0]: this alias stands inside its own anchor; write the value out"),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), expected, "{text:?}");
    }
    for text in [
        "a: b: c",
        "a: 1\n- b",
        "- a\nb: 1",
        "a: }",
        "a: {x: 1",
        "path: {x}/y\nb: 1",
        "a: 'x\nb: 1",
        "a: \"\\q\"",
        "a: -",
    ] {
        let message = errors(text);
        assert!(!message.contains("while") && message.contains(';'), "{text:?}: {message}");
    }
}

#[test]
fn nesting_and_aliases_are_bounded() {
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(Document::parse("t", &deep(MAX_DEPTH)).is_ok());
    assert!(errors(&deep(MAX_DEPTH + 1)).contains("nested deeper than 64 levels"));
    assert!(errors(&deep(100_000)).contains("nested"));
    let mut block = String::new();
    for level in 0..5000 {
        block.push_str(&" ".repeat(level));
        block.push_str("a:\n");
    }
    assert!(errors(&block).contains("nested deeper"));

    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let items = format!("*a{},", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{items}]\n");
    }
    assert!(errors(&bomb).contains("expand to too much"));
    let (open, close) = ("[".repeat(30), "]".repeat(30));
    let tower = format!("a0: &a0 {}\nb: {open}*a0{close}\n", deep(40));
    assert!(errors(&tower).contains("nested deeper"));
}

#[test]
fn omitted_nodes_are_known_and_others_keep_their_index() {
    let mut document = parse("a: [1, 2]\nb: {c: 1}\n");
    document.omit(&path(&["a", "0"]));
    assert!(document.omitted().covers(&path(&["a", "0"])));
    assert!(!document.omitted().covers(&path(&["a", "1"])));
    assert!(!document.omitted().covers(&path(&["b"])));
    document.omit(&path(&["b"]));
    assert!(document.omitted().covers(&path(&["b", "c"])));
}

/// What both trees agree on: `serde_yaml` reads merge keys as plain ones, numbers in base 2, and signs before a base.
fn comparable(text: &str) -> bool {
    !["<<", "0b", "-0o", "+0o", "-0x", "+0x"].iter().any(|part| text.contains(part))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*") {
        let _ = Document::parse("t", &text);
    }

    #[test]
    fn any_yaml_like_text_is_parsed_or_refused(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b: ", "- ", "\n", "\n  ", "\n    ", ": ", "? ", "[", "]", "{", "}", ",", "&x ", "*x", "<<: ", "!t ", "!!str ",
                "\"", "'", "|", ">", "\t", "#", "---", "...", "%YAML 1.2", "${A}", "1", "~", "\r\n", "\u{feff}", "\u{85}", "\0", "é", "\\",
            ]),
            0..40,
        )
    ) {
        let _ = Document::parse("t", &tokens.concat());
    }

    #[test]
    fn values_are_those_of_serde_yaml(text in "([a-z]: ([a-z0-9.+-]{1,6}|\\[[0-9a-z, ]{0,5}\\]|'[a-z ]*')\n){0,5}") {
        if let (Ok(ours), Ok(theirs)) = (Document::parse("t", &text), serde_yaml::from_str::<Value>(&text))
            && comparable(&text) && !theirs.is_null()
        {
            prop_assert_eq!(ours.value(), &theirs);
        }
    }

    #[test]
    fn what_serde_yaml_writes_is_read_back(map in prop::collection::btree_map(".{0,8}", (".{0,12}", any::<i64>(), any::<bool>()), 1..5)) {
        let text = serde_yaml::to_string(&map).unwrap();
        if let Ok(document) = Document::parse("t", &text) {
            let back: std::collections::BTreeMap<String, (String, i64, bool)> = serde_yaml::from_value(document.value().clone()).unwrap();
            prop_assert_eq!(back, map);
        }
    }
}
