//! What an error says about an attempt.

use std::io;

use pingora::{Error, ErrorType, RetryType};

use crate::observe::Outcome;

/// The error of the system at the bottom of an error.
fn system_error(error: &Error) -> Option<&io::Error> {
    error.root_cause().downcast_ref::<io::Error>()
}

/// Whether the server was found to be another one, or to speak another protocol, than is configured; nothing was sent then.
pub(super) fn is_not_believed(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::InvalidCert | ErrorType::Custom("protocol"))
}

/// Whether the connection was closed or reset.
pub(super) fn is_closed(error: &Error) -> bool {
    match error.etype() {
        ErrorType::ConnectionClosed => true,
        ErrorType::ReadError | ErrorType::WriteError => system_error(error).is_some_and(|cause| {
            matches!(
                cause.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotConnected
            )
        }),
        _ => false,
    }
}

/// Whether an HTTP/2 server said that it did not process the request: `REFUSED_STREAM`, or a `GOAWAY` before it
/// (RFC 9113 §6.8, §8.7). Pingora says so by the type and the decision together.
pub(super) fn is_refused_stream(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::H2Error) && matches!(error.retry, RetryType::Decided(true))
}

/// Whether an HTTP/2 connection broke under the request.
pub(super) fn is_closed_h2(error: &Error) -> bool {
    matches!(error.retry, RetryType::ReusedOnly) && error.root_cause().is::<h2::Error>()
}

/// Whether the server answered what is no answer; it would do so again.
pub(super) fn is_answered_wrongly(error: &Error) -> bool {
    matches!(error.etype(), ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2)
        || system_error(error).is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

/// How a request ends that fails so before its answer.
pub(in crate::proxy) fn outcome(error: &Error) -> Outcome {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Outcome::ConnectTimeout,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => Outcome::TlsFailed,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError => Outcome::ConnectFailed,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::UpstreamTimeout,
        ErrorType::Custom("deadline") => Outcome::RequestTimeout,
        _ if system_error(error).is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) => {
            if in_words(error).contains("whole request") { Outcome::RequestTimeout } else { Outcome::UpstreamTimeout }
        }
        _ => Outcome::UpstreamBroken,
    }
}

/// An error in few words, for the log.
pub(in crate::proxy) fn in_words(error: &Error) -> String {
    match system_error(error) {
        Some(cause) if cause.raw_os_error().is_some() => format!("{}: {cause}", error.etype().as_str()),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}
