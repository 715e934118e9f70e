//! Why a connection or a request was turned away before, or against, any decision: a closed enum from which status, log
//! field and metric label derive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::families::Family;

macro_rules! rejections {
    ($($(#[$doc:meta])* $name:ident $status:literal $label:literal $detail:literal,)+) => {
        /// Why a connection or a request was turned away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rejection { $($(#[$doc])* $name,)+ }

        impl Rejection {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The status of the answer; 0 where the connection is closed without one.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The word in logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// What is wrong, in words.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)+ }
            }
        }
    };
}

rejections! {
    /// RFC 9112 §2.2: lines end in CRLF; a bare CR or LF is read differently by different servers.
    LineEnding 400 "line_ending" "a line does not end in CRLF",
    /// RFC 9112 §3.
    RequestLine 400 "request_line" "the request line is not `METHOD target HTTP/1.1`",
    /// Neither HTTP/1 nor HTTP/2: an answer in either would mean nothing.
    NotHttp 0 "not_http" "this is not HTTP",
    /// RFC 9110 §9.1.
    Method 400 "method" "the method is not a token",
    /// RFC 9110 §9.3.6 and §9.3.8, or a method longer than any.
    MethodNotImplemented 501 "method_not_implemented" "this method is not served here",
    /// RFC 9112 §3.2.
    Target 400 "target" "the request target has characters or a form that it must not have",
    /// RFC 9110 §15.5.15.
    TargetTooLong 414 "target_too_long" "the request target is too long",
    /// RFC 9110 §15.6.6.
    Version 505 "version" "this version of HTTP is not served here",
    /// RFC 9112 §5.1.
    HeaderName 400 "header_name" "a header has a name that it must not have",
    /// RFC 9110 §5.5.
    HeaderValue 400 "header_value" "a header has a control character in its value",
    /// RFC 9112 §5.2.
    FoldedHeader 400 "folded_header" "a header goes on in a second line",
    /// RFC 6585 §5.
    HeaderTooLarge 431 "header_too_large" "the header section is too large",
    /// RFC 6585 §5.
    TooManyHeaders 431 "too_many_headers" "there are too many headers",
    /// RFC 9112 §3.2.
    Host 400 "host" "the Host header is missing, is not a host, is there twice, or differs from the target",
    /// RFC 9112 §6.3.
    Length 400 "content_length" "Content-Length is not one number",
    /// RFC 9112 §6.1.
    LengthWithEncoding 400 "length_with_encoding" "Content-Length and Transfer-Encoding exclude each other",
    /// RFC 9112 §6.1.
    Encoding 400 "transfer_encoding" "Transfer-Encoding is not valid",
    /// RFC 9112 §6.1.
    EncodingNotImplemented 501 "transfer_encoding_not_implemented" "only the transfer coding chunked is served here",
    /// RFC 9110 §10.1.1.
    Expectation 417 "expectation" "only the expectation 100-continue is known here",
    /// RFC 9110 §7.6.1.
    Connection 400 "connection" "the Connection header names a header that is not of the connection",
    /// RFC 9112 §7.1.
    Chunk 400 "chunk" "the chunks of the body are not valid",
    /// A TLS handshake where HTTP is spoken.
    TlsOnPlain 400 "tls_on_plain_port" "this port speaks HTTP without TLS",
    /// RFC 9113 §8.
    Http2Request 400 "http2_request" "the request is not valid in HTTP/2",
    /// The header section did not come in time.
    HeaderTimeout 408 "header_timeout" "the header section did not come in time",
    /// The body did not come in time.
    BodyTimeout 408 "body_timeout" "the body did not come in time",
    /// The body came, but too slowly.
    BodyTooSlow 408 "body_too_slow" "the body comes too slowly",
    /// RFC 9110 §15.5.14.
    BodyTooLarge 413 "body_too_large" "the body is larger than this route takes",
    /// RFC 9110 §15.5.20.
    Misdirected 421 "misdirected" "this connection's certificate does not cover that host",
    /// The route has as many requests as it takes.
    RouteBusy 503 "route_busy" "the route has as many requests as it can take",
    /// The client takes its answer too slowly, or not at all.
    SlowReader 0 "slow_reader" "the client takes its answer too slowly",
    /// The PROXY header is missing or not valid.
    ProxyHeader 0 "proxy_header" "the PROXY header is missing or not valid",
    /// The PROXY header did not come in time.
    ProxyHeaderTimeout 0 "proxy_header_timeout" "the PROXY header did not come in time",
    /// Only proxies may connect to this listener, and this is none.
    NotThroughProxy 0 "not_through_proxy" "only trusted proxies may connect to this listener",
    /// The TLS handshake failed.
    Handshake 0 "tls_handshake" "the TLS handshake failed",
    /// The TLS handshake took too long.
    HandshakeTimeout 0 "tls_handshake_timeout" "the TLS handshake took too long",
    /// The client has as many connections as it may have.
    ClientConnections 0 "client_connections" "the client has as many connections as it may have",
    /// Frames that cost work and carry none.
    Http2Flood 0 "http2_flood" "the client sends frames that only cost work",
    /// Requests that are reset as soon as they are made.
    Http2Resets 0 "http2_resets" "the client resets too many of its requests",
    /// The connection breaks the rules of HTTP/2.
    Http2Protocol 0 "http2_protocol" "the connection breaks the rules of HTTP/2",
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for std::io::Error {
    fn from(rejection: Rejection) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, rejection)
    }
}

/// Counts rejections by reason, and says how many of them may be logged.
#[derive(Debug, Clone)]
pub struct Rejections {
    counters: Arc<[AtomicU64]>,
    budget: Arc<LineBudget>,
}

impl Default for Rejections {
    fn default() -> Self {
        let counters = Rejection::ALL.iter().map(|_| AtomicU64::default()).collect();
        Self { counters, budget: Arc::default() }
    }
}

/// Lines that are logged a second at most; an attack must not fill the disk.
const LINES_A_SECOND: u64 = 100;

#[derive(Debug, Default)]
struct LineBudget {
    /// The second, in the upper half; the lines in it, in the lower.
    state: AtomicU64,
}

impl LineBudget {
    /// Whether one more line may be logged, in this second.
    fn take(&self, second: u64) -> bool {
        let taken = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (then, lines) = (state >> 32, state & 0xffff_ffff);
            let second = second & 0xffff_ffff;
            if then == second { (lines < LINES_A_SECOND).then_some(state + 1) } else { Some((second << 32) | 1) }
        });
        taken.is_ok()
    }
}

impl Rejections {
    /// Counts a rejection; `true` when it may be logged.
    #[must_use]
    pub fn count(&self, rejection: Rejection) -> bool {
        let at = Rejection::ALL.iter().position(|one| *one == rejection).unwrap_or_default();
        if let Some(counter) = self.counters.get(at) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.budget.take(now.map_or(0, |time| time.as_secs()))
    }

    /// How many were turned away for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Rejection, u64)> {
        Rejection::ALL.iter().zip(&*self.counters).map(|(one, count)| (*one, count.load(Ordering::Relaxed)))
    }

    /// The family.
    pub(super) fn family(&self) -> Family {
        let help = "Connections and requests that were turned away, by reason.";
        let mut family = Family::counter("pylon_rejected_total", help);
        self.counts().for_each(|(one, count)| family.push_count(&[("reason", one.as_str())], count));
        family
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_and_differ() {
        let labels: std::collections::HashSet<_> = Rejection::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(labels.len(), Rejection::ALL.len());
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'2')));
    }

    #[test]
    fn a_second_has_so_many_lines() {
        let budget = LineBudget::default();
        assert_eq!((0..300).filter(|_| budget.take(7)).count() as u64, LINES_A_SECOND);
        assert!(budget.take(8));
    }
}
