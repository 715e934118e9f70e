//! Cookies in plain text.

use super::*;

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
