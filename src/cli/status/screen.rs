//! The screen of `pylon status`.

use std::fmt::Write as _;

use serde_json::Value;

use super::Sample;
use super::latency::Latency;
use crate::cli::table::{Column, Table, age, bytes, milliseconds, moment, plain, share};

/// Routes that are shown unless all are wanted.
const ROUTES: usize = 20;

/// All of it; with a sample from before, what happened since.
pub(super) fn screen(sample: &Sample, before: Option<&Sample>, all: bool) -> String {
    let status = &sample.status;
    let mut out = head(status, before.map(|before| &before.status));
    let routes = routes(status, before.map(|before| &before.status), all);
    for part in [routes, pools(&sample.upstreams), certificates(status), rejected(status)] {
        if !part.is_empty() {
            let _ = write!(out, "\n\n{part}");
        }
    }
    out
}

fn head(status: &Value, before: Option<&Value>) -> String {
    let mut out = String::new();
    let config = &status["config"];
    let _ = writeln!(
        out,
        "pylon {}, {}, up {}, process {}, {} workers",
        text(&status["version"]),
        text(&status["state"]),
        age(real(&status["uptime_seconds"])),
        count(&status["pid"]),
        count(&status["workers"])
    );
    let refused = if config["last_reload_successful"] == true { "" } else { "; the last reload was REFUSED" };
    let ago = age(real(&status["now"]) - real(&config["last_reload_at"]));
    let _ = writeln!(
        out,
        "configuration  {}, generation {}, hash {}, taken over {ago} ago{refused}",
        text(&config["source"]),
        count(&config["generation"]),
        text(&config["hash"])
    );
    let _ =
        write!(out, "requests       {} in flight, {} in all", count(&status["requests_in_flight"]), requests(status));
    if let Some(before) = before {
        let _ = write!(out, ", {:.1} a second", rate(requests(status), requests(before), seconds(status, before)));
    }
    let kinds = status["connections"].as_object().into_iter().flatten().filter(|(_, open)| count(open) > 0);
    let kinds: Vec<String> = kinds.map(|(kind, open)| format!("{} {kind}", count(open))).collect();
    let open: u64 = status["connections"].as_object().into_iter().flatten().map(|(_, open)| count(open)).sum();
    let which = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let _ = writeln!(out, "\nconnections    {open} of {}{which}", count(&status["connections_limit"]));
    let _ = writeln!(out, "network        {}", network(status, before));
    let _ = write!(out, "process        {}", process(&status["process"]));
    for channel in status["log"].as_array().into_iter().flatten() {
        let (dropped, errors) = (count(&channel["dropped"]), count(&channel["errors"]));
        if dropped + errors > 0 {
            let name = text(&channel["channel"]);
            let _ = write!(out, "\nlog            {name}: {dropped} lines dropped, {errors} write errors");
        }
    }
    out
}

fn network(status: &Value, before: Option<&Value>) -> String {
    let sides = ["client", "upstream"].map(|side| {
        let ways = [("in", "receive_bytes"), ("out", "transmit_bytes")].map(|(way, key)| {
            let now = count(&status["network"][side][key]);
            let rate = before.map(|before| rate(now, count(&before["network"][side][key]), seconds(status, before)));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes a second, for people")]
            let rate = rate.map(|rate| format!(" ({}/s)", bytes(rate as u64))).unwrap_or_default();
            format!("{} {way}{rate}", bytes(now))
        });
        format!("{side}s {}", ways.join(", "))
    });
    sides.join("; ")
}

fn process(process: &Value) -> String {
    format!(
        "CPU {:.1} s on {} cores, memory {} of {}, files {} of {}, threads {}",
        real(&process["cpu_seconds"]),
        real(&process["cpu_limit"]),
        bytes(count(&process["resident_bytes"])),
        bytes(count(&process["memory_limit_bytes"])),
        count(&process["open_fds"]),
        count(&process["max_fds"]),
        count(&process["threads"])
    )
}

/// The routes with the most requests first.
fn routes(status: &Value, before: Option<&Value>, all: bool) -> String {
    let old = |name: &Value| list(before.unwrap_or(&Value::Null), "routes").into_iter().find(|r| r["name"] == *name);
    let mut routes = list(status, "routes");
    let most = |route: &Value| {
        count(&route["requests"]).saturating_sub(old(&route["name"]).map_or(0, |old| count(&old["requests"])))
    };
    routes.sort_by_key(|route| std::cmp::Reverse((most(route), count(&route["requests"]))));
    let left = if all { 0 } else { routes.len().saturating_sub(ROUTES) };
    let mut table = Table::new([
        Column::left("ROUTE"),
        Column::right("REQUESTS"),
        Column::right(if before.is_some() { "PER SECOND" } else { "" }),
        Column::right("FAILED"),
        Column::right("P50"),
        Column::right("P95"),
        Column::right("P99"),
        Column::right("IN FLIGHT"),
    ]);
    for route in &routes[..routes.len() - left] {
        let old = old(&route["name"]);
        let since = |key: &str| count(&route[key]).saturating_sub(old.map_or(0, |old| count(&old[key])));
        let latency = Latency::new(&route["duration"], old.map(|old| &old["duration"]));
        let quantile = |share: f64| latency.quantile(share).map_or_else(|| "-".to_owned(), milliseconds);
        let per_second = before.map(|b| format!("{:.1}", rate(since("requests"), 0, seconds(status, b))));
        table.row([
            text(&route["name"]),
            count(&route["requests"]).to_string(),
            per_second.unwrap_or_default(),
            share(since("failed"), since("requests")),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            count(&route["in_flight"]).to_string(),
        ]);
    }
    let more = if left > 0 { format!("\nand {left} more; --all shows them") } else { String::new() };
    if table.is_empty() { String::new() } else { format!("{}{more}", table.text()) }
}

fn pools(upstreams: &Value) -> String {
    let mut table = Table::new([
        Column::left("UPSTREAM"),
        Column::left("ENDPOINT"),
        Column::left("STATE"),
        Column::right("IN FLIGHT"),
        Column::right("CONNECTIONS"),
        Column::right("LATENCY"),
        Column::left("REASON"),
    ]);
    for pool in list(upstreams, "upstreams") {
        let endpoints = list(pool, "endpoints");
        let trouble = match pool["breaker"].as_str() {
            Some("open") => "circuit breaker open",
            _ if endpoints.is_empty() => "no address is known",
            _ if pool["panic"] == true => "no endpoint is usable: all are tried",
            _ => "",
        };
        if !trouble.is_empty() {
            let row = [text(&pool["name"]), String::new(), "degraded".to_owned()];
            let [name, endpoint, state] = row;
            table.row([name, endpoint, state, String::new(), String::new(), String::new(), trouble.to_owned()]);
        }
        for endpoint in endpoints {
            table.row([
                text(&pool["name"]),
                text(&endpoint["address"]),
                text(&endpoint["state"]),
                count(&endpoint["in_flight"]).to_string(),
                count(&endpoint["connections"]).to_string(),
                milliseconds(real(&endpoint["latency_ms"])),
                endpoint["reason"].as_str().unwrap_or_default().to_owned(),
            ]);
        }
    }
    if table.is_empty() { String::new() } else { table.text() }
}

fn certificates(status: &Value) -> String {
    let mut table = Table::new([Column::left("CERTIFICATE"), Column::left("LISTENER"), Column::left("ENDS")]);
    for certificate in list(status, "certificates") {
        let ends = real(&certificate["not_after"]);
        let left = ends - real(&status["now"]);
        let when = if left < 0.0 { "EXPIRED".to_owned() } else { format!("in {}", age(left)) };
        table.row([
            text(&certificate["name"]),
            text(&certificate["listener"]),
            format!("{}, {when}", moment(ends).split(' ').next().unwrap_or_default()),
        ]);
    }
    if table.is_empty() { String::new() } else { table.text() }
}

fn rejected(status: &Value) -> String {
    let reasons = status["rejected"].as_object().into_iter().flatten();
    let reasons: Vec<String> = reasons.map(|(reason, times)| format!("{reason} {}", count(times))).collect();
    if reasons.is_empty() { String::new() } else { format!("turned away: {}", reasons.join(", ")) }
}

fn requests(status: &Value) -> u64 {
    list(status, "routes").iter().map(|route| count(&route["requests"])).sum()
}

fn seconds(now: &Value, before: &Value) -> f64 {
    (real(&now["now"]) - real(&before["now"])).max(0.001)
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn rate(now: u64, before: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

fn list<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    value[key].as_array().into_iter().flatten().collect()
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or("?"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
