//! The loop of a connection: a parked socket until bytes come, then a session of Pingora's for one request, then parked again.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::HeaderValue;
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};

use super::Listener;
use super::accept::Seat;
use super::closing::{End, LINGER, close, say};
use super::connection::Connection;
use super::h1::{Body, HeadReader, take_head};
use super::h2::{Frames, PREFACE};
use super::lent::{Home, Lent, take_home};
use super::socket::Conn;
use crate::lifecycle::Lifecycle;
use crate::observe::{Metrics, OpenConnection, Protocol, Rejection, new_request_id};
use crate::upstream::intake;

/// A connection is parked for so long before it may be closed to make room for others.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// What all connections share.
pub(super) struct Edge<A> {
    /// Pingora's proxy.
    pub(super) app: Arc<A>,
    /// What is counted.
    pub(super) metrics: Metrics,
    /// Whether the process stops: idle connections are closed.
    pub(super) stop: watch::Receiver<bool>,
    /// Room for connections of the whole process.
    pub(super) connections: Arc<Semaphore>,
    /// Counts connections for the stop of the process.
    pub(super) lifecycle: Arc<Lifecycle>,
    /// Pingora's own.
    pub(super) shutdown: ShutdownWatch,
    /// Wakes the connection that has been idle for longest, when there is no room for another.
    pub(super) room: Notify,
}

/// What woke a parked connection.
enum Woken {
    Bytes,
    Gone,
    /// It is to be closed: idle for too long, the process stops, or others need the room.
    Close,
}

impl<A> Edge<A> {
    /// Ready when a connection has to be closed for one that waits.
    pub(super) async fn needs_room(&self, listener: &Listener) {
        loop {
            self.room.notified().await;
            // The call may be an old one, which nobody was there to hear.
            if self.connections.available_permits() == 0 || listener.room.is_full() {
                return;
            }
        }
    }

    /// Counts and logs what is turned away.
    /// Returns the id by which the log calls it.
    pub(super) fn reject(
        &self,
        info: &Connection,
        rejection: Rejection,
        request: Option<&RequestHeader>,
    ) -> HeaderValue {
        let id = new_request_id();
        if self.metrics.rejections().count(rejection) {
            tracing::warn!(
                id = id.to_str().unwrap_or_default(),
                reason = rejection.as_str(),
                status = rejection.status(),
                client = %info.peer,
                listener = %info.listener.address,
                method = request.map(|request| request.method.as_str()),
                "rejected: {}",
                rejection.detail()
            );
        }
        id
    }
}

/// Serves a connection from its first byte to its last.
pub(super) async fn serve<A>(
    edge: Arc<Edge<A>>,
    tcp: TcpStream,
    peer: SocketAddr,
    listener: Arc<Listener>,
    mut seat: Seat,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Some((mut conn, http2)) = Box::pin(super::opening::open(&edge, tcp, peer, listener, &mut seat.place)).await
    else {
        return;
    };
    let home = Home::default();
    if conn.io.is_tls() {
        seat.open.speaks(Protocol::spoken(http2, true));
    }
    let end = if http2 {
        conn.begin_frames(Frames::new(PREFACE.len()), conn.info.listener.timeouts.header);
        let info = Arc::clone(&conn.info);
        Box::pin(super::h2::serve(&edge, Lent::new(conn, &home), &info)).await;
        let Some(back) = take_home(&home) else { return };
        conn = back;
        End::Linger
    } else {
        match http1(&edge, conn, &home, &mut seat.open).await {
            Some((back, end)) => {
                conn = back;
                end
            }
            None => return,
        }
    };
    close(conn, end).await;
}

/// Serves requests of HTTP/1 until the connection ends; `None` where nothing of it is left.
async fn http1<A>(
    edge: &Arc<Edge<A>>,
    mut conn: Box<Conn>,
    home: &Home,
    open_connection: &mut OpenConnection,
) -> Option<(Box<Conn>, End)>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let info = Arc::clone(&conn.info);
    let listener = &info.listener;
    let mut first = true;
    loop {
        conn.settle();
        if conn.ahead.is_empty() {
            match park(edge, &mut conn, listener.timeouts.keep_alive).await {
                Woken::Bytes => {}
                Woken::Gone => return Some((conn, End::Gone)),
                Woken::Close => return Some((conn, End::Close)),
            }
        }
        if first && listener.tls.is_none() && begins_preface(&conn.ahead) {
            match preface(&mut conn, listener.timeouts.header).await {
                Some(true) => {
                    open_connection.speaks(Protocol::Http2);
                    conn.begin_frames(Frames::new(PREFACE.len()), listener.timeouts.header);
                    Box::pin(super::h2::serve(edge, Lent::new(conn, home), &info)).await;
                    return take_home(home).map(|conn| (conn, End::Linger));
                }
                Some(false) => {}
                None => return Some((conn, End::Gone)),
            }
        }
        if std::mem::take(&mut first) {
            open_connection.speaks(Protocol::spoken(false, conn.io.is_tls()));
        }
        let head = match read_head(&mut conn, listener).await {
            Ok(Some(head)) => head,
            Ok(None) => return Some((conn, End::Gone)),
            Err(rejection) => {
                let id = edge.reject(&info, rejection, None);
                let answer = super::refusal::http1(rejection, id.to_str().unwrap_or_default());
                let _ = tokio::time::timeout(LINGER, say(&mut conn, &answer)).await;
                return Some((conn, End::Linger));
            }
        };
        let section = take_head(&mut conn.ahead, &head);
        conn.begin_request(Body::new(head.framing), head.upgrade);
        // Boxed: while the connection is idle, nothing of it takes room.
        let kept = Box::pin(request(edge, Lent::new(conn, home), &info, section)).await;
        conn = take_home(home)?;
        if info.is_cut() {
            return Some((conn, End::Cut));
        }
        if !kept || !conn.is_read() {
            let unread = !conn.is_read() || !conn.ahead.is_empty();
            return Some((conn, if unread { End::Linger } else { End::Close }));
        }
    }
}

/// Serves one request; whether the connection can be used for another.
async fn request<A>(edge: &Arc<Edge<A>>, lent: Lent, info: &Arc<Connection>, section: BytesMut) -> bool
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut session = ServerSession::new_http1(Box::new(lent));
    session.set_pipelined_prefix(section);
    // How long is decided here, whether at all by the request and its answer.
    session.set_keepalive(Some(60));
    let kept = Arc::clone(info).carry(intake::serve(edge.app.process_new_http(session, &edge.shutdown))).await;
    kept.is_some()
}

/// Waits for the first byte of a request.
async fn park<A>(edge: &Edge<A>, conn: &mut Conn, time: Duration) -> Woken {
    let fresh = tokio::time::timeout(FRESH.min(time), poll_fn(|cx| fill(cx, conn))).await;
    match fresh {
        Ok(Ok(0) | Err(_)) => return Woken::Gone,
        Ok(Ok(_)) => return Woken::Bytes,
        Err(_) if time <= FRESH => return Woken::Close,
        Err(_) => {}
    }
    let mut stop = edge.stop.clone();
    let info = Arc::clone(&conn.info);
    tokio::select! {
        biased;
        read = tokio::time::timeout(time.saturating_sub(FRESH), poll_fn(|cx| fill(cx, conn))) => match read {
            Ok(Ok(0) | Err(_)) => Woken::Gone,
            Ok(Ok(_)) => Woken::Bytes,
            Err(_) => Woken::Close,
        },
        _ = stop.wait_for(|stop| *stop) => Woken::Close,
        () = edge.needs_room(&info.listener) => Woken::Close,
    }
}

fn fill(cx: &mut std::task::Context<'_>, conn: &mut Conn) -> Poll<io::Result<usize>> {
    conn.io.poll_fill(cx, &mut conn.ahead)
}

fn begins_preface(bytes: &[u8]) -> bool {
    let length = bytes.len().min(PREFACE.len());
    bytes[..length] == PREFACE[..length]
}

/// Whether the client speaks HTTP/2 (RFC 9113 §3.3); `None` when it is gone, or too late.
async fn preface(conn: &mut Conn, time: Duration) -> Option<bool> {
    let deadline = tokio::time::Instant::now() + time;
    while begins_preface(&conn.ahead) && conn.ahead.len() < PREFACE.len() {
        let read = tokio::time::timeout_at(deadline, poll_fn(|cx| fill(cx, conn))).await;
        match read {
            Ok(Ok(1..)) => {}
            _ => return None,
        }
    }
    Some(begins_preface(&conn.ahead))
}

/// Reads a header section whole; `None` when the client is gone.
async fn read_head(conn: &mut Conn, listener: &Listener) -> Result<Option<super::h1::Head>, Rejection> {
    let mut reader = HeadReader::default();
    let deadline = Instant::now() + listener.timeouts.header;
    loop {
        if let Some(head) = reader.read(&conn.ahead, &listener.head)? {
            return Ok(Some(head));
        }
        let read = tokio::time::timeout_at(deadline.into(), poll_fn(|cx| fill(cx, conn))).await;
        match read {
            Err(_) => return Err(Rejection::HeaderTimeout),
            Ok(Ok(0) | Err(_)) => return Ok(None),
            Ok(Ok(_)) => {}
        }
    }
}
