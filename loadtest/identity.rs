//! What it costs to find out who asks by a token: `cargo bench --bench identity`.
//!
//! To be under 5 µs where the token was verified before; where it was not, the signature's arithmetic is most of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method};
use pylon::observe::Metrics;
use pylon::step::auth::{Asking, AuthScope, Gate};
use pylon::step::forwarded::Client;
use pylon::step::identity::Require;
use pylon::step::shared::Shared;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ALGORITHMS: [&str; 3] = ["HS256", "ES256", "RS256"];
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn main() {
    divan::main();
}

/// Signs a message.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// An issuer: how it signs, and the settings under which its tokens are verified.
struct Issuer {
    algorithm: &'static str,
    sign: Sign,
    settings: Value,
    _file: Option<tempfile::NamedTempFile>,
}

impl Issuer {
    fn new(algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (sign, jwk): (Sign, Value) = match algorithm {
            "ES256" => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let key = made.ok().and_then(|made| {
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).ok()
                });
                let Some(key) = key else { unreachable!("a key can be made") };
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                let jwk = json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": "a"});
                let sign = move |message: &[u8]| {
                    key.sign(&random, message).map_or_else(|_| Vec::new(), |signature| signature.as_ref().to_vec())
                };
                (Box::new(sign), jwk)
            }
            "RS256" => {
                let pem = include_bytes!("../src/step/auth/jwt/testing/rsa-1.pem");
                let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok();
                let key = der.and_then(|der| RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok());
                let Some(key) = key else { unreachable!("the key is one") };
                let public = ring::signature::RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                let jwk = json!({"kty": "RSA", "n": text(&public.n), "e": text(&public.e), "kid": "a"});
                let sign = move |message: &[u8]| {
                    let mut signature = vec![0; key.public().modulus_len()];
                    let _ = key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                    signature
                };
                (Box::new(sign), jwk)
            }
            _ => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
                (Box::new(move |message: &[u8]| ring::hmac::sign(&key, message).as_ref().to_vec()), Value::Null)
            }
        };
        let mut settings = json!({"issuer": "https://id.example.org", "audience": "pylon"});
        let mut file = None;
        if jwk.is_null() {
            settings["secret"] = SECRET.into();
        } else {
            let Ok(made) = tempfile::NamedTempFile::new() else { unreachable!("a file can be made") };
            let _ = std::fs::write(made.path(), json!({ "keys": [jwk] }).to_string());
            settings["jwks_file"] = made.path().to_string_lossy().into();
            file = Some(made);
        }
        Self { algorithm, sign, settings, _file: file }
    }

    /// A token of usual size.
    fn token(&self) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let header = json!({"alg": self.algorithm, "kid": "a", "typ": "JWT"}).to_string();
        let claims = json!({
            "iss": "https://id.example.org", "aud": ["pylon", "account"], "sub": "8e2b7a1c-7c1a-4b63-a2b1-0d0a4c6f1e55",
            "exp": now + 3600, "iat": now, "nbf": now, "preferred_username": "ann", "name": "Ann Example",
            "email": "ann@example.org", "email_verified": true, "scope": "openid profile email",
            "realm_access": {"roles": ["staff", "developers", "offline_access", "default-roles"]},
        });
        let text = |part: &str| BASE64URL_NOPAD.encode(part.as_bytes());
        let message = format!("{}.{}", text(&header), text(&claims.to_string()));
        let signature = BASE64URL_NOPAD.encode(&(self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn gate(&self, remembered: u32) -> Gate {
        let mut settings = self.settings.clone();
        settings["cache"] = remembered.into();
        let spec = serde_json::from_value(json!({ "jwt": settings }));
        let Ok(spec) = spec else { unreachable!("the spec is one") };
        let (shared, metrics) = (Shared::default(), Metrics::default());
        let file = |path: &str| PathBuf::from(path);
        let scope = AuthScope { file: &file, shared: &shared, before: None, metrics: &metrics, captures: &[] };
        let gate = Gate::compile(&[&spec], Require::default(), &scope);
        gate.unwrap_or_else(|mistakes| unreachable!("{mistakes:?}"))
    }
}

fn admit(bencher: Bencher<'_, '_>, algorithm: &'static str, remembered: u32) {
    let issuer = Issuer::new(algorithm);
    let gate = issuer.gate(remembered);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        unreachable!("a runtime can be built")
    };
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let client = Client { peer: address, trusted: false, address, scheme: "https" };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("Bearer {}", issuer.token())) {
        headers.insert(http::header::AUTHORIZATION, value);
    }
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let asking = Asking {
            method: &Method::GET,
            target: "/",
            path: "/",
            host: "www.example.org",
            headers: &headers,
            client: &client,
            has_body: false,
            captures: &(),
            now: SystemTime::now(),
        };
        let admitted = runtime.block_on(gate.admit(&asking));
        assert!(admitted.is_ok(), "{admitted:?}");
        black_box(admitted)
    });
}

/// A token that was verified before.
#[divan::bench(args = ALGORITHMS, sample_count = 100, sample_size = 2000)]
fn remembered(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    admit(bencher, algorithm, 10_000);
}

/// A token that was not: all of it is verified.
#[divan::bench(args = ALGORITHMS, sample_count = 100, sample_size = 100)]
fn verified(bencher: Bencher<'_, '_>, algorithm: &'static str) {
    admit(bencher, algorithm, 0);
}
