//! What an issuer publishes of itself at `/.well-known/openid-configuration` (`OpenID` Connect Discovery 1.0).

use http::Uri;
use serde::Deserialize;

/// What an issuer offers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(in crate::step::auth) struct Metadata {
    pub(in crate::step::auth) issuer: String,
    pub(in crate::step::auth) jwks_uri: String,
    pub(in crate::step::auth) authorization_endpoint: Option<String>,
    pub(in crate::step::auth) token_endpoint: Option<String>,
    pub(in crate::step::auth) userinfo_endpoint: Option<String>,
    pub(in crate::step::auth) end_session_endpoint: Option<String>,
    pub(in crate::step::auth) token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether it names itself when it sends a browser back (RFC 9207).
    #[serde(default)]
    pub(in crate::step::auth) authorization_response_iss_parameter_supported: bool,
}

/// Where an issuer describes itself.
///
/// # Errors
/// When the issuer is not a URL.
pub(in crate::step::auth) fn place(issuer: &str) -> Result<Uri, String> {
    http_url(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).map_err(|_| {
        format!("`{}` is not the URL of an issuer; write one such as `https://id.example.org`", shown(issuer))
    })
}

impl Metadata {
    /// Reads a description.
    ///
    /// # Errors
    /// When it is none, is that of another issuer, or leads from https to http.
    pub(super) fn read(text: &[u8], issuer: &str) -> Result<Self, String> {
        let found: Self =
            serde_json::from_slice(text).map_err(|_| "it is not the description of an issuer".to_owned())?;
        if found.issuer != issuer {
            return Err("it is the description of another issuer; write `issuer` exactly as it names itself".to_owned());
        }
        let optional = [
            &found.authorization_endpoint,
            &found.token_endpoint,
            &found.userinfo_endpoint,
            &found.end_session_endpoint,
        ];
        for url in std::iter::once(&found.jwks_uri).chain(optional.into_iter().flatten()) {
            let is_https = http_url(url).map(|url| url.scheme_str() == Some("https"));
            match is_https {
                Ok(is_https) if is_https || !issuer.starts_with("https:") => {}
                _ => return Err("it names an address that is not https".to_owned()),
            }
        }
        Ok(found)
    }
}

/// A URL that can be asked.
///
/// # Errors
/// When it is none of http or https, or holds a user.
pub(in crate::step::auth) fn http_url(text: &str) -> Result<Uri, String> {
    let parsed = url::Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    let uri = parsed.and_then(|mut url| {
        url.set_fragment(None);
        url.as_str().parse::<Uri>().ok()
    });
    uri.ok_or_else(|| format!("`{}` is not a URL; write one such as `https://id.example.org/keys`", shown(text)))
}

/// A URL without what may be a password in it.
fn shown(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, rest)| format!("***@{rest}"))
}
