//! `pylon explain`: which route a request takes and why, from the same function that decides on the data path.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::json;

use super::{Which, say, say_error};
use crate::listen::{Listener, Listeners};
use crate::server::BAD_CONFIG;
use crate::snapshot::{Action, Decision, Forward, Outward, Request, Snapshot, Target, Trace, Verdict, query_of};
use crate::step::forwarded::Client;

/// Say which route a request takes and why.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    which: Which,
    /// The method.
    method: String,
    /// The URL as a client would write it, `http://host/path?query`; its path is taken byte for byte.
    url: String,
    /// A request header, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, default_value = "203.0.113.7")]
    client: IpAddr,
    /// The listener that the request comes in on, by name.
    #[arg(long)]
    listener: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A request from the command line, taken apart.
struct Parsed {
    method: Method,
    scheme: &'static str,
    authority: String,
    target: String,
    headers: HeaderMap,
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        let parsed = match self.parse() {
            Ok(parsed) => parsed,
            Err(message) => {
                say_error(&message);
                return ExitCode::from(2);
            }
        };
        let (loaded, snapshot, listeners) = match super::check::check(&self.which.source()) {
            Ok(checked) => checked,
            Err(report) => {
                say_error(&report);
                return ExitCode::from(BAD_CONFIG);
            }
        };
        let listener = match self.listener(&listeners, &parsed) {
            Ok(listener) => listener,
            Err(message) => {
                say_error(&message);
                return ExitCode::from(2);
            }
        };
        let client = snapshot.trusted().client(self.client, parsed.scheme, &parsed.headers);
        let request = Request {
            method: &parsed.method,
            target: &parsed.target,
            host: &parsed.authority,
            headers: &parsed.headers,
            scheme: client.scheme,
            listener: listener.and_then(|l| l.name.as_deref()),
            redirect_to_https: listener.is_some_and(|l| l.redirect_to_https),
        };
        let decision = snapshot.decide(&request);
        let explained = Explained { snapshot: &snapshot, request: &request, decision: &decision, client };
        if self.json {
            say(&loaded.redact(&explained.json().to_string()));
        } else {
            say(loaded.redact(explained.text().trim_end()).as_str());
        }
        ExitCode::SUCCESS
    }

    fn parse(&self) -> Result<Parsed, String> {
        let method = Method::from_bytes(self.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("`{}` is not a method; write one such as GET", self.method))?;
        let (scheme, rest) = match self.url.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            _ => return Err(format!("`{}` is not a URL; write http://host/path", self.url)),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let mut headers = HeaderMap::new();
        for line in &self.headers {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("`{line}` is not a header; write `Name: value`"))?;
            let name: HeaderName = name.trim().parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
            let value =
                HeaderValue::from_str(value.trim()).map_err(|_| format!("`{value}` cannot stand in a header"))?;
            headers.append(name, value);
        }
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.entry(http::header::HOST).or_insert(host);
        }
        Ok(Parsed { method, scheme, authority: authority.to_owned(), target, headers })
    }

    /// The listener: the one named, else the first general one for the scheme, else one with the URL's port.
    fn listener<'l>(
        &self,
        listeners: &'l Listeners,
        parsed: &Parsed,
    ) -> Result<Option<&'l std::sync::Arc<Listener>>, String> {
        if let Some(name) = &self.listener {
            let found = listeners.all().iter().find(|l| l.name.as_ref() == Some(name));
            let known = listeners.all().iter().filter_map(|l| l.name.as_deref());
            return found.map(Some).ok_or_else(|| crate::config::unknown_name("listener", name, known));
        }
        let port: Option<u16> = crate::route::host::split_port(&parsed.authority).1.and_then(|port| port.parse().ok());
        let tls = parsed.scheme == "https";
        let by_port = listeners.all().iter().find(|l| Some(l.address.port()) == port);
        let general = listeners.all().iter().find(|l| !l.dedicated && l.tls.is_some() == tls);
        Ok(by_port.or(general))
    }
}

struct Explained<'a> {
    snapshot: &'a Snapshot,
    request: &'a Request<'a>,
    decision: &'a Decision,
    client: Client,
}

impl Explained<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        let (request, decision) = (self.request, self.decision);
        let _ = writeln!(out, "{} {}://{}{}", request.method, request.scheme, request.host, request.target);
        if let Some(listener) = request.listener {
            let _ = writeln!(out, "listener  {listener}");
        }
        if decision.path != crate::snapshot::path_of(request.target) {
            let _ = writeln!(out, "path      {} (normalised)", decision.path);
        }
        if let Some((route, found)) = &decision.route {
            let pattern = route.matcher.paths.get(found.pattern).map_or("", crate::route::PathPattern::as_str);
            let _ = writeln!(out, "route     {} ({pattern})", route.name);
            for (name, value) in self.captures() {
                let _ = writeln!(out, "          {name} = {value}");
            }
        }
        self.push_verdict(&mut out);
        out.push_str("other routes\n");
        for (name, why) in self.losers() {
            let _ = writeln!(out, "  {name:<28} {why}");
        }
        out
    }

    fn push_verdict(&self, out: &mut String) {
        match &self.decision.verdict {
            Verdict::Refuse(refusal) => {
                let _ = writeln!(out, "refused   {}: {}", refusal.status(), refusal.detail());
                if let crate::snapshot::Refusal::TargetNotAllowed { entry } = refusal {
                    let _ = writeln!(out, "          the entry `{entry}` in the route's `allow` would allow it");
                }
            }
            Verdict::Redirect { status, location } => {
                let _ = writeln!(out, "redirect  {status} {location}");
            }
            Verdict::Answer => out.push_str("answer    of the route itself\n"),
            Verdict::Forward(_) => {
                if let Some((forward, _)) = self.forward() {
                    let _ = writeln!(out, "steps     {}", steps(forward).join(", "));
                }
                if let Some((url, headers)) = self.upstream() {
                    let _ = writeln!(out, "upstream  {} {url}", self.request.method);
                    for (name, value) in &headers {
                        let _ = writeln!(out, "          {name}: {}", String::from_utf8_lossy(value.as_bytes()));
                    }
                }
            }
        }
    }

    fn json(&self) -> serde_json::Value {
        let decision = self.decision;
        let verdict = match &decision.verdict {
            Verdict::Refuse(refusal) => json!({ "refused": refusal.status().as_u16(), "detail": refusal.detail() }),
            Verdict::Redirect { status, location } => json!({ "redirect": status.as_u16(), "location": location }),
            Verdict::Answer => json!({ "answer": true }),
            Verdict::Forward(_) => {
                let (url, headers) = self.upstream().unwrap_or_default();
                let headers: Vec<[String; 2]> = headers
                    .iter()
                    .map(|(name, value)| [name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()])
                    .collect();
                json!({
                    "steps": self.forward().map(|(forward, _)| steps(forward)),
                    "upstream": { "url": url, "headers": headers },
                })
            }
        };
        let captures: serde_json::Map<String, serde_json::Value> =
            self.captures().into_iter().map(|(name, value)| (name, value.into())).collect();
        json!({
            "path": decision.path,
            "listener": self.request.listener,
            "route": decision.route.as_ref().map(|(route, _)| &route.name),
            "captures": captures,
            "verdict": verdict,
            "others": self.losers().into_iter().map(|(route, why)| json!({ "route": route, "why": why })).collect::<Vec<_>>(),
        })
    }

    fn forward(&self) -> Option<(&Forward, &crate::route::Match)> {
        let (route, found) = self.decision.route.as_ref()?;
        match &route.action {
            Action::Forward(forward) => Some((forward, found)),
            _ => None,
        }
    }

    fn captures(&self) -> Vec<(String, String)> {
        let Some((route, found)) = &self.decision.route else { return Vec::new() };
        let Some(pattern) = route.matcher.paths.get(found.pattern) else { return Vec::new() };
        let values = self.decision.values(found, self.request);
        let mut captures: Vec<(String, String)> = pattern
            .names()
            .iter()
            .enumerate()
            .map(|(index, name)| (name.clone(), values.capture(index).to_owned()))
            .collect();
        if pattern.has_rest() {
            captures.push(("**".to_owned(), values.rest().to_owned()));
        }
        captures
    }

    /// The URL that results at the first endpoint, and what it would see.
    fn upstream(&self) -> Option<(String, HeaderMap)> {
        let (forward, found) = self.forward()?;
        let Verdict::Forward(forwarding) = &self.decision.verdict else { return None };
        let (scheme, authority) = match &forwarding.target {
            Target::Pool(upstream) => (upstream.scheme(), upstream.configured().first()?.authority.clone()),
            Target::Address(target) => ("http", HeaderValue::from_str(&target.authority).ok()?),
        };
        let path = forwarding.path.as_deref().unwrap_or(crate::snapshot::path_of(self.request.target));
        let query = query_of(self.request.target);
        let url = format!("{scheme}://{}{path}{query}", authority.to_str().ok()?);
        let mut headers = self.request.headers.clone();
        let outward = Outward {
            client: &self.client,
            host: HeaderValue::from_str(self.request.host).ok(),
            scheme,
            authority: &authority,
            values: self.decision.values(found, self.request),
            request_id: HeaderValue::from_static("(new for each request)"),
            traceparent: HeaderValue::from_static("(new for each request)"),
            traced_by_client: false,
        };
        forward.outward(&mut headers, outward);
        Some((url, headers))
    }

    fn losers(&self) -> Vec<(String, String)> {
        let traces = self.snapshot.trace(self.request, self.decision);
        let named = self.snapshot.routes().iter().zip(traces);
        let mut losers: Vec<(String, String)> = named
            .filter_map(|(route, trace)| {
                let paths: Vec<&str> = route.matcher.paths.iter().map(crate::route::PathPattern::as_str).collect();
                let why = match trace {
                    Trace::Won => return None,
                    Trace::LessSpecific => format!("matches too, but {} is less specific", paths.join(" ")),
                    Trace::OtherListener => format!("is served on {} only", route.listeners.join(", ")),
                    Trace::Host => "is for other hosts".to_owned(),
                    Trace::Path => format!("does not match: {}", paths.join(" ")),
                    Trace::Method => "is for other methods".to_owned(),
                    Trace::Header(name) => format!("wants another header {name}"),
                };
                Some((route.name.clone(), why))
            })
            .collect();
        losers.sort_by_key(|(_, why)| !why.starts_with("matches"));
        losers
    }
}

/// The steps that a route has switched on, in the order in which they run.
fn steps(forward: &Forward) -> Vec<String> {
    let mut steps = vec!["forwarded headers".to_owned()];
    let mut push = |on: bool, name: &str| {
        if on {
            steps.push(name.to_owned());
        }
    };
    push(forward.rewrite.is_some(), "rewrite");
    push(forward.raw_target, "raw target");
    push(forward.adapt.location, "adapt location");
    push(forward.adapt.cookies, "adapt cookies");
    push(forward.adapt.html, "adapt html");
    push(forward.substitute.is_some(), "substitute");
    push(forward.etag.is_some(), "etag");
    steps
}
