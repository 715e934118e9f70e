//! The sticky cookie: it leads a client back to the endpoint that it was first led to.
//!
//! Its value is an HMAC over the pool's name and the endpoint's address: it cannot be made up, and tells nobody where the
//! endpoint is. Instances of a fleet with the same secret understand each other's.

use std::fmt::Write;
use std::net::SocketAddr;

use hmac::{Hmac, Mac};
use http::HeaderValue;
use sha2::Sha256;

use crate::config::{StickySpec, value::is_cookie_name};

/// The shortest secret.
const SECRET: usize = 16;

/// How clients are bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    secret: String,
    attributes: String,
}

impl Sticky {
    /// Checks a spec.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub(super) fn compile(spec: &StickySpec) -> Result<Self, (&'static str, String)> {
        if !is_cookie_name(&spec.cookie) {
            return Err(("cookie", format!("`{}` cannot name a cookie; write letters and digits", spec.cookie)));
        }
        if spec.secret.expose().len() < SECRET {
            return Err(("secret", format!("the secret is shorter than {SECRET} characters; write a longer one")));
        }
        let age = spec.max_age.map(|age| format!("; Max-Age={}", age.duration().as_secs())).unwrap_or_default();
        Ok(Self {
            cookie: spec.cookie.clone(),
            secret: spec.secret.expose().to_owned(),
            attributes: format!("; Path=/; HttpOnly; SameSite=Lax{age}"),
        })
    }

    /// The value that leads to an address of a pool.
    #[must_use]
    pub(super) fn token(&self, pool: &str, address: SocketAddr) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()) else {
            return String::new();
        };
        mac.update(pool.as_bytes());
        mac.update(b"\0");
        mac.update(address.to_string().as_bytes());
        mac.finalize().into_bytes().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The cookie of an answer.
    #[must_use]
    pub(super) fn set_cookie(&self, token: &str, secure: bool) -> Option<HeaderValue> {
        let secure = if secure { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{}={token}{}{secure}", self.cookie, self.attributes)).ok()
    }
}

/// The value of a cookie in `Cookie` lines.
pub(super) fn cookie<'a>(lines: impl Iterator<Item = &'a HeaderValue>, name: &str) -> Option<&'a str> {
    lines
        .filter_map(|line| std::str::from_utf8(line.as_bytes()).ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky(secret: &str) -> Result<Sticky, (&'static str, String)> {
        Sticky::compile(&serde_yaml::from_str(&format!("{{cookie: route, secret: '{secret}', max_age: 1h}}")).unwrap())
    }

    #[test]
    fn tokens_depend_on_secret_pool_and_address() {
        let (one, other) = (sticky("0123456789abcdef").unwrap(), sticky("0123456789abcdeg").unwrap());
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        assert_eq!(one.token("a", address(1)), one.token("a", address(1)));
        assert_eq!(one.token("a", address(1)).len(), 32);
        for differs in [one.token("b", address(1)), one.token("a", address(2)), other.token("a", address(1))] {
            assert_ne!(one.token("a", address(1)), differs);
        }
        let cookie = one.set_cookie("t", true).unwrap();
        assert_eq!(cookie, "route=t; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure");
        assert_eq!(sticky("short").unwrap_err().0, "secret");
    }

    #[test]
    fn cookies_are_found() {
        let lines = [HeaderValue::from_static("a=1; route=x y"), HeaderValue::from_static("b=\"2\"")];
        assert_eq!(cookie(lines.iter(), "a"), Some("1"));
        assert_eq!(cookie(lines.iter(), "route"), Some("x y"));
        assert_eq!(cookie(lines.iter(), "b"), Some("2"));
        assert_eq!(cookie(lines.iter(), "c"), None);
    }
}
