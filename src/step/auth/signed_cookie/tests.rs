//! An application as it is out there signs the cookies: `my_auth` {u, t, x}, `my_sess` {c, i, t, x}, `port_NAME` {p, x}.

mod tampering;
mod tickets;
mod times;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::observe::Metrics;
use crate::step::auth::Captures;
use crate::step::forwarded::Client;
use crate::step::shared::Shared;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// 2017-07-14T02:40:00Z.
const NOW: u64 = 1_500_000_000;
const MADE: &str = "2017-07-13T02:40:00.123456+00:00";

const APPLICATION: &str = r#"
secret: 0123456789abcdef0123456789abcdef
hash: sha1
cookies:
  - { name: my_auth, as: auth, signed: [u, t], signature: x, issued: t, max_age: 30d, optional: true }
  - { name: my_sess, as: sess, signed: [c, i, t], signature: x, issued: t, max_age: 30d }
  - { name: "port_{name}", as: port, signed: [auth.x, sess.x, { capture: name }, p], signature: x }
user: ["{auth.u}", "{sess.c}"]
"#;
const TICKET: &str = r#"
secret: [an-older-secret-of-some-length, 0123456789abcdef0123456789abcdef]
signature_encoding: hex
cookies: { name: ticket, fields: [user, until, sig], signed: [user, until], join: "|", signature: sig, expires: until }
user: "{ticket.user}@example.org"
groups: "{ticket.user},staff"
hide: ticket
"#;

#[derive(Debug, Default)]
struct Path(HashMap<&'static str, &'static str>);

impl Captures for Path {
    fn capture(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fn compile(text: &str) -> Result<SignedCookie, Vec<Mistake>> {
    let spec: SignedCookieSpec = serde_yaml::from_str(text).unwrap();
    let captures = ["name".to_owned()];
    let scope = AuthScope {
        file: &|path| path.into(),
        shared: &Shared::default(),
        before: None,
        metrics: &Metrics::default(),
        captures: &captures,
    };
    SignedCookie::compile(&spec, &scope)
}

/// Asks with a `Cookie` header.
fn ask(step: &SignedCookie, cookie: &[u8], name: &'static str) -> Finding {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(cookie) {
        headers.insert(http::header::COOKIE, value);
    }
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let asking = Asking {
        method: &Method::GET,
        target: "/",
        path: "/",
        host: "site",
        headers: &headers,
        client: &Client { peer, trusted: false, address: peer, scheme: "https" },
        has_body: false,
        captures: &Path(HashMap::from([("name", name)])),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
    };
    step.find(&asking)
}

fn mac(key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    data_encoding::BASE64.encode(hmac::sign(&key, text.as_bytes()).as_ref())
}

fn packed(value: &Value) -> String {
    data_encoding::BASE64.encode(value.to_string().as_bytes())
}

fn auth(key: &str, user: &str, made: &str) -> Value {
    json!({"u": user, "t": made, "x": mac(key, &format!("{user}{made}"))})
}

fn sess(key: &str, made: &str) -> Value {
    json!({"c": "box-ann", "i": "i-0a1b", "t": made, "x": mac(key, &format!("box-anni-0a1b{made}"))})
}

fn port(key: &str, auth: &Value, sess: &Value, name: &str, port: u16) -> Value {
    let text = format!("{}{}{name}{port}", auth["x"].as_str().unwrap_or_default(), sess["x"].as_str().unwrap());
    json!({"p": port, "x": mac(key, &text)})
}

fn cookies(auth: &Value, sess: &Value, port: &Value) -> String {
    let quoted = packed(sess);
    format!("other=1; my_auth={}; my_sess=\"{quoted}\"; port_shell={}", packed(auth), packed(port))
}

/// All three, as they are made at a time.
fn made(at: &str) -> (Value, Value, Value) {
    let (auth, sess) = (auth(KEY, "ann@example.org", at), sess(KEY, at));
    let port = port(KEY, &auth, &sess, "shell", 49153);
    (auth, sess, port)
}

fn is_proven(step: &SignedCookie, cookie: &str) -> bool {
    matches!(ask(step, cookie.as_bytes(), "shell"), Finding::Proven(_))
}

#[test]
fn what_the_application_signs_is_believed() {
    let step = compile(APPLICATION).unwrap();
    for at in [MADE, "2017-07-13T02:40:00+00:00", "2017-07-13T04:40:00+02:00", "1499990000", "2017-07-14T02:44:00Z"] {
        let (auth, sess, port) = made(at);
        let Finding::Proven(proof) = ask(&step, cookies(&auth, &sess, &port).as_bytes(), "shell") else {
            panic!("{at}");
        };
        assert_eq!(proof.identity.user, "ann@example.org");
        let claims = ["auth.u", "sess.c", "sess.i", "sess.t", "port.p", "port.x", "sess.x"];
        let told = claims.map(|claim| proof.identity.claim_text(claim).map(Cow::into_owned));
        let expected = [Some("ann@example.org"), Some("box-ann"), Some("i-0a1b"), Some(at), Some("49153"), None, None];
        assert_eq!(told, expected.map(|text| text.map(str::to_owned)));
    }
}

#[test]
fn an_optional_cookie_that_is_not_good_counts_as_missing() {
    let step = compile(APPLICATION).unwrap();
    let (good, sess, with_auth) = made(MADE);
    let without = port(KEY, &json!({}), &sess, "shell", 49153);
    let wrong = auth("another-key-of-the-same-length!!", "ann@example.org", MADE);
    let old = auth(KEY, "ann@example.org", "2017-06-01T02:40:00+00:00");
    for (auth, port, proven) in [
        (&good, &with_auth, true),
        (&wrong, &without, true),
        (&old, &without, true),
        (&json!({}), &without, true),
        (&json!([1]), &without, true),
        (&good, &without, false),
        (&wrong, &with_auth, false),
        (&old, &port_of(&old, &sess), false),
    ] {
        assert_eq!(is_proven(&step, &cookies(auth, &sess, port)), proven, "{auth} {port}");
    }
    let Finding::Proven(proof) = ask(&step, cookies(&wrong, &sess, &without).as_bytes(), "shell") else { panic!() };
    assert_eq!((proof.identity.user.as_str(), proof.identity.claim("auth.u")), ("box-ann", None));
}

fn port_of(auth: &Value, sess: &Value) -> Value {
    port(KEY, auth, sess, "shell", 49153)
}

#[test]
fn what_is_missing_is_absent_and_what_is_wrong_is_wrong() {
    let step = compile(APPLICATION).unwrap();
    let (auth, sess, port) = made(MADE);
    let (a, s, p) = (packed(&auth), packed(&sess), packed(&port));
    for absent in ["", "my_sess=", "my_sess=\"\"", &format!("my_auth={a}"), &format!("my_sess={s}; port_nb={p}")] {
        assert!(matches!(ask(&step, absent.as_bytes(), "shell"), Finding::Absent), "{absent}");
    }
    // The port's cookie of another name, and one whose name was moved into its value.
    let moved = format!("my_auth={a}; my_sess={s}; port_nb={p}");
    assert!(matches!(ask(&step, moved.as_bytes(), "nb"), Finding::Wrong(_)));
    let unpadded = [("my_auth", &a), ("my_sess", &s), ("port_shell", &p)];
    let unpadded = unpadded.map(|(name, value)| format!("{name}={}", value.trim_end_matches('='))).join("; ");
    assert!(is_proven(&step, &unpadded), "{unpadded}");
    let wrong = |sess: &str| ask(&step, format!("my_auth={a}; my_sess={sess}; port_shell={p}").as_bytes(), "shell");
    let huge = packed(&json!({"c": "box-ann", "i": "i-0a1b", "t": MADE, "x": sess["x"], "y": "a".repeat(8192)}));
    let many: Map<String, Value> = (0..100).map(|n| (n.to_string(), json!(n))).collect();
    for bad in [
        "x",
        "e30=",
        "W10=",
        "bnVsbA==",
        "\"",
        "\"e30",
        &s[..s.len() - 8],
        &s[4..],
        &format!("{s}{s}"),
        &huge,
        &packed(&Value::Object(many)),
        &p,
        &a,
        &format!("%22{s}%22"),
        &s.replace('=', "%3D").replace("ey", "%65y"),
    ] {
        assert!(matches!(wrong(bad), Finding::Wrong(_)), "{bad}");
    }
}

fn sess_of(key: &str) -> Value {
    sess(key, MADE)
}

#[test]
fn mistakes_name_the_key_and_the_cure() {
    let mistakes = |text: &str| -> Vec<String> {
        compile(text).unwrap_err().iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect()
    };
    for (find, replace, expected) in [
        (KEY, "short", "secret: it is shorter than 16 bytes"),
        ("{ capture: name }", "{ capture: nam }", "cookies[2].signed[2]: the path captures no `nam`"),
        ("port_{name}", "port_{x}", "cookies[2].name: the path captures no `x`"),
        ("auth.x", "auth.z", "cookies[2].signed[0]: `z` is not signed in `auth`"),
        ("auth.x", "late.x", "cookies[2].signed[0]: `late` is not an earlier cookie"),
        ("signed: [u, t]", "signed: [u]", "cookies[0].issued: `t` is not in `signed`"),
        ("signed: [u, t]", "signed: [u, t, x]", "cookies[0].signed[2]: `x` is the signature"),
        ("{ capture: name }, p]", "{ capture: name }]", "cookies[2].signed: no field of this cookie is signed"),
        ("as: sess", "as: auth", "cookies[1].as: `auth` is what another cookie is called"),
        ("as: sess,", "as: a.b,", "cookies[1].as: `a.b` cannot stand before"),
        ("\"{sess.c}\"", "\"{sess.z}\"", "user: `z` is not signed in `sess`"),
        ("\"{sess.c}\"", "somebody", "user: `somebody` is the same for all"),
        (", max_age: 30d, optional", ", optional", "cookies[0].max_age: there is `issued` without it"),
        ("signed: [u, t]", "matches: { u: '(' }, signed: [u, t]", "cookies[0].matches.u: `(` is not a regular"),
        ("signed: [u, t]", "fields: [u], signed: [u, t]", "cookies[0].fields: write 2 to 32 names"),
    ] {
        let text = APPLICATION.replacen(find, replace, 1);
        assert_ne!(text, APPLICATION, "{find}");
        let found = mistakes(&text);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}: {found:?}");
        assert!(!found.concat().contains("short`"), "{found:?}");
    }
    let found = mistakes("{}").join("\n");
    for key in ["secret:", "cookies:", "user:"] {
        assert!(found.contains(key), "{found}");
    }
    let all = APPLICATION
        .replace("30d }", "30d, optional: true }")
        .replace("p], signature: x }", "p], signature: x, optional: true }");
    assert!(mistakes(&all).concat().contains("all of them are optional"), "{all}");
}
