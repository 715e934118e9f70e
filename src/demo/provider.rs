//! An `OpenID` provider: whoever comes says who they are, without a password.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{io, net::SocketAddr};

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, routing::post};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD as BASE64;
use http::{StatusCode, header};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::site::{escape, hex, not_found, page, redirect, style};

/// How long a code is good, in seconds.
const CODE_LASTS: u64 = 60;
/// How many codes may wait.
const CODES: usize = 100;

/// Who there is: the name to sign in with, given name, surname, groups.
pub(super) const PEOPLE: [(&str, &str, &str, &[&str]); 3] = [
    ("ann", "Ann", "Archer", &["staff", "research"]),
    ("bob", "Bob", "Baker", &["staff"]),
    ("eve", "Eve", "Eaves", &[]),
];

/// Somebody came, and may be asked for by this code.
struct Granted {
    person: usize,
    nonce: String,
    challenge: String,
    redirect_uri: String,
    at: Instant,
}

/// The provider.
pub(super) struct Provider {
    issuer: String,
    client: &'static str,
    key: EcdsaKeyPair,
    random: SystemRandom,
    codes: Mutex<HashMap<String, Granted>>,
}

/// The parameters of a request, from its query or its form.
pub(super) type Parameters = HashMap<String, String>;

/// A provider that is found at `address`, for one client.
pub(super) fn router(address: SocketAddr, client: &'static str) -> io::Result<Router> {
    let random = SystemRandom::new();
    let no_key = |_| io::Error::other("no key can be made");
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(no_key)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
    let key = key.map_err(|_| io::Error::other("no key can be made"))?;
    let provider =
        Provider { issuer: format!("http://{address}"), client, key, random, codes: Mutex::new(HashMap::new()) };
    Ok(Router::new()
        .route("/.well-known/openid-configuration", get(describe))
        .route("/keys", get(keys))
        .route("/authorize", get(ask).post(grant))
        .route("/token", post(token))
        .route("/logout", get(logout))
        .route("/style.css", get(style))
        .fallback(not_found)
        .with_state(Arc::new(provider)))
}

async fn describe(State(provider): State<Arc<Provider>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    Json(json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "end_session_endpoint": at("/logout"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
    }))
}

async fn keys(State(provider): State<Arc<Provider>>) -> Json<Value> {
    // An uncompressed point: 4, then both coordinates.
    let point = provider.key.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    let key = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo",
        "x": BASE64.encode(x), "y": BASE64.encode(y),
    });
    Json(json!({ "keys": [key] }))
}

/// The parameters of a form.
pub(super) fn read_form(body: &[u8]) -> Parameters {
    url::form_urlencoded::parse(body).into_owned().collect()
}

/// Whether a browser may be sent there: to this machine alone.
fn is_here(uri: &str) -> bool {
    let url = url::Url::parse(uri).ok();
    let host = url.as_ref().and_then(|url| url.host_str());
    host.is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost") || host.ends_with(".localhost"))
}

/// Asks who it is.
async fn ask(State(provider): State<Arc<Provider>>, Query(asked): Query<Parameters>) -> Response {
    if let Err(wrong) = provider.check(&asked) {
        return (StatusCode::BAD_REQUEST, wrong).into_response();
    }
    let keep = |(name, value): (&String, &String)| {
        format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">\n", escape(name), escape(value))
    };
    let hidden: String = asked.iter().map(keep).collect();
    let button = |(user, given, surname, groups): &(&str, &str, &str, &[&str])| {
        let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        format!("<p><button name=\"user\" value=\"{user}\">{given} {surname}</button> {user}: {groups}</p>\n")
    };
    let buttons: String = PEOPLE.iter().map(button).collect();
    let form = format!("<form method=\"post\" action=\"/authorize\">\n{hidden}{buttons}</form>");
    page("Who are you?", "<link rel=\"stylesheet\" href=\"/style.css\">", &form)
}

/// Sends somebody back with a code.
async fn grant(State(provider): State<Arc<Provider>>, body: Bytes) -> Response {
    let asked = read_form(&body);
    if let Err(wrong) = provider.check(&asked) {
        return (StatusCode::BAD_REQUEST, wrong).into_response();
    }
    let value = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let person = PEOPLE.iter().position(|(user, ..)| *user == value("user"));
    let mut code = [0; 16];
    let (Some(person), Ok(())) = (person, provider.random.fill(&mut code)) else {
        return (StatusCode::BAD_REQUEST, "There is nobody of this name.\n").into_response();
    };
    let granted = Granted {
        person,
        nonce: value("nonce"),
        challenge: value("code_challenge"),
        redirect_uri: value("redirect_uri"),
        at: Instant::now(),
    };
    let code = hex(&code);
    let mut codes = provider.codes.lock().unwrap_or_else(PoisonError::into_inner);
    codes.retain(|_, granted| granted.at.elapsed().as_secs() < CODE_LASTS);
    if codes.len() >= CODES {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many are signing in.\n").into_response();
    }
    codes.insert(code.clone(), granted);
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let to = format!("{}?code={code}&state={}", value("redirect_uri"), encode(&value("state")));
    redirect(StatusCode::SEE_OTHER, &to)
}

/// Tells who came with a code, once.
async fn token(State(provider): State<Arc<Provider>>, body: Bytes) -> Response {
    let asked = read_form(&body);
    let value = |name: &str| asked.get(name).map_or("", String::as_str);
    let granted = provider.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(value("code"));
    let good = granted.filter(|granted| {
        granted.at.elapsed().as_secs() < CODE_LASTS
            && granted.redirect_uri == value("redirect_uri")
            && granted.challenge == BASE64.encode(&Sha256::digest(value("code_verifier")))
    });
    match good.and_then(|granted| provider.sign(&granted)) {
        Some(id_token) => {
            let body = json!({
                "access_token": "of no use", "token_type": "Bearer", "expires_in": 3600, "id_token": id_token,
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        None => (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" }))).into_response(),
    }
}

/// Ends nothing, as nothing is kept.
async fn logout(Query(asked): Query<Parameters>) -> Response {
    match asked.get("post_logout_redirect_uri").filter(|uri| is_here(uri)) {
        Some(uri) => redirect(StatusCode::SEE_OTHER, uri),
        None => page("You are signed out", "<link rel=\"stylesheet\" href=\"/style.css\">", ""),
    }
}

impl Provider {
    fn check(&self, asked: &Parameters) -> Result<(), &'static str> {
        let value = |name: &str| asked.get(name).map_or("", String::as_str);
        if value("client_id") != self.client {
            return Err("This client is not known.\n");
        }
        if !is_here(value("redirect_uri")) {
            return Err("It is not of this machine.\n");
        }
        if value("response_type") != "code" || value("code_challenge_method") != "S256" {
            return Err("Ask for a code, with a challenge by S256.\n");
        }
        Ok(())
    }

    /// An ID token.
    fn sign(&self, granted: &Granted) -> Option<String> {
        let (user, given, surname, groups) = PEOPLE.get(granted.person)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let claims = json!({
            "iss": self.issuer, "aud": self.client, "sub": user, "iat": now, "exp": now + 3600, "nonce": granted.nonce,
            "preferred_username": user, "name": format!("{given} {surname}"), "given_name": given, "family_name": surname,
            "email": format!("{user}@example.org"), "email_verified": true, "groups": groups,
        });
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": "demo" });
        let text =
            format!("{}.{}", BASE64.encode(head.to_string().as_bytes()), BASE64.encode(claims.to_string().as_bytes()));
        let signature = self.key.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", BASE64.encode(signature.as_ref())))
    }
}
