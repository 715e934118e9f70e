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
    /// The client went away.
    ClientGone,
    /// A fault of Pylon's own.
    Internal,
}

impl Outcome {
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
            Self::ClientGone => "client_gone",
            Self::Internal => "internal",
        }
    }

    /// The status that the client gets for an error; `None` where nobody is there to get it, or no error.
    #[must_use]
    pub fn error_status(self) -> Option<StatusCode> {
        match self {
            Self::Forwarded | Self::Upgraded | Self::Answered | Self::Refused | Self::Rejected | Self::ClientGone => {
                None
            }
            Self::BadRequest => Some(StatusCode::BAD_REQUEST),
            Self::NoServer | Self::Overloaded | Self::BreakerOpen => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::AddressRefused => Some(StatusCode::FORBIDDEN),
            Self::Unresolved
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::UpstreamBroken
            | Self::UpstreamCut
            | Self::AdaptFailed => Some(StatusCode::BAD_GATEWAY),
            Self::ConnectTimeout | Self::UpstreamTimeout | Self::RequestTimeout => Some(StatusCode::GATEWAY_TIMEOUT),
            Self::Internal => Some(StatusCode::INTERNAL_SERVER_ERROR),
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
            _ => "the request could not be completed",
        }
    }
}
