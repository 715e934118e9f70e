//! Keys that tokens are verified with: from key sets (JWKS, RFC 7517), PEM files and shared secrets. A key knows the
//! algorithms that it may be used with, so that a token cannot choose one of another type.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use smallvec::SmallVec;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// So many keys of a set are looked at: each could have to be tried.
const MOST: usize = 64;
/// The bytes of an RSA modulus, 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    /// What tokens name it by; one without a name is tried for each token.
    id: Option<String>,
    /// What it may be used with.
    algorithms: SmallVec<[Algorithm; 6]>,
    #[allow(clippy::struct_field_names, reason = "it is the key itself")]
    key: DecodingKey,
}

/// Keys, of which a token names one.
#[derive(Clone)]
pub(in crate::step::auth) struct KeySet {
    keys: Vec<Key>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish()
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// The one key of a shared secret.
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512].into_iter().collect();
        Self { keys: vec![Key { id: None, algorithms, key: DecodingKey::from_secret(secret) }] }
    }

    /// Reads a key set. Keys that cannot verify a signature are passed over, shared secrets among them: what is public
    /// must not be one.
    ///
    /// # Errors
    /// When it is no key set, or has no key of use.
    pub(super) fn of_jwks(text: &[u8]) -> Result<Self, &'static str> {
        let set: Jwks = serde_json::from_slice(text).map_err(|_| "it is not a key set (JWKS)")?;
        let keys: Vec<Key> = set.keys.iter().take(MOST).filter_map(of_jwk).collect();
        if keys.is_empty() { Err("it has no key that could verify a token") } else { Ok(Self { keys }) }
    }

    /// Reads the public keys and certificates of a PEM file.
    ///
    /// # Errors
    /// What cannot be read, or is no key of use.
    pub(super) fn of_pem(text: &[u8]) -> Result<Self, String> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_| "it is not PEM".to_owned())?;
            let key = match kind {
                SectionKind::PublicKey => {
                    SubjectPublicKeyInfo::from_der(&der).ok().and_then(|(_, info)| of_info(&info))
                }
                SectionKind::Certificate => x509_parser::parse_x509_certificate(&der)
                    .ok()
                    .and_then(|(_, certificate)| of_info(certificate.public_key())),
                SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                    return Err("it has a private key; put the public key only".to_owned());
                }
                _ => continue,
            };
            keys.push(key.ok_or("it has a key that is none of RSA (2048 bits at least), P-256, P-384 and Ed25519")?);
        }
        if keys.is_empty() {
            return Err("it has no `PUBLIC KEY` and no `CERTIFICATE`".to_owned());
        }
        Ok(Self { keys })
    }

    /// The keys of both.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// The keys that a token may have been signed with, by what its header says.
    pub(super) fn fitting<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let named = move |key: &Key| match (key.id.as_deref(), id) {
            (Some(known), Some(id)) => known == id,
            _ => true,
        };
        self.keys.iter().filter(move |key| named(key) && key.algorithms.contains(&algorithm)).map(|key| &key.key)
    }

    /// Whether both have the same keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Key, &Key)| {
            one.id == other.id && one.algorithms == other.algorithms && bytes(&one.key) == bytes(&other.key)
        };
        self.keys.len() == other.keys.len() && self.keys.iter().zip(&other.keys).all(same)
    }
}

fn bytes(key: &DecodingKey) -> (&[u8], &[u8]) {
    match key.kind() {
        jsonwebtoken::DecodingKeyKind::SecretOrDer(der) => (der, &[]),
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => (n, e),
    }
}

/// A key of a set, where it can verify signatures.
fn of_jwk(value: &serde_json::Value) -> Option<Key> {
    let jwk = Jwk::deserialize(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
        || jwk.common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify))
    {
        return None;
    }
    let sized = |text: &str, size: usize| BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|key| key.len() == size);
    let possible: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = BASE64URL_NOPAD.decode(rsa.n.as_bytes()).ok()?;
            let modulus = modulus.iter().skip_while(|byte| **byte == 0).count();
            MODULUS.contains(&modulus).then_some(RSA)?
        }
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 if sized(&point.x, 32) && sized(&point.y, 32) => &[Algorithm::ES256],
            EllipticCurve::P384 if sized(&point.x, 48) && sized(&point.y, 48) => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
            EllipticCurve::Ed25519 if sized(&pair.x, 32) => &[Algorithm::EdDSA],
            _ => return None,
        },
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let fits = |one: &Algorithm| named.is_none_or(|named| named == KeyAlgorithm::from(*one));
    let algorithms: SmallVec<[Algorithm; 6]> = possible.iter().copied().filter(fits).collect();
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(Key { id: jwk.common.key_id, algorithms, key })
}

/// A public key as certificates hold it, where it is of a kind that tokens are signed with.
fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Option<Key> {
    let point = &*info.subject_public_key.data;
    let curve = || info.algorithm.parameters.as_ref()?.as_oid().ok();
    let kind = &info.algorithm.algorithm;
    let (algorithms, key): (&[Algorithm], _) = if *kind == oid::OID_PKCS1_RSAENCRYPTION {
        let Ok(x509_parser::public_key::PublicKey::RSA(rsa)) = info.parsed() else { return None };
        let strip = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        let (modulus, exponent) = (strip(rsa.modulus), strip(rsa.exponent));
        MODULUS.contains(&modulus.len()).then_some(())?;
        (RSA, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    } else if *kind == oid::OID_KEY_TYPE_EC_PUBLIC_KEY && curve()? == oid::OID_EC_P256 {
        (&[Algorithm::ES256], DecodingKey::from_ec_der(point))
    } else if *kind == oid::OID_KEY_TYPE_EC_PUBLIC_KEY && curve()? == oid::OID_NIST_EC_P384 {
        (&[Algorithm::ES384], DecodingKey::from_ec_der(point))
    } else if *kind == oid::OID_SIG_ED25519 {
        (&[Algorithm::EdDSA], DecodingKey::from_ed_der(point))
    } else {
        return None;
    };
    Some(Key { id: None, algorithms: algorithms.iter().copied().collect(), key })
}
