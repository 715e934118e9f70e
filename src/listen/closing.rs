//! How a connection ends, so that the client gets all that was said to it.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use super::socket::Conn;

/// How long a client that was answered before it had sent all may go on, and how much, so that it reads the answer.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 512 * 1024;

/// How a connection ends.
pub(super) enum End {
    /// The client closed it, or it broke.
    Gone,
    /// It is closed; nothing of the client's is unread.
    Close,
    /// It is closed while the client may be sending.
    Linger,
    /// It is reset.
    Cut,
}

/// Sends bytes of our own.
pub(super) async fn say(conn: &mut Conn, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| conn.io.poll_write(cx, &[], bytes)).await?;
        if written == 0 {
            return Ok(());
        }
        bytes = &bytes[written..];
    }
    poll_fn(|cx| conn.io.poll_flush(cx)).await
}

/// Ends a connection.
pub(super) async fn close(mut conn: Box<Conn>, end: End) {
    match end {
        End::Gone => {}
        End::Cut => {
            let _ = rustix::net::sockopt::set_socket_linger(conn.io.tcp(), Some(Duration::ZERO));
        }
        End::Close | End::Linger => {
            let lingering = matches!(end, End::Linger);
            let _ = tokio::time::timeout(LINGER, goodbye(&mut conn, lingering)).await;
        }
    }
}

/// Sends what is left, says that no more comes, and reads on for a while: what is unread when a socket is closed resets the
/// connection, and the client loses the answer (RFC 9112 §9.6).
async fn goodbye(conn: &mut Conn, lingering: bool) -> io::Result<()> {
    poll_fn(|cx| conn.poll_send(cx)).await?;
    poll_fn(|cx| conn.io.poll_shutdown(cx)).await?;
    let mut read = 0;
    while lingering && read < LINGER_BYTES {
        conn.ahead.clear();
        match poll_fn(|cx| conn.io.poll_fill(cx, &mut conn.ahead)).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}
