use std::fs;
use std::os::unix::fs::symlink;

use smallvec::smallvec;

use super::*;
use crate::route::Match;

/// A folder with what the tests need, and beside it what must not be served.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let www = root.path().join("www");
    for folder in ["a", "empty", ".git", ".well-known", "a b"] {
        fs::create_dir_all(www.join(folder)).unwrap();
    }
    for (name, text) in [
        ("index.html", "root"),
        ("404.html", "gone"),
        ("a/index.html", "a"),
        ("a/x.txt", "x"),
        ("a b/ü.txt", "odd"),
        (".git/config", "secret"),
        (".well-known/it", "known"),
        (".env", "secret"),
        ("app.js", "plain"),
        ("app.js.gz", "zipped"),
        ("..dots", "secret"),
    ] {
        fs::write(www.join(name), text).unwrap();
    }
    fs::write(root.path().join("secret"), "secret").unwrap();
    symlink("../secret", www.join("out")).unwrap();
    symlink("a/x.txt", www.join("in")).unwrap();
    root
}

fn compile(yaml: &str, root: &Path) -> Result<Files, Vec<Mistake>> {
    let spec: StaticSpec = serde_yaml::from_str(yaml).unwrap();
    let vocabulary = Vocabulary { captures: &[], rest: true, groups: None, authority: &|_| None, asker: true };
    Files::compile(&spec, &vocabulary, &|path| root.join(path), HeaderEdits::default())
}

/// What a request for a path below `/s` gets: the text of a file, `folder` or nothing.
fn get(files: &Files, rest: &str, accept: &str) -> Option<String> {
    let path = format!("/s{rest}");
    let found = Match { route: 0, pattern: 0, captures: smallvec![], rest: 2 };
    let values = Values { path: &path, found: &found, scheme: "http", host: "h", identity: None };
    let headers = HeaderMap::from_iter([(http::header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap())]);
    match files.find(&files.wanted(&values), &files.codings(&headers)).unwrap() {
        Found::File(served) | Found::Nothing(Some(served)) => {
            Some(String::from_utf8(served.read(0, served.size).unwrap().to_vec()).unwrap())
        }
        Found::Folder => Some("folder".to_owned()),
        Found::Nothing(None) => None,
    }
}

#[test]
fn what_is_in_the_folder_is_found_and_nothing_else() {
    let root = tree();
    let files = compile("folder: www", root.path()).unwrap();
    for (rest, text) in [
        ("/", "root"),
        ("", "folder"),
        ("/a", "folder"),
        ("/a/", "a"),
        ("/a/x.txt", "x"),
        ("/%61/x%2Etxt", "x"),
        ("/a%20b/%C3%BC.txt", "odd"),
        ("/in", "x"),
    ] {
        assert_eq!(get(&files, rest, "").as_deref(), Some(text), "{rest}");
    }
    for rest in [
        "/nothing",
        "/empty/",
        "/a/x.txt/",
        "/a/x.txt/y",
        "/out",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/a/../.env",
        "/..dots",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/%252e%252e/secret",
        "/a/..%5c..%5csecret",
        "/a\\x.txt",
        "/a%2Fx.txt",
        "/a/x.txt%00",
        "/a/x.txt%00.html",
        "/a/x.txt%0a",
        "/%FF%FE",
        "/.well-known/it",
    ] {
        assert_eq!(get(&files, rest, ""), None, "{rest}");
    }
    assert_eq!(get(&files, &format!("/{}", "a".repeat(5000)), ""), None);
    assert_eq!(get(&files, &"/a".repeat(5000), ""), None);
}

#[test]
fn what_is_switched_on_works() {
    let root = tree();
    let of = |yaml: &str| compile(yaml, root.path()).unwrap();
    assert_eq!(get(&of("{ folder: www, hidden: [.well-known] }"), "/.well-known/it", "").as_deref(), Some("known"));
    assert_eq!(get(&of("{ folder: www, index: [] }"), "/", ""), None);
    assert_eq!(get(&of("{ folder: www, index: [none, a, app.js] }"), "/", "").as_deref(), Some("plain"));
    assert_eq!(get(&of("{ folder: www, not_found: 404.html }"), "/none", "").as_deref(), Some("gone"));
    assert_eq!(get(&of("{ folder: www, fallback: /index.html }"), "/none", "").as_deref(), Some("root"));
    assert_eq!(get(&of("{ file: www/app.js }"), "/whatever", "").as_deref(), Some("plain"));
    assert_eq!(get(&of("{ folder: www, path: '/a/{**}' }"), "/x.txt", "").as_deref(), Some("x"));
    let compressed = of("{ folder: www, precompressed: [br, gzip] }");
    for (accept, text) in
        [("br, gzip", "zipped"), ("gzip;q=0", "plain"), ("", "plain"), ("br", "plain"), ("*", "zipped")]
    {
        assert_eq!(get(&compressed, "/app.js", accept).as_deref(), Some(text), "{accept}");
    }
}

#[test]
fn mistakes_name_their_key() {
    let root = tree();
    for (yaml, key) in [
        ("{}", "folder"),
        ("{ folder: '' }", "folder"),
        ("{ folder: nowhere }", "folder"),
        ("{ folder: www/app.js }", "folder"),
        ("{ folder: www, file: x }", "file"),
        ("{ file: www }", "file"),
        ("{ file: nowhere }", "file"),
        ("{ file: www/app.js, index: [] }", "index"),
        ("{ folder: www, path: '/{user}/{**}' }", "path"),
        ("{ folder: www, not_found: nowhere }", "not_found"),
        ("{ folder: www, not_found: ../secret }", "not_found"),
        ("{ folder: www, fallback: a }", "fallback"),
        ("{ folder: www, fallback: 404.html, not_found: 404.html }", "fallback"),
        ("{ folder: www, cache_control: \"a\\nb\" }", "cache_control"),
        ("{ folder: www, index: a/b }", "index"),
        ("{ folder: www, hidden: .. }", "hidden"),
    ] {
        let mistakes = compile(yaml, root.path()).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.path.to_string() == key), "{yaml}: {mistakes:?}");
    }
}

#[test]
fn text_has_its_charset() {
    for (name, expected) in [
        ("x.html", "text/html; charset=utf-8"),
        ("x.JS", "text/javascript; charset=utf-8"),
        ("x.json", "application/json"),
        ("x.svg", "image/svg+xml"),
        ("x.wasm", "application/wasm"),
        ("x.unknown-type", "application/octet-stream"),
        ("x", "application/octet-stream"),
    ] {
        assert_eq!(media_type(Path::new(name)), expected, "{name}");
    }
}
