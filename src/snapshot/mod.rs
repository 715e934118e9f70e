//! Spec → [`Snapshot`]: everything that routing and forwarding need, compiled, immutable, swapped as one.

mod aim;
mod bodies;
mod compile;
mod decide;
mod entrance;
mod forwarding;
mod limits;
mod links;
mod matcher;
mod outward;
mod patience;
mod route;
mod sign_in;
mod steps;
mod target;
mod trace;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::LeftOut;
use crate::route::RouteTable;
use crate::route::public::Mount;
use crate::step::forwarded::TrustedProxies;
use crate::step::reserved::Reserved;
use crate::step::shared::Shared;
use crate::upstream::Upstream;

pub use aim::Find;
pub use compile::compile;
pub use decide::{Decision, Forwarding, Refusal, Request, Target, Verdict, path_of, query_of};
pub use limits::{Admitted, BODY_START, DRAIN_RATE, DRAIN_TIME, RouteLimits};
pub use outward::{Outward, Prefix};
pub use patience::{Retry, Timeouts};
pub use route::{Action, Entrance, Forward, HostHeader, Route, TargetRule, Wait};
pub use trace::Trace;

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the reloads of this process, from 1.
    pub generation: u64,
    /// A hash of the effective configuration, the same on every instance that has it.
    pub hash: String,
    /// What was left out because it is optional and not configured.
    pub left_out: Vec<LeftOut>,
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) tables: Tables,
    pub(crate) mounts: Arc<[Mount]>,
    pub(crate) trusted: TrustedProxies,
    pub(crate) reserved: Reserved,
    pub(crate) shared: Shared,
}

/// The routes of each listener.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    general: RouteTable,
    named: HashMap<String, RouteTable>,
}

impl Tables {
    /// The table of a listener: its own if some route names it, else the general one.
    fn of(&self, listener: Option<&str>) -> &RouteTable {
        listener.and_then(|name| self.named.get(name)).unwrap_or(&self.general)
    }
}

impl Snapshot {
    /// All routes, in the order in which they were written.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All upstreams.
    #[must_use]
    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Proxies before Pylon that are believed.
    #[must_use]
    pub fn trusted(&self) -> &TrustedProxies {
        &self.trusted
    }

    /// The headers that tell who asks: what clients send under their names does not pass.
    #[must_use]
    pub fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// What its steps keep.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The mounts of all routes, for the way back from upstream URLs.
    #[must_use]
    pub fn mounts(&self) -> &Arc<[Mount]> {
        &self.mounts
    }
}
