//! What a config file can say of `auth: { jwt: … }`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::read::OneOrMany;
use crate::config::value::{
    Count, Flag, HeaderName, Secret, Span, ValueError, is_cookie_name, optional_secret, scalar, serialize_as_text,
};

/// Tokens (JWT, RFC 7519) that an issuer signed. Exactly one of `jwks`, `jwks_file`, `public_keys`, `secret` and
/// `discover` says which keys it signs with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JwtSpec {
    /// Who may have issued a token: the claim `iss`, one of these; default: whoever has the keys.
    pub issuer: OneOrMany<String>,
    /// Whom a token must be meant for: the claim `aud`, one of these; `"*"` takes all. Default: only tokens without `aud`
    /// are good.
    pub audience: OneOrMany<String>,
    /// The URL of the issuer's key set (JWKS). It is fetched in the background, and anew when a token names a key that is
    /// not known; while the issuer is away, the last keys stay good.
    pub jwks: Option<String>,
    /// A file with a key set (JWKS), read at each load of the configuration.
    pub jwks_file: Option<String>,
    /// PEM files with public keys or certificates, read at each load of the configuration.
    pub public_keys: OneOrMany<String>,
    /// The secret that the issuer shares with Pylon, for HS256, HS384 and HS512: as many bytes as the longest hash has of
    /// those that are allowed (32, 48, 64).
    #[serde(deserialize_with = "optional_secret")]
    pub secret: Option<Secret>,
    /// Find the key set through the description that the one issuer publishes, `/.well-known/openid-configuration`.
    pub discover: Flag,
    /// PEM file with the authorities that are believed at the URL of the key set; default: the system's.
    pub ca: Option<String>,
    /// How often the key set is fetched anew, 10s to 24h; default 10m.
    pub refresh: Option<Span>,
    /// Algorithms that are allowed: default, with a `secret` HS256, else RS256, PS256, ES256, ES384 and EdDSA. A key is
    /// only ever used with an algorithm of its own type.
    pub algorithms: OneOrMany<JwtAlgorithm>,
    /// How far the clock of the issuer may be off, up to 10m; default 30s.
    pub leeway: Option<Span>,
    /// Claims that must be there, besides `exp`, and `iss` and `aud` where they are compared.
    pub required_claims: OneOrMany<String>,
    /// Whether tokens without `exp`, which are good for ever, are taken; default false.
    pub allow_no_expiry: Flag,
    /// Where the token is: `bearer` (`Authorization: Bearer …`), `header.NAME`, `cookie.NAME`, or `query.NAME`, which is
    /// read from requests for a WebSocket only; the first place that has one decides. Default `bearer`.
    pub from: OneOrMany<TokenPlace>,
    /// Which claims tell who asks.
    pub claims: ClaimsSpec,
    /// Whether the token is kept from the upstream; default false.
    pub hide: Flag,
    /// The realm that is named to clients without a good token; default `pylon`.
    pub realm: Option<String>,
    /// How many tokens of 1 KiB (longer ones count as several) are remembered as verified, until they expire or the
    /// keys change; default 10000; 0: none.
    pub cache: Option<Count>,
}

/// Which claims tell who asks: names, or paths with dots such as `realm_access.roles`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimsSpec {
    /// The user, by a text or a number; default `sub`. Without it nothing passes.
    pub user: Option<String>,
    /// The name among people; default `name`.
    pub name: Option<String>,
    /// The mail address; default `email`. It is not taken where `email_verified` is false.
    pub mail: Option<String>,
    /// The groups, a list of texts or one text; default `groups`.
    pub groups: Option<String>,
}

/// An algorithm of signatures (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    RS256,
    /// RSA, PKCS #1 v1.5, with SHA-384.
    RS384,
    /// RSA, PKCS #1 v1.5, with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256.
    PS256,
    /// RSA-PSS with SHA-384.
    PS384,
    /// RSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// `Authorization: Bearer …`.
    Bearer,
    /// The whole value of a header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A parameter of the query.
    Query(String),
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer => f.write_str("bearer"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
        }
    }
}

impl FromStr for TokenPlace {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim().split_once('.') {
            None if text.trim() == "bearer" => Ok(Self::Bearer),
            Some(("header", name)) => name.parse().map(Self::Header),
            Some(("cookie", name)) if is_cookie_name(name) => Ok(Self::Cookie(name.to_owned())),
            // Names that are the same in each encoding of a query; a cookie's are.
            Some(("query", name)) if is_cookie_name(name) && !name.contains(['%', '&', '+', '#']) => {
                Ok(Self::Query(name.to_owned()))
            }
            _ => Err(ValueError::new(format!(
                "{text:?} is no place of a token; write \"bearer\", \"header.NAME\", \"cookie.NAME\" or \"query.NAME\""
            ))),
        }
    }
}

scalar!(TokenPlace, "the place of a token, such as \"bearer\"", {
    "description": "bearer, header.NAME, cookie.NAME or query.NAME.",
    "type": "string",
    "pattern": r"^\s*(bearer|header\..+|cookie\..+|query\..+)\s*$|\$\{",
    "examples": ["bearer", "cookie.session", "query.access_token"],
});
serialize_as_text!(TokenPlace);
