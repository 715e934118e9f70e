//! The cryptography behind tokens: ring, as everywhere in Pylon. It verifies only; Pylon signs no tokens.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ed_pub_components_from_private_key: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

/// Makes ring what tokens are verified with; to be called before the first token, any number of times.
pub(in crate::step::auth) fn install() {
    // An error says that it is there already: nothing else in this program brings one.
    let _ = PROVIDER.install_default();
}

/// How an algorithm is verified.
enum Means {
    Hmac(ring::hmac::Algorithm),
    Rsa(&'static RsaParameters),
    Point(&'static dyn VerificationAlgorithm),
}

struct RingVerifier {
    algorithm: Algorithm,
    means: Means,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let means = match algorithm {
        Algorithm::HS256 => Means::Hmac(ring::hmac::HMAC_SHA256),
        Algorithm::HS384 => Means::Hmac(ring::hmac::HMAC_SHA384),
        Algorithm::HS512 => Means::Hmac(ring::hmac::HMAC_SHA512),
        Algorithm::RS256 => Means::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Means::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Means::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Means::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Means::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Means::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Means::Point(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Means::Point(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Means::Point(&signature::ED25519),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, means, key: key.clone() }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (&self.means, self.key.kind()) {
            (Means::Hmac(algorithm), DecodingKeyKind::SecretOrDer(secret)) => {
                ring::hmac::verify(&ring::hmac::Key::new(*algorithm, secret), message, signature)
            }
            (Means::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Means::Rsa(parameters), DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(*parameters, der).verify(message, signature)
            }
            (Means::Point(algorithm), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature)
            }
            (Means::Hmac(_) | Means::Point(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                Err(ring::error::Unspecified)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
