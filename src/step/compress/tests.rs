use http::header::{CONTENT_DISPOSITION, LAST_MODIFIED};

use super::*;
use ContentCoding::{Br, Gzip, Zstd};

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn step() -> Compress {
    Compress::compile(&CompressSpec::default()).unwrap()
}

fn typed(types: &[&str]) -> Compress {
    let types = types.iter().map(|range| range.parse().unwrap()).collect();
    Compress::compile(&CompressSpec { types, ..CompressSpec::default() }).unwrap()
}

/// The answer to a GET that takes br, as it leaves, and whether its body is compressed.
fn respond(status: u16, response: &[(&str, &str)]) -> (HeaderMap, bool) {
    respond_to(&[("accept-encoding", "gzip, br")], status, response)
}

fn respond_to(request: &[(&str, &str)], status: u16, response: &[(&str, &str)]) -> (HeaderMap, bool) {
    let (request, mut response) = (headers(request), headers(response));
    let asked = Asked { headers: &request, head: false };
    let encoder = step().respond(asked, StatusCode::from_u16(status).unwrap(), &mut response);
    assert_eq!(encoder.is_some(), response.get(CONTENT_ENCODING).is_some_and(|coding| coding == "br"));
    (response, encoder.is_some())
}

#[test]
fn the_client_chooses_and_then_the_route() {
    let all = [Br, Zstd, Gzip];
    for (accept, offered, expected) in [
        (None, &all[..], None),
        (Some(""), &all, None),
        (Some("gzip"), &all, Some(Gzip)),
        (Some("GZIP"), &all, Some(Gzip)),
        (Some("x-gzip"), &all, Some(Gzip)),
        (Some("gzip, deflate, br, zstd"), &all, Some(Br)),
        (Some("gzip, deflate, br, zstd"), &[Zstd, Br], Some(Zstd)),
        (Some("gzip, deflate, br, zstd"), &[Gzip], Some(Gzip)),
        (Some("deflate, compress"), &all, None),
        (Some("br;q=0.5, gzip"), &all, Some(Gzip)),
        (Some("br;q=0.5, gzip;q=0.8, zstd;q=0.8"), &all, Some(Zstd)),
        (Some("br;q=0.001, gzip;q=0.002"), &all, Some(Gzip)),
        (Some("br; q=0.5 , gzip ;Q=0.4"), &all, Some(Br)),
        (Some("br;q=1.000,gzip;q=1"), &all, Some(Br)),
        (Some("br;q=0, gzip;q=0.0, zstd;q=0.000"), &all, None),
        (Some("br;q=0"), &all, None),
        (Some("*"), &all, Some(Br)),
        (Some("*;q=0"), &all, None),
        (Some("*;q=0, gzip"), &all, Some(Gzip)),
        (Some("br;q=0, *"), &all, Some(Zstd)),
        (Some("gzip;q=0.3, *;q=0.5"), &all, Some(Br)),
        (Some("gzip;q=0.3, *;q=0.5"), &[Gzip], None),
        (Some("identity"), &all, None),
        (Some("identity, gzip"), &all, Some(Gzip)),
        (Some("identity, gzip;q=0.9"), &all, None),
        (Some("identity;q=0.5, gzip;q=0.9"), &all, Some(Gzip)),
        (Some("identity;q=0"), &all, None),
        (Some("identity;q=0, *"), &all, Some(Br)),
        (Some("identity;q=0, gzip;q=0.1"), &all, Some(Gzip)),
        (Some("br;q=2, gzip"), &all, Some(Gzip)),
        (Some("br;q=0.1234, gzip"), &all, Some(Gzip)),
        (Some("br;q=-1, gzip"), &all, Some(Gzip)),
        (Some("br;q=, gzip;q=0.1"), &all, Some(Gzip)),
        (Some("br;q=nan"), &all, None),
        (Some(";q=1, ,,gzip"), &all, Some(Gzip)),
        (Some("brotli, gzipped"), &all, None),
    ] {
        let request = HeaderMap::from_iter(accept.map(|value| (ACCEPT_ENCODING, HeaderValue::from_static(value))));
        assert_eq!(negotiate(offered, &request), expected, "{accept:?} of {offered:?}");
    }
    let two = headers(&[("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "zstd")]);
    assert_eq!(negotiate(&all, &two), Some(Zstd));
}

#[test]
fn what_described_the_plain_body_goes() {
    let (response, compressed) = respond(
        200,
        &[
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("etag", "\"v\""),
            ("content-md5", "x"),
            ("digest", "x"),
            ("content-digest", "x"),
            ("repr-digest", "x"),
            ("last-modified", "Sat, 21 Nov 2026 00:00:00 GMT"),
            ("content-disposition", "inline"),
        ],
    );
    assert!(compressed);
    let expected = headers(&[
        ("content-type", "text/html; charset=utf-8"),
        ("content-encoding", "br"),
        ("etag", "W/\"v\""),
        ("vary", "Accept-Encoding"),
        ("last-modified", "Sat, 21 Nov 2026 00:00:00 GMT"),
        ("content-disposition", "inline"),
    ]);
    assert!(response.contains_key(LAST_MODIFIED) && response.contains_key(CONTENT_DISPOSITION));
    assert_eq!(response, expected);
}

#[test]
fn a_tag_becomes_weak() {
    for (tag, expected) in [
        ("\"v\"", Some("W/\"v\"")),
        ("\"v|T\"", Some("W/\"v|T\"")),
        ("\"\"", Some("W/\"\"")),
        ("W/\"v\"", Some("W/\"v\"")),
        ("bare", None),
        ("\"", None),
    ] {
        let (response, _) = respond(200, &[("content-type", "text/css"), ("etag", tag)]);
        assert_eq!(response.get(ETAG).map(|tag| tag.to_str().unwrap()), expected, "{tag}");
    }
}

#[test]
fn only_whole_plain_bodies_of_these_types_are_compressed() {
    let page = ("content-type", "text/html");
    for (status, response, compressed, vary) in [
        (200, vec![page], true, true),
        (404, vec![page], true, true),
        (200, vec![page, ("content-length", "1024")], true, true),
        (200, vec![page, ("content-length", "1023")], false, false),
        (200, vec![page, ("content-length", "0")], false, false),
        (200, vec![page, ("content-encoding", "identity")], true, true),
        (200, vec![page, ("content-encoding", "")], true, true),
        (200, vec![page, ("content-encoding", "gzip")], false, false),
        (200, vec![page, ("content-encoding", "identity, zstd")], false, false),
        (200, vec![page, ("cache-control", "public, No-Transform")], false, false),
        (200, vec![page, ("cache-control", "public"), ("cache-control", "no-transform")], false, false),
        (200, vec![page, ("cache-control", "no-transformation")], true, true),
        (200, vec![page, ("content-range", "bytes 0-1/2")], false, true),
        (206, vec![page, ("content-length", "5")], false, true),
        (416, vec![page, ("content-range", "bytes */2")], false, true),
        (204, vec![page], false, false),
        (205, vec![page], false, false),
        (103, vec![page], false, false),
        (200, vec![], false, false),
        (304, vec![], false, true),
        (304, vec![page], false, true),
        (304, vec![("content-type", "image/png")], false, false),
        (200, vec![("content-type", "text/event-stream")], true, true),
        (200, vec![("content-type", "application/problem+json; a=b")], true, true),
        (200, vec![("content-type", "image/svg+xml")], true, true),
        (200, vec![("content-type", "application/WASM")], true, true),
        (200, vec![("content-type", "image/png")], false, false),
        (200, vec![("content-type", "application/octet-stream")], false, false),
        (200, vec![("content-type", "application/grpc")], false, false),
    ] {
        let (left, encoded) = respond(status, &response);
        assert_eq!((encoded, left.contains_key(VARY)), (compressed, vary), "{status} {response:?}");
        if !compressed {
            let mut left = left;
            left.remove(VARY);
            assert_eq!(left, headers(&response), "{status} {response:?}");
        }
    }
}

#[test]
fn a_route_can_name_its_types() {
    for (types, content_type, expected) in [
        (&["application/json", "image/*"][..], "application/json; charset=utf-8", true),
        (&["application/json", "image/*"], "IMAGE/x", true),
        (&["application/json", "image/*"], "text/html", false),
        (&["*/*"], "image/png", true),
        (&["*/*"], "application/grpc", false),
        (&["*/*"], "application/grpc-web-text+proto", false),
        (&["application/*"], "application/gRPC+proto", false),
    ] {
        assert_eq!(typed(types).concerns(content_type), expected, "{types:?} {content_type}");
    }
}

#[test]
fn requests_can_forbid_it_and_caches_are_told() {
    let page = [("content-type", "text/html"), ("etag", "\"v\""), ("content-length", "5000")];
    for request in [
        &[][..],
        &[("accept-encoding", "identity")],
        &[("accept-encoding", "gzip;q=0, *;q=0")],
        &[("accept-encoding", "br"), ("cache-control", "max-age=0, no-transform")],
    ] {
        let (left, compressed) = respond_to(request, 200, &page);
        assert!(!compressed, "{request:?}");
        assert_eq!(
            (&left[VARY], &left[ETAG], &left[CONTENT_LENGTH]),
            (&"Accept-Encoding".parse().unwrap(), &"\"v\"".parse().unwrap(), &"5000".parse().unwrap())
        );
    }
}

#[test]
fn the_head_of_an_answer_is_as_with_its_body() {
    let request = headers(&[("accept-encoding", "zstd")]);
    let page = [("content-type", "text/html"), ("etag", "\"v\""), ("content-length", "5000")];
    let [mut with, mut without] = [headers(&page), headers(&page)];
    let ask = |head| Asked { headers: &request, head };
    assert!(step().respond(ask(false), StatusCode::OK, &mut with).is_some());
    assert!(step().respond(ask(true), StatusCode::OK, &mut without).is_none());
    assert_eq!(with, without);
    assert_eq!(with[CONTENT_ENCODING], "zstd");
}

#[test]
fn vary_is_said_once() {
    for (before, after) in [
        (&[][..], &["Accept-Encoding"][..]),
        (&[""], &["Accept-Encoding"]),
        (&["Origin"], &["Origin, Accept-Encoding"]),
        (&["Origin", "Cookie"], &["Origin, Cookie, Accept-Encoding"]),
        (&["origin,accept-encoding"], &["origin,accept-encoding"]),
        (&["Origin", "ACCEPT-ENCODING"], &["Origin", "ACCEPT-ENCODING"]),
        (&["*"], &["*"]),
        (&["Origin", "*"], &["Origin", "*"]),
    ] {
        let mut response: HeaderMap = before.iter().map(|line| (VARY, HeaderValue::from_static(line))).collect();
        add_vary(&mut response);
        let lines: Vec<_> = response.get_all(VARY).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, after);
    }
}

#[test]
fn a_304_names_the_tag_that_the_client_has() {
    for (asked, tag, expected) in [
        ("W/\"v\"", "\"v\"", "W/\"v\""),
        ("W/\"a\", W/\"v\"", "\"v\"", "W/\"v\""),
        ("\"v\"", "\"v\"", "\"v\""),
        ("\"v\", W/\"v\"", "\"v\"", "\"v\""),
        ("W/\"v\"", "W/\"v\"", "W/\"v\""),
        ("W/\"other\"", "\"v\"", "\"v\""),
        ("*", "\"v\"", "\"v\""),
    ] {
        let (left, _) = respond_to(&[("if-none-match", asked)], 304, &[("etag", tag)]);
        assert_eq!(left[ETAG], expected, "{asked}");
    }
}

#[test]
fn a_weak_tag_asks_for_the_whole() {
    let date = "Sat, 21 Nov 2026 00:00:00 GMT";
    for (if_range, passes) in [("W/\"v\"", false), ("\"v\"", true), (date, true)] {
        let before = headers(&[("range", "bytes=5-"), ("if-range", if_range), ("if-match", "W/\"v\"")]);
        let mut request = before.clone();
        Compress::outward(&mut request);
        assert_eq!(request == before, passes, "{if_range}");
        assert_eq!((request.contains_key(RANGE), request.contains_key(IF_RANGE)), (passes, passes));
        assert_eq!(request["if-match"], "W/\"v\"");
    }
    let mut range = headers(&[("range", "bytes=5-")]);
    Compress::outward(&mut range);
    assert!(range.contains_key(RANGE));
}

#[test]
fn a_route_can_offer_nothing() {
    let none = CompressSpec { codings: Some(crate::config::OneOrMany(vec![])), ..CompressSpec::default() };
    assert_eq!(Compress::compile(&none), None);
}
