//! How much of requests and answers a route takes, and how fast.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::RouteLimitsSpec;
use crate::config::value::{ByteSize, Count, Span};
use crate::observe::{Metrics, Rejection, RouteMetrics};

/// How fast a client has to take its answer, where no route says otherwise: bytes a second, over [`DRAIN_TIME`].
pub const DRAIN_RATE: u64 = 1024;
/// The time over which the rate is measured; only that counts in which the client kept Pylon waiting.
pub const DRAIN_TIME: Duration = Duration::from_secs(30);
/// A body has this long before its rate counts.
pub const BODY_START: Duration = Duration::from_secs(5);

/// How much of requests and answers a route takes, and how fast.
#[derive(Debug, Clone)]
pub struct RouteLimits {
    /// Bytes of a request body.
    pub body: Option<u64>,
    /// Bytes a second of a request body; 0: no limit.
    pub body_rate: u64,
    /// The longest pause in a request body.
    pub body_idle: Duration,
    /// Bytes a second that a client takes of its answer; 0: no limit.
    pub drain_rate: u64,
    /// The time over which that is measured.
    pub drain_time: Duration,
    /// Bytes of a request target.
    pub target: Option<usize>,
    /// Bytes of a header section.
    pub header: Option<usize>,
    requests: Option<(i64, RouteMetrics)>,
}

/// A request under way on a route that limits them; it counts until this is dropped.
#[derive(Debug)]
pub struct Admitted(RouteMetrics);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.admitted().fetch_sub(1, Ordering::Relaxed);
    }
}

impl RouteLimits {
    /// The limits of a route.
    pub(super) fn new(spec: &RouteLimitsSpec, route: &str, metrics: &Metrics) -> Self {
        let bytes = |size: Option<ByteSize>, default: u64| size.map_or(default, ByteSize::bytes);
        Self {
            body: spec.body.map(ByteSize::bytes),
            body_rate: bytes(spec.body_rate, 256),
            body_idle: spec.body_idle.map_or(Duration::from_secs(30), Span::duration),
            drain_rate: bytes(spec.drain_rate, DRAIN_RATE),
            drain_time: spec.drain_time.map_or(DRAIN_TIME, Span::duration),
            target: spec.target_size.map(ByteSize::as_usize),
            header: spec.header_size.map(ByteSize::as_usize),
            requests: spec.requests.map(|most: Count| (i64::from(most.get()), metrics.route(route))),
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub fn admit(&self) -> Result<Option<Admitted>, Rejection> {
        let Some((most, under_way)) = &self.requests else { return Ok(None) };
        let before = under_way.admitted().fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(under_way.clone());
        if before >= *most { Err(Rejection::RouteBusy) } else { Ok(Some(admitted)) }
    }
}
