//! Connections to the admin port. Nothing that a client does, or fails to do, keeps others out: headers, bodies, answers
//! and whole connections have their time and size, and whoever is idle gives up the seat when others come.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::Admin;
use super::answer::Refusal;
use super::seats::{Seat, Seats};

/// From the begin of a connection, or the end of the request before, to the end of the next header section.
const HEADER: Duration = Duration::from_secs(10);
/// How long a body may take, and how large it may be.
const BODY: Duration = Duration::from_secs(10);
const BODY_SIZE: usize = 64 * 1024;
/// The largest header section.
const HEADER_SIZE: usize = 64 * 1024;
/// A connection that is this old takes no further request.
const OLD: Duration = Duration::from_secs(60);
/// How long its last request may then take until its answer has been taken.
const LAST: Duration = Duration::from_secs(50);
/// How long what a client still sends is read, so that it sees why it was refused.
const LINGER: Duration = Duration::from_secs(2);
/// How long to wait when the system has no file descriptor for another connection.
const FULL: Duration = Duration::from_millis(100);

type Served = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

/// Accepts connections until the process ends, or hands the socket over.
pub(super) async fn serve(admin: Arc<Admin>, socket: TcpListener) {
    let seats = Arc::new(Seats::default());
    let mut is_told = false;
    let mut stop = admin.sources.lifecycle.stops();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            // The process that has taken the sockets over answers from now on.
            _ = stop.wait_for(|stop| *stop), if !is_told => {
                is_told = true;
                if admin.sources.lifecycle.is_handed_over() {
                    return;
                }
                continue;
            }
        };
        match accepted {
            Ok((tcp, peer)) => {
                let seat = Arc::new(seats.take().await);
                tokio::spawn(connection(Arc::clone(&admin), tcp, peer, seat));
            }
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    tracing::debug!(%error, "cannot accept a connection to the admin port");
                    tokio::time::sleep(FULL).await;
                }
            }
        }
    }
}

async fn connection(admin: Arc<Admin>, tcp: TcpStream, peer: SocketAddr, seat: Arc<Seat>) {
    let _ = tcp.set_nodelay(true);
    let of_requests = Arc::clone(&seat);
    let service = service_fn(move |request: Request<Incoming>| -> Served {
        let (admin, seat) = (Arc::clone(&admin), Arc::clone(&of_requests));
        Box::pin(async move { Ok(admin.answer(request, peer, &seat).await.map(Full::new)) })
    });
    let mut conn = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(HEADER_SIZE)
        .half_close(true)
        .serve_connection(TokioIo::new(tcp), service);
    let served = async {
        if let Ok(ended) = tokio::time::timeout(OLD, &mut conn).await {
            return ended.is_ok();
        }
        Pin::new(&mut conn).graceful_shutdown();
        tokio::time::timeout(LAST, &mut conn).await.is_ok_and(|ended| ended.is_ok())
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = seat.given_away() => false,
    };
    if ended {
        let tcp = conn.into_parts().io.into_inner();
        tokio::select! {
            _ = tokio::time::timeout(LINGER, linger(tcp)) => {}
            () = seat.given_away() => {}
        }
    }
}

/// Reads what a client still sends, until it has seen the end: a socket that is closed before takes the answer back.
async fn linger(mut tcp: TcpStream) {
    let mut scrap = [0; 8 * 1024];
    while tcp.read(&mut scrap).await.is_ok_and(|length| length > 0) {}
}

/// Reads a body whole.
pub(super) async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    let large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {BODY_SIZE} bytes"));
    if body.size_hint().lower() > BODY_SIZE as u64 {
        return Err(large());
    }
    match tokio::time::timeout(BODY, Limited::new(body, BODY_SIZE).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(large()),
        Ok(Err(_)) => Err(Refusal::bad("the body breaks off, or is not valid HTTP")),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}
