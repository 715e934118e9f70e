//! What a config file can say of limits on how often requests may pass.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::OneOrMany;
use super::redis_spec::{RedisSpec, RedisUrl};
use super::value::{
    Count, Flag, HeaderName, Secret, Span, StatusCode, ValueError, is_cookie_name, optional_secret, scalar,
    serialize_as_text,
};

/// How many requests may pass: exactly one of `rate`, `requests` with `window`, and `concurrent`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSpec {
    /// A name, for metrics and logs. Limits of one name are one limit, whichever routes they stand on; they must say the
    /// same. Default: a limit of this route alone.
    pub name: Option<String>,
    /// Leave this limit out where a variable in it is not set.
    pub optional: Flag,
    /// Whom it counts by: `client_ip`, `user`, `route` (all together), `header.NAME`, `cookie.NAME`, `claim.NAME`, or a
    /// mapping with a `pattern`; default `client_ip`.
    pub by: Option<super::StringOr<LimitKeySpec>>,
    /// How many bits of an IPv6 address tell clients apart, 1 to 128; default 64.
    pub ipv6_prefix: Option<Count>,
    /// What holds for a request that has nothing to count by: `client_ip` (default), or `pass` without being counted.
    pub otherwise: Option<Otherwise>,
    /// A token bucket: so many requests in a time on average: `100/s`, `30/m`, `5/10s`; at most 1000000/s.
    pub rate: Option<Rate>,
    /// How many may come at once, when none came for a while; default: the number of `rate`.
    pub burst: Option<Count>,
    /// A rolling window: so many requests in any `window`.
    pub requests: Option<Count>,
    /// The length of that window, 1s to 30d.
    pub window: Option<Span>,
    /// Requests under way at a time. Upgraded connections count until they end. Each instance counts its own.
    pub concurrent: Option<Count>,
    /// Which requests count: `all` (default); `accepted`, those that the upstream did not answer with one of `refused`,
    /// for keys that Pylon cannot check; `upstream`: none, as the upstream counts by itself in the same Redis; or `refused`,
    /// against guessing: those with a wrong password or key, and those that the upstream answered with one of `refused`. Such a
    /// limit is a window by the client's address, and asked before `auth`.
    pub count: Option<Counted>,
    /// Statuses by which the upstream refuses: with `count: accepted` or `upstream` such a request does not count, and is not
    /// told what is left, as its key may not be good; default 401 and 403. With `count: refused` it counts; default none.
    pub refused: OneOrMany<StatusCode>,
    /// A header by which answers say that the upstream counts by itself (`X-RateLimit-Limit`), with `count: accepted` or
    /// `upstream`: such a request does not count again, and what the upstream tells of its limit stands.
    pub counted_by: Option<HeaderName>,
    /// Whether requests over the limit count in the window too: `free` (default) or `counted`.
    pub rejected: Option<Rejected>,
    /// What answers tell: `reset` (default; `X-RateLimit-Limit`, `-Remaining` and `-Reset` in seconds), `window` (with
    /// `X-RateLimit-Window` in its place), or `none`.
    pub headers: Option<LimitHeaders>,
    /// The answer to requests over the limit; default: 429 with the route's error page.
    pub answer: Option<LimitAnswerSpec>,
    /// Keys of which this process keeps the counts, 64 to 100000000; default 100000. Past them, those are forgotten that
    /// have nothing left to count, then those that were used least lately.
    pub max_keys: Option<Count>,
    /// Count in Redis, for all instances together; default: each counts by itself.
    pub redis: Option<super::StringOr<LimitRedisSpec>>,
}

/// What requests are counted by; exactly one of its keys, beside `pattern`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitKeySpec {
    /// The address of the client.
    pub client_ip: Flag,
    /// The user that `auth` found.
    pub user: Flag,
    /// All requests together.
    pub route: Flag,
    /// A request header.
    pub header: Option<HeaderName>,
    /// A cookie.
    pub cookie: Option<String>,
    /// A claim that `auth` found.
    pub claim: Option<String>,
    /// A regular expression: the key is what its first group matches (`'credential=([^:]+):'`). Where it does not match,
    /// there is no key.
    pub pattern: Option<String>,
}

impl FromStr for LimitKeySpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let key = Self::default();
        match text.trim().split_once('.') {
            None => match text.trim() {
                "client_ip" => Ok(Self { client_ip: Flag(true), ..key }),
                "user" => Ok(Self { user: Flag(true), ..key }),
                "route" => Ok(Self { route: Flag(true), ..key }),
                _ => Err(nothing_to_count_by(text)),
            },
            Some(("header", name)) => Ok(Self { header: Some(name.parse()?), ..key }),
            Some(("cookie", name)) if is_cookie_name(name) => Ok(Self { cookie: Some(name.to_owned()), ..key }),
            Some(("claim", name)) if !name.is_empty() => Ok(Self { claim: Some(name.to_owned()), ..key }),
            Some(_) => Err(nothing_to_count_by(text)),
        }
    }
}

fn nothing_to_count_by(text: &str) -> ValueError {
    ValueError::new(format!(
        "{text:?} is nothing to count by; write \"client_ip\", \"user\", \"route\", \"header.NAME\", \"cookie.NAME\" or \
         \"claim.NAME\""
    ))
}

/// What holds for a request that has nothing to count by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It counts by the client's address.
    #[default]
    ClientIp,
    /// It passes without being counted.
    Pass,
}

/// Which requests count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Each, before it goes to the upstream.
    #[default]
    All,
    /// Those that the upstream accepted, when it answers.
    Accepted,
    /// None: the upstream counts.
    Upstream,
    /// Those whose credentials were found wrong, here or by the upstream.
    Refused,
}

/// Whether requests over the limit count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rejected {
    /// They do not.
    #[default]
    Free,
    /// They do: who goes on asking waits longer.
    Counted,
}

/// What answers tell of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitHeaders {
    /// The limit, what remains, and the seconds until more may pass.
    #[default]
    Reset,
    /// The limit, what remains, and the length of the window in seconds.
    Window,
    /// Nothing but `Retry-After` when it is exceeded.
    None,
}

/// The answer to requests over a limit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitAnswerSpec {
    /// Status, 400 to 599; default 429.
    pub status: Option<StatusCode>,
    /// The body; default: the route's error page.
    pub body: Option<String>,
    /// Media type of `body`; default `text/plain; charset=utf-8`.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
}

/// The Redis server that a limit counts in, and how.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRedisSpec {
    /// Where it is: `redis://10.0.0.7:6379`, or `rediss://…` for TLS; the port is 6379 by default.
    pub url: RedisUrl,
    /// Number of the database; default: that of the URL, else 0.
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
    /// What holds while it is away or slow: `local` (default; each instance counts by itself), `open` (all pass) or
    /// `closed` (503).
    #[serde(default)]
    pub fail: Option<Fail>,
    /// What stands before each key; default `pylon:`, the name of the limit or its route, and its kind.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The name of the counter that gives the requests in windows their numbers; default: the prefix and `#`.
    #[serde(default)]
    pub counter: Option<String>,
    /// How keys are written: `raw`, as they are, or `hashed`; default: hashed for headers and cookies, as these may be
    /// secrets. A key of more than 256 bytes is always hashed.
    #[serde(default)]
    pub keys: Option<KeyForm>,
}

impl LimitRedisSpec {
    /// The server.
    #[must_use]
    pub fn server(&self) -> RedisSpec {
        RedisSpec {
            url: self.url.clone(),
            database: self.database,
            user: self.user.clone(),
            password: self.password.clone(),
            ca: self.ca.clone(),
            deadline: self.deadline,
            connections: self.connections,
        }
    }
}

impl FromStr for LimitRedisSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let RedisSpec { url, database, user, password, ca, deadline, connections } = text.parse()?;
        let (fail, prefix, counter, keys) = (None, None, None, None);
        Ok(Self { url, database, user, password, ca, deadline, connections, fail, prefix, counter, keys })
    }
}

/// What holds while a store is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fail {
    /// All requests pass.
    Open,
    /// No request passes.
    Closed,
    /// Each instance counts by itself.
    #[default]
    Local,
}

/// How keys are written in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// As they are.
    Raw,
    /// As the SHA-256 of them.
    Hashed,
}

/// So many requests in a time: `100/s`, `30/m`, `5/10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Span,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per)
    }
}

impl FromStr for Rate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::new(format!("{text:?} is not a rate; write one such as \"100/s\" or \"30/m\""));
        let (count, per) = text.trim().split_once('/').ok_or_else(refused)?;
        let count = count.trim().parse::<Count>().map_err(|_| refused())?.get();
        let per = per.trim();
        let has_number = per.bytes().next().is_some_and(|first| first.is_ascii_digit());
        let per = if has_number { per.parse() } else { format!("1{per}").parse() };
        let per: Span = per.map_err(|_| refused())?;
        let millis = per.duration().as_millis();
        if count == 0 || millis == 0 {
            return Err(ValueError::new(format!("{text:?} lets nothing pass; write 1 at least")));
        }
        if u128::from(count) > millis * 1000 {
            return Err(ValueError::new(format!("{text:?} is more than can be counted; write 1000000/s at most")));
        }
        Ok(Self { count, per })
    }
}

scalar!(Rate, "a rate such as \"100/s\"", {
    "description": "So many in a time, such as 100/s, 30/m or 5/10s.",
    "type": "string",
    "pattern": r"^\s*[0-9]+\s*/\s*[0-9dhms]+\s*$|\$\{",
    "examples": ["100/s", "30/m", "5/10s"],
});
serialize_as_text!(Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for (text, shown) in [("100/s", "100/1s"), ("30/m", "30/1m"), ("5/10s", "5/10s"), (" 1 / 1h30m ", "1/1h30m")] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), shown);
            assert_eq!(shown.parse::<Rate>().unwrap(), rate);
        }
        for text in ["", "100", "0/s", "1/0s", "1/", "/s", "-1/s", "1/x", "1000001/s", "2000/ms"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_have_a_short_form() {
        let key = |text: &str| text.parse::<LimitKeySpec>();
        assert!(key("user").unwrap().user.0 && key("route").unwrap().route.0 && key("client_ip").unwrap().client_ip.0);
        assert_eq!(key("claim.realm.team").unwrap().claim.as_deref(), Some("realm.team"));
        for text in ["", "ip", "header.", "header.a b", "cookie.a=b", "claim.", "x.y"] {
            assert!(key(text).is_err(), "{text}");
        }
    }
}
