//! What a config file can say of ways to find out who asks.

mod api_key;
mod basic;
mod forward;
mod jwt;
mod ldap;
mod oidc;
mod signed_cookie;
mod signed_request;
mod trusted_headers;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use api_key::*;
pub use basic::*;
pub use forward::*;
pub use jwt::*;
pub use ldap::*;
pub use oidc::*;
pub use signed_cookie::*;
pub use signed_request::*;
pub use trusted_headers::*;

/// A way to find out who asks; exactly one of its keys.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSpec {
    /// User name and password, from a file.
    pub basic: Option<BasicSpec>,
    /// User name and password, asked of a directory.
    pub ldap: Option<LdapSpec>,
    /// Tokens that were signed by an issuer.
    pub jwt: Option<JwtSpec>,
    /// Sign-in at an `OpenID` provider.
    pub oidc: Option<OidcSpec>,
    /// Ask a service of yours.
    pub forward: Option<ForwardAuthSpec>,
    /// Keys in a header or in the query.
    pub api_key: Option<ApiKeySpec>,
    /// Requests that are signed with a shared secret.
    pub signed_request: Option<SignedRequestSpec>,
    /// Cookies that are signed with a shared secret.
    pub signed_cookie: Option<SignedCookieSpec>,
    /// Headers that a sign-in proxy before Pylon sets.
    pub trusted_headers: Option<TrustedHeadersSpec>,
}
