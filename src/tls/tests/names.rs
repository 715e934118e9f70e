//! Which certificate a name gets.

use super::*;

#[test]
fn the_name_chooses_the_certificate() {
    let site = Site::new();
    let all = ["default", "exact", "wild"];
    site.make("default", &["default.example.org", "192.0.2.1"]);
    site.make("wild", &["*.example.org", "*.other.org"]);
    site.make("exact", &["a.example.org", "b.deep.example.org"]);
    let policy = site.policy(&certificates(&["default", "wild", "exact"]));
    let client = site.client().config();
    for (name, wanted) in [
        ("default.example.org", "default"),
        ("a.example.org", "exact"),
        ("A.Example.ORG", "exact"),
        ("c.example.org", "wild"),
        ("b.deep.example.org", "exact"),
        ("x.other.org", "wild"),
        ("192.0.2.1", "default"),
    ] {
        assert_eq!(shown(&site, &policy, &client, name, &all), wanted, "{name}");
    }
    for stranger in ["example.org", "c.deep.example.org", "elsewhere.net"] {
        let refused = meet(&policy, &client, stranger).map(drop);
        assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{stranger}: {refused:?}");
    }
    assert!(policy.may_serve(None, "anything") && policy.may_serve(Some("a.example.org"), "b.example.org"));
}

#[test]
fn of_two_for_a_name_the_client_gets_what_it_knows() {
    let site = Site::new();
    let edwards = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    site.made("edwards", &["a.example.org"], &edwards, |_| {});
    site.make("ecdsa", &["a.example.org"]);
    let all = ["edwards", "ecdsa"];
    let both = site.policy(&certificates(&all));
    let ecdsa = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let any = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
    for version in [&TLS13, &TLS12] {
        let modern = site.client().only(version).knows(&any).config();
        assert_eq!(shown(&site, &both, &modern, "a.example.org", &all), "edwards");
        let other = site.client().only(version).knows(&ecdsa).config();
        assert_eq!(shown(&site, &both, &other, "a.example.org", &all), "ecdsa");
    }
}

#[test]
fn strict_names_are_strict() {
    let site = Site::new();
    site.make("ab", &["a.example.org", "b.example.org", "192.0.2.1"]);
    site.make("wild", &["*.other.org"]);
    let policy = site.policy(&format!("{}\nstrict_sni: true", certificates(&["ab", "wild"])));
    let client = site.client().config();
    assert!(meet(&policy, &client, "a.example.org").is_ok());
    assert!(meet(&policy, &client, "x.other.org").is_ok());
    assert!(meet(&policy, &client, "c.example.org").is_err());
    assert!(meet(&policy, &client, "192.0.2.1").is_err(), "no name at all");
    for (sni, host, may) in [
        (Some("a.example.org"), "a.example.org", true),
        (Some("a.example.org"), "B.example.org.:8443", true),
        (Some("a.example.org"), "192.0.2.1", true),
        (Some("a.example.org"), "x.other.org", false),
        (Some("x.other.org"), "y.other.org:443", true),
        (Some("x.other.org"), "x.y.other.org", false),
        (Some("x.other.org"), "other.org", false),
        (Some("x.other.org"), "", false),
        (Some("gone.example.org"), "a.example.org", false),
        (None, "a.example.org", false),
    ] {
        assert_eq!(policy.may_serve(sni, host), may, "{sni:?} {host}");
    }
}

/// What an accept loop does that reads the hello first.
#[test]
fn strict_names_are_refused_with_the_alert_for_that() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let strict = site.policy(&format!("{}\nstrict_sni: true", certificates(&["a"])));
    let open = site.policy(&certificates(&["a"]));
    for (name, served) in [("a.example.org", true), ("b.example.org", false), ("192.0.2.1", false)] {
        let mut client = ClientConnection::new(site.client().config(), name.to_owned().try_into().unwrap()).unwrap();
        let (mut hello, mut acceptor) = (Vec::new(), Acceptor::default());
        client.write_tls(&mut hello).unwrap();
        acceptor.read_tls(&mut &hello[..]).unwrap();
        let accepted = acceptor.accept().ok().flatten().unwrap();
        assert_eq!(strict.admits(&accepted.client_hello()), served, "{name}");
        assert!(open.admits(&accepted.client_hello()));
        client.read_tls(&mut &UNRECOGNIZED_NAME[..]).unwrap();
        let heard = client.process_new_packets().map(drop);
        assert_eq!(heard, Err(Error::AlertReceived(AlertDescription::UnrecognisedName)));
    }
}
