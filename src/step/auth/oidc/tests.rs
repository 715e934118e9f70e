//! Sign-ins from begin to end against a provider of a few lines, and what must not come of them.

mod renewals;
mod sessions;
mod sign_in;

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
