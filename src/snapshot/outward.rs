//! What an upstream sees of a request's headers: one function, for the data path and for `explain`.

use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, HOST, IF_MODIFIED_SINCE, IF_RANGE, ORIGIN, RANGE, REFERER};

use super::{Forward, HostHeader};
use crate::observe::{TRACEPARENT, TRACESTATE};
use crate::route::PathPattern;
use crate::route::public::strip_common;
use crate::route::template::{Piece, Template, Values};
use crate::step::Headers;
use crate::step::compress::Compress;
use crate::step::forwarded::{self, Client};
use crate::step::grpc_web::Call;
use crate::step::identity::Identity;

/// The public prefix that an upstream does not see, for each path pattern of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// There is none, or it cannot be told apart from the upstream's own paths.
    None,
    /// It is the same for each request.
    Fixed(HeaderValue),
    /// It is the path before the rest.
    BeforeRest,
}

impl Prefix {
    /// The prefix of a pattern under a rewrite.
    #[must_use]
    pub fn of(pattern: &PathPattern, rewrite: Option<&Template>, base_path: &str) -> Self {
        let below = match rewrite.map(Template::pieces) {
            Some([Piece::Rest]) => "",
            Some([Piece::Text(text), Piece::Rest]) => text,
            _ => return Self::None,
        };
        let upstream = format!("{base_path}{below}");
        match pattern.fill(|_| None) {
            None if upstream.is_empty() => Self::BeforeRest,
            None => Self::None,
            Some(public) => match strip_common(&public, &upstream) {
                (public, "") if !public.is_empty() => HeaderValue::from_str(public).map_or(Self::None, Self::Fixed),
                _ => Self::None,
            },
        }
    }
}

/// Who asks which server.
pub struct Outward<'a> {
    /// The client.
    pub client: &'a Client,
    /// The authority that the client named; `None` where it named none.
    pub host: Option<HeaderValue>,
    /// The server's scheme.
    pub scheme: &'static str,
    /// The server's `host[:port]`, as configured.
    pub authority: &'a HeaderValue,
    /// Whether it stands for this machine, towards which the path may be another one.
    pub local: bool,
    /// What templates are filled in with.
    pub values: Values<'a>,
    /// The request's id.
    pub request_id: HeaderValue,
    /// Its place in a trace.
    pub traceparent: HeaderValue,
    /// Whether the trace is one that the client told of, and is believed.
    pub traced_by_client: bool,
    /// Who asks, where the route finds that out.
    pub identity: Option<&'a Identity>,
}

impl Outward<'_> {
    /// What follows the public origin in a URL that begins with it.
    fn after_origin<'u>(&self, url: &'u str) -> Option<&'u str> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let same = scheme == self.client.scheme && rest[..end].eq_ignore_ascii_case(self.values.host);
        same.then(|| &rest[end..])
    }
}

impl Forward {
    /// Turns a client's headers into the upstream's.
    pub fn outward(&self, headers: &mut dyn Headers, outward: Outward<'_>) {
        self.set_host(headers, &outward);
        let prefixes = if outward.local { &self.local_prefixes } else { &self.prefixes };
        let prefix = match prefixes.get(outward.values.found.pattern) {
            Some(Prefix::Fixed(prefix)) => Some(prefix.clone()),
            Some(Prefix::BeforeRest) => HeaderValue::from_str(outward.values.prefix()).ok(),
            Some(Prefix::None) | None => None,
        };
        forwarded::apply(headers, outward.client, outward.host.as_ref(), prefix, outward.request_id.clone());
        headers.set(&TRACEPARENT, outward.traceparent);
        if !outward.traced_by_client {
            headers.remove(&TRACESTATE);
        }
        if let Some(tag) = &self.etag {
            tag.unmark(headers);
        }
        if self.changes_bodies() {
            for name in [ACCEPT_ENCODING, RANGE, IF_RANGE, IF_MODIFIED_SINCE] {
                headers.remove(&name);
            }
        }
        if self.compress.is_some() {
            Compress::outward(headers);
        }
        if self.grpc_web {
            Call::outward(headers);
        }
        self.identity.apply(headers, &outward.values, outward.identity);
        self.request_headers.apply(headers, &outward.values);
    }

    /// Sets `Host`. Where it changes, `Origin` and `Referer` of the same origin change with it, so that the upstream's
    /// own comparison of them with `Host` still tells same-origin requests from others.
    fn set_host(&self, headers: &mut dyn Headers, outward: &Outward<'_>) {
        let host = match &self.host {
            HostHeader::Upstream => outward.authority,
            HostHeader::Fixed(name) => name,
            HostHeader::Client => return,
        };
        for name in [ORIGIN, REFERER] {
            let rest = headers.text(&name).and_then(|url| outward.after_origin(url));
            if let Some(rest) = rest {
                let own = format!("{}://{}{rest}", outward.scheme, String::from_utf8_lossy(host.as_bytes()));
                headers.set_text(&name, &own);
            }
        }
        headers.set(&HOST, host.clone());
    }
}

/// The `Host` setting of an upstream or a route.
pub(super) fn host_header(text: Option<&str>) -> Result<HostHeader, String> {
    match text {
        None | Some("upstream") => Ok(HostHeader::Upstream),
        Some("client") => Ok(HostHeader::Client),
        Some(name) => match (name.parse::<http::uri::Authority>(), HeaderValue::from_str(name)) {
            (Ok(_), Ok(value)) => Ok(HostHeader::Fixed(value)),
            _ => Err(format!("`{name}` is not a host; write `upstream`, `client` or a name with an optional port")),
        },
    }
}
