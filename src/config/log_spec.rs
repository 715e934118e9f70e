//! What a config file can say about logs, traces and the flight recorder.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read::{OneOrMany, StringOr};
use super::value::{HttpUrl, Percent, Scheme, Secret, ValueError, scalar, serialize_as_text};

/// What is logged, and where. The levels can be changed live, with `pylon log-level`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSpec {
    /// Of what happens to the process: `error`, `warn`, `info`, `debug`, `trace` or `off`, or a filter by module as in
    /// `info,pylon=debug`; default info.
    pub level: Option<String>,
    /// `text` or `json`; default text.
    pub format: Option<LogFormat>,
    /// `stdout`, `stderr` or a file, which USR1 opens anew; default stderr.
    pub to: Option<LogTarget>,
    /// Requests: `true`, `false`, or a mapping; default true.
    #[schemars(with = "Option<FlagOr<AccessLogSpec>>")]
    pub access: Option<StringOr<AccessLogSpec>>,
    /// What operators do on the admin port, in JSON: `true`, `false`, or a mapping; default true.
    #[schemars(with = "Option<FlagOr<AuditLogSpec>>")]
    pub audit: Option<StringOr<AuditLogSpec>>,
}

/// The log of requests.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogSpec {
    /// `stdout`, `stderr` or a file, which USR1 opens anew; default stdout.
    pub to: Option<LogTarget>,
    /// `json` or `combined` (as nginx and Apache write it); default json.
    pub format: Option<AccessLogFormat>,
    /// `error` (5xx, and what was cut off), `warn` (4xx too), `info` (all) or `off`; default info.
    pub level: Option<LogLevel>,
    /// The share of requests that is logged; what is at fault by an upstream or by Pylon (5xx) always is. Default 100%.
    pub sample: Option<Percent>,
    /// Names of query parameters whose values are not logged, besides those that tell by their name that they are secret.
    pub redact: OneOrMany<String>,
}

/// The log of what operators do.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditLogSpec {
    /// `stdout`, `stderr` or a file, which USR1 opens anew; default stderr.
    pub to: Option<LogTarget>,
    /// `warn` (what was refused), `info` (all) or `off`; default info.
    pub level: Option<LogLevel>,
}

/// The flight recorder: the last requests are kept in memory, for `pylon why`. About 1 KiB each.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecorderSpec {
    /// How many requests, 0 to 1000000; default 256.
    pub requests: Option<RecordCount>,
    /// How many of those that failed, 0 to 1000000; they are kept when the others are gone. Default 256.
    pub failures: Option<RecordCount>,
}

/// Traces: W3C `traceparent` goes to upstreams always; spans are exported where `otlp` is set.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracingSpec {
    /// The collector's base URL, `http://127.0.0.1:4318`: spans go to `/v1/traces` there (OTLP over HTTP, in JSON).
    pub otlp: Option<CollectorUrl>,
    /// The value of an `Authorization` header for it.
    pub authorization: Option<Secret>,
    /// The share of traces that are marked as sampled, of those that Pylon begins: they are exported, and the services
    /// behind follow that mark as a rule. Callers that are trusted decide about theirs. Default 1% with `otlp`, else 100%.
    pub sample: Option<Percent>,
    /// The name of the service in traces; default `pylon`.
    pub service: Option<String>,
}

/// How many records are kept, 0 to 1000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCount(pub usize);

impl fmt::Display for RecordCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RecordCount {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let count = text.trim().parse().ok().filter(|count| *count <= 1_000_000);
        let refused = || ValueError::new(format!("{text:?} is not a count of records; write one from 0 to 1000000"));
        count.map(Self).ok_or_else(refused)
    }
}

scalar!(RecordCount, "a count of records", {
    "description": "How many records are kept, 0 to 1000000.",
    "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 1_000_000 }, { "type": "string" }],
});

impl Serialize for RecordCount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0 as u64)
    }
}

/// The base URL of a collector of traces, which is spoken to without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(pub String);

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CollectorUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let url: HttpUrl = text.parse()?;
        if url.scheme() == Scheme::Https {
            let message = "a collector is spoken to without TLS, on this machine or in a network of yours; write \
                           http://127.0.0.1:4318";
            return Err(ValueError::new(message));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

scalar!(CollectorUrl, "a URL such as http://127.0.0.1:4318", {
    "description": "The base URL of a collector of traces.",
    "type": "string",
    "examples": ["http://127.0.0.1:4318"],
});
serialize_as_text!(CollectorUrl);

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The form of access log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format.
    Combined,
}

/// What a log channel lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed by an upstream's fault or Pylon's.
    Error,
    /// And what failed by the client's.
    Warn,
    /// All.
    Info,
}

/// `true` or `false`, or a mapping: for schemas.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "it stands for a form in the schema")]
enum FlagOr<T> {
    /// On with what is usual, or off.
    Flag(bool),
    /// On, with what differs.
    Mapping(T),
}

fn flag(text: &str) -> Result<Option<LogLevel>, ValueError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(None),
        "false" | "no" | "off" => Ok(Some(LogLevel::Off)),
        _ => Err(ValueError::new(format!("{text:?} is not a switch; write true, false, or a mapping"))),
    }
}

impl FromStr for AccessLogSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self { level: flag(text)?, ..Self::default() })
    }
}

impl FromStr for AuditLogSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self { level: flag(text)?, ..Self::default() })
    }
}

/// Where a log goes: `stdout`, `stderr`, or a file, relative to the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file.
    File(String),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => f.write_str(path),
        }
    }
}

impl FromStr for LogTarget {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            path if path.contains('/') && !path.ends_with('/') => Ok(Self::File(path.to_owned())),
            _ => Err(ValueError::new(format!(
                "{text:?} is not a place for a log; write stdout, stderr, or the path of a file with a slash: ./access.log"
            ))),
        }
    }
}

scalar!(LogTarget, "`stdout`, `stderr` or a path", {
    "description": "stdout, stderr, or the path of a file.",
    "type": "string",
    "examples": ["stdout", "/var/log/pylon/access.log"],
});
serialize_as_text!(LogTarget);

/// A share as a number of 2³², against which random numbers are held.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2³²")]
pub fn of_all(share: Percent) -> u64 {
    (share.ratio() * f64::from(u32::MAX) + share.ratio()) as u64
}

/// Which requests of a route are logged: `true`, `false`, or a share (`10%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLog(pub Option<Percent>);

impl fmt::Display for RouteLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(share) => share.fmt(f),
            None => f.write_str("false"),
        }
    }
}

impl FromStr for RouteLog {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match flag(text) {
            Ok(None) => Ok(Self(Some(Percent::ALL))),
            Ok(Some(_)) => Ok(Self(None)),
            Err(_) => text.parse().map(|share| Self(Some(share))).map_err(|_| {
                ValueError::new(format!("{text:?} says not what to log; write true, false, or a share such as \"10%\""))
            }),
        }
    }
}

scalar!(RouteLog, "true, false or a share such as \"10%\"", {
    "description": "true, false, or a share of the requests.",
    "anyOf": [{ "type": "boolean" }, { "type": "string" }],
    "examples": [true, "10%"],
});
serialize_as_text!(RouteLog);
