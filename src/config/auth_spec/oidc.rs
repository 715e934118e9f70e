//! What a config file can say of `auth: { oidc: … }`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jwt::{ClaimsSpec, JwtAlgorithm};
use crate::config::read::OneOrMany;
use crate::config::value::{Flag, Secret, Span, optional_secret};

/// Sign-in at an `OpenID` provider (code flow with PKCE), kept in an encrypted cookie.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSpec {
    /// The provider's issuer URL, to the letter as the provider names itself. What it offers is read from
    /// `/.well-known/openid-configuration` below it.
    pub issuer: String,
    /// The client as which Pylon is registered there.
    pub client_id: String,
    /// Its secret; default: none, as for a public client.
    #[serde(deserialize_with = "optional_secret")]
    pub client_secret: Option<Secret>,
    /// PEM file with the authorities that are believed at the provider; default: the system's.
    pub ca: Option<String>,
    /// Scopes that are asked for; default `[openid, profile, email]`; `openid` is always among them.
    pub scopes: OneOrMany<String>,
    /// Further parameters of the request to sign in, such as `prompt` or `audience`.
    pub parameters: BTreeMap<String, String>,
    /// Algorithms that an ID token may be signed with; default RS256, PS256, ES256, ES384 and EdDSA.
    pub algorithms: OneOrMany<JwtAlgorithm>,
    /// How far the clock of the provider may be off, up to 10m; default 30s.
    pub leeway: Option<Span>,
    /// Whether the claims that the provider's userinfo endpoint tells are added to those of the ID token; default: where
    /// there is such an endpoint.
    pub userinfo: Option<Flag>,
    /// Which claims tell who asks.
    pub claims: ClaimsSpec,
    /// `https://` and host under which browsers know Pylon, where that is not what requests say; default: scheme and
    /// `Host` of the request.
    pub public_url: Option<String>,
    /// The path that the provider sends browsers back to; default `/oauth2/callback`. It is answered on the hosts and
    /// listeners of the routes with this step, unless a route of your own has it.
    pub redirect_path: Option<String>,
    /// The path at which a session ends, here and at the provider; default `/oauth2/logout`. Links of other sites to it
    /// end nothing.
    pub logout_path: Option<String>,
    /// Where to after that: a path, or a URL that the provider knows; default: a page that says so.
    pub after_logout: Option<String>,
    /// The session.
    pub session: OidcSessionSpec,
    /// How long the provider has for each answer, 100ms to 60s; default 5s.
    pub timeout: Option<Span>,
}

/// How a session is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OidcSessionSpec {
    /// A file with keys of 32 bytes, one in each line, base64 or hexadecimal (`openssl rand -base64 32`). The first
    /// encrypts, all decrypt. A fleet shares the file: a new key is put behind the others, and to the front when all
    /// instances have it.
    pub keys: String,
    /// The name of the cookie; default `__Host-pylon-session`, and `pylon-session` where browsers come over http. One that
    /// does not begin with `__Host-` can be set by other hosts of the domain too.
    pub cookie: Option<String>,
    /// How long a session lasts without a request, 1m at least; default 1h.
    pub idle: Option<Span>,
    /// How long a session lasts at most, 1m at least; default 12h.
    pub lifetime: Option<Span>,
}
