use http::HeaderValue;
use serde_json::json;
use smallvec::smallvec;

use super::*;
use crate::config::DynamicSpec;
use crate::route::asker::Asker;
use crate::route::template::Vocabulary;
use crate::route::{Capture, Match};
use crate::step::Mistake;
use crate::step::identity::Identity;

const ARRIVED: Arrived = Arrived { scheme: "https", port: 8443, address: None };

fn compile(text: &str) -> Result<Dynamic, Vec<Mistake>> {
    let spec: DynamicSpec = serde_yaml::from_str(text).unwrap();
    let captures = ["host".to_owned(), "port".to_owned()];
    let vocabulary = Vocabulary { captures: &captures, rest: true, groups: None, authority: &|_| None, asker: true };
    let lookup = |_: &crate::config::LookupSpec| Err(vec![Mistake::at("url", "no look-up here")]);
    let rewrite = |text: &str| Template::parse(text, &vocabulary);
    let scope = DynamicScope { vocabulary: &vocabulary, upstream_hosts: &[], lookup: &lookup, rewrite: &rewrite };
    Dynamic::compile(&spec, &scope)
}

/// The target of a request for `/HOST:PORT/x` of somebody with these claims and cookies, as `scheme://authority`, with `local` where it is
/// this machine.
fn target(dynamic: &Dynamic, path: &str, claims: &serde_json::Value, cookies: &str) -> Result<String, TargetRefusal> {
    let colon = path.rfind(':').unwrap();
    let end = colon + path[colon..].find('/').unwrap_or(path.len() - colon);
    let found = Match {
        route: 0,
        pattern: 0,
        captures: smallvec![Capture::Range(1, colon), Capture::Range(colon + 1, end)],
        rest: end,
    };
    let identity = Identity { claims: claims.as_object().cloned().unwrap_or_default(), ..Identity::of("ann", "test") };
    let identity: Option<&dyn Asker> = Some(&identity);
    let values = Values { path, found: &found, scheme: "https", host: "public", identity };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::COOKIE, HeaderValue::from_str(cookies).unwrap());
    let target = dynamic.target(&values, &ARRIVED, &dynamic.cookies(&headers))?;
    let local = if target.local { " local" } else { "" };
    Ok(format!("{}://{}{local}", target.scheme, target.authority))
}

#[test]
fn the_path_names_it() {
    let dynamic = compile("{ host: '{host}', port: '{port}', allow: ['10.0.0.0/8', '[fd00::]/8'] }").unwrap();
    assert!(!dynamic.is_pending());
    assert_eq!(dynamic.captures(), Some((0, 1)));
    let none = json!({});
    let to = |path: &str| target(&dynamic, path, &none, "");
    assert_eq!(to("/10.0.0.9:80/x").as_deref(), Ok("http://10.0.0.9:80"));
    assert_eq!(to("/10.0.0.9:0/x").as_deref(), Ok("http://10.0.0.9"));
    assert_eq!(to("/[fd00::1]:80/x").as_deref(), Ok("http://[fd00::1]:80"));
    assert_eq!(to("/11.0.0.9:80/x"), Err(TargetRefusal::NotAllowed { entry: "11.0.0.9:80".to_owned() }));
    for path in ["/a%20b:80/x", "/10.0.0.9:65536/x", "/10.0.0.9:+80/x", "/-a:80/x"] {
        assert_eq!(to(path), Err(TargetRefusal::Malformed), "{path}");
    }
}

#[test]
fn a_claim_names_it_within_the_list() {
    let text = "{ host: '{claim:sess.i}', port: '{claim:port.p}', allow: '10.0.0.0/8:1024-65535' }";
    let dynamic = compile(text).unwrap();
    assert!(dynamic.is_pending());
    assert_eq!(dynamic.captures(), None);
    let to = |host: serde_json::Value, port: serde_json::Value| {
        target(&dynamic, "/h:1/x", &json!({"sess": {"i": host}, "port": {"p": port}}), "")
    };
    assert_eq!(to(json!("10.0.0.5"), json!(4200)).as_deref(), Ok("http://10.0.0.5:4200"));
    assert_eq!(to(json!("10.0.0.5"), json!("4200")).as_deref(), Ok("http://10.0.0.5:4200"));
    assert!(matches!(to(json!("10.0.0.5"), json!(22)), Err(TargetRefusal::NotAllowed { .. })));
    assert!(matches!(to(json!("127.0.0.1"), json!(4200)), Err(TargetRefusal::NotAllowed { .. })));
    for (host, port) in [
        (json!("10.0.0.5/x"), json!(4200)),
        (json!("u@10.0.0.5"), json!(4200)),
        (json!("10.0.0.5:9"), json!(4200)),
        (json!(null), json!(4200)),
        (json!(""), json!(4200)),
        (json!("10.0.0.5"), json!("")),
        (json!("10.0.0.5"), json!(42.5)),
        (json!("10.0.0.5"), json!("4200/x")),
        (json!("10.0.0.5"), json!([1, 2])),
    ] {
        assert!(matches!(to(host.clone(), port.clone()), Err(TargetRefusal::Unfit(_))), "{host} {port}");
    }
}

#[test]
fn this_machine_has_a_target_of_its_own() {
    let text = "{ host: ['{claim:i}', '{cookie:iid}'], port: same, scheme: same, allow: ['10.0.0.0/8', '127.0.0.1'], \
                local: { names: me, port: '{claim:p}' } }";
    let dynamic = compile(text).unwrap();
    let to = |host: &str, cookies: &str| target(&dynamic, "/h:1/x", &json!({"i": host, "p": 4200}), cookies);
    for host in ["", "localhost", "127.0.0.1", "::1", "me"] {
        assert_eq!(to(host, "").as_deref(), Ok("http://127.0.0.1:4200 local"), "{host}");
    }
    assert_eq!(to("10.0.0.5", "").as_deref(), Ok("https://10.0.0.5:8443"));
    assert_eq!(to("10.0.0.5", "iid=10.0.0.6").as_deref(), Ok("https://10.0.0.5:8443"), "the first that is allowed");
    assert_eq!(to("", "iid=10.0.0.6").as_deref(), Ok("https://10.0.0.6:8443"));
    assert_eq!(to("", "a=b; iid=\"10.0.0.6\"").as_deref(), Ok("https://10.0.0.6:8443"));
    assert_eq!(to("11.0.0.5", "iid=10.0.0.6").as_deref(), Ok("https://10.0.0.6:8443"));
    assert_eq!(to("11.0.0.5", "").as_deref(), Ok("http://127.0.0.1:4200 local"), "the last decides");
    assert!(matches!(to("11.0.0.5", "iid=11.0.0.6"), Err(TargetRefusal::NotAllowed { .. })));
    assert!(matches!(to("", "iid=evil/x"), Err(TargetRefusal::Unfit(_))));
}

#[test]
fn the_address_that_the_client_connected_to_is_this_machine() {
    let dynamic =
        compile("{ host: '{host}', port: 1, allow: ['10.0.0.0/8', '127.0.0.1'], local: { port: 2 } }").unwrap();
    let found = Match { route: 0, pattern: 0, captures: smallvec![Capture::Range(1, 9)], rest: 9 };
    let values = Values { path: "/10.0.0.7", found: &found, scheme: "http", host: "", identity: None };
    let at = |address: Option<&str>| {
        let arrived = Arrived { address: address.map(|address| address.parse().unwrap()), ..ARRIVED };
        dynamic.target(&values, &arrived, &Cookies::new()).unwrap().authority
    };
    assert_eq!(at(None), "10.0.0.7:1");
    assert_eq!(at(Some("::ffff:10.0.0.7")), "127.0.0.1:2");
}

#[test]
fn mistakes_name_their_key() {
    for (text, key, part) in [
        ("{ host: h, port: 80, allow: '10.0.0.0/8' }", "host", "make an upstream"),
        ("{ port: '{port}', allow: '10.0.0.0/8' }", "host", "missing"),
        ("{ host: '{host}', allow: '10.0.0.0/8' }", "port", "missing"),
        ("{ host: '{host}', port: 70000, allow: '10.0.0.0/8' }", "port", "is not a port"),
        ("{ host: '{host}', port: '{p}', allow: '10.0.0.0/8' }", "port", "`{port}`"),
        ("{ host: '{host}', port: 80 }", "allow", "nothing is allowed"),
        ("{ host: '{cookie:a b}', port: 80, allow: '10.0.0.0/8' }", "host", "name of a cookie"),
        ("{ host: '{host}', port: 80, allow: '10.0.0.0/8', tls: { verify: false } }", "tls", "scheme: https"),
        ("{ host: '{host}', port: 80, allow: '10.0.0.0/8', local: { port: '' } }", "local.port", "missing"),
        (
            "{ host: '{host}', port: 80, allow: '10.0.0.0/8', local: { port: 80, host: 'a b' } }",
            "local.host",
            "not a host",
        ),
        ("{ host: '{host}', lookup: { url: x }, port: 80, allow: '10.0.0.0/8' }", "lookup", "keep one"),
        ("{ lookup: { url: x, key: k }, port: 80, allow: '10.0.0.0/8' }", "lookup.url", "no look-up"),
    ] {
        let mistakes = compile(text).unwrap_err();
        let found = mistakes.iter().find(|mistake| mistake.path.to_string() == key);
        assert!(found.is_some_and(|mistake| mistake.message.contains(part)), "{text}: {mistakes:?}");
    }
}
