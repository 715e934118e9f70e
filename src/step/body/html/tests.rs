use proptest::prelude::*;

use super::*;

struct Prefix;

impl LinkMap for Prefix {
    fn map(&self, url: &str) -> Option<String> {
        match url.strip_prefix("http://in:80") {
            Some(path) => Some(format!("https://out{path}")),
            None => (url.starts_with('/') && !url.starts_with("//")).then(|| format!("/p{url}")),
        }
    }
}

fn run(page: &[u8], charset: Option<&str>, cuts: &[usize]) -> Vec<u8> {
    let (mut adapter, mut out) = (HtmlAdapter::new(Arc::new(Prefix), charset).unwrap(), Vec::new());
    let (mut rest, mut cuts) = (page, cuts.iter().cycle());
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let (chunk, after) = rest.split_at(cut);
        rest = after;
        adapter.push(chunk, &mut out).unwrap();
    }
    adapter.finish(&mut out).unwrap();
    out
}

fn adapted(page: &str) -> String {
    let whole = run(page.as_bytes(), None, &[]);
    for cuts in [&[1][..], &[2, 7], &[100]] {
        assert_eq!(String::from_utf8_lossy(&run(page.as_bytes(), None, cuts)), String::from_utf8_lossy(&whole));
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn every_kind_of_link_is_mapped() {
    for (page, expected) in [
        ("<a href='/x'>", "<a href=\"/p/x\">"),
        ("<a class=y HREF=/x id='z'>t</a>", "<a class=y HREF=\"/p/x\" id='z'>t</a>"),
        ("<base href=\"/\" />", "<base href=\"/p/\" />"),
        ("<img src=/a srcset=\"/a 1x, b 2x\">", "<img src=\"/p/a\" srcset=\"/p/a 1x, b 2x\">"),
        ("<form action=\"http://in:80/f\">", "<form action=\"https://out/f\">"),
        ("<button formaction=/f>", "<button formaction=\"/p/f\">"),
        ("<video poster=/v>", "<video poster=\"/p/v\">"),
        ("<object data=/o>", "<object data=\"/p/o\">"),
        ("<a ping=\"/a /b\">", "<a ping=\"/p/a /p/b\">"),
        ("<svg><use xlink:href=\"/i.svg#x\"/></svg>", "<svg><use xlink:href=\"/p/i.svg#x\" /></svg>"),
        ("<meta http-equiv=Refresh content=\"5; url=/x\">", "<meta http-equiv=Refresh content=\"5; url=/p/x\">"),
        ("<i style='a:url(\"/x\")'>", "<i style=\"a:url(&quot;/p/x&quot;)\">"),
        ("<style>a{b:url(/x)}</style>", "<style>a{b:url(/p/x)}</style>"),
        ("<style>@import '/x';</style><style>url(/</style>", "<style>@import '/p/x';</style><style>url(/</style>"),
        ("<a href=\"/x?a=1&amp;b=2&c\">", "<a href=\"/p/x?a=1&amp;b=2&c\">"),
        ("<a href='/x\"y'>", "<a href=\"/p/x&quot;y\">"),
        ("<a href=\"/é\">é</a>", "<a href=\"/p/é\">é</a>"),
    ] {
        assert_eq!(adapted(page), expected);
    }
}

#[test]
fn everything_else_keeps_its_bytes() {
    for page in [
        "<a  href='x'   title=/x >",
        "<a href=\"#x\"><a href=//h/x><a href=mailto:x><a href><a href=''>",
        "<script>var a='<a href=\"/x\">'; b=\"url(/x)\"</script>",
        "<!-- <a href=\"/x\"> --><p>href=\"/x\" url(/x)",
        "<meta property=og:url content=\"5; url=/x\">",
        "<div data=/x content=/y>",
        "<textarea><a href=/x></textarea><title><a href=/x></title>",
        "<a href=x href=/y>",
        "<!doctype html><html><body>é ü &amp; & < > </ p></body>",
        "<a href=\"/x",
    ] {
        assert_eq!(adapted(page), page);
    }
}

#[test]
fn other_charsets_come_through() {
    let page = b"<p>\xe9\xff\x81</p><a href=\"/\xe9&amp;\x81\"><style>\xe9 url(/x)\x90</style>";
    let expected = b"<p>\xe9\xff\x81</p><a href=\"/p/\xe9&amp;\x81\"><style>\xe9 url(/p/x)\x90</style>";
    for charset in [None, Some("utf-8"), Some("iso-8859-1"), Some("koi8-r"), Some("Shift_JIS")] {
        assert_eq!(run(page, charset, &[]), expected, "{charset:?}");
        assert_eq!(run(page, charset, &[1]), expected, "{charset:?}");
    }
    for charset in ["utf-16le", "utf-16", "iso-2022-jp", "nonsense"] {
        assert!(HtmlAdapter::new(Arc::new(Prefix), Some(charset)).is_none(), "{charset}");
    }
}

#[test]
fn only_incomplete_tags_are_held() {
    let mut adapter = HtmlAdapter::new(Arc::new(Prefix), None).unwrap();
    for (chunk, expected) in [
        ("<p>hello", "<p>hello"),
        (" wor", " wor"),
        ("ld <a hr", "ld "),
        ("ef=/x>link", "<a href=\"/p/x\">link"),
        ("<script>if (a ", "<script>if (a "),
        ("</script><style>a{}", "</script><style>a{}"),
        (" b{c:url(", " b{c:"),
        ("/x)}", "url(/p/x)}"),
    ] {
        let mut out = Vec::new();
        adapter.push(chunk.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected, "after {chunk}");
    }
}

#[test]
fn too_much_for_the_parser_passes_as_it_is() {
    let page = format!("<a href=/x><a title=\"{}\" href=/y><a href=/z>", "x".repeat(2 * MEMORY));
    let out = run(page.as_bytes(), None, &[65536]);
    let expected = page.replacen("href=/x", "href=\"/p/x\"", 1);
    assert!(out == expected.as_bytes());
    let deep = "<div>".repeat(300_000) + "end";
    assert!(run(deep.as_bytes(), None, &[65536]) == deep.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cuts_do_not_matter(
        parts in prop::collection::vec(prop::sample::select(vec![
            "<a href=\"/x\">", "<a href='/y?a&amp;b'", ">", "text", "<style>", "</style>", "url(/z)", "<!--", "-->",
            "<script>", "</script>", "é", "<", "\"", "'", " srcset='/a 1x,/b 2x' ", "<meta http-equiv=refresh content='1;url=/'>",
            "&amp;", "=", "<img src=/i/>", "<p style='x:url(/q)'>", "<![CDATA[", "<svg>", "</svg>", "<title>",
        ]), 0..25),
        cuts in prop::collection::vec(1_usize..20, 1..10),
    ) {
        let page = parts.concat();
        let whole = run(page.as_bytes(), None, &[]);
        let cut = run(page.as_bytes(), None, &cuts);
        prop_assert_eq!(String::from_utf8_lossy(&cut), String::from_utf8_lossy(&whole));
    }

    #[test]
    fn noise_passes(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(1_usize..20, 1..10),
    ) {
        // Without a tag there is no link.
        let noise: Vec<u8> = noise.into_iter().filter(|&byte| byte != b'=').collect();
        prop_assert_eq!(run(&noise, None, &cuts), noise);
    }
}
