//! Cookies that nobody signed so.

use super::*;

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
