//! Files that change under a policy that serves.

use rustls::HandshakeKind;

use super::*;
use crate::route::host::HostPattern;

/// Reads the files of a policy again, with routes for these hosts: what is refused, or what is said.
fn renew(site: &Site, policy: &Arc<Policy>, yaml: &str, hosts: &[&str]) -> Result<(bool, Vec<String>), Vec<String>> {
    let (fresh, mut findings) = site.compile(yaml);
    let hosts: Vec<HostPattern> = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let at = KeyPath::root().then("tls");
    let dir = format!("{}/", site.dir.path().display());
    let texts = |findings: &[Finding]| -> Vec<String> {
        findings.iter().map(|f| format!("{}: {}", f.path, f.message.replace(&dir, ""))).collect()
    };
    let Some(fresh) = fresh else { return Err(texts(&findings.problems)) };
    assert_eq!(**policy, fresh, "the same spec");
    findings = Findings::default();
    let renewal = policy.renew(&fresh, &hosts, &at, &mut findings);
    if !findings.problems.is_empty() {
        assert!(renewal.is_none());
        return Err(texts(&findings.problems));
    }
    let renewed = renewal.is_some();
    if let Some(renewal) = renewal {
        renewal.apply();
    }
    Ok((renewed, texts(&findings.warnings)))
}

fn copy(site: &Site, from: &str, to: &str) {
    for end in ["crt", "key"] {
        fs::copy(site.path(&format!("{from}.{end}")), site.path(&format!("{to}.{end}"))).unwrap();
    }
}

#[test]
fn the_next_handshake_sees_a_new_certificate() {
    let site = Site::new();
    site.until("a", &["a.example.org"], 2090);
    copy(&site, "a", "old");
    let pair = certificates(&["a"]);
    let policy = site.policy(&pair);
    let (before, client) = (policy.server_config(), site.client().config());
    assert_eq!(shown(&site, &policy, &client, "a.example.org", &["old"]), "old");
    assert_eq!(renew(&site, &policy, &pair, &[]), Ok((false, vec![])));
    assert!(Arc::ptr_eq(&before, &policy.server_config()), "nothing has changed, nothing is swapped");
    site.until("a", &["a.example.org", "b.example.org"], 2091);
    copy(&site, "a", "new");
    assert_eq!(renew(&site, &policy, &pair, &[]), Ok((true, vec![])));
    let stranger = site.client().config();
    assert_eq!(shown(&site, &policy, &stranger, "b.example.org", &["old", "new"]), "new");
    let met = meet(&policy, &client, "a.example.org").unwrap();
    assert_eq!(met.server.handshake_kind(), Some(HandshakeKind::Resumed), "sessions survive");
}

#[test]
fn what_is_broken_is_refused() {
    let site = Site::new();
    site.until("a", &["a.example.org"], 2090);
    site.until("next", &["a.example.org"], 2091);
    copy(&site, "a", "old");
    let pair = certificates(&["a"]);
    let policy = site.policy(&pair);
    let next = fs::read_to_string(site.path("next.crt")).unwrap();
    let refused = |text: Option<&str>, wanted: &str| {
        match text {
            Some(text) => site.write("a.crt", text),
            None => fs::remove_file(site.path("a.crt")).unwrap(),
        }
        let said = renew(&site, &policy, &pair, &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(wanted), "{said:?}");
        assert_eq!(shown(&site, &policy, &site.client().config(), "a.example.org", &["old", "next"]), "old");
    };
    refused(Some(&next), "tls.certificates[0].key: `a.key` does not go with `a.crt`");
    refused(Some(&next[..next.len() / 2]), "tls.certificates[0].cert: `a.crt` is not PEM");
    refused(Some(""), "tls.certificates[0].cert: `a.crt` holds no certificate");
    refused(
        Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "tls.certificates[0].cert: `a.crt` cannot be read as X.509",
    );
    refused(None, "tls.certificates[0].cert: cannot read `a.crt`");
    copy(&site, "next", "a");
    assert_eq!(renew(&site, &policy, &pair, &[]), Ok((true, vec![])));
    assert_eq!(shown(&site, &policy, &site.client().config(), "a.example.org", &["old", "next"]), "next");
}

#[test]
fn what_is_worse_by_its_dates_is_refused() {
    let site = Site::new();
    site.until("a", &["a.example.org"], 2090);
    let pair = certificates(&["a"]);
    let policy = site.policy(&pair);
    for (year, wanted) in [
        (2020, "tls.certificates[0].cert: `a.crt` has expired on 2020-01-01 00:00 UTC; the certificate in use stays"),
        (
            2089,
            "tls.certificates[0].cert: `a.crt` expires on 2089-01-01 00:00 UTC, the certificate in use on 2090-01-01",
        ),
    ] {
        site.until("a", &["a.example.org"], year);
        let said = renew(&site, &policy, &pair, &[]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(wanted), "{said:?}");
    }
    let key = KeyPair::generate().unwrap();
    site.made("a", &["a.example.org"], &key, |params| params.not_before = date_time_ymd(2085, 1, 1));
    let said = renew(&site, &policy, &pair, &[]).unwrap_err();
    assert!(
        said[0].contains("`a.crt` is good from 2085-01-01 00:00 UTC only; the certificate in use stays"),
        "{said:?}"
    );
    site.until("a", &["a.example.org"], 2090);
    assert_eq!(renew(&site, &policy, &pair, &[]), Ok((true, vec![])), "the same date will do");
}

#[test]
fn names_of_routes_must_stay() {
    let site = Site::new();
    let old = ["a.example.org", "b.example.org", "*.wild.org"];
    site.until("a", &old, 2090);
    site.until("other", &["other.org"], 2090);
    let pairs = certificates(&["a", "other"]);
    let policy = site.policy(&pairs);
    for (now, hosts, lost) in [
        (&["a.example.org", "*.wild.org"][..], &["b.example.org"][..], "`b.example.org`"),
        (&["a.example.org", "*.wild.org"], &["*.example.org"], "`b.example.org`"),
        (&["a.example.org", "b.example.org"], &["x.wild.org"], "`x.wild.org`"),
        (&["a.example.org", "b.example.org", "y.wild.org"], &["*.wild.org"], "`*.wild.org`"),
        (&["c.example.org"], &["a.example.org", "*.example.org", "*"], "`a.example.org`, `b.example.org`"),
    ] {
        site.until("a", now, 2091);
        let said = renew(&site, &policy, &pairs, hosts).unwrap_err();
        let wanted = format!("tls.certificates[0].cert: `a.crt` no longer has {lost}, which routes are for");
        assert!(said.len() == 1 && said[0].starts_with(&wanted), "{hosts:?}: {said:?}");
    }
    // Another certificate of the listener may take a name over.
    site.until("a", &["a.example.org", "*.wild.org"], 2091);
    site.until("other", &["other.org", "b.example.org"], 2091);
    assert_eq!(renew(&site, &policy, &pairs, &["b.example.org", "*.wild.org", "*"]), Ok((true, vec![])));
    // Names that no route is for only make a warning.
    site.until("a", &["a.example.org"], 2092);
    let (renewed, said) = renew(&site, &policy, &pairs, &["a.example.org", "*"]).unwrap();
    assert!(renewed && said.len() == 1, "{said:?}");
    assert!(said[0].starts_with("tls.certificates[0].cert: `a.crt` no longer has `*.wild.org`; no route"), "{said:?}");
}

#[test]
fn an_expired_certificate_is_no_reason_to_keep_another() {
    let site = Site::new();
    site.until("a", &["a.example.org"], 2020);
    site.until("b", &["b.example.org"], 2090);
    let pairs = certificates(&["a", "b"]);
    let policy = site.policy(&pairs);
    site.until("b", &["b.example.org"], 2091);
    assert_eq!(renew(&site, &policy, &pairs, &["b.example.org"]), Ok((true, vec![])));
}

/// New revocations count for sessions, too.
#[test]
fn no_session_outlives_the_trust_in_its_client() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let key = KeyPair::generate().unwrap();
    site.made("worker", &[], &key, |params| params.serial_number = Some(SerialNumber::from_slice(&[7])));
    let clients = "client_certificates: { mode: required, ca: ca.pem, crl: crl.pem }";
    site.write("tickets", &"5".repeat(64));
    for more in ["", "session_tickets: { keys: tickets }"] {
        site.write("crl.pem", &revoked(&site, &[1], 2100));
        let spec = format!("{}\n{clients}\n{more}", certificates(&["a"]));
        let policy = site.policy(&spec);
        for version in [&TLS13, &TLS12] {
            site.write("crl.pem", &revoked(&site, &[1], 2100));
            renew(&site, &policy, &spec, &[]).unwrap();
            let client = site.client().only(version).with(&site, "worker").config();
            assert!(meet(&policy, &client, "a.example.org").is_ok());
            site.write("crl.pem", &revoked(&site, &[1, 7], 2100));
            assert_eq!(renew(&site, &policy, &spec, &[]), Ok((true, vec![])));
            assert!(meet(&policy, &client, "a.example.org").is_err(), "{more}");
        }
    }
}

#[test]
fn ticket_keys_are_read_again() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    let spec = format!("{}\nsession_tickets: {{ keys: tickets }}", certificates(&["a"]));
    site.write("tickets", &"1".repeat(64));
    let policy = site.policy(&spec);
    let client = site.client().config();
    let kind = || meet(&policy, &client, "a.example.org").unwrap().server.handshake_kind().unwrap();
    assert_eq!((kind(), kind()), (HandshakeKind::Full, HandshakeKind::Resumed));
    site.write("tickets", "half a ke");
    let said = renew(&site, &policy, &spec, &[]).unwrap_err();
    assert!(said[0].starts_with("tls.session_tickets.keys: `tickets`: line 1 is neither hex nor base64"), "{said:?}");
    assert_eq!(kind(), HandshakeKind::Resumed);
    site.write("tickets", &"2".repeat(64));
    assert_eq!(renew(&site, &policy, &spec, &[]), Ok((true, vec![])));
    assert_eq!((kind(), kind()), (HandshakeKind::Full, HandshakeKind::Resumed));
}
