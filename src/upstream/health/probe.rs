//! Active health: how an endpoint is asked whether it works.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use http::StatusCode;
use once_cell::sync::Lazy;
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::tls::SslDigest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::HealthCheck;
use regex_automata::meta::Regex;

use super::super::dial::plain;
use super::super::endpoint::Endpoint;
use super::super::trust::Trust;
use super::{Answer, unix};
use crate::config::value::{Percent, Span};
use crate::config::{HealthSpec, value::StatusRange};

/// How much of a body is looked at.
const BODY: usize = 64 * 1024;

/// How the endpoints of a pool are probed.
pub(crate) struct Prober {
    ask: Ask,
    /// From one probe to the next.
    interval: Duration,
    /// How far the interval varies, from 0 to 1.
    jitter: f64,
    timeout: Duration,
    rise: u32,
    fall: u32,
    port: Option<u16>,
    trust: Trust,
}

enum Ask {
    Connect,
    Http(Box<Http>),
}

/// What connects probes: one for all pools.
static CONNECTOR: Lazy<Connector> = Lazy::new(|| Connector::new(None));
static TRANSPORT: Lazy<TransportConnector> = Lazy::new(|| TransportConnector::new(None));

struct Http {
    path: String,
    host: Option<String>,
    headers: Vec<(http::HeaderName, String)>,
    statuses: Vec<StatusRange>,
    body: Option<Regex>,
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("interval", &self.interval).finish_non_exhaustive()
    }
}

impl Prober {
    /// Checks a spec.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub(crate) fn compile(spec: &HealthSpec, base_path: &str, trust: &Trust) -> Result<Self, (&'static str, String)> {
        let ask = match (&spec.http, spec.tcp.0) {
            (Some(_), true) => return Err(("tcp", "there is `http` already; keep one of them".to_owned())),
            (None, false) => return Err(("http", "missing; write the path to ask for, or `tcp: true`".to_owned())),
            (None, true) => Ask::Connect,
            (Some(path), false) => Ask::Http(Box::new(Http::compile(spec, path, base_path)?)),
        };
        let port = match spec.port {
            None => None,
            Some(port) => match u16::try_from(port.0) {
                Ok(port @ 1..) => Some(port),
                _ => return Err(("port", format!("{} is not a port; write 1 to 65535", port.0))),
            },
        };
        for (key, count) in [("rise", spec.rise), ("fall", spec.fall)] {
            if count.is_some_and(|count| count.0 == 0) {
                return Err((key, "0 probes prove nothing; write 1 or more".to_owned()));
            }
        }
        for (key, span) in [("interval", spec.interval), ("timeout", spec.timeout)] {
            if span.is_some_and(|span| span.duration() < Duration::from_millis(10)) {
                return Err((key, "too short; write 10ms or more".to_owned()));
            }
        }
        Ok(Self {
            ask,
            interval: spec.interval.map_or(Duration::from_secs(5), Span::duration),
            jitter: spec.jitter.map_or(0.2, Percent::ratio),
            timeout: spec.timeout.map_or(Duration::from_secs(2), Span::duration),
            rise: spec.rise.map_or(2, |count| count.0),
            fall: spec.fall.map_or(3, |count| count.0),
            port,
            trust: trust.clone(),
        })
    }

    /// The time to the next probe.
    pub(crate) fn pause(&self) -> Duration {
        self.interval.mul_f64(1.0 + self.jitter * (fastrand::f64() * 2.0 - 1.0))
    }

    /// A part of the interval, so that not all are asked at once when a pool starts.
    pub(crate) fn first_pause(&self) -> Duration {
        self.interval.min(Duration::from_secs(1)).mul_f64(fastrand::f64() * self.jitter)
    }

    /// How many probes in a row make it healthy, and how many make it unhealthy.
    pub(crate) fn thresholds(&self) -> (u32, u32) {
        let count = |good| u32::try_from(self.health_threshold(good)).unwrap_or(u32::MAX);
        (count(true), count(false))
    }

    /// Asks an endpoint.
    pub(crate) async fn ask(&self, endpoint: &Arc<Endpoint>) -> Answer {
        let mut ext = http::Extensions::new();
        ext.insert(Arc::clone(endpoint));
        let target = Backend { addr: endpoint.address.into(), weight: 1, ext };
        let begin = Instant::now();
        let result = match tokio::time::timeout(self.timeout, self.check(&target)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(in_words(&error)),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        };
        let took_ms = super::clock::millis(begin.elapsed());
        let good = result.is_ok();
        let what = result.err().unwrap_or_else(|| "it answers as it should".to_owned());
        Answer { at: unix(SystemTime::now()), good, what, took_ms }
    }
}

#[async_trait]
impl HealthCheck for Prober {
    async fn check(&self, target: &Backend) -> Result<()> {
        let Some(endpoint) = target.ext.get::<Arc<Endpoint>>() else {
            return Error::e_explain(ErrorType::InternalError, "a probe without an endpoint");
        };
        let mut peer = endpoint.peer.clone();
        if let Some(port) = self.port {
            peer._address.set_port(port);
        }
        peer.options.read_timeout = Some(self.timeout);
        peer.options.write_timeout = Some(self.timeout);
        let peer = plain(peer);
        match &self.ask {
            Ask::Connect => {
                let stream = TRANSPORT.new_stream(&peer).await?;
                self.believe(stream.get_ssl_digest().as_deref())
            }
            Ask::Http(http) => {
                let (session, _) = CONNECTOR.get_http_session(&peer).await?;
                self.believe(session.digest().and_then(|digest| digest.ssl_digest.as_deref()))?;
                http.ask(session, &peer, endpoint).await
            }
        }
    }

    fn health_threshold(&self, success: bool) -> usize {
        (if success { self.rise } else { self.fall }) as usize
    }
}

impl Prober {
    /// Nothing is sent to a server that is not the one that is meant.
    fn believe(&self, shown: Option<&SslDigest>) -> Result<()> {
        if self.trust.believes(shown) {
            return Ok(());
        }
        Error::e_explain(ErrorType::InvalidCert, "its certificate is not the one that is configured")
    }
}

impl Http {
    fn compile(spec: &HealthSpec, path: &str, base_path: &str) -> Result<Self, (&'static str, String)> {
        if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(("http", format!("`{path}` is not a path; write one such as `/healthz`")));
        }
        if let Some(host) = &spec.host
            && host.parse::<http::uri::Authority>().is_err()
        {
            return Err(("host", format!("`{host}` is not a host; write a name with an optional port")));
        }
        if let Some((name, _)) = spec.headers.iter().find(|(_, value)| http::HeaderValue::from_str(value).is_err()) {
            return Err(("headers", format!("the value of `{name}` holds what a header cannot; write plain text")));
        }
        let body = match &spec.body {
            None => None,
            Some(text) => Some(pattern(text).map_err(|message| ("body", message))?),
        };
        let statuses =
            if spec.statuses.is_empty() { "200-399".parse().into_iter().collect() } else { spec.statuses.to_vec() };
        Ok(Self {
            path: format!("{base_path}{path}"),
            host: spec.host.clone(),
            headers: spec.headers.iter().map(|(name, value)| (name.get().clone(), value.clone())).collect(),
            statuses,
            body,
        })
    }

    async fn ask(&self, mut session: HttpSession, peer: &HttpPeer, endpoint: &Endpoint) -> Result<()> {
        let mut request = RequestHeader::build("GET", self.path.as_bytes(), None)?;
        match &self.host {
            Some(host) => request.insert_header(http::header::HOST, host.as_str())?,
            None => request.insert_header(http::header::HOST, endpoint.configured.authority.clone())?,
        }
        request.insert_header(http::header::USER_AGENT, "pylon-probe")?;
        request.insert_header(http::header::CONNECTION, "close")?;
        for (name, value) in &self.headers {
            request.insert_header(name.clone(), value.as_str())?;
        }
        let is_h2 = matches!(session, HttpSession::H2(_));
        if !is_h2 && peer.options.alpn == ALPN::H2 {
            return Error::e_explain(ErrorType::Custom("protocol"), "it does not speak HTTP/2");
        }
        if is_h2 {
            request.remove_header(&http::header::CONNECTION);
        }
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.set_read_timeout(peer.options.read_timeout);
        loop {
            session.read_response_header().await?;
            let status = session.response_header().map(|header| header.status);
            if status.is_none_or(|status| !status.is_informational()) {
                break;
            }
        }
        let status = session.response_header().map(|header| header.status).unwrap_or_default();
        let judgement = self.judge(&mut session, status).await;
        // A connection of HTTP/2 would stay for ever.
        CONNECTOR.release_http_session(session, peer, Some(Duration::from_secs(1))).await;
        judgement
    }

    async fn judge(&self, session: &mut HttpSession, status: StatusCode) -> Result<()> {
        if !self.statuses.iter().any(|range| range.contains(status)) {
            return Error::e_explain(ErrorType::Custom("status"), format!("it answered {}", status.as_u16()));
        }
        let Some(pattern) = &self.body else {
            return Ok(());
        };
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(piece) = session.read_response_body().await? else { break };
            body.extend_from_slice(&piece);
        }
        body.truncate(BODY);
        if pattern.is_match(&body) {
            return Ok(());
        }
        Error::e_explain(ErrorType::Custom("body"), "its body does not match the pattern")
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|_| {
        let why = match regex_syntax::parse(text) {
            Err(regex_syntax::Error::Parse(error)) => error.kind().to_string(),
            Err(error) => error.to_string(),
            Ok(_) => "it is too large".to_owned(),
        };
        format!("`{text}` is not a regular expression: {why}")
    })
}

/// An error of a probe, in few words.
fn in_words(error: &Error) -> String {
    let words = match error.etype() {
        ErrorType::Custom(_) => return error.context.as_ref().map_or("", |context| context.as_str()).to_owned(),
        ErrorType::ConnectRefused => "it refuses connections",
        ErrorType::ConnectTimedout => "it does not take connections in time",
        ErrorType::ReadTimedout => "it does not answer in time",
        ErrorType::ConnectionClosed => "it closed the connection before its answer",
        ErrorType::InvalidHTTPHeader => "its answer is not HTTP",
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::TLSHandshakeTimedout => {
            return format!("TLS: {error}");
        }
        _ => return error.to_string(),
    };
    words.to_owned()
}
