//! How old a cookie may be, and how its time is told from what stands beside it.

use super::*;

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
