//! A route, compiled.

use std::sync::Arc;

use http::HeaderValue;

use super::patience::{Retry, Timeouts};

use crate::observe::{RouteInfo, RouteMetrics};
use crate::route::Matcher;
use crate::route::template::Template;
use crate::step::access::Access;
use crate::step::adapt::Adapt;
use crate::step::answer::Answer;
use crate::step::auth::Gate;
use crate::step::compress::Compress;
use crate::step::dynamic::Dynamic;
use crate::step::errors::ErrorPages;
use crate::step::etag::Tag;
use crate::step::files::Files;
use crate::step::headers::HeaderEdits;
use crate::step::identity::IdentityHeaders;
use crate::step::instance::InstanceRule;
use crate::step::limit::Limits;
use crate::step::redirect::Redirect;
use crate::step::substitute::Substitute;
use crate::upstream::{Outside, Patience, Upstream, Waits};

/// A route: what it matches, and what happens to a request that it wins.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// What it matches.
    pub matcher: Matcher,
    /// The listeners that it is served on; empty for all that are not dedicated.
    pub listeners: Vec<String>,
    /// What must hold before it does anything.
    pub entry: Entrance,
    /// What it does.
    pub action: Action,
    /// Bodies of Pylon's own errors.
    pub errors: ErrorPages,
    /// How much it takes.
    pub limits: super::RouteLimits,
    /// `Strict-Transport-Security` of https answers.
    pub hsts: Option<HeaderValue>,
    /// What is told of it in records.
    pub info: Arc<RouteInfo>,
    /// Its metrics, resolved.
    pub metrics: RouteMetrics,
}

/// What must hold before a route does anything.
#[derive(Debug, Default)]
pub struct Entrance {
    /// Which addresses may pass.
    pub access: Option<Access>,
    /// Who may pass.
    pub gate: Option<Gate>,
    /// How often.
    pub limits: Option<Limits>,
}

impl Entrance {
    /// Whether anything must hold.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.access.is_none() && self.gate.is_none() && self.limits.is_none()
    }

    /// The steps that are switched on, in the order in which they run.
    #[must_use]
    pub fn steps(&self) -> Vec<&'static str> {
        let mut steps = Vec::new();
        steps.extend(self.access.as_ref().map(|_| "access"));
        let limits = self.limits.as_ref();
        steps.extend(limits.filter(|limits| limits.asks_before_auth()).map(|_| "limit"));
        steps.extend(self.gate.iter().flat_map(Gate::keys));
        steps.extend(limits.filter(|limits| limits.asks_after_auth()).map(|_| "limit"));
        steps
    }
}

/// What a route does with a request.
#[derive(Debug)]
pub enum Action {
    /// Answers it.
    Answer(Answer),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers it with files.
    Files(Box<Files>),
    /// Forwards it.
    Forward(Box<Forward>),
}

impl Action {
    /// What it consists of, in words.
    #[must_use]
    pub fn steps(&self) -> Vec<&'static str> {
        match self {
            Self::Answer(_) => vec!["answer"],
            Self::Redirect(_) => vec!["redirect"],
            Self::Files(_) => vec!["static"],
            Self::Forward(forward) => forward.steps(),
        }
    }

    /// The pool that it forwards to.
    #[must_use]
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Forward(forward) => match &forward.target {
                TargetRule::Pool(upstream) => Some(upstream),
                TargetRule::Dynamic(_) | TargetRule::Instance(_) => None,
            },
            _ => None,
        }
    }
}

/// How a route forwards.
#[derive(Debug)]
pub struct Forward {
    /// Where to.
    pub target: TargetRule,
    /// How servers are connected to that no pool has.
    pub outside: Outside,
    /// How long those are waited for.
    pub wait: Option<Wait>,
    /// Where to, when they cannot be reached.
    pub fallback: Option<Arc<Upstream>>,
    /// The path towards the upstream.
    pub rewrite: Option<Template>,
    /// Whether the target goes out byte for byte.
    pub raw_target: bool,
    /// The `Host` towards the upstream.
    pub host: HostHeader,
    /// The public prefix that the upstream does not see, for each path pattern.
    pub prefixes: Vec<super::Prefix>,
    /// The same, where the target stands for this machine.
    pub local_prefixes: Vec<super::Prefix>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// When it is tried again.
    pub retry: Retry,
    /// Headers that tell who asks.
    pub identity: IdentityHeaders,
    /// Changes of request headers.
    pub request_headers: HeaderEdits,
    /// Changes of response headers.
    pub response_headers: HeaderEdits,
    /// What is mapped back.
    pub adapt: Adapt,
    /// Replacements in bodies.
    pub substitute: Option<Substitute>,
    /// The tag of its ETags.
    pub etag: Option<Tag>,
    /// Compression of bodies.
    pub compress: Option<Compress>,
    /// Whether gRPC-Web is translated.
    pub grpc_web: bool,
}

impl Forward {
    /// The steps that are switched on, in the order in which they run.
    #[must_use]
    pub fn steps(&self) -> Vec<&'static str> {
        let steps = [
            ("dynamic", matches!(self.target, TargetRule::Dynamic(_))),
            ("instance", matches!(self.target, TargetRule::Instance(_))),
            ("wait for", self.wait.is_some()),
            ("fallback", self.fallback.is_some()),
            ("forwarded headers", true),
            ("rewrite", self.rewrite.is_some()),
            ("raw target", self.raw_target),
            ("identity", self.identity.names().next().is_some()),
            ("request headers", !self.request_headers.is_empty()),
            ("response headers", !self.response_headers.is_empty()),
            ("adapt location", self.adapt.location),
            ("adapt cookies", self.adapt.cookies),
            ("adapt html", self.adapt.html),
            ("substitute", self.substitute.is_some()),
            ("etag", self.etag.is_some()),
            ("compress", self.compress.is_some()),
            ("grpc web", self.grpc_web),
        ];
        steps.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }

    /// Whether bodies may be changed, so that they must come whole and not compressed.
    #[must_use]
    pub fn changes_bodies(&self) -> bool {
        self.substitute.is_some() || self.adapt.html
    }
}

/// How long a route waits for servers that do not take connections yet.
#[derive(Debug)]
pub struct Wait {
    /// How long.
    pub patience: Patience,
    /// What is known of servers that were waited for.
    pub waits: Arc<Waits>,
}

/// Where a route forwards to.
#[derive(Debug)]
pub enum TargetRule {
    /// A pool.
    Pool(Arc<Upstream>),
    /// An address that the request names.
    Dynamic(Box<Dynamic>),
    /// An instance that is registered.
    Instance(InstanceRule),
}

impl TargetRule {
    /// The pool, where it is one.
    #[must_use]
    pub fn pool(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Pool(upstream) => Some(upstream),
            _ => None,
        }
    }

    /// Whether its servers are spoken to in HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self, Self::Pool(upstream) if upstream.is_h2())
    }
}

/// The `Host` towards the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The endpoint's own `host:port`.
    Upstream,
    /// What the client sent.
    Client,
    /// A fixed name.
    Fixed(HeaderValue),
}
