//! `pylon why`: what became of a request, by the id that its answer carried.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::remote::{Failure, Remote, end};
use super::say;
use super::table::{bytes, milliseconds, moment, plain};

/// Say what became of a request.
#[derive(Debug, Args)]
pub(super) struct Why {
    #[command(flatten)]
    remote: Remote,
    /// The request's id: `X-Request-Id` of its answer, `id` in the access log.
    id: String,
}

impl Why {
    pub(super) fn run(&self) -> ExitCode {
        end(self.ask())
    }

    fn ask(&self) -> Result<(), Failure> {
        let id = utf8_percent_encode(&self.id, NON_ALPHANUMERIC);
        let reply = self.remote.ask(&format!("/api/why/{id}"))?;
        let record = self.remote.good(reply)?;
        if !self.remote.json {
            say(&told(&record));
        }
        Ok(())
    }
}

fn told(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().map(plain);
    let or = |key: &str, other: &str| text(key).unwrap_or_else(|| other.to_owned());
    let scheme = if record["tls"].is_null() { "http" } else { "https" };
    let query = text("query").map(|query| format!("?{query}")).unwrap_or_default();
    let mut out = format!("{} {scheme}://{}{}{query}", or("method", "?"), or("host", ""), or("path", ""));
    let mut line = |name: &str, value: &str| {
        let _ = write!(out, "\n{name:<10}{value}");
    };
    line("id", &format!("{}, trace {}", or("id", "?"), or("trace_id", "-")));
    let time = record["time"].as_f64().map_or_else(|| "?".to_owned(), moment);
    line("time", &format!("{time}, took {}", ms(&record["duration_ms"])));
    let tls = text("tls").map(|tls| format!(", {tls}")).unwrap_or_default();
    let user = text("user").map(|user| format!(", user {user}")).unwrap_or_default();
    line("client", &format!("{}, {}{tls}{user}, on {}", or("client", "?"), or("protocol", "?"), or("listener", "?")));
    line("route", &format!("{}, generation {}", or("route", "none"), record["generation"]));
    let steps: Vec<String> =
        record["steps"].as_array().into_iter().flatten().filter_map(Value::as_str).map(plain).collect();
    if !steps.is_empty() {
        line("steps", &steps.join(", "));
    }
    if let Some(upstream) = text("upstream") {
        line("upstream", &upstream);
    }
    for (index, attempt) in record["attempts"].as_array().into_iter().flatten().enumerate() {
        line("", &format!("{}. {}", index + 1, self::attempt(attempt)));
    }
    let of_upstream = record["upstream_status"].as_u64().map(|status| format!(", the upstream's was {status}"));
    line("status", &format!("{}{}", record["status"], of_upstream.unwrap_or_default()));
    let failed = if record["failed"] == true { " (failed)" } else { "" };
    line("outcome", &format!("{}{failed}: {}", or("outcome", "?"), or("meaning", "")));
    if let Some(reason) = text("reason") {
        line("reason", &reason);
    }
    let size = |key: &str| bytes(record[key].as_u64().unwrap_or_default());
    line("bodies", &format!("{} in, {} out", size("request_bytes"), size("response_bytes")));
    out
}

fn attempt(attempt: &Value) -> String {
    let text = |key: &str| attempt[key].as_str().map(plain);
    let mut out = format!("{} at {}", text("endpoint").unwrap_or_else(|| "?".to_owned()), ms(&attempt["at_ms"]));
    if attempt["reused"] == true {
        out.push_str(", idle connection");
    } else if !attempt["connect_ms"].is_null() {
        let _ = write!(out, ", connected in {}", ms(&attempt["connect_ms"]));
    }
    if !attempt["first_byte_ms"].is_null() {
        let _ = write!(out, ", first byte at {}", ms(&attempt["first_byte_ms"]));
    }
    let _ = write!(out, ", end at {}: {}", ms(&attempt["end_ms"]), text("result").unwrap_or_default());
    if let Some(status) = attempt["status"].as_u64() {
        let _ = write!(out, " {status}");
    }
    if let Some(reason) = text("reason") {
        let _ = write!(out, " ({reason})");
    }
    out
}

fn ms(value: &Value) -> String {
    value.as_f64().map_or_else(|| "?".to_owned(), milliseconds)
}
