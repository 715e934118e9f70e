//! Certificates of clients.

use super::*;

#[test]
fn clients_show_who_they_are() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let key = KeyPair::generate().unwrap();
    site.made("worker", &["w.example.org"], &key, |params| {
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://example.org/worker".try_into().unwrap()));
        params.subject_alt_names.push(rcgen::SanType::Rfc822Name("w@example.org".try_into().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CountryName, "XX");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(rcgen::DnType::CommonName, "worker 1");
        params.distinguished_name.push(rcgen::DnType::from_oid(&[1, 2, 3, 4]), "odd");
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xff]));
        params.not_after = date_time_ymd(2100, 1, 1);
    });
    let stranger = Site::new();
    stranger.make("worker", &["w.example.org"]);
    let with = |mode: &str| {
        let clients = format!("client_certificates: {{ mode: {mode}, ca: ca.pem }}");
        site.policy(&format!("{}\n{clients}", certificates(&["a"])))
    };
    let (off, optional, required) = (site.policy(&certificates(&["a"])), with("optional"), with("required"));
    let name = "a.example.org";
    for version in [&TLS13, &TLS12] {
        let client = |own: Option<&Site>| match own {
            None => site.client().only(version).config(),
            Some(own) => site.client().only(version).with(own, "worker").config(),
        };
        let peer = |policy: &Policy, own: Option<&Site>| {
            meet(policy, &client(own), name).map(|met| met.server.peer_certificates().and_then(identity))
        };
        assert_eq!(peer(&off, Some(&site)), Ok(None), "nobody is asked");
        assert_eq!(peer(&optional, None), Ok(None));
        assert!(peer(&optional, Some(&site)).unwrap().is_some());
        assert!(peer(&optional, Some(&stranger)).is_err(), "what is shown must be good");
        assert!(peer(&required, None).is_err());
        assert!(peer(&required, Some(&stranger)).is_err());
        let who = peer(&required, Some(&site)).unwrap().unwrap();
        assert_eq!(who.subject, "1.2.3.4=#0c036f6464,CN=worker 1,O=Example\\, Inc.,C=XX");
        assert_eq!(who.issuer, "CN=rcgen self signed cert");
        assert_eq!(
            (&who.san_dns[..], &who.san_email[..]),
            (&["w.example.org".to_owned()][..], &["w@example.org".to_owned()][..])
        );
        assert_eq!(who.san_uri, ["spiffe://example.org/worker"]);
        assert_eq!(who.serial, "AFF");
        assert_eq!(who.fingerprint.len(), 64);
        assert_eq!(who.not_after.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 4_102_444_800);
    }
}

#[test]
fn who_was_revoked_is_refused() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    for (name, serial) in [("good", 1), ("bad", 2)] {
        let key = KeyPair::generate().unwrap();
        site.made(name, &[], &key, |params| params.serial_number = Some(SerialNumber::from_slice(&[serial])));
    }
    site.write("crl.pem", &revoked(&site, &[2], 2100));
    let clients = "client_certificates: { mode: required, ca: ca.pem, crl: crl.pem }";
    let spec = format!("{}\n{clients}", certificates(&["a"]));
    let policy = site.policy(&spec);
    let client = |name: &str| site.client().with(&site, name).config();
    assert!(meet(&policy, &client("good"), "a.example.org").is_ok());
    assert!(meet(&policy, &client("bad"), "a.example.org").is_err());
    assert_eq!(site.said(&spec), Vec::<String>::new());
    site.write("crl.pem", &revoked(&site, &[2], 2021));
    let said = site.said(&spec);
    assert!(said.len() == 1 && said[0].contains("should have been replaced by 2021-01-01 00:00 UTC"), "{said:?}");
}
