//! What the stand-ins have in common: sockets, pages, streams and echoes.

use std::{convert::Infallible, io, net::Ipv4Addr, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::{Html, IntoResponse, Response},
    serve::ListenerExt,
};
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use serde_json::json;
use tokio::{net::TcpListener, time::sleep};

/// The media type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream";

/// Listens on `port` of 127.0.0.1, or on any free one when that is taken.
pub(super) async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(_) if port != 0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        bound => bound,
    }
}

/// Serves `router` until the runtime stops.
pub(super) fn serve(listener: TcpListener, router: Router) {
    let listener = listener.tap_io(|tcp| {
        // Without it a stream's small chunks wait for acknowledgements; it is slower, not wrong, where this fails.
        let _ = tcp.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// A page: `head` holds the links to its own style sheet and script, in the form that its service is known for.
pub(super) fn page(title: &str, head: &str, body: &str) -> Response {
    Html(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n{head}\n</head>\n<body>\n<header><h1>{title}</h1>\n\
         <p>A stand-in. <span id=\"script\">Its script did not load.</span></p></header>\n{body}\n</body>\n</html>\n"
    ))
    .into_response()
}

/// The style sheet of all pages.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css"))
}

/// A script that says on the page that it was loaded.
pub(super) async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        "document.getElementById(\"script\").textContent = \"Its style sheet and script came the same way.\";\n",
    )
}

/// A redirect with just this status and Location.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response {
    (status, [(header::LOCATION, location)]).into_response()
}

/// What an API answers when it does not know the path.
pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "code": "NotFound", "message": "No such path here." }))).into_response()
}

/// Streams what `line` gives for 0, 1, 2…, one a second and the first at once, until it gives nothing.
pub(super) fn every_second<F>(media_type: &'static str, line: F) -> Response
where
    F: FnMut(u64) -> Option<String> + Send + 'static,
{
    let lines = stream::unfold((line, 0), |(mut line, n)| async move {
        if n > 0 {
            sleep(Duration::from_secs(1)).await;
        }
        let text = line(n)?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), (line, n + 1)))
    });
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(lines)).into_response()
}

/// A counter as server-sent events.
pub(super) async fn events() -> Response {
    every_second(EVENTS, |n| Some(format!("id: {n}\nevent: tick\ndata: {{\"tick\":{n}}}\n\n")))
}

/// A WebSocket that sends back what it is sent.
pub(super) async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_all)
}

async fn echo_all(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// As hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// `text` with the characters that HTML gives a meaning written as references.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_replaced() {
        let first = bind(0).await.unwrap().local_addr().unwrap();
        let holder = bind(first.port()).await.unwrap();
        let second = bind(holder.local_addr().unwrap().port()).await.unwrap();
        assert_ne!(holder.local_addr().unwrap(), second.local_addr().unwrap());
    }

    #[test]
    fn markup_and_digits() {
        assert_eq!(escape("<a href='x'>&"), "&lt;a href=&#39;x&#39;&gt;&amp;");
        assert_eq!(hex(&[0, 0x1f, 0xab]), "001fab");
    }
}
