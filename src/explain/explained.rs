//! A decision in words, for people and for programs.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::entry::Entry;
use crate::config::Loaded;
use crate::route::{Match, PathPattern};
use crate::snapshot::{
    Action, Decision, Forward, Outward, Refusal, Request, Snapshot, Target, TargetRule, Trace, Verdict, path_of,
    query_of,
};
use crate::step::files::Wanted;
use crate::step::forwarded::Client;

/// What becomes of a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    method: String,
    url: String,
    listener: Option<String>,
    /// Its path, normalised, and whether that is another than the client's.
    path: String,
    normalised: bool,
    /// The route that won, and its pattern.
    route: Option<(String, String)>,
    captures: Vec<(String, String)>,
    /// Who may pass, where that is asked.
    entry: Option<Entry>,
    told: Told,
    others: Vec<(String, String)>,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is refused.
    Refused {
        /// With this status, as in `404 Not Found`.
        status: http::StatusCode,
        /// In these words.
        detail: String,
        /// The entry that would allow its target.
        entry: Option<String>,
    },
    /// The client is sent elsewhere.
    Redirected {
        /// With this status.
        status: http::StatusCode,
        /// To there.
        location: String,
    },
    /// The route itself answers.
    Answered,
    /// A file answers, if it is there; `None` where no file is served under such a name.
    Served(Option<String>),
    /// It goes to an upstream.
    Forwarded {
        /// What is done on the way.
        steps: Vec<&'static str>,
        /// The URL at the first endpoint.
        url: String,
        /// What that would see.
        headers: Vec<(String, String)>,
    },
}

impl Explained {
    pub(super) fn new(snapshot: &Snapshot, request: &Request<'_>, client: &Client) -> Self {
        let decision = snapshot.decide(request);
        let route = decision.route.as_ref().map(|(route, found)| {
            let pattern = route.matcher.paths.get(found.pattern).map_or("", PathPattern::as_str);
            (route.name.clone(), pattern.to_owned())
        });
        Self {
            method: request.method.to_string(),
            url: format!("{}://{}{}", request.scheme, request.host, request.target),
            listener: request.listener.map(str::to_owned),
            normalised: decision.path != path_of(request.target),
            path: decision.path.clone(),
            route,
            captures: captures(&decision, request),
            entry: decision.route.as_ref().and_then(|(route, _)| Entry::of(route)),
            told: told(&decision, request, client),
            others: losers(snapshot, &decision, request),
        }
    }

    /// Blots secrets of the configuration out.
    pub fn redact(&mut self, loaded: &Loaded) {
        let hide = |text: &mut String| *text = loaded.redact(text);
        for (_, text) in self.captures.iter_mut().chain(&mut self.others) {
            hide(text);
        }
        self.entry.iter_mut().flat_map(Entry::texts).for_each(hide);
        match &mut self.told {
            Told::Refused { detail, .. } => hide(detail),
            Told::Redirected { location, .. } => hide(location),
            Told::Answered | Told::Served(None) => {}
            Told::Served(Some(file)) => hide(file),
            Told::Forwarded { url, headers, .. } => {
                hide(url);
                for (_, value) in headers {
                    hide(value);
                }
            }
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{} {}", self.method, self.url);
        if let Some(listener) = &self.listener {
            let _ = writeln!(out, "listener  {listener}");
        }
        if self.normalised {
            let _ = writeln!(out, "path      {} (normalised)", self.path);
        }
        if let Some((route, pattern)) = &self.route {
            let _ = writeln!(out, "route     {route} ({pattern})");
            for (name, value) in &self.captures {
                let _ = writeln!(out, "          {name} = {value}");
            }
        }
        self.entry.iter().for_each(|entry| entry.push(&mut out));
        self.push_told(&mut out);
        out.push_str("other routes\n");
        for (name, why) in &self.others {
            let _ = writeln!(out, "  {name:<28} {why}");
        }
        out
    }

    fn push_told(&self, out: &mut String) {
        match &self.told {
            Told::Refused { status, detail, entry } => {
                let _ = writeln!(out, "refused   {status}: {detail}");
                if let Some(entry) = entry {
                    let _ = writeln!(out, "          the entry `{entry}` in the route's `allow` would allow it");
                }
            }
            Told::Redirected { status, location } => {
                let _ = writeln!(out, "redirect  {status} {location}");
            }
            Told::Answered => out.push_str("answer    of the route itself\n"),
            Told::Served(file) => {
                let _ = writeln!(out, "file      {}", file.as_deref().unwrap_or("none is served under such a name"));
            }
            Told::Forwarded { steps, url, headers } => {
                let _ = writeln!(out, "steps     {}", steps.join(", "));
                let _ = writeln!(out, "upstream  {} {url}", self.method);
                for (name, value) in headers {
                    let _ = writeln!(out, "          {name}: {value}");
                }
            }
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let verdict = match &self.told {
            Told::Refused { status, detail, .. } => json!({ "refused": status.as_u16(), "detail": detail }),
            Told::Redirected { status, location } => json!({ "redirect": status.as_u16(), "location": location }),
            Told::Answered => json!({ "answer": true }),
            Told::Served(file) => json!({ "answer": true, "file": file }),
            Told::Forwarded { steps, url, headers } => {
                json!({ "steps": steps, "upstream": { "url": url, "headers": headers } })
            }
        };
        let captures: serde_json::Map<String, Value> =
            self.captures.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({
            "path": self.path,
            "listener": self.listener,
            "route": self.route.as_ref().map(|(name, _)| name),
            "captures": captures,
            "auth": self.entry.as_ref().map(Entry::json),
            "verdict": verdict,
            "others": self.others.iter().map(|(route, why)| json!({ "route": route, "why": why })).collect::<Vec<_>>(),
        })
    }
}

fn told(decision: &Decision, request: &Request<'_>, client: &Client) -> Told {
    match &decision.verdict {
        Verdict::Refuse(refusal) => {
            let entry = match refusal {
                Refusal::TargetNotAllowed { entry } => Some(entry.clone()),
                _ => None,
            };
            Told::Refused { status: refusal.status(), detail: refusal.detail(), entry }
        }
        Verdict::Redirect { status, location } => Told::Redirected { status: *status, location: location.clone() },
        Verdict::Answer => Told::Answered,
        Verdict::File(wanted) => Told::Served(whereabouts(decision, wanted)),
        Verdict::Forward(_) => {
            let (url, headers) = upstream(decision, request, client).unwrap_or_default();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            Told::Forwarded {
                steps: decision.route.as_ref().map(|(route, _)| route.info.steps.clone()).unwrap_or_default(),
                url,
                headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            }
        }
    }
}

fn whereabouts(decision: &Decision, wanted: &Wanted) -> Option<String> {
    match &decision.route.as_ref()?.0.action {
        Action::Files(files) => files.whereabouts(wanted).map(|path| path.display().to_string()),
        _ => None,
    }
}

fn forward(decision: &Decision) -> Option<(&Forward, &Match)> {
    let (route, found) = decision.route.as_ref()?;
    match &route.action {
        Action::Forward(forward) => Some((forward, found)),
        _ => None,
    }
}

fn captures(decision: &Decision, request: &Request<'_>) -> Vec<(String, String)> {
    let Some((route, found)) = &decision.route else { return Vec::new() };
    let Some(pattern) = route.matcher.paths.get(found.pattern) else { return Vec::new() };
    let values = decision.values(found, request);
    let names = route.matcher.captures.iter().enumerate();
    let mut captures: Vec<(String, String)> =
        names.map(|(index, name)| (name.clone(), values.capture(index).to_owned())).collect();
    if pattern.has_rest() {
        captures.push(("**".to_owned(), values.rest().to_owned()));
    }
    captures
}

/// The URL that results at the first endpoint, and what it would see.
fn upstream(decision: &Decision, request: &Request<'_>, client: &Client) -> Option<(String, HeaderMap)> {
    let (forward, found) = forward(decision)?;
    let Verdict::Forward(forwarding) = &decision.verdict else { return None };
    let (scheme, authority) = match &forwarding.target {
        Target::Pool(upstream) => (upstream.scheme(), upstream.configured().first()?.authority.clone()),
        Target::Address(target) => (target.scheme, HeaderValue::from_str(&target.authority).ok()?),
        Target::Pending(_) => ("http", HeaderValue::from_static("(as the target)")),
    };
    let path = forwarding.path.as_deref().unwrap_or(path_of(request.target));
    let query = query_of(request.target);
    let url = match (&forwarding.target, &forward.target) {
        (Target::Pending(_), TargetRule::Dynamic(dynamic)) => format!("{}{path}{query}", dynamic.shown()),
        (Target::Pending(_), TargetRule::Instance(rule)) => format!("instance {}{path}{query}", rule.shown()),
        _ => format!("{scheme}://{}{path}{query}", authority.to_str().ok()?),
    };
    let mut headers = request.headers.clone();
    let outward = Outward {
        identity: None,
        client,
        host: HeaderValue::from_str(request.host).ok(),
        scheme,
        authority: &authority,
        local: forwarding.target.is_local(),
        values: decision.values(found, request),
        request_id: HeaderValue::from_static("(new for each request)"),
        traceparent: HeaderValue::from_static("(new for each request)"),
        traced_by_client: false,
    };
    forward.outward(&mut headers, outward);
    Some((url, headers))
}

/// Why the other routes lost, those that match as well first.
fn losers(snapshot: &Snapshot, decision: &Decision, request: &Request<'_>) -> Vec<(String, String)> {
    let traces = snapshot.trace(request, decision);
    let named = snapshot.routes().iter().zip(traces);
    let mut losers: Vec<(String, String)> = named
        .filter_map(|(route, trace)| {
            let paths: Vec<&str> = route.matcher.paths.iter().map(PathPattern::as_str).collect();
            let why = match trace {
                Trace::Won => return None,
                Trace::LessSpecific => format!("matches too, but {} is less specific", paths.join(" ")),
                Trace::OtherListener => format!("is served on {} only", route.listeners.join(", ")),
                Trace::Host => "is for other hosts".to_owned(),
                Trace::Path => {
                    let regexes = route.matcher.path_regexes.iter().map(|regex| format!(" with {}", regex.as_str()));
                    format!("does not match: {}{}", paths.join(" "), regexes.collect::<String>())
                }
                Trace::Method => "is for other methods".to_owned(),
                Trace::Header(name) => format!("wants another header {name}"),
            };
            Some((route.name.clone(), why))
        })
        .collect();
    losers.sort_by_key(|(_, why)| !why.starts_with("matches"));
    losers
}
