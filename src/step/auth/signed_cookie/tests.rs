//! An application as it is out there signs the cookies: `my_auth` {u, t, x}, `my_sess` {c, i, t, x}, `port_NAME` {p, x}.

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

#[test]
fn no_field_can_be_changed() {
    let step = compile(APPLICATION).unwrap();
    let (auth, sess, port) = made(MADE);
    let changed = |value: &Value, field: &str, to: Value| {
        let mut value = value.clone();
        value[field] = to;
        value
    };
    for (field, to) in [
        ("c", json!("box-bob")),
        ("c", json!("box-an")),
        ("i", json!("i-0a1c")),
        ("t", json!("2017-07-13T02:40:01+00:00")),
        ("x", json!("")),
        ("x", json!(null)),
        ("x", port["x"].clone()),
        ("x", auth["x"].clone()),
        ("c", json!(["box-ann"])),
        ("c", json!({"a": 1})),
        ("c", json!(null)),
        ("c", json!(true)),
        ("c", json!(1.5)),
        ("i", json!("")),
        ("t", json!(1_499_990_000)),
        ("x", json!(mac("another-key-of-the-same-length!!", "box-anni-0a1b"))),
    ] {
        let cookie = cookies(&auth, &changed(&sess, field, to.clone()), &port);
        assert!(matches!(ask(&step, cookie.as_bytes(), "shell"), Finding::Wrong(_)), "{field}: {to}");
    }
    for (field, to) in [
        ("p", json!(49154)),
        ("p", json!("49153 ")),
        ("p", json!("049153")),
        ("p", json!(49153.0)),
        ("p", json!([49153])),
        ("p", json!(-49153)),
        ("x", sess["x"].clone()),
        ("x", json!("AAAA")),
    ] {
        assert!(!is_proven(&step, &cookies(&auth, &sess, &changed(&port, field, to.clone()))), "{field}: {to}");
    }
    // The same port as text is the same port.
    assert!(is_proven(&step, &cookies(&auth, &sess, &changed(&port, "p", json!("49153")))));
    // Cookies of other keys, of another session, of another user.
    let other = "another-key-of-the-same-length!!";
    let foreign = sess_of(other);
    assert!(!is_proven(&step, &cookies(&auth, &foreign, &port_of(&auth, &foreign))));
    let bob = super::tests::auth(KEY, "bob@example.org", MADE);
    assert!(!is_proven(&step, &cookies(&bob, &sess, &port)));
    // A name that comes twice, whichever of the two is signed.
    let text = sess.to_string();
    for twice in [text.replacen('{', "{\"c\":\"box-bob\",", 1), text.replace('}', ",\"c\":\"box-bob\"}")] {
        let cookie = format!("my_sess={}", data_encoding::BASE64.encode(twice.as_bytes()));
        assert!(matches!(ask(&step, cookie.as_bytes(), "shell"), Finding::Wrong(_)), "{twice}");
    }
}

fn sess_of(key: &str) -> Value {
    sess(key, MADE)
}

#[test]
fn times_hold() {
    let step = compile(APPLICATION).unwrap();
    for (at, proven) in [
        ("2017-06-14T02:40:01+00:00", true),
        ("2017-06-14T02:39:58+00:00", false),
        ("2017-07-14T02:46:00+00:00", false),
        ("1497400000", false),
        ("01499990000", false),
        ("99999999999999999999999", false),
        ("-1", false),
        ("", false),
        ("2017-07-13T02:40:00", true),
        ("2017-07-13T02:40:00.25", true),
        ("2017-07-13T02:40:00+0000", true),
        ("2017-05-13T02:40:00", false),
        ("1499990000.25", true),
        ("1499990000.", false),
        ("01499990000.25", false),
        ("12017-07-13T02:40:00", false),
        ("017-07-13T02:40:00", false),
        ("017-07-13T02:40:00.25", false),
        ("2017-07-13", false),
        ("12017-07-13T02:40:00Z", false),
        ("017-07-13T02:40:00Z", false),
        ("yesterday", false),
    ] {
        let (auth, sess, port) = made(at);
        assert_eq!(is_proven(&step, &cookies(&auth, &sess, &port)), proven, "{at}");
    }
}

#[test]
fn values_that_stand_next_to_each_other_can_be_told_apart() {
    let (auth, sess, _) = made(MADE);
    let signed = port(KEY, &auth, &sess, "shell", 49153);
    // The name takes a digit of the port: the signature is over the same text.
    let moved = json!({"p": "9153", "x": signed["x"]});
    let cookie = cookies(&auth, &sess, &moved).replace("port_shell", "port_shell4");
    let loose = compile(APPLICATION).unwrap();
    assert!(
        matches!(ask(&loose, cookie.as_bytes(), "shell4"), Finding::Proven(_)),
        "that is how the application signs"
    );
    let strict = APPLICATION.replace("p], signature: x }", "p], signature: x, matches: { p: '[1-9][0-9]{4}|0' } }");
    let strict = compile(&strict).unwrap();
    assert!(matches!(ask(&strict, cookie.as_bytes(), "shell4"), Finding::Wrong(_)));
    assert!(is_proven(&strict, &cookies(&auth, &sess, &signed)));
}

#[test]
fn a_time_that_is_not_the_last_needs_an_end() {
    let changed = |find: &str, replace: &str| {
        let text = APPLICATION.replacen(find, replace, 1);
        assert_ne!(text, APPLICATION, "{find}");
        compile(&text).map(drop).map_err(|found| format!("{}: {}", found[0].path, found[0].message))
    };
    for open in [
        "signed: [t, u]",
        "expires: e, signed: [u, e, t]",
        "signed: [t, { capture: name }, u]",
        "signed: [t, { text: '' }, u]",
        "signed: [u, t, { text: '0|' }]",
        "matches: { u: '[a-z]+' }, signed: [t, u]",
    ] {
        let found = changed("signed: [u, t]", open).unwrap_err();
        assert!(found.starts_with("cookies[0].join: it is missing") && found.contains("`matches`"), "{open}: {found}");
    }
    for ended in [
        "signed: [t, u], join: '|'",
        "signed: [t, { text: '|' }, u]",
        "signed: [u, t, { text: '' }]",
        "matches: { t: '[0-9]{10}' }, signed: [t, u]",
    ] {
        assert_eq!(changed("signed: [u, t]", ended), Ok(()), "{ended}");
    }
    // Signed for a time in the past, before a user whose name begins with a digit.
    let step = |more: &str| {
        compile(&TICKET.replace("signed: [user, until], join: \"|\"", &format!("signed: [until, user], {more}")))
            .unwrap()
    };
    let signed = |text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        data_encoding::HEXLOWER.encode(hmac::sign(&key, text.as_bytes()).as_ref())
    };
    let moved = format!("ticket=ann|14999999990|{}", signed("14999999990ann"));
    let fixed = step("matches: { until: '[0-9]{10}' }");
    assert!(matches!(ask(&fixed, moved.as_bytes(), ""), Finding::Wrong(_)));
    let good = format!("ticket=ann|1500000001|{}", signed("1500000001ann"));
    assert!(matches!(ask(&fixed, good.as_bytes(), ""), Finding::Proven(_)));
    assert!(matches!(ask(&step("matches: { until: '[0-9]+' }"), moved.as_bytes(), ""), Finding::Proven(_)));
}

fn ticket(user: &str, until: &str, key: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = data_encoding::HEXLOWER.encode(hmac::sign(&key, format!("{user}|{until}").as_bytes()).as_ref());
    format!("ticket={user}|{until}|{signature}")
}

#[test]
fn plain_tickets_are_read_too() {
    let step = compile(TICKET).unwrap();
    for key in [KEY, "an-older-secret-of-some-length"] {
        let Finding::Proven(proof) = ask(&step, ticket("ann", "1500000001", key).as_bytes(), "") else {
            panic!("{key}")
        };
        assert_eq!(proof.identity.user, "ann@example.org");
        assert_eq!(proof.identity.groups, ["ann", "staff"]);
        assert_eq!(proof.hide_cookie.as_deref(), Some("ticket"));
        assert_eq!(proof.identity.claim_text("ticket.until").as_deref(), Some("1500000001"));
    }
    let good = ticket("ann", "1500000001", KEY);
    for bad in [
        ticket("ann", "1500000000", KEY),
        ticket("ann", "", KEY),
        ticket("a|b", "1500000001", KEY),
        ticket("ann", "1500000001", "a-third-secret-of-some-length"),
        good.replace("ann", "bob"),
        good.replace("1500000001", "1600000001"),
        format!("{good}00"),
        good[..good.len() - 2].to_owned(),
        "ticket=ann|1500000001|".to_owned(),
        "ticket=ann".to_owned(),
        "ticket=||".to_owned(),
    ] {
        assert!(matches!(ask(&step, bad.as_bytes(), ""), Finding::Wrong(_)), "{bad}");
    }
    let percent = compile(&TICKET.replace("fields:", "encoding: percent, fields:")).unwrap();
    let encoded = good.replace('|', "%7C");
    assert!(matches!(ask(&percent, encoded.as_bytes(), ""), Finding::Proven(_)));
    assert!(matches!(ask(&step, encoded.as_bytes(), ""), Finding::Wrong(_)));
}

#[test]
fn a_value_with_its_signature_behind_it_is_parted_at_the_last_separator() {
    let text = "secret: 0123456789abcdef0123456789abcdef\nsignature_encoding: base64url\nuser: '{s.id}'\n\
                cookies: { name: s, fields: [id, sig], separator: '.', signed: id, signature: sig }";
    let step = compile(text).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = data_encoding::BASE64URL_NOPAD.encode(hmac::sign(&key, b"a.b").as_ref());
    let Finding::Proven(proof) = ask(&step, format!("s=a.b.{signature}").as_bytes(), "") else { panic!() };
    assert_eq!(proof.identity.user, "a.b");
    assert!(matches!(ask(&step, format!("s=a.c.{signature}").as_bytes(), ""), Finding::Wrong(_)));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever byte is changed: who asks is the same, or nobody.
    #[test]
    fn changed_bytes_prove_nobody_else(at in 0_usize..600, with in 1_u8..=255) {
        let step = compile(APPLICATION).unwrap();
        let (auth, sess, port) = made(MADE);
        let cookie = cookies(&auth, &sess, &port);
        let Finding::Proven(before) = ask(&step, cookie.as_bytes(), "shell") else { panic!() };
        let mut bytes = cookie.into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= with;
        if let Finding::Proven(after) = ask(&step, &bytes, "shell") {
            prop_assert_eq!(&before.identity, &after.identity);
        }
    }

    #[test]
    fn nothing_made_up_is_believed(value in "[ -~]{0,80}", json in "\\{(\"[citux]\":(\"[a-z0-9=]{0,6}\"|[0-9]{1,4}),?){0,5}\\}") {
        let step = compile(APPLICATION).unwrap();
        for value in [value, data_encoding::BASE64.encode(json.as_bytes())] {
            let cookie = format!("my_auth={value}; my_sess={value}; port_shell={value}");
            prop_assert!(!is_proven(&step, &cookie));
        }
    }
}

/// Every bit of every byte of the session, which must be there.
#[test]
fn no_bit_of_a_session_can_be_flipped() {
    let step = compile(APPLICATION).unwrap();
    let (auth, sess, port) = made(MADE);
    let (auth, sess, port) = (packed(&auth), packed(&sess), packed(&port));
    for at in 0..sess.len() {
        for bit in 0..8 {
            let mut bytes = format!("my_auth={auth}; port_shell={port}; my_sess={sess}").into_bytes();
            let start = bytes.len() - sess.len();
            bytes[start + at] ^= 1 << bit;
            if let Finding::Proven(proof) = ask(&step, &bytes, "shell") {
                // Padding that is gone is no part of the value.
                let identity = &proof.identity;
                let is_same = (identity.user.as_str(), identity.claim_text("sess.i"))
                    == ("ann@example.org", Some("i-0a1b".into()));
                assert!(is_same && sess.as_bytes()[at] == b'=', "{at} {bit}");
            }
        }
    }
}
