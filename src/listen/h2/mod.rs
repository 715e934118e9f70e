//! HTTP/2 to clients: the connection's loop over its streams.

mod frames;

pub use frames::{Frames, PREFACE};

use std::sync::Arc;
use std::time::Duration;

use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use tokio::sync::Notify;

use super::connection::Connection;
use super::lent::Lent;
use super::serve::Edge;
use crate::observe::Rejection;

/// Requests that are not valid HTTP before a connection is given up.
const INVALID: usize = 32;
/// Streams that the client may have reset, or made Pylon reset, while they wait to be looked at.
const WAITING_RESETS: usize = 50;

/// How much of HTTP/2 a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at a time.
    pub streams: u32,
    /// How long a connection without requests is kept.
    pub idle: Duration,
}

/// The options of a connection; `header` bounds the decoded header section of a request.
fn options(limits: &Http2Limits, header: u32) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(header)
        .initial_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buffer_size(64 * 1024)
        .max_concurrent_reset_streams(WAITING_RESETS)
        .max_pending_accept_reset_streams(WAITING_RESETS)
        .max_local_error_reset_streams(Some(WAITING_RESETS));
    options
}

/// Why a connection ends.
enum End {
    /// Client or network ended it.
    Gone,
    /// Nothing happened for long enough, or the process stops.
    Done,
    /// The client is turned away.
    Rejected(Rejection),
}

/// Counts the requests of a connection.
#[derive(Default)]
struct Active {
    count: std::sync::atomic::AtomicUsize,
    ended: Notify,
}

/// A request under way.
struct Stream(Arc<Active>);

impl Active {
    fn begin(self: &Arc<Self>) -> Stream {
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Stream(Arc::clone(self))
    }

    fn is_idle(&self) -> bool {
        self.count.load(std::sync::atomic::Ordering::Relaxed) == 0
    }

    /// Ready when no request has been under way for so long.
    async fn idle(&self, time: Duration) {
        loop {
            if self.is_idle() {
                let over = tokio::time::timeout(time, self.ended.notified()).await.is_err();
                if over && self.is_idle() {
                    return;
                }
            } else {
                self.ended.notified().await;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            self.0.ended.notify_one();
        }
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve<A>(edge: &Arc<Edge<A>>, lent: Lent, info: &Arc<Connection>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let listener = &info.listener;
    let header = u32::try_from(listener.head.size).unwrap_or(u32::MAX);
    let digest = Arc::new(Digest {
        ssl_digest: None,
        timing_digest: Vec::new(),
        proxy_digest: None,
        socket_digest: pingora::protocols::GetSocketDigest::get_socket_digest(&lent),
    });
    let opened = handshake(Box::new(lent), Some(options(&listener.http2, header)));
    let mut connection = match tokio::time::timeout(listener.timeouts.header, opened).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            edge.reject(info, rejection_of(&error).unwrap_or(Rejection::Http2Protocol), None);
            return;
        }
        Err(_) => {
            edge.reject(info, Rejection::HeaderTimeout, None);
            return;
        }
    };
    let active = Arc::new(Active::default());
    let end = run(edge, &mut connection, &digest, info, &active).await;
    let reason = match &end {
        End::Gone => None,
        End::Done => Some(Reason::NO_ERROR),
        End::Rejected(Rejection::Http2Flood | Rejection::Http2Resets) => Some(Reason::ENHANCE_YOUR_CALM),
        End::Rejected(_) => Some(Reason::PROTOCOL_ERROR),
    };
    if let End::Rejected(rejection) = end {
        edge.reject(info, rejection, None);
    }
    if let Some(reason) = reason {
        connection.abrupt_shutdown(reason);
        let goodbye = std::future::poll_fn(|cx| connection.poll_closed(cx));
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

/// The rejection behind an error of the HTTP/2 library, where it is one of the socket's.
fn rejection_of(error: &pingora::Error) -> Option<Rejection> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.root_cause());
    while let Some(error) = cause {
        if let Some(rejection) = error.downcast_ref::<Rejection>() {
            return Some(*rejection);
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.get_ref()?.downcast_ref::<Rejection>().copied();
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return match h2.get_io() {
                Some(io) => io.get_ref()?.downcast_ref::<Rejection>().copied(),
                None if h2.reason() == Some(Reason::ENHANCE_YOUR_CALM) => Some(Rejection::Http2Flood),
                None if h2.is_library() => Some(Rejection::Http2Protocol),
                None => None,
            };
        }
        cause = error.source();
    }
    None
}

async fn run<A>(
    edge: &Arc<Edge<A>>,
    connection: &mut h2::server::Connection<pingora::protocols::Stream, bytes::Bytes>,
    digest: &Arc<Digest>,
    info: &Arc<Connection>,
    active: &Arc<Active>,
) -> End
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut invalid = 0;
    let (mut stopping, mut leaving) = (false, false);
    let (mut stop, mut drain) = (edge.stop.clone(), edge.lifecycle.drains());
    // A client that is told to go elsewhere before its first request would come back at once.
    let mut served = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
                continue;
            }
            _ = drain.wait_for(|drain| *drain), if served && !leaving && !stopping => {
                leaving = true;
                connection.graceful_shutdown();
                continue;
            }
            accepted = HttpSession::from_h2_conn(connection, Arc::clone(digest)) => accepted,
            rejection = info.turned_away() => return End::Rejected(rejection),
            () = active.idle(info.listener.http2.idle) => return End::Done,
            () = makes_room(edge, active, info) => return End::Done,
        };
        match accepted {
            Err(error) => return rejection_of(&error).map_or(End::Gone, End::Rejected),
            Ok(None) => return End::Gone,
            Ok(Some(H2Accept::Rejected)) => {
                edge.reject(info, Rejection::Http2Request, None);
                invalid += 1;
                if invalid >= INVALID {
                    return End::Rejected(Rejection::Http2Protocol);
                }
            }
            Ok(Some(H2Accept::Session(session))) => {
                served = true;
                let stream = active.begin();
                let (edge, info) = (Arc::clone(edge), Arc::clone(info));
                tokio::spawn(async move {
                    answer(&edge, info, session).await;
                    drop(stream);
                });
            }
        }
    }
}

/// Ready when the connection has no request and others need its place.
async fn makes_room<A>(edge: &Edge<A>, active: &Active, info: &Connection) {
    active.idle(super::serve::FRESH).await;
    edge.needs_room(&info.listener).await;
}

/// Serves one request.
async fn answer<A>(edge: &Arc<Edge<A>>, info: Arc<Connection>, session: HttpSession)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut session = session;
    let mut refusal = check(session.req_header(), &info);
    if refusal.is_ok() && announces_nothing(session.req_header()) {
        // Only the end of the stream may follow.
        let next = tokio::time::timeout(info.listener.timeouts.header, session.read_body_bytes()).await;
        if !matches!(&next, Ok(Ok(piece)) if piece.as_ref().is_none_or(bytes::Bytes::is_empty)) {
            refusal = Err(Rejection::Length);
        }
    }
    let mut session = ServerSession::new_http2(session);
    if let Err(rejection) = refusal {
        let id = edge.reject(&info, rejection, Some(session.req_header()));
        let _ = tokio::time::timeout(info.listener.timeouts.header, refuse(&mut session, rejection, id)).await;
        return;
    }
    let request = edge.app.process_new_http(session, &edge.shutdown);
    super::pace::carry(info, request, |info, rejection| {
        edge.reject(info, rejection, None);
    })
    .await;
}

fn announces_nothing(request: &pingora::http::RequestHeader) -> bool {
    request.headers.get(http::header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0")
}

async fn refuse(session: &mut ServerSession, rejection: Rejection, id: http::HeaderValue) -> pingora::Result<()> {
    let body = super::refusal::body(rejection);
    let mut header = ResponseHeader::build(rejection.status(), Some(3))?;
    header.insert_header("content-type", "text/plain; charset=utf-8")?;
    header.insert_header("cache-control", "no-store")?;
    header.insert_header("x-request-id", id)?;
    header.insert_header("content-length", body.len().to_string())?;
    session.write_response_header(Box::new(header)).await?;
    session.write_response_body(body.into(), true).await
}

/// What HTTP/2 lets through and no server behind Pylon should see (RFC 9113 §8.2, §8.3).
fn check(request: &pingora::http::RequestHeader, info: &Connection) -> Result<(), Rejection> {
    use http::header::{CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
    if matches!(request.method, http::Method::CONNECT | http::Method::TRACE) {
        return Err(Rejection::MethodNotImplemented);
    }
    let headers = &request.headers;
    let scheme = request.uri.scheme_str();
    if !matches!(scheme, Some("http" | "https")) && (scheme.is_some() || request.uri.authority().is_some()) {
        return Err(Rejection::Http2Request);
    }
    if headers.get_all(http::header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(Rejection::Length);
    }
    if headers.keys().any(|name| !name.as_str().bytes().all(super::h1::is_tchar)) {
        return Err(Rejection::HeaderName);
    }
    let of_connection = [CONNECTION, TRANSFER_ENCODING, UPGRADE];
    if of_connection.iter().any(|name| headers.contains_key(name))
        || ["keep-alive", "proxy-connection"].iter().any(|name| headers.contains_key(*name))
        || headers.get_all(TE).iter().any(|te| !te.as_bytes().eq_ignore_ascii_case(b"trailers"))
    {
        return Err(Rejection::Http2Request);
    }
    if headers.get(EXPECT).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::Expectation);
    }
    let limits = &info.listener.head;
    if headers.len() > limits.headers {
        return Err(Rejection::TooManyHeaders);
    }
    let target = request.raw_path();
    if target.len() > limits.target {
        return Err(Rejection::TargetTooLong);
    }
    let begins = target.first() == Some(&b'/') || (target == b"*" && request.method == http::Method::OPTIONS);
    if !begins || target.iter().any(|b| matches!(b, 0..=0x20 | 0x7f | b'"' | b'#' | b'<' | b'>')) {
        return Err(Rejection::Target);
    }
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = headers.get(HOST).map(http::HeaderValue::as_bytes);
    if ![authority, host].into_iter().flatten().all(super::authority::is_authority) {
        return Err(Rejection::Host);
    }
    if headers.iter().any(|(_, value)| value.as_bytes().iter().any(|b| !super::h1::is_value(*b))) {
        return Err(Rejection::HeaderValue);
    }
    Ok(())
}
