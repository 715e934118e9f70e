//! What is known of a request while it is under way.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::attempts::Attempts;
use super::limits::Arrival;
use super::record::Asked;
use crate::lifecycle::UnderWay;
use crate::listen::{Connection, Pace};
use crate::observe::{Outcome, RouteMetrics, TraceContext, new_request_id};
use crate::route::asker::Asker;
use crate::route::template::Values;
use crate::snapshot::{Action, Admitted, Decision, Forward, Route, Snapshot, Verdict};
use crate::step::auth::Proof;
use crate::step::body::Pipeline;
use crate::step::forwarded::Client;
use crate::step::grpc_web::Call;
use crate::step::identity::Identity;
use crate::step::limit::Pass;

/// The state of one request.
pub struct Context {
    /// When it came.
    pub started: Instant,
    _under_way: UnderWay,
    /// The connection that it came on.
    pub connection: Option<Arc<Connection>>,
    /// When the next piece of its body has to be there, over HTTP/2.
    pub pace: Option<Arc<Pace>>,
    /// The configuration that it runs under from begin to end.
    pub snapshot: Arc<Snapshot>,
    /// Its id.
    pub request_id: HeaderValue,
    /// The trace that it belongs to.
    pub trace: TraceContext,
    /// Who sent it.
    pub client: Client,
    /// The authority that the client named, or the address that it connected to.
    pub host: String,
    /// Whether the client named it.
    pub names_host: bool,
    /// What was decided about it.
    pub decision: Option<Decision>,
    /// The server of the current attempt.
    pub server: Option<ServerInUse>,
    /// What is known of this request's attempts.
    pub attempts: Attempts,
    /// The path that the upstream saw, without query; kept for relative references.
    pub upstream_path: String,
    /// Steps on the response body.
    /// Only ever reached through `&mut`; the mutex makes the context `Sync` and is never locked.
    pub body: Option<Mutex<Pipeline>>,
    /// The call of gRPC-Web that it is.
    pub grpc_web: Option<Call>,
    /// Whether the upstream's body is to be left out.
    pub drop_body: bool,
    /// Its place on a route that limits requests.
    pub admitted: Option<Admitted>,
    /// Who asks, where its route finds that out.
    pub proof: Option<Box<Proof>>,
    /// What it holds of its route's limits.
    pub pass: Option<Box<Pass>>,
    /// How its body comes.
    pub arrival: Arrival,
    /// What it asks for, where it may be dropped before its end.
    pub(super) asked: Option<Box<Asked>>,
    /// What its route counts of it, from when the route is known.
    counted: Option<Counted>,
    /// How it ended, as far as is known.
    pub outcome: Outcome,
    /// The status that the upstream answered with.
    pub upstream_status: Option<StatusCode>,
    /// More about a failure, for the log only.
    pub reason: Option<String>,
}

/// What was counted of a request already.
#[derive(Debug, Default)]
struct Counted {
    received: u64,
    sent: u64,
}

impl Drop for Context {
    /// However it ends, its route has one request less under way.
    fn drop(&mut self) {
        if self.counted.is_none() {
            return;
        }
        if let Some(asked) = self.asked.take() {
            asked.give_up(self);
        } else if let Some(route) = self.route() {
            route.metrics.leave();
        }
    }
}

/// What is known of a request when it has ended.
pub struct End<'s> {
    /// The method.
    pub method: &'s Method,
    /// The status that the client got.
    pub status: StatusCode,
    /// Bytes of its body.
    pub received: usize,
    /// Bytes of its answer's body.
    pub sent: usize,
    /// How long it took.
    pub took: Duration,
}

/// The server of an attempt.
pub struct ServerInUse {
    /// Where it is.
    pub address: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Its `host[:port]`, as configured.
    pub authority: HeaderValue,
}

impl Context {
    /// The state of a request of which nothing is known yet.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, under_way: UnderWay) -> Self {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        Self {
            started: Instant::now(),
            _under_way: under_way,
            connection: Connection::current(),
            pace: Pace::current(),
            snapshot,
            request_id: new_request_id(),
            trace: TraceContext { trace: 0, parent: None, span: 0, sampled: false },
            client: Client { peer: nobody, trusted: false, address: nobody, scheme: "http" },
            host: String::new(),
            names_host: false,
            decision: None,
            server: None,
            attempts: Attempts::default(),
            upstream_path: String::new(),
            body: None,
            grpc_web: None,
            drop_body: false,
            admitted: None,
            proof: None,
            pass: None,
            arrival: Arrival::default(),
            asked: None,
            counted: None,
            outcome: Outcome::Internal,
            upstream_status: None,
            reason: None,
        }
    }

    /// The route that won.
    #[must_use]
    pub fn route(&self) -> Option<&Arc<Route>> {
        self.decision.as_ref()?.route.as_ref().map(|(route, _)| route)
    }

    /// Who asks.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.proof.as_ref().map(|proof| &*proof.identity)
    }

    /// From now on its route counts what is known of it.
    pub fn count(&mut self) {
        if let Some(route) = self.route() {
            route.metrics.begin();
            self.counted = Some(Counted::default());
        }
    }

    /// A piece of its body came.
    pub fn receive(&mut self) {
        // A body that is sent again counts once.
        let came = self.arrival.bytes();
        if let Some((counted, metrics)) = self.counted() {
            let new = came.saturating_sub(counted.received);
            counted.received += new;
            metrics.receive(new);
        }
    }

    /// A piece of its answer goes out.
    pub fn send(&mut self, piece: Option<&Bytes>) {
        if let Some(piece) = piece
            && let Some((counted, metrics)) = self.counted()
        {
            counted.sent += piece.len() as u64;
            metrics.send(piece.len() as u64);
        }
    }

    fn counted(&mut self) -> Option<(&mut Counted, &RouteMetrics)> {
        let (route, _) = self.decision.as_ref()?.route.as_ref()?;
        Some((self.counted.as_mut()?, &route.metrics))
    }

    /// It has ended: what did not come by pieces is counted, and how it ended; by `no_route` where no route won.
    pub fn ended(&mut self, end: &End<'_>, no_route: &RouteMetrics) {
        // How long a tunnel was open says nothing about who answered how fast.
        let took = (end.status != StatusCode::SWITCHING_PROTOCOLS).then_some(end.took);
        let outcome = self.outcome;
        let rest = |all: usize, counted: u64| (all as u64).saturating_sub(counted);
        if let Some((counted, metrics)) = self.counted() {
            metrics.receive(rest(end.received, counted.received));
            metrics.send(rest(end.sent, counted.sent));
            metrics.end(end.method, end.status, outcome, took);
            metrics.leave();
            self.counted = None;
        } else {
            no_route.receive(end.received as u64);
            no_route.send(end.sent as u64);
            no_route.end(end.method, end.status, outcome, took);
        }
    }

    /// What https answers say in `Strict-Transport-Security`.
    #[must_use]
    pub fn hsts(&self) -> Option<&HeaderValue> {
        if self.client.scheme != "https" {
            return None;
        }
        let own = || self.connection.as_ref()?.listener.tls.as_ref()?.hsts();
        self.route().and_then(|route| route.hsts.as_ref()).or_else(own)
    }

    /// How the route forwards, with what its templates are filled in with.
    #[must_use]
    pub fn forward(&self) -> Option<(&Forward, Values<'_>)> {
        let decision = self.decision.as_ref()?;
        let (route, found) = decision.route.as_ref()?;
        let Action::Forward(forward) = &route.action else {
            return None;
        };
        let identity = self.identity().map(|identity| identity as &dyn Asker);
        let values = Values { path: &decision.path, found, scheme: self.client.scheme, host: &self.host, identity };
        Some((forward, values))
    }

    /// Where the request is forwarded to, if it is.
    #[must_use]
    pub fn forwarding(&self) -> Option<&crate::snapshot::Forwarding> {
        match &self.decision.as_ref()?.verdict {
            Verdict::Forward(forwarding) => Some(forwarding),
            _ => None,
        }
    }

    /// The request's id as text.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.request_id.as_bytes())
    }
}
