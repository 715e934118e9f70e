use std::time::SystemTime;

use http::{Method, StatusCode};

use super::*;
use crate::remote::Received;
use crate::step::forwarded::Client;

fn way(yaml: &str) -> Forward {
    let spec: ForwardAuthSpec = serde_yaml::from_str(yaml).unwrap();
    let names = |list: &[crate::config::value::HeaderName]| list.iter().map(|name| name.get().clone()).collect();
    let pass: Vec<HeaderName> = names(&spec.pass);
    let headers = spec.headers.as_ref().map_or(vec![AUTHORIZATION, COOKIE], |headers| names(headers));
    Forward {
        url: url("http://127.0.0.1:1/check").unwrap(),
        headers,
        timeout: TIMEOUT,
        reading: Reading::new(&spec, pass),
        by_path: spec.cache.as_ref().and_then(|cache| cache.by_path).is_none_or(Flag::get),
        kept: Arc::new(Kept { client: HttpClient::new(None).unwrap(), answers: None }),
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn received(status: u16, pairs: &[(&'static str, &'static str)]) -> Received {
    let status = StatusCode::from_u16(status).unwrap();
    Received { status, headers: headers(pairs), body: Bytes::from_static(b"sign in") }
}

fn asked<T>(sent: &[(&'static str, &'static str)], target: &str, trusted: bool, of: impl Fn(&Asking<'_>) -> T) -> T {
    let headers = headers(sent);
    let peer = [10, 0, 0, 1].into();
    let client = Client { peer, trusted, address: peer, scheme: "https" };
    of(&Asking {
        method: &Method::POST,
        target,
        path: target,
        host: "public:8443",
        headers: &headers,
        client: &client,
        has_body: true,
        captures: &(),
        now: SystemTime::UNIX_EPOCH,
    })
}

const SPOOFED: [(&str, &str); 8] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-method", "GET"),
    ("x-forwarded-uri", "/public"),
    ("x-forwarded-host", "evil"),
    ("cookie", "a=1"),
    ("cookie", "b=2"),
    ("content-length", "9"),
    ("x-user", "root"),
];

#[test]
fn the_service_is_told_what_is_true() {
    let told = asked(&SPOOFED, "/a/b?c=%2F", false, |asking| way("{}").told(asking));
    let mut lines: Vec<String> =
        told.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "cookie: a=1; b=2",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: public:8443",
            "x-forwarded-method: POST",
            "x-forwarded-proto: https",
            "x-forwarded-uri: /a/b?c=%2F",
            "x-real-ip: 10.0.0.1",
        ]
    );
    let told = asked(&SPOOFED, "/", true, |asking| way("headers: [X-User]").told(asking));
    assert_eq!(told["x-forwarded-for"], "6.6.6.6, 10.0.0.1");
    assert_eq!(told["x-user"], "root");
    assert!(!told.contains_key(COOKIE));
}

#[test]
fn answers_are_kept_apart_by_all_that_was_told() {
    let key = |yaml: &str, sent: &[(&'static str, &'static str)], target: &str| {
        let way = way(yaml);
        asked(sent, target, false, |asking| way.key(asking, &way.told(asking)))
    };
    let ann = [("cookie", "s=ann")];
    let by_path = "cache: {}";
    assert_eq!(key(by_path, &ann, "/a"), key(by_path, &ann, "/a"));
    assert_ne!(key(by_path, &ann, "/a"), key(by_path, &ann, "/b"));
    assert_ne!(key(by_path, &ann, "/a"), key(by_path, &[("cookie", "s=bob")], "/a"));
    assert_ne!(key(by_path, &ann, "/a"), key(by_path, &[("authorization", "s=ann")], "/a"));
    assert_ne!(key(by_path, &ann, "/a"), key(by_path, &[], "/a"));
    let anywhere = "cache: { by_path: false }";
    assert_eq!(key(anywhere, &ann, "/a"), key(anywhere, &ann, "/b"));
    assert_ne!(key(anywhere, &ann, "/a"), key(anywhere, &[("cookie", "s=bob")], "/a"));
}

const WHO: &str = "{ user: X-User, name: X-Name, mail: X-Mail, groups: X-Groups, pass: [X-Team, Authorization] }";

#[test]
fn a_success_says_who_it_is_and_what_goes_on() {
    let pairs = [
        ("x-user", " ann "),
        ("x-name", "Änn"),
        ("x-groups", "staff, dev"),
        ("x-groups", "root"),
        ("x-team", "blue"),
        ("x-other", "stays"),
        ("set-cookie", "s=1"),
    ];
    let Finding::Proven(proof) = way(WHO).reading.read(received(204, &pairs)) else { panic!() };
    assert_eq!(proof.identity.user, "ann");
    assert_eq!(proof.identity.name.as_deref(), Some("Änn"));
    assert_eq!((proof.identity.mail.as_deref(), proof.identity.by), (None, "forward"));
    assert_eq!(proof.identity.groups, ["staff", "dev", "root"]);
    assert_eq!(proof.request, headers(&[("x-team", "blue")]));
    assert!(proof.response.is_empty());
    assert_eq!(proof.hide.len(), 2);
    let cookies = way("{ set_cookie: true }");
    let Finding::Proven(proof) = cookies.reading.read(received(200, &pairs)) else { panic!() };
    assert_eq!((proof.identity.user.as_str(), proof.response), ("anonymous", headers(&[("set-cookie", "s=1")])));
    assert_eq!(way(WHO).reserves().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-team"]);
}

#[test]
fn what_is_no_clear_yes_lets_nothing_pass() {
    let huge: &'static str = "x".repeat(HEADERS_BOUND + 1).leak();
    for (status, pairs) in [
        (200, vec![]),
        (200, vec![("x-user", "")]),
        (200, vec![("x-user", "  ")]),
        (200, vec![("x-user", "ann"), ("x-user", "bob")]),
        (200, vec![("x-user", "ann"), ("x-name", "a"), ("x-name", "b")]),
        (200, vec![("x-user", "ann"), ("x-team", huge)]),
        (304, vec![("x-user", "ann")]),
        (302, vec![("x-user", "ann")]),
        (400, vec![("x-user", "ann")]),
        (404, vec![("x-user", "ann")]),
        (429, vec![("x-user", "ann")]),
        (500, vec![("x-user", "ann")]),
        (401, vec![("www-authenticate", huge)]),
    ] {
        let finding = way(WHO).reading.read(received(status, &pairs));
        assert!(matches!(finding, Finding::Unavailable(_)), "{status} {pairs:?}: {finding:?}");
    }
    let mut odd = received(200, &[]);
    odd.headers.insert("x-user", HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(matches!(way(WHO).reading.read(odd), Finding::Unavailable(_)));
}

/// As many bytes as may go on.
const HEADERS_BOUND: usize = 16 * 1024;

#[test]
fn denials_and_redirects_go_to_the_client() {
    let pairs = [
        ("location", "/sign-in"),
        ("www-authenticate", "Basic realm=\"x\""),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-type", "text/html"),
        ("content-length", "7"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("server", "secret/1.0"),
        ("transfer-encoding", "chunked"),
    ];
    for status in [401, 403, 301, 302, 303, 307, 308] {
        let Finding::Answer(reply) = way(WHO).reading.read(received(status, &pairs)) else { panic!("{status}") };
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, &b"sign in"[..]));
        let names: Vec<&str> = reply.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
    }
}

#[test]
fn only_urls_of_http_are_asked() {
    for good in ["http://10.0.0.7:4180/check", "https://auth/", "http://auth/verify?rd=https://sign.in/"] {
        assert!(url(good).is_ok(), "{good}");
    }
    for bad in ["", "auth:80", "/check", "ftp://auth/", "http://me:secret@auth/", "http://auth/#x", "http://"] {
        let message = url(bad).unwrap_err();
        assert!(!message.contains("secret"), "{message}");
    }
}
