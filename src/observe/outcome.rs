//! How a request ended: one closed enum from which status, log field and metric label derive.

use http::StatusCode;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An upstream answered, and the answer went out whole.
    Forwarded,
    /// Two ways were opened between client and upstream (101), and one end closed.
    Upgraded,
    /// Pylon answered by itself: a fixed answer or a redirect.
    Answered,
    /// The decision refused it: bad path, no route, method, target.
    Refused,
    /// The request breaks HTTP.
    BadRequest,
    /// The request breaks a rule of HTTP or a limit, and was turned away; the reason tells which.
    Rejected,
    /// It is not proven who asks.
    Unauthenticated,
    /// Who asks may not.
    Forbidden,
    /// It cannot be found out at the moment who asks.
    AuthUnavailable,
    /// There were more requests than may be.
    Limited,
    /// No address of the upstream is known.
    NoServer,
    /// The upstream has as many requests as it may have.
    Overloaded,
    /// Most requests to the upstream fail, so that none is sent for a while.
    BreakerOpen,
    /// The name of a dynamic target does not resolve.
    Unresolved,
    /// The address that a name stands for is not in the allow-list.
    AddressRefused,
    /// No connection could be made.
    ConnectFailed,
    /// No connection came about in time.
    ConnectTimeout,
    /// The upstream's certificate is not believed, or TLS failed otherwise.
    TlsFailed,
    /// The upstream kept silent for too long before its answer.
    UpstreamTimeout,
    /// The time for the whole request was over.
    RequestTimeout,
    /// The upstream closed, or sent what is not HTTP, before its answer.
    UpstreamBroken,
    /// The upstream failed after its answer had begun; the client's was cut off.
    UpstreamCut,
    /// A body could not be adapted; the client's answer was cut off or replaced by an error.
    AdaptFailed,
    /// A file could not be read, or became shorter while it was sent.
    FileFailed,
    /// The client went away.
    ClientGone,
    /// A fault of Pylon's own.
    Internal,
}

impl Outcome {
    /// All of them, in their order.
    pub const ALL: &'static [Self] = &[
        Self::Forwarded,
        Self::Upgraded,
        Self::Answered,
        Self::Refused,
        Self::BadRequest,
        Self::Rejected,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::AuthUnavailable,
        Self::Limited,
        Self::NoServer,
        Self::Overloaded,
        Self::BreakerOpen,
        Self::Unresolved,
        Self::AddressRefused,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::TlsFailed,
        Self::UpstreamTimeout,
        Self::RequestTimeout,
        Self::UpstreamBroken,
        Self::UpstreamCut,
        Self::AdaptFailed,
        Self::FileFailed,
        Self::ClientGone,
        Self::Internal,
    ];

    /// Whether the client got what it asked for.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Forwarded | Self::Upgraded | Self::Answered)
    }

    /// Whether it did not, and not by its own fault.
    #[must_use]
    pub fn is_failure(self) -> bool {
        let own = matches!(
            self,
            Self::Refused
                | Self::BadRequest
                | Self::Rejected
                | Self::Unauthenticated
                | Self::Forbidden
                | Self::Limited
                | Self::ClientGone
        );
        !own && !self.is_success()
    }

    /// Whether it says that a server could not or may not be reached, so that another one can stand in for it.
    #[must_use]
    pub fn may_fall_back(self) -> bool {
        matches!(self, Self::Unresolved | Self::AddressRefused | Self::ConnectFailed | Self::ConnectTimeout)
    }

    /// Whether it is how an attempt fails, at the upstream or on the way to it.
    #[must_use]
    pub fn is_of_upstream(self) -> bool {
        matches!(
            self,
            Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::TlsFailed
                | Self::UpstreamTimeout
                | Self::RequestTimeout
                | Self::UpstreamBroken
                | Self::UpstreamCut
        )
    }

    /// What that means, for operators.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Forwarded => "An upstream answered, and the answer went out whole.",
            Self::Upgraded => "Client and upstream were connected with each other (101) until one of them closed.",
            Self::Answered => "Pylon answered by itself, as the route says.",
            Self::Refused => "The decision refused it: no route, a bad path, a method or a target that is not allowed.",
            Self::BadRequest => "The client broke off, or sent what is not HTTP.",
            Self::Rejected => "The request breaks a rule of HTTP or a limit.",
            Self::Unauthenticated => "The request did not prove who asks, or with credentials that are not good.",
            Self::Forbidden => "Who asks is known, or from where, and the route is not open to them.",
            Self::AuthUnavailable => "It could not be found out who asks: look at the identity service of the route.",
            Self::Limited => "There were more requests than the route's `limit` allows.",
            Self::NoServer => "No address of the upstream is known: look at its endpoints and at name resolution.",
            Self::Overloaded => "The upstream had as many requests as its limit allows, and so had its queue.",
            Self::BreakerOpen => "Most requests to the upstream failed before, so that none was sent.",
            Self::Unresolved => "The name of the target does not resolve.",
            Self::AddressRefused => "The name stands for an address that the route's `allow` does not have.",
            Self::ConnectFailed => "No connection to the upstream could be made: is the server running?",
            Self::ConnectTimeout => "No connection to the upstream came about in time: is the network open?",
            Self::TlsFailed => "The upstream's certificate is not believed, or TLS failed otherwise.",
            Self::UpstreamTimeout => "The upstream kept silent for longer than `timeouts` allows.",
            Self::RequestTimeout => "The whole request took longer than `timeouts.request` allows.",
            Self::UpstreamBroken => "The upstream closed, or sent what is not HTTP, before it answered.",
            Self::UpstreamCut => "The upstream failed after its answer had begun; the client's was cut off.",
            Self::AdaptFailed => "The answer's body could not be adapted; it was cut off.",
            Self::FileFailed => "A file could not be read, or became shorter while it was sent.",
            Self::ClientGone => "The client went away before the answer was whole.",
            Self::Internal => "A fault of Pylon's own: please report it.",
        }
    }

    /// The word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Upgraded => "upgraded",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::BadRequest => "bad_request",
            Self::Rejected => "rejected",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::AuthUnavailable => "auth_unavailable",
            Self::Limited => "limited",
            Self::NoServer => "no_server",
            Self::Overloaded => "overloaded",
            Self::BreakerOpen => "breaker_open",
            Self::Unresolved => "unresolved",
            Self::AddressRefused => "address_refused",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamCut => "upstream_cut",
            Self::AdaptFailed => "adapt_failed",
            Self::FileFailed => "file_failed",
            Self::ClientGone => "client_gone",
            Self::Internal => "internal",
        }
    }

    /// The status that the client gets for an error; `None` where nobody is there to get it, or no error.
    #[must_use]
    pub fn error_status(self) -> Option<StatusCode> {
        match self {
            Self::Forwarded
            | Self::Upgraded
            | Self::Answered
            | Self::Refused
            | Self::Rejected
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::Limited
            | Self::ClientGone => None,
            Self::BadRequest => Some(StatusCode::BAD_REQUEST),
            Self::NoServer | Self::Overloaded | Self::BreakerOpen | Self::AuthUnavailable => {
                Some(StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::AddressRefused => Some(StatusCode::FORBIDDEN),
            Self::Unresolved
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::UpstreamBroken
            | Self::UpstreamCut
            | Self::AdaptFailed => Some(StatusCode::BAD_GATEWAY),
            Self::ConnectTimeout | Self::UpstreamTimeout | Self::RequestTimeout => Some(StatusCode::GATEWAY_TIMEOUT),
            Self::FileFailed | Self::Internal => Some(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// What the client may know of an error.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is not valid HTTP",
            Self::NoServer => "the service has no server at the moment",
            Self::Overloaded => "the service has as many requests as it can take",
            Self::BreakerOpen => "the service fails at the moment",
            Self::Unresolved => "the server's name is not known",
            Self::AddressRefused => "this target is not published",
            Self::ConnectFailed => "the service cannot be reached",
            Self::ConnectTimeout => "the service could not be reached in time",
            Self::UpstreamTimeout | Self::RequestTimeout => "the service did not answer in time",
            Self::TlsFailed => "the service cannot be trusted",
            Self::UpstreamBroken | Self::UpstreamCut => "the service broke off or did not answer in HTTP",
            Self::AdaptFailed => "the service's answer could not be read",
            Self::FileFailed => "the file could not be read",
            _ => "the request could not be completed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stand_in_their_order() {
        assert!(Outcome::ALL.iter().enumerate().all(|(at, outcome)| *outcome as usize == at));
        assert_eq!(*Outcome::ALL.last().unwrap(), Outcome::Internal);
    }
}
