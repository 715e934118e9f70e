//! What a config file can say of a Redis server.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{Count, Secret, Span, ValueError, optional_secret, scalar, serialize_as_text};

/// A Redis server.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisSpec {
    /// Where it is: `redis://10.0.0.7:6379`, or `rediss://…` for TLS; the port is 6379 by default.
    pub url: RedisUrl,
    /// Number of the database; default: that of the URL (`redis://10.0.0.7/1`), else 0.
    #[serde(default)]
    pub database: Option<Count>,
    /// The user to sign in as; default: none is named.
    #[serde(default)]
    pub user: Option<String>,
    /// The password to sign in with; default: none.
    #[serde(default, deserialize_with = "optional_secret")]
    pub password: Option<Secret>,
    /// A PEM file of the authorities that are believed with `rediss://`; default: those of the system.
    #[serde(default)]
    pub ca: Option<String>,
    /// How long a request waits for an answer at most, 1ms to 10s; default 5ms.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// Connections, 1 to 64, each of which carries many requests at a time; default 2.
    #[serde(default)]
    pub connections: Option<Count>,
}

impl RedisSpec {
    /// The server at an address, with the defaults.
    #[must_use]
    pub fn at(url: RedisUrl) -> Self {
        Self { url, database: None, user: None, password: None, ca: None, deadline: None, connections: None }
    }
}

impl FromStr for RedisSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self::at)
    }
}

/// Where a Redis server is: `redis://host`, `redis://host:6379/1`, `rediss://host` (TLS).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedisUrl {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database that the URL names.
    pub database: Option<u32>,
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)?;
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)?;
        }
        self.database.map_or(Ok(()), |database| write!(f, "/{database}"))
    }
}

impl FromStr for RedisUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let example = "write one such as \"redis://10.0.0.7:6379\"";
        // What stands in it may be a password: the text is not shown.
        let url = url::Url::parse(text.trim())
            .map_err(|error| ValueError::new(format!("this is not the URL of a Redis server ({error}); {example}")))?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            other => {
                let message = format!("the scheme {other:?} is not one of Redis; write \"redis\" or \"rediss\" (TLS)");
                return Err(ValueError::new(message));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            let message = "the URL has a user or a password in it; write them as `user` and `password` beside it";
            return Err(ValueError::new(message));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ValueError::new(format!("the URL has a query or a fragment; {example}")));
        }
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']')).unwrap_or_default();
        if host.is_empty() {
            return Err(ValueError::new(format!("the URL names no host; {example}")));
        }
        let database =
            match url.path().trim_matches('/') {
                "" => None,
                number => Some(number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit())).ok_or_else(
                    || ValueError::new("the path of the URL is not the number of a database; write one such as \"/1\""),
                )?),
            };
        Ok(Self { tls, host: host.to_owned(), port: url.port().unwrap_or(6379), database })
    }
}

scalar!(RedisUrl, "a URL such as \"redis://10.0.0.7:6379\"", {
    "description": "The URL of a Redis server: redis:// or rediss:// (TLS), a host, maybe a port and the number of a database.",
    "type": "string",
    "pattern": r"^\s*rediss?://[^@?#]+\s*$|\$\{",
    "examples": ["redis://10.0.0.7:6379", "rediss://redis.internal:6380/1"],
});
serialize_as_text!(RedisUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (text, shown) in [
            ("redis://10.0.0.7", "redis://10.0.0.7:6379"),
            ("rediss://redis.internal:6380/1", "rediss://redis.internal:6380/1"),
            ("redis://[::1]:7/", "redis://[::1]:7"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(shown.parse::<RedisUrl>().unwrap(), url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_a_password_not_shown() {
        for text in ["", "10.0.0.7", "http://a", "redis://", "redis://a/b", "redis://a?x", "redis://:hidden@a"] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
