//! The decision: which route, why, and what results. A pure function of a snapshot and a request.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use super::{Action, Route, Snapshot};
use crate::route::template::Values;
use crate::route::{Capture, Match, PathError, RequestPath, RouteTable};
use crate::step::dynamic::{Arrived, Cookies, DynamicTarget};
use crate::step::files::Wanted;
use crate::upstream::Upstream;

/// What the decision sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target (path and query), byte for byte.
    pub target: &'a str,
    /// The authority that the client named, with its port.
    pub host: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// `http` or `https`, as the client sees it.
    pub scheme: &'static str,
    /// Where it came in.
    pub arrived: Arrived,
    /// The name of the listener, where it has one.
    pub listener: Option<&'a str>,
    /// Whether the listener sends everything to https.
    pub redirect_to_https: bool,
}

/// What was decided, and all that later steps need to fill templates in.
#[derive(Debug)]
pub struct Decision {
    /// The route that won, with what its pattern captured.
    pub route: Option<(Arc<Route>, Match)>,
    /// The normalised path.
    pub path: String,
    /// What is to be done.
    pub verdict: Verdict,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// The route's own answer.
    Answer,
    /// A redirect.
    Redirect {
        /// Its status.
        status: StatusCode,
        /// Where to.
        location: String,
    },
    /// A file, if it is there.
    File(Wanted),
    /// An upstream.
    Forward(Forwarding),
    /// No.
    Refuse(Refusal),
}

/// How a request is forwarded.
#[derive(Debug)]
pub struct Forwarding {
    /// Where to.
    pub target: Target,
    /// The path below the endpoint's base path, without query; `None`: as the target came.
    pub path: Option<String>,
}

/// Where a request is forwarded to.
#[derive(Debug)]
pub enum Target {
    /// A pool.
    Pool(Arc<Upstream>),
    /// An address that the request named, or at which an instance is.
    Address(DynamicTarget),
    /// It depends on who asks, or on what is registered: [`Decision::aim`] tells it. Holds the cookies that name it.
    Pending(Cookies),
}

/// Why a request is refused before any upstream sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The target is no path.
    BadPath(PathError),
    /// The path can be read in two ways that lead to different places.
    AmbiguousPath,
    /// No route matches.
    NoRoute,
    /// Routes match, but for other methods.
    MethodNotAllowed(Vec<Method>),
    /// Host or port of a dynamic target are not such.
    BadTarget,
    /// What names a dynamic target besides the path is not there, or names none.
    UnfitTarget(&'static str),
    /// No instance of this name is registered.
    NoInstance,
    /// Who asks may not enter the instance.
    NotAdmitted,
    /// The allow-list does not have the dynamic target.
    TargetNotAllowed {
        /// The entry that would allow it.
        entry: String,
    },
}

impl Refusal {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadPath(_) | Self::AmbiguousPath | Self::BadTarget => StatusCode::BAD_REQUEST,
            Self::NoRoute | Self::NoInstance => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetNotAllowed { .. } | Self::UnfitTarget(_) | Self::NotAdmitted => StatusCode::FORBIDDEN,
        }
    }

    /// What the client may know.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::BadPath(error) => error.to_string(),
            Self::AmbiguousPath => {
                "the path can be read in two ways that lead to different services; write slashes and dots unencoded"
                    .to_owned()
            }
            Self::NoRoute => "no service is published at this address".to_owned(),
            Self::MethodNotAllowed(_) => "this address does not take this method".to_owned(),
            Self::BadTarget => "host and port in the path are not a host and a port".to_owned(),
            Self::NoInstance => "no service is registered under this name".to_owned(),
            Self::NotAdmitted => "this service is somebody else's".to_owned(),
            Self::TargetNotAllowed { .. } | Self::UnfitTarget(_) => "this target is not published".to_owned(),
        }
    }
}

impl Decision {
    /// What templates are filled in with.
    #[must_use]
    pub fn values<'a>(&'a self, found: &'a Match, request: &Request<'a>) -> Values<'a> {
        Values { path: &self.path, found, scheme: request.scheme, host: request.host, identity: None }
    }
}

impl Snapshot {
    /// Decides about a request: the one function behind the data path, `explain` and the flight recorder.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let raw_path = path_of(request.target);
        let path = match RequestPath::parse(raw_path) {
            Ok(path) => path,
            Err(error) => {
                let verdict = Verdict::Refuse(Refusal::BadPath(error));
                return Decision { route: None, path: raw_path.to_owned(), verdict };
            }
        };
        if request.redirect_to_https && path.as_str() != "/healthz" {
            let verdict = to_https(request);
            return Decision { route: None, path: path.as_str().to_owned(), verdict };
        }
        let table = self.tables.of(request.listener);
        let found = self.find(table, request, path.as_str());
        if self.is_ambiguous(table, request, &path, found.as_ref()) {
            let verdict = Verdict::Refuse(Refusal::AmbiguousPath);
            return Decision { route: None, path: path.as_str().to_owned(), verdict };
        }
        let Some(found) = found else {
            let verdict = Verdict::Refuse(self.nothing_found(table, request, path.as_str()));
            return Decision { route: None, path: path.as_str().to_owned(), verdict };
        };
        let route = Arc::clone(&self.routes[found.route]);
        let values =
            Values { path: path.as_str(), found: &found, scheme: request.scheme, host: request.host, identity: None };
        let verdict = verdict(&route, request, &values, path.is_changed());
        Decision { path: path.as_str().to_owned(), route: Some((route, found)), verdict }
    }

    fn find(&self, table: &RouteTable, request: &Request<'_>, path: &str) -> Option<Match> {
        table
            .find(request.host, path, |route| self.routes[route].matcher.accepts(request.method, request.headers, path))
    }

    /// Whether the most lenient reading of the path leads elsewhere: to another route, or with other captures.
    fn is_ambiguous(
        &self,
        table: &RouteTable,
        request: &Request<'_>,
        path: &RequestPath<'_>,
        found: Option<&Match>,
    ) -> bool {
        let Some(lenient) = path.lenient() else {
            return false;
        };
        let Ok(lenient) = lenient else {
            return true;
        };
        let other = self.find(table, request, lenient.as_str());
        match (found, other) {
            (None, None) => false,
            (Some(strict), Some(other)) => {
                strict.route != other.route || captured(strict, path.as_str()) != captured(&other, lenient.as_str())
            }
            _ => true,
        }
    }

    /// Whether some route would take the request with another method.
    fn nothing_found(&self, table: &RouteTable, request: &Request<'_>, path: &str) -> Refusal {
        let mut methods: Vec<Method> = Vec::new();
        table.find(request.host, path, |route| {
            let matcher = &self.routes[route].matcher;
            if !matcher.accepts_method(request.method) && matcher.accepts_path(path) {
                methods.extend(matcher.methods.iter().cloned());
            }
            false
        });
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        if methods.is_empty() { Refusal::NoRoute } else { Refusal::MethodNotAllowed(methods) }
    }
}

/// The path part of a request target.
#[must_use]
pub fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// The query of a request target with its `?`, or nothing.
#[must_use]
pub fn query_of(target: &str) -> &str {
    target.find('?').map_or("", |at| &target[at..])
}

fn captured(found: &Match, path: &str) -> Vec<Vec<u8>> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect();
    let text = |capture: &Capture| match capture {
        Capture::Range(start, end) => decode(path.get(*start..*end).unwrap_or_default()),
        Capture::Text(text) => text.clone().into_bytes(),
    };
    found.captures.iter().map(text).collect()
}

fn to_https(request: &Request<'_>) -> Verdict {
    let host = crate::route::host::split_port(request.host).0;
    Verdict::Redirect { status: StatusCode::TEMPORARY_REDIRECT, location: format!("https://{host}{}", request.target) }
}

fn verdict(route: &Route, request: &Request<'_>, values: &Values<'_>, path_changed: bool) -> Verdict {
    match &route.action {
        Action::Answer(_) => Verdict::Answer,
        Action::Redirect(redirect) => {
            Verdict::Redirect { status: redirect.status, location: redirect.location(values, query_of(request.target)) }
        }
        Action::Files(files) => Verdict::File(files.wanted(values)),
        Action::Forward(forward) => match forward.target(values, request) {
            Err(refusal) => Verdict::Refuse(refusal),
            Ok(target) => Verdict::Forward(Forwarding { path: forward.path(&target, values, path_changed), target }),
        },
    }
}
