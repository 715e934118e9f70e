//! Sign-ins from begin to end against a provider of a few lines, and what must not come of them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use serde_json::{Value, json};

use super::super::jwt::testing::{Asked, Issuer, Signer, after, compiled};
use super::*;
use crate::step::shared::Shared;

const PAGE: [(&str, &str); 2] = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];

/// A provider, Pylon before it, and a browser.
struct Stage {
    issuer: Issuer,
    key: Signer,
    oidc: Oidc,
    shared: Shared,
    keys: tempfile::NamedTempFile,
    jar: BTreeMap<String, String>,
    now: std::time::SystemTime,
}

fn key_file(bytes: u8) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), data_encoding::BASE64.encode(&[bytes; 32])).unwrap();
    file
}

impl Stage {
    async fn new(more: &str) -> Self {
        let (issuer, key) = (Issuer::start().await, Signer::p256());
        let url = |path: &str| format!("{}{path}", issuer.url);
        let description = json!({
            "issuer": issuer.url, "jwks_uri": url("/k"), "authorization_endpoint": url("/authorize"),
            "token_endpoint": url("/token"), "end_session_endpoint": url("/end"),
        });
        issuer.answer("/.well-known/openid-configuration", 200, &description);
        issuer.answer("/k", 200, &json!({"keys": [key.jwk("a")]}));
        let (keys, shared) = (key_file(1), Shared::default());
        let oidc = Self::oidc(&issuer, &keys, more, &shared);
        Self { issuer, key, oidc, shared, keys, jar: BTreeMap::new(), now: std::time::SystemTime::now() }
    }

    /// With a provider that tells more of a user beside the ID token.
    async fn with_userinfo(told: &Value) -> Self {
        let stage = Self::new("").await;
        let url = |path: &str| format!("{}{path}", stage.issuer.url);
        let description = json!({
            "issuer": stage.issuer.url, "jwks_uri": url("/k"), "authorization_endpoint": url("/authorize"),
            "token_endpoint": url("/token"), "userinfo_endpoint": url("/me"),
        });
        stage.issuer.answer("/.well-known/openid-configuration", 200, &description);
        stage.issuer.answer("/me", 200, told);
        stage
    }

    fn oidc(issuer: &Issuer, keys: &tempfile::NamedTempFile, more: &str, shared: &Shared) -> Oidc {
        let text = format!(
            "{{ issuer: '{}', client_id: pylon, client_secret: a-secret-of-the-client, session: {{ keys: '{}', idle: 10m, \
             lifetime: 1h }}, {more} }}",
            issuer.url,
            keys.path().display()
        );
        compiled(&text, shared, Oidc::compile).unwrap()
    }

    fn asked(&self, target: &str, headers: &[(&'static str, &str)]) -> Asked {
        let mut asked = Asked::new(target, headers);
        asked.now = self.now;
        let jar: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !jar.is_empty() {
            asked.headers.insert(COOKIE, jar.join("; ").parse().unwrap());
        }
        asked
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            assert!(line.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
            if line.ends_with("Max-Age=0") {
                self.jar.remove(name);
            } else {
                assert!(line.len() < 4096, "{}", line.len());
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    async fn answer(&mut self, target: &str) -> Reply {
        let asked = self.asked(target, &PAGE);
        match self.oidc.identify(&asked.asking()).await {
            Finding::Answer(reply) => {
                self.keep(&reply.headers);
                *reply
            }
            other => panic!("no answer: {other:?}"),
        }
    }

    /// Asks for a page, and is sent to the provider: the parameters.
    async fn begin(&mut self, target: &str) -> BTreeMap<String, String> {
        let reply = self.answer(target).await;
        assert_eq!(
            (reply.status, &reply.headers[CACHE_CONTROL]),
            (StatusCode::FOUND, &HeaderValue::from_static("no-store"))
        );
        let url = url::Url::parse(reply.headers[LOCATION].to_str().unwrap()).unwrap();
        assert!(url.as_str().starts_with(&format!("{}/authorize?", self.issuer.url)));
        url.query_pairs().into_owned().collect()
    }

    fn claims(&self, nonce: &str) -> Value {
        json!({
            "iss": self.issuer.url, "aud": "pylon", "sub": "ann", "exp": after(300), "iat": after(0), "nonce": nonce,
            "groups": ["staff"],
        })
    }

    fn id_token(&self, claims: &Value) -> String {
        self.key.sign(&json!({"alg": "ES256", "kid": "a"}), claims)
    }

    fn give(&self, id_token: &str) {
        let tokens = json!({
            "access_token": "x", "token_type": "Bearer", "expires_in": 100, "refresh_token": "r", "id_token": id_token,
        });
        self.issuer.answer("/token", 200, &tokens);
    }

    /// New tokens without an ID token, as a provider may give them for a refresh token.
    fn give_no_id_token(&self, refresh: &str) {
        let tokens = json!({"access_token": "x", "token_type": "Bearer", "expires_in": 100, "refresh_token": refresh});
        self.issuer.answer("/token", 200, &tokens);
    }

    /// The groups and the role of who has the session, once its tokens are due.
    async fn renewed(&mut self) -> (Vec<String>, Option<String>) {
        self.now += Duration::from_secs(101);
        let Finding::Proven(proof) = self.find("/").await else { panic!("renewed") };
        self.keep(&proof.response);
        let role = proof.identity.claim_text("role").map(std::borrow::Cow::into_owned);
        (proof.identity.groups.clone(), role)
    }

    async fn sign_in(&mut self, target: &str) -> Reply {
        let sent = self.begin(target).await;
        self.give(&self.id_token(&self.claims(&sent["nonce"])));
        self.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await
    }

    /// What a program finds with the cookies of the browser.
    async fn find(&self, target: &str) -> Finding {
        self.oidc.identify(&self.asked(target, &[]).asking()).await
    }

    async fn passes(&self) -> bool {
        matches!(self.find("/").await, Finding::Proven(_))
    }
}

#[tokio::test]
async fn a_sign_in_leads_back_to_the_page_and_proves_who_asks() {
    let mut stage = Stage::new("scopes: [groups], parameters: { prompt: login }").await;
    assert!(matches!(stage.find("/").await, Finding::Absent));
    let sent = stage.begin("/a/b?x=1&y=%2F").await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "pylon"),
        ("redirect_uri", "https://www.example.org/oauth2/callback"),
        ("scope", "openid groups"),
        ("code_challenge_method", "S256"),
        ("prompt", "login"),
    ] {
        assert_eq!(sent[name], value);
    }
    assert!(sent["state"].len() >= 22 && sent["nonce"].len() >= 22 && sent["code_challenge"].len() == 43);
    stage.give(&stage.id_token(&stage.claims(&sent["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/a/b?x=1&y=%2F");
    assert_eq!(stage.jar.keys().collect::<Vec<_>>(), ["__Host-pylon-session"]);
    let Finding::Proven(proof) = stage.find("/a/b").await else { panic!("signed in") };
    assert_eq!((proof.identity.user.as_str(), proof.identity.by), ("ann", "oidc"));
    assert_eq!(proof.identity.groups, ["staff"]);
    assert_eq!(stage.oidc.sign_in().cookies(), ["pylon-session", "__Host-pylon-session"]);
    assert!(proof.response.is_empty());
    // What came once does not come again.
    let again = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert!(stage.passes().await);
}

#[tokio::test]
async fn no_page_leads_to_another_site() {
    for target in
        ["//evil.example.org/x", "/\\evil.example.org", "/%2F/evil.example.org", "/a?u=https://evil.example.org"]
    {
        let mut stage = Stage::new("").await;
        let reply = stage.sign_in(target).await;
        assert_eq!(reply.headers[LOCATION], format!("https://www.example.org{target}"));
    }
    let mut stage = Stage::new("").await;
    let reply = stage.sign_in(&format!("/a?{}", "x".repeat(4000))).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/a");
}

#[tokio::test]
async fn a_way_back_that_was_not_begun_here_is_refused() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    stage.give(&stage.id_token(&stage.claims(&sent["nonce"])));
    let state = sent["state"].clone();
    let jar = stage.jar.clone();
    let other: String = state.chars().rev().collect();
    let (name, value) = jar.iter().next().unwrap();
    let of_other = format!("__Host-pylon-session.login.{}", &other[..12]);
    let back = format!("/oauth2/callback?code=c&state={state}");
    for (jar, target) in [
        (BTreeMap::new(), back.clone()),
        (BTreeMap::from([(of_other, value.clone())]), format!("/oauth2/callback?code=c&state={other}")),
        (BTreeMap::from([(name.clone(), value[..value.len() - 4].to_owned())]), back.clone()),
        (BTreeMap::from([(name.clone(), "x".to_owned())]), back.clone()),
        (jar.clone(), "/oauth2/callback".to_owned()),
        (jar.clone(), "/oauth2/callback?code=c".to_owned()),
        (jar.clone(), format!("/oauth2/callback?state={state}")),
        (jar.clone(), format!("/oauth2/callback?code=&state={state}")),
        (jar.clone(), format!("{back}&state={state}")),
        (jar.clone(), format!("{back}&code=d")),
        (jar.clone(), format!("{back}x")),
        (jar.clone(), format!("{back}&iss=https%3A%2F%2Fevil.example.org")),
        (jar.clone(), format!("{back}&error=%3Cscript%3E")),
    ] {
        stage.jar = jar;
        let reply = stage.answer(&target).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{target}");
        assert_eq!(reply.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(!String::from_utf8_lossy(&reply.body).contains("script"));
        assert_eq!(stage.issuer.asked("/token"), 0, "{target}");
    }
    stage.jar = jar.clone();
    let denied = stage.answer(&format!("/oauth2/callback?error=access_denied&state={state}")).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    stage.jar = jar.clone();
    stage.now += Duration::from_secs(601);
    assert_eq!(stage.answer(&back).await.status, StatusCode::BAD_REQUEST);
    stage.now -= Duration::from_secs(601);
    stage.jar = jar;
    assert_eq!(stage.answer(&back).await.status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_sign_in_is_refused() {
    let mut stage = Stage::new("").await;
    let none = |claims: &Value| {
        let text = |value: &Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        format!("{}.{}.", text(&json!({"alg": "none"})), text(claims))
    };
    for case in 0..14 {
        stage.jar.clear();
        let sent = stage.begin("/").await;
        let mut claims = stage.claims(&sent["nonce"]);
        match case {
            0 => claims["nonce"] = "other".into(),
            1 => drop(claims.as_object_mut().unwrap().remove("nonce")),
            2 => claims["aud"] = "other".into(),
            3 => claims["aud"] = json!(["pylon", "other"]),
            4 => claims["azp"] = "other".into(),
            5 => claims["iss"] = "https://evil.example.org".into(),
            6 => claims["exp"] = after(-100).into(),
            7 => drop(claims.as_object_mut().unwrap().remove("exp")),
            8 => drop(claims.as_object_mut().unwrap().remove("sub")),
            9 => drop(claims.as_object_mut().unwrap().remove("iat")),
            _ => {}
        }
        let token = match case {
            10 => none(&claims),
            11 => Signer::Secret(b"a-secret-of-the-client".to_vec()).sign(&json!({"alg": "HS256"}), &claims),
            12 => Signer::p256().sign(&json!({"alg": "ES256", "kid": "a"}), &claims),
            13 => stage.id_token(&claims)[1..].to_owned(),
            _ => stage.id_token(&claims),
        };
        stage.give(&token);
        let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "case {case}");
        assert!(!stage.jar.contains_key("__Host-pylon-session"), "case {case}");
    }
    let sent = stage.begin("/").await;
    let mut claims = stage.claims(&sent["nonce"]);
    (claims["aud"], claims["azp"]) = (json!(["pylon", "other"]), "pylon".into());
    stage.give(&stage.id_token(&claims));
    assert_eq!(
        stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await.status,
        StatusCode::FOUND
    );
    // Something is amiss at the provider: nobody passes, and the sign-in can go on.
    stage.jar.clear();
    let sent = stage.begin("/").await;
    let back = format!("/oauth2/callback?code=c&state={}", sent["state"]);
    for (status, body) in [(500, json!({})), (401, json!({"error": "invalid_client"})), (200, json!("x"))] {
        stage.issuer.answer("/token", status, &body);
        let found = stage.oidc.identify(&stage.asked(&back, &PAGE).asking()).await;
        assert!(matches!(found, Finding::Unavailable(_)), "{status}: {found:?}");
    }
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    assert_eq!(stage.answer(&back).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tabs_do_not_hinder_each_other() {
    let mut stage = Stage::new("").await;
    let first = stage.begin("/one").await;
    let second = stage.begin("/two").await;
    stage.give(&stage.id_token(&stage.claims(&second["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", second["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/two");
    stage.give(&stage.id_token(&stage.claims(&first["nonce"])));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", first["state"])).await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/one");
    stage.jar.clear();
    for _ in 0..20 {
        stage.now += Duration::from_secs(1);
        stage.begin("/").await;
    }
    assert_eq!(stage.jar.len(), 6);
}

#[tokio::test]
async fn no_byte_of_a_session_can_be_changed() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    assert!(stage.passes().await);
    let (name, value) = stage.jar.pop_first().unwrap();
    for at in (0..value.len()).step_by(7) {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        for bad in [String::from_utf8(changed).unwrap(), value[..at].to_owned()] {
            stage.jar = BTreeMap::from([(name.clone(), bad)]);
            assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "byte {at}");
        }
    }
    // A browser signs in anew; what was there goes.
    stage.begin("/").await;
    assert!(!stage.jar.contains_key(&name));
    // Under another name, or as a client of another name, it is nothing.
    stage.jar = BTreeMap::from([("pylon-session".to_owned(), value.clone())]);
    assert!(matches!(stage.find("/").await, Finding::Absent));
    let asked = stage.asked("/", &[]);
    let mut asking = asked.asking();
    let plain = crate::step::forwarded::Client { scheme: "http", ..*asking.client };
    asking.client = &plain;
    assert!(matches!(stage.oidc.identify(&asking).await, Finding::Wrong(_)));
    stage.jar = BTreeMap::from([(name, value)]);
    assert!(stage.passes().await);
    let same = Stage::oidc(&stage.issuer, &stage.keys, "", &Shared::default());
    assert!(matches!(same.identify(&stage.asked("/", &[]).asking()).await, Finding::Proven(_)));
    let other = Stage::oidc(&stage.issuer, &key_file(2), "", &Shared::default());
    assert!(matches!(other.identify(&stage.asked("/", &[]).asking()).await, Finding::Wrong(_)));
}

#[tokio::test]
async fn long_sessions_are_kept_in_parts() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    let mut claims = stage.claims(&sent["nonce"]);
    claims["groups"] = (0..500).map(|n| format!("group-{n}")).collect::<Vec<_>>().into();
    stage.give(&stage.id_token(&claims));
    stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert!(stage.jar.len() >= 3, "{:?}", stage.jar.keys());
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert_eq!(proof.identity.groups.len(), 500);
    let whole = stage.jar.clone();
    for name in whole.keys() {
        stage.jar = whole.clone();
        stage.jar.remove(name);
        assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "without {name}");
    }
    // A shorter session takes the parts away that are left.
    stage.jar = whole;
    stage.now += Duration::from_secs(1801);
    stage.sign_in("/").await;
    assert_eq!(stage.jar.len(), 1);
    assert!(stage.passes().await);
    let sent = {
        stage.jar.clear();
        stage.begin("/").await
    };
    let mut claims = stage.claims(&sent["nonce"]);
    claims["groups"] = (0..5000).map(|n| format!("group-{n}")).collect::<Vec<_>>().into();
    stage.give(&stage.id_token(&claims));
    let reply = stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "longer than a token may be");
}

#[tokio::test]
async fn sessions_end_when_they_are_old_or_not_used() {
    let mut stage = Stage::new("").await;
    let sent = stage.begin("/").await;
    let id_token = stage.id_token(&stage.claims(&sent["nonce"]));
    let tokens = json!({"access_token": "x", "token_type": "Bearer", "id_token": id_token});
    stage.issuer.answer("/token", 200, &tokens);
    stage.answer(&format!("/oauth2/callback?code=c&state={}", sent["state"])).await;
    let first = stage.jar.clone();
    let begun = stage.now;
    for minutes in 1..=60 {
        stage.now = begun + Duration::from_secs(minutes * 60 - 1);
        let Finding::Proven(proof) = stage.find("/").await else { panic!("minute {minutes}") };
        stage.keep(&proof.response);
    }
    stage.now = begun + Duration::from_secs(3602);
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)), "an hour is over");
    stage.jar = first;
    stage.now = begun + Duration::from_secs(600);
    assert!(stage.passes().await);
    stage.now = begun + Duration::from_secs(602);
    assert!(!stage.passes().await, "ten minutes without a request");
}

#[tokio::test]
async fn tokens_are_renewed_once_and_in_time() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    let old = stage.jar.clone();
    assert_eq!(stage.issuer.asked("/token"), 1);
    stage.now += Duration::from_secs(74);
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 1);
    stage.now += Duration::from_secs(2);
    let mut claims = stage.claims("");
    claims["groups"] = json!(["other"]);
    stage.give(&stage.id_token(&claims));
    let asked: Vec<Asked> = (0..20).map(|_| stage.asked("/", &[])).collect();
    let askings: Vec<Asking<'_>> = asked.iter().map(Asked::asking).collect();
    let all = futures_util::future::join_all(askings.iter().map(|asking| stage.oidc.identify(asking))).await;
    for found in all {
        let Finding::Proven(proof) = found else { panic!("{found:?}") };
        assert_eq!(proof.identity.groups, ["other"]);
        stage.keep(&proof.response);
    }
    assert_eq!(stage.issuer.asked("/token"), 2);
    assert_ne!(stage.jar, old);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert!(proof.response.is_empty());
    // A request with the cookie of before, which was under way, gets the new one.
    let new = std::mem::replace(&mut stage.jar, old);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert!(!proof.response.is_empty());
    assert_eq!(stage.issuer.asked("/token"), 2);
    // Another user's token renews nothing.
    stage.jar = new;
    stage.now += Duration::from_secs(101);
    claims["sub"] = "eve".into();
    stage.give(&stage.id_token(&claims));
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
}

#[tokio::test]
async fn a_provider_that_refuses_ends_a_session_and_one_that_is_away_suspends_it() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    stage.issuer.answer("/token", 503, &json!({}));
    stage.now += Duration::from_secs(80);
    assert!(stage.passes().await, "it has not expired");
    stage.now += Duration::from_secs(21);
    for _ in 0..5 {
        assert!(matches!(stage.find("/").await, Finding::Unavailable(_)));
    }
    assert_eq!(stage.issuer.asked("/token"), 3, "it is let alone for a while");
    stage.give(&stage.id_token(&stage.claims("")));
    stage.now += Duration::from_secs(6);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it is back") };
    stage.keep(&proof.response);
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    stage.now += Duration::from_secs(101);
    assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
    stage.begin("/").await;
    assert!(!stage.jar.contains_key("__Host-pylon-session"));
}

#[tokio::test]
async fn what_one_instance_is_refused_another_may_have_renewed() {
    let mut stage = Stage::new("").await;
    stage.sign_in("/").await;
    stage.now += Duration::from_secs(80);
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    assert!(stage.passes().await, "it has not expired");
    let other = Stage::oidc(&stage.issuer, &stage.keys, "", &Shared::default());
    stage.give(&stage.id_token(&stage.claims("")));
    let Finding::Proven(proof) = other.identify(&stage.asked("/", &[]).asking()).await else { panic!("renewed") };
    stage.keep(&proof.response);
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("its tokens are newer than those refused") };
    stage.keep(&proof.response);
    // What was refused once is not asked for again.
    let asked = stage.issuer.asked("/token");
    stage.issuer.answer("/token", 400, &json!({"error": "invalid_grant"}));
    stage.now += Duration::from_secs(101);
    for _ in 0..3 {
        assert!(matches!(stage.find("/").await, Finding::Wrong(_)));
    }
    assert_eq!(stage.issuer.asked("/token"), asked + 1);
}

#[tokio::test]
async fn what_is_not_told_any_more_does_not_hold_any_more() {
    let mut stage = Stage::with_userinfo(&json!({"sub": "ann", "role": "boss", "groups": ["staff"]})).await;
    stage.sign_in("/").await;
    let Finding::Proven(proof) = stage.find("/").await else { panic!("signed in") };
    assert_eq!(proof.identity.claim_text("role").as_deref(), Some("boss"));
    // The new ID token does not have the groups, which are told beside it as they were.
    let mut claims = stage.claims("");
    claims.as_object_mut().unwrap().remove("groups");
    stage.give(&stage.id_token(&claims));
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("renewed") };
    assert_eq!(proof.identity.groups, ["staff"]);
    stage.keep(&proof.response);
    stage.issuer.answer("/me", 200, &json!({"sub": "ann"}));
    stage.now += Duration::from_secs(101);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("renewed") };
    assert_eq!((proof.identity.claim("role"), proof.identity.groups.len()), (None, 0));
}

#[tokio::test]
async fn what_is_told_anew_counts_before_an_id_token_of_before() {
    let told = |more: Value| {
        let mut told = json!({"sub": "ann"});
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told
    };
    let mut stage = Stage::with_userinfo(&told(json!({"groups": ["staff"], "role": "boss"}))).await;
    stage.sign_in("/").await;
    stage.give_no_id_token("r");
    let (staff, none) = (vec!["staff".to_owned()], Vec::<String>::new());
    for (now, groups, role) in [
        (json!({"groups": ["staff"], "role": "boss"}), &staff, Some("boss")),
        (json!({"groups": [], "role": "clerk"}), &none, Some("clerk")),
        (json!({"groups": ["staff"]}), &staff, None),
        // Some providers leave out what is empty.
        (json!({"role": "boss"}), &none, Some("boss")),
        (json!({}), &none, None),
        (json!({"groups": null}), &none, None),
        (json!({"groups": ["staff"]}), &staff, None),
    ] {
        stage.issuer.answer("/me", 200, &told(now.clone()));
        assert_eq!(stage.renewed().await, (groups.clone(), role.map(str::to_owned)), "{now}");
    }
    // A new ID token counts before what is told beside it.
    stage.issuer.answer("/me", 200, &told(json!({"groups": []})));
    stage.give(&stage.id_token(&stage.claims("")));
    assert_eq!(stage.renewed().await.0, staff);
    // What userinfo never told is as the ID token has it.
    let mut stage = Stage::with_userinfo(&told(json!({}))).await;
    stage.sign_in("/").await;
    stage.give_no_id_token("r");
    assert_eq!(stage.renewed().await.0, staff);
    assert_eq!(stage.renewed().await.0, staff);
}

#[tokio::test]
async fn tokens_that_came_are_kept_where_userinfo_fails() {
    let mut stage = Stage::with_userinfo(&json!({"sub": "ann", "groups": ["staff"]})).await;
    stage.sign_in("/").await;
    let of_before = stage.jar.clone();
    stage.issuer.answer("/me", 503, &json!({}));
    stage.give_no_id_token("second");
    stage.now += Duration::from_secs(80);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it has not expired") };
    assert_eq!(proof.identity.groups, ["staff"]);
    stage.keep(&proof.response);
    assert!(stage.issuer.last("/token").contains("refresh_token=r"), "what came with the sign-in");
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 2, "the provider is let alone for a while");
    // What it then gave in its place is what it takes, and who asks is no younger for it.
    stage.give_no_id_token("third");
    stage.now += Duration::from_secs(21);
    let asked: Vec<Asked> = (0..5).map(|_| stage.asked("/", &[])).collect();
    let askings: Vec<Asking<'_>> = asked.iter().map(Asked::asking).collect();
    for found in futures_util::future::join_all(askings.iter().map(|asking| stage.oidc.identify(asking))).await {
        assert!(matches!(found, Finding::Unavailable(_)), "{found:?}");
    }
    assert_eq!(stage.issuer.asked("/token"), 3);
    assert!(stage.issuer.last("/token").contains("refresh_token=second"));
    // Browsers do not have the third one, nor one of them even the second.
    stage.issuer.answer("/me", 200, &json!({"sub": "ann", "groups": ["other"]}));
    stage.jar = of_before;
    stage.now += Duration::from_secs(6);
    let Finding::Proven(proof) = stage.find("/").await else { panic!("it is back") };
    assert_eq!(proof.identity.groups, ["other"]);
    assert!(stage.issuer.last("/token").contains("refresh_token=third"));
    assert_eq!(stage.issuer.asked("/token"), 4);
    stage.keep(&proof.response);
    assert!(stage.passes().await);
    assert_eq!(stage.issuer.asked("/token"), 4);
}

#[tokio::test]
async fn a_session_ends_here_and_at_the_provider() {
    let mut stage = Stage::new("after_logout: /bye").await;
    stage.sign_in("/").await;
    let stolen = stage.jar.clone();
    let reply = stage.answer("/oauth2/logout").await;
    let url = url::Url::parse(reply.headers[LOCATION].to_str().unwrap()).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert!(url.as_str().starts_with(&format!("{}/end?", stage.issuer.url)));
    assert_eq!(query["post_logout_redirect_uri"], "https://www.example.org/bye");
    assert_eq!(query["client_id"], "pylon");
    assert!(query["id_token_hint"].split('.').count() == 3);
    assert!(stage.jar.is_empty());
    let reply = stage.answer("/oauth2/logout").await;
    assert_eq!(reply.headers[LOCATION], "https://www.example.org/bye");
    stage.jar = stolen;
    assert!(!stage.passes().await);
    let mut stage = Stage::new("").await;
    assert_eq!(stage.answer("/oauth2/logout").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_description_nothing_begins() {
    let stage = Stage::new("").await;
    stage.issuer.answer("/.well-known/openid-configuration", 500, &json!({}));
    let found = stage.oidc.identify(&stage.asked("/", &PAGE).asking()).await;
    assert!(matches!(found, Finding::Unavailable(_)));
    assert!(matches!(stage.find("/").await, Finding::Absent));
    assert!(stage.oidc.challenge(true).unwrap().to_str().unwrap().starts_with("Cookie realm="));
}

#[tokio::test]
async fn equal_settings_share_a_desk_over_reloads() {
    let stage = Stage::new("").await;
    let same = Stage::oidc(&stage.issuer, &stage.keys, "", &stage.shared);
    assert!(same.sign_in().is_same(&stage.oidc.sign_in()));
    let other = Stage::oidc(&stage.issuer, &stage.keys, "logout_path: /bye", &stage.shared);
    assert!(!other.sign_in().is_same(&stage.oidc.sign_in()));
    assert_eq!(other.sign_in().paths(), ["/oauth2/callback", "/bye"]);
    std::fs::write(stage.keys.path(), data_encoding::BASE64.encode(&[9; 32])).unwrap();
    let other = Stage::oidc(&stage.issuer, &stage.keys, "", &stage.shared);
    assert!(!other.sign_in().is_same(&stage.oidc.sign_in()));
}

#[test]
fn mistakes_name_their_cure() {
    let keys = key_file(1);
    let session = format!("session: {{ keys: '{}' }}", keys.path().display());
    let base = format!("issuer: 'https://id', client_id: pylon, {session}");
    for (text, key, part) in [
        (format!("{{ client_id: a, {session} }}"), "issuer", "missing"),
        (format!("{{ issuer: id, client_id: a, {session} }}"), "issuer", "https://"),
        (format!("{{ issuer: 'https://id', {session} }}"), "client_id", "registered"),
        ("{ issuer: 'https://id', client_id: a }".to_owned(), "session.keys", "openssl rand"),
        ("{ issuer: 'https://id', client_id: a, session: { keys: /nowhere } }".to_owned(), "session.keys", "/nowhere"),
        (
            "{ issuer: 'https://id', client_id: a, session: { keys: /etc/hostname } }".to_owned(),
            "session.keys",
            "line 1",
        ),
        (format!("{{ {base}, algorithms: HS256 }}"), "algorithms", "RS256"),
        (format!("{{ {base}, leeway: 1h }}"), "leeway", "10m"),
        (format!("{{ {base}, timeout: 5m }}"), "timeout", "1m"),
        (format!("{{ {base}, redirect_path: back }}"), "redirect_path", "/oauth2/callback"),
        (format!("{{ {base}, redirect_path: /a/../b }}"), "redirect_path", "plain"),
        (format!("{{ {base}, redirect_path: /x, logout_path: /x }}"), "logout_path", "another"),
        (format!("{{ {base}, after_logout: '//evil' }}"), "after_logout", "path"),
        (format!("{{ {base}, public_url: 'https://www/x' }}"), "public_url", "alone"),
        (format!("{{ {base}, parameters: {{ state: x }} }}"), "parameters.state", "leave it out"),
        (format!("{{ {base}, ca: /nowhere }}"), "ca", "/nowhere"),
        (format!("{{ {} }}", base.replace("keys:", "idle: 1s, keys:")), "session.idle", "1m"),
        (format!("{{ {} }}", base.replace("keys:", "cookie: 'a b', keys:")), "session.cookie", "letters"),
    ] {
        let found = compiled(&text, &Shared::default(), Oidc::compile).map(|_| ()).unwrap_err();
        assert!(found[0].path.to_string().contains(key) && found[0].message.contains(part), "{text}: {found:?}");
    }
}
