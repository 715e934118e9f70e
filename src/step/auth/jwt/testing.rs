//! What the tests of tokens need: keys that sign, requests, and an issuer that can be away.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::observe::Metrics;
use crate::step::Mistake;
use crate::step::auth::{Asking, AuthScope};
use crate::step::forwarded::Client;
use crate::step::shared::Shared;

/// A key that signs.
pub(in crate::step::auth) enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Signer {
    /// One of the two RSA keys.
    pub(in crate::step::auth) fn rsa(which: u8) -> Self {
        let pem = match which {
            1 => include_bytes!("testing/rsa-1.pem"),
            _ => include_bytes!("testing/rsa-2.pem"),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap()))
    }

    pub(in crate::step::auth) fn p256() -> Self {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &SystemRandom::new()).unwrap())
    }

    pub(in crate::step::auth) fn p384() -> Self {
        let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        Self::P384(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &SystemRandom::new()).unwrap())
    }

    pub(in crate::step::auth) fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    /// As a key set shows it.
    pub(in crate::step::auth) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let point = |key: &EcdsaKeyPair, curve: &str| {
            let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y), "kid": id, "use": "sig"})
        };
        match self {
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": text(&public.n), "e": text(&public.e), "kid": id})
            }
            Self::P256(key) => point(key, "P-256"),
            Self::P384(key) => point(key, "P-384"),
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()), "kid": id, "alg": "EdDSA"})
            }
            Self::Secret(secret) => json!({"kty": "oct", "k": text(secret), "kid": id}),
        }
    }

    /// A token, signed as the header says; where the key cannot, with what is nearest.
    pub(in crate::step::auth) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        self.sign_parts(&text(header), &text(claims), header["alg"].as_str().unwrap_or_default())
    }

    pub(in crate::step::auth) fn sign_parts(&self, header: &str, claims: &str, algorithm: &str) -> String {
        let message = format!("{header}.{claims}");
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(key) => {
                let encoding: &dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Secret(secret) => {
                let hash = match algorithm {
                    "HS384" => ring::hmac::HMAC_SHA384,
                    "HS512" => ring::hmac::HMAC_SHA512,
                    _ => ring::hmac::HMAC_SHA256,
                };
                ring::hmac::sign(&ring::hmac::Key::new(hash, secret), message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// Seconds since 1970, so many from now.
pub(in crate::step::auth) fn after(seconds: i64) -> i64 {
    i64::try_from(super::seconds(SystemTime::now())).unwrap() + seconds
}

/// Compiles a step as a config file has it.
pub(in crate::step::auth) fn compiled<S: serde::de::DeserializeOwned, T>(
    text: &str,
    shared: &Shared,
    compile: impl FnOnce(&S, &AuthScope<'_>) -> Result<T, Vec<Mistake>>,
) -> Result<T, Vec<Mistake>> {
    let spec: S = serde_yaml::from_str(text).unwrap();
    let metrics = Metrics::default();
    let file = |path: &str| PathBuf::from(path);
    compile(&spec, &AuthScope { file: &file, shared, before: None, metrics: &metrics, captures: &[] })
}

/// A request that can be asked of.
pub(in crate::step::auth) struct Asked {
    pub(in crate::step::auth) method: Method,
    pub(in crate::step::auth) target: String,
    pub(in crate::step::auth) headers: HeaderMap,
    pub(in crate::step::auth) client: Client,
    pub(in crate::step::auth) now: SystemTime,
}

impl Asked {
    pub(in crate::step::auth) fn new(target: &str, headers: &[(&'static str, &str)]) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            method: Method::GET,
            target: target.to_owned(),
            headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            client: Client { peer: address, trusted: false, address, scheme: "https" },
            now: SystemTime::now(),
        }
    }

    pub(in crate::step::auth) fn asking(&self) -> Asking<'_> {
        Asking {
            method: &self.method,
            target: &self.target,
            path: self.target.split('?').next().unwrap(),
            host: "www.example.org",
            headers: &self.headers,
            client: &self.client,
            has_body: false,
            captures: &(),
            now: self.now,
        }
    }
}

/// A server whose answers can be changed while it runs.
pub(in crate::step::auth) struct Issuer {
    pub(in crate::step::auth) url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, (u16, String)>,
    asked: HashMap<String, usize>,
    last: HashMap<String, String>,
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
}

impl Issuer {
    pub(in crate::step::auth) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
                    while !is_whole(&read) {
                        match stream.read(&mut buffer).await {
                            Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
                            _ => return,
                        }
                    }
                    let head = String::from_utf8_lossy(&read).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let (status, body) = {
                        let mut state = state.lock();
                        state.last.insert(path.clone(), head);
                        *state.asked.entry(path.clone()).or_default() += 1;
                        state.answers.get(&path).cloned().unwrap_or((404, String::new()))
                    };
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: \
                         close\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { url, state }
    }

    pub(in crate::step::auth) fn answer(&self, path: &str, status: u16, body: &Value) {
        self.state.lock().answers.insert(path.to_owned(), (status, body.to_string()));
    }

    pub(in crate::step::auth) fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.get(path).copied().unwrap_or_default()
    }

    /// The last request for a path, as text.
    pub(in crate::step::auth) fn last(&self, path: &str) -> String {
        self.state.lock().last.get(path).cloned().unwrap_or_default()
    }
}
