//! Sessions that are resumed, and those that must not be.

use rustls::HandshakeKind;

use super::*;

fn kind(policy: &Policy, client: &Arc<ClientConfig>) -> HandshakeKind {
    let met = meet(policy, client, "a.example.org").unwrap();
    assert_eq!(met.client.handshake_kind(), met.server.handshake_kind());
    met.server.handshake_kind().unwrap()
}

fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn tickets() -> String {
    format!("{}\nsession_tickets: {{ keys: tickets, lifetime: 1h }}", certificates(&["a"]))
}

#[test]
fn two_that_share_keys_resume_each_others_sessions() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    site.write("tickets", &key('1'));
    let (one, other) = (site.policy(&tickets()), site.policy(&tickets()));
    let (mine, stranger) = (site.policy(&certificates(&["a"])), site.policy(&certificates(&["a"])));
    for version in [&TLS13, &TLS12] {
        let client = site.client().only(version).config();
        assert_eq!(kind(&one, &client), HandshakeKind::Full);
        assert_eq!(kind(&one, &client), HandshakeKind::Resumed);
        assert_eq!(kind(&other, &client), HandshakeKind::Resumed);
        let client = site.client().only(version).config();
        assert_eq!(kind(&mine, &client), HandshakeKind::Full);
        assert_eq!(kind(&mine, &client), HandshakeKind::Resumed);
        assert_eq!(kind(&stranger, &client), HandshakeKind::Full);
    }
}

#[test]
fn keys_rotate() {
    let site = Site::new();
    site.make("a", &["a.example.org"]);
    site.write("tickets", &key('1'));
    let first = site.policy(&tickets());
    site.write("tickets", &format!("# new\n{}\n{}", key('2'), key('1')));
    let second = site.policy(&tickets());
    site.write("tickets", &key('2'));
    let third = site.policy(&tickets());
    for version in [&TLS13, &TLS12] {
        let client = || site.client().only(version).config();
        let (gentle, hasty) = (client(), client());
        assert_eq!(kind(&first, &gentle), HandshakeKind::Full);
        assert_eq!(kind(&second, &gentle), HandshakeKind::Resumed, "a ticket of the key that goes");
        let fresh = client();
        assert_eq!(kind(&second, &fresh), HandshakeKind::Full);
        assert_eq!(kind(&third, &fresh), HandshakeKind::Resumed, "a ticket of the key that stays");
        assert_eq!(kind(&first, &hasty), HandshakeKind::Full);
        assert_eq!(kind(&third, &hasty), HandshakeKind::Full, "a key that is gone opens nothing");
    }
}

/// Who was not asked for a certificate must not come in by a session where one is needed.
#[test]
fn no_session_goes_where_other_clients_are_believed() {
    let site = Site::new();
    for name in ["a", "worker"] {
        site.make(name, &["a.example.org"]);
    }
    site.write("tickets", &key('1'));
    let with = |mode: &str| site.policy(&format!("{}\nclient_certificates: {{ mode: {mode}, ca: ca.pem }}", tickets()));
    let (off, optional, required) = (site.policy(&tickets()), with("optional"), with("required"));
    for version in [&TLS13, &TLS12] {
        let anonymous = site.client().only(version).config();
        assert_eq!(kind(&off, &anonymous), HandshakeKind::Full);
        assert!(meet(&required, &anonymous, "a.example.org").is_err());
        let anonymous = site.client().only(version).config();
        assert_eq!(kind(&optional, &anonymous), HandshakeKind::Full);
        assert!(meet(&required, &anonymous, "a.example.org").is_err());
        let worker = site.client().only(version).with(&site, "worker").config();
        assert_eq!(kind(&required, &worker), HandshakeKind::Full);
        let met = meet(&required, &worker, "a.example.org").unwrap();
        assert_eq!(met.server.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(met.server.peer_certificates().and_then(identity).is_some(), "known from the ticket");
    }
}
