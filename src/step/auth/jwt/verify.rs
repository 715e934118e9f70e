//! Whether a token is good: its algorithm, its signature, its claims.

use std::borrow::Cow;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::KeySet;
use crate::config::JwtAlgorithm;

/// A longer token is not looked at.
const LONGEST: usize = 16 * 1024;

/// What tokens say.
pub(in crate::step::auth) type Claims = Map<String, Value>;

/// Why a token is not good. Texts are for the log; nothing of the token is in them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::step::auth) enum Refused {
    /// None of the keys made its signature, as far as one can tell: there may be a new one.
    Key(&'static str),
    /// It is not good, whatever the keys.
    Token(Cow<'static, str>),
}

impl Refused {
    /// Why, for the log.
    pub(in crate::step::auth) fn reason(self) -> Cow<'static, str> {
        match self {
            Self::Key(reason) => reason.into(),
            Self::Token(reason) => reason,
        }
    }
}

/// What tokens must be.
#[derive(Debug)]
pub(in crate::step::auth) struct Rules {
    /// For each algorithm that is allowed.
    validations: Vec<(Algorithm, Validation)>,
    required: Vec<String>,
    leeway: u64,
}

/// What [`Rules`] are made of.
pub(in crate::step::auth) struct Wanted<'a> {
    pub(in crate::step::auth) algorithms: &'a [JwtAlgorithm],
    pub(in crate::step::auth) issuers: &'a [String],
    /// `None` takes all.
    pub(in crate::step::auth) audiences: Option<&'a [String]>,
    pub(in crate::step::auth) required: &'a [String],
    pub(in crate::step::auth) may_lack_expiry: bool,
    /// In seconds.
    pub(in crate::step::auth) leeway: u64,
}

impl Rules {
    pub(in crate::step::auth) fn new(wanted: &Wanted<'_>) -> Self {
        let mut named: Vec<&str> = Vec::new();
        named.extend((!wanted.may_lack_expiry).then_some("exp"));
        named.extend((!wanted.issuers.is_empty()).then_some("iss"));
        named.extend(wanted.audiences.is_some_and(|all| !all.is_empty()).then_some("aud"));
        let validation = |algorithm: Algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_required_spec_claims(&named);
            validation.leeway = wanted.leeway;
            validation.validate_nbf = true;
            validation.validate_aud = wanted.audiences.is_some();
            if !wanted.issuers.is_empty() {
                validation.set_issuer(wanted.issuers);
            }
            if let Some(audiences) = wanted.audiences.filter(|all| !all.is_empty()) {
                validation.set_audience(audiences);
            }
            (algorithm, validation)
        };
        Self {
            validations: wanted.algorithms.iter().map(|one| validation(algorithm_of(*one))).collect(),
            required: wanted.required.to_vec(),
            leeway: wanted.leeway,
        }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// Why it is not good.
    pub(in crate::step::auth) fn verify(&self, token: &str, keys: &KeySet) -> Result<Claims, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::Token("the token is longer than 16 KiB".into()));
        }
        let header = decode_header(token).map_err(|_| {
            Refused::Token("the token's header cannot be read, or names no algorithm of signatures".into())
        })?;
        if header.crit.is_some() {
            return Err(Refused::Token("the token needs an extension that is not known (`crit`)".into()));
        }
        let Some((_, validation)) = self.validations.iter().find(|(one, _)| *one == header.alg) else {
            return Err(Refused::Token(format!("the token's algorithm, {:?}, is not allowed", header.alg).into()));
        };
        let mut refused = match header.kid {
            Some(_) => Refused::Key("the token names a key that is not known, or is of another type"),
            None => Refused::Key("no key is of the type of the token's algorithm"),
        };
        for key in keys.fitting(header.kid.as_deref(), header.alg) {
            match decode::<Claims>(token, key, validation) {
                Ok(token) => return self.check(token.claims),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature if header.kid.is_none() => {
                        refused = Refused::Key("the signature is wrong");
                    }
                    ErrorKind::InvalidSignature => refused = Refused::Token("the signature is wrong".into()),
                    kind => return Err(Refused::Token(why(kind))),
                },
            }
        }
        Err(refused)
    }

    /// What is checked beyond what the library does: the types of claims even where nothing is compared with them, and
    /// that all are there that must be.
    fn check(&self, claims: Claims) -> Result<Claims, Refused> {
        let is_text = |claim: &str| claims.get(claim).is_none_or(Value::is_string);
        let is_audience = match claims.get("aud") {
            None | Some(Value::String(_)) => true,
            Some(Value::Array(all)) => all.iter().all(Value::is_string),
            Some(_) => false,
        };
        if !is_text("iss") || !is_audience {
            return Err(Refused::Token("`iss` or `aud` is of a wrong type".into()));
        }
        match self.required.iter().find(|name| claim(&claims, name).is_none_or(Value::is_null)) {
            Some(missing) => Err(Refused::Token(format!("the claim `{missing}` is missing").into())),
            None => Ok(claims),
        }
    }

    /// Until when a token is good that says so, in seconds since 1970.
    pub(in crate::step::auth) fn until(&self, claims: &Claims) -> u64 {
        let expiry = claims.get("exp");
        let whole = expiry.and_then(Value::as_u64);
        // The library has seen to it that it is a number of sound size.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is rounded down, and 0 if negative"
        )]
        let expiry = whole.or_else(|| expiry.and_then(Value::as_f64).map(|seconds| seconds as u64));
        expiry.map_or(u64::MAX, |expiry| expiry.saturating_add(self.leeway))
    }
}

/// A claim, by its name or by a path with dots.
pub(in crate::step::auth) fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    })
}

fn why(kind: &ErrorKind) -> Cow<'static, str> {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired".into(),
        ErrorKind::ImmatureSignature => "the token is not good yet (`nbf`)".into(),
        ErrorKind::InvalidIssuer => "the token is of another issuer".into(),
        ErrorKind::InvalidAudience => "the token is for another audience".into(),
        ErrorKind::MissingRequiredClaim(name) => format!("the claim `{name}` is missing, or of a wrong type").into(),
        ErrorKind::InvalidClaimFormat(name) => format!("the claim `{name}` is of a wrong type").into(),
        _ => "the token cannot be read".into(),
    }
}

fn algorithm_of(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::HS384 => Algorithm::HS384,
        JwtAlgorithm::HS512 => Algorithm::HS512,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::RS384 => Algorithm::RS384,
        JwtAlgorithm::RS512 => Algorithm::RS512,
        JwtAlgorithm::PS256 => Algorithm::PS256,
        JwtAlgorithm::PS384 => Algorithm::PS384,
        JwtAlgorithm::PS512 => Algorithm::PS512,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::ES384 => Algorithm::ES384,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}
