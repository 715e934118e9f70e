//! finish: answers of Pylon's own, errors, and the record of each request.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, STRICT_TRANSPORT_SECURITY};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};

use super::context::End;
use super::limits::{note, rejection_of};
use super::{Context, Gateway, admit};
use crate::observe::{Outcome, Rejections};
use crate::step::Headers;
use crate::step::errors::ErrorPages;
use crate::step::forwarded::X_REQUEST_ID;

/// How long the rest of an upload that was answered early is read, and left aside.
const UPLOAD_REST: std::time::Duration = std::time::Duration::from_secs(5);

/// Sends an answer of Pylon's own. A HEAD request gets its header section alone.
pub(super) async fn write_answer(
    session: &mut Session,
    ctx: &Context,
    mut header: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    if !matches!(header.status.as_u16(), 204 | 304) {
        header.insert_header(CONTENT_LENGTH, body.len().to_string())?;
    }
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    write_head(session, ctx, header, bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    end_answer(session, ctx).await;
    Ok(())
}

/// Sends what goes before the body of an answer of Pylon's own.
pub(super) async fn write_head(
    session: &mut Session,
    ctx: &Context,
    mut header: ResponseHeader,
    bodiless: bool,
) -> Result<()> {
    if let Some(hsts) = ctx.hsts() {
        header.insert_header(STRICT_TRANSPORT_SECURITY, hsts.clone())?;
    }
    admit::respond(&mut header, ctx);
    if !session.is_body_empty() {
        // The rest of an upload that nobody wants is not worth reading.
        session.set_keepalive(None);
    }
    session.write_response_header(Box::new(header), bodiless).await
}

/// Ends an answer of Pylon's own, which may have been given before the request was whole.
pub(super) async fn end_answer(session: &mut Session, ctx: &Context) {
    if session.req_header().version == http::Version::HTTP_2 && !session.is_body_empty() {
        // Clients that are sending when their stream is reset, though with NO_ERROR (RFC 9113 §8.1), may lose the answer.
        if let Some(pace) = &ctx.pace {
            pace.free();
        }
        let rest = session.as_downstream_mut().drain_request_body();
        let _ = tokio::time::timeout(UPLOAD_REST, rest).await;
    }
}

/// Answers with an error of Pylon's own.
pub(super) async fn refuse(session: &mut Session, ctx: &mut Context, status: StatusCode, detail: &str) -> Result<()> {
    refuse_with(session, ctx, status, detail, &[]).await
}

/// Answers with an error of Pylon's own; `extra` are headers that belong to it, such as `Allow` to a 405.
pub(super) async fn refuse_with(
    session: &mut Session,
    ctx: &mut Context,
    status: StatusCode,
    detail: &str,
    extra: &[(HeaderName, HeaderValue)],
) -> Result<()> {
    let accept = session.req_header().text(&ACCEPT).unwrap_or_default();
    let none = ErrorPages::default();
    let pages = ctx.route().map_or(&none, |route| &route.errors);
    let page = pages.page(status, accept, detail, &ctx.id());
    let mut header = ResponseHeader::build(page.status, Some(6))?;
    header.insert_header(CONTENT_TYPE, page.media_type)?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    header.insert_header(X_REQUEST_ID.clone(), ctx.request_id.clone())?;
    for (name, value) in extra {
        header.append_header(name.clone(), value.clone())?;
    }
    if let Some(after) = ctx.attempts.retry_after {
        header.insert_header(RETRY_AFTER, after.as_secs().max(1).to_string())?;
    }
    write_answer(session, ctx, header, page.body.into()).await
}

/// Ends a request that failed, with an error answer where the client can still get one.
pub(super) async fn fail(
    rejections: &Rejections,
    session: &mut Session,
    error: &Error,
    ctx: &mut Context,
) -> FailToProxy {
    // After 101 the connection is a tunnel: nothing of Pylon's belongs into it.
    let begun = session
        .response_written()
        .is_some_and(|r| !r.status.is_informational() || r.status == StatusCode::SWITCHING_PROTOCOLS);
    let rejection = rejection_of(error);
    let (status, detail) = match rejection {
        Some(rejection) => {
            note(rejections, ctx, rejection);
            (StatusCode::from_u16(rejection.status()).ok(), rejection.detail())
        }
        None => {
            if session.response_written().is_some_and(|r| r.status == StatusCode::SWITCHING_PROTOCOLS) {
                // Tunnels end as their ends like: closed, reset, or after a silence.
                ctx.outcome = Outcome::Upgraded;
                ctx.reason = Some(super::attempts::in_words(error));
            } else {
                classify(error, begun, ctx);
            }
            (ctx.outcome.error_status(), ctx.outcome.detail())
        }
    };
    if begun && let Some(connection) = &ctx.connection {
        // What was cut off must not look whole; on HTTP/2 the stream alone is reset.
        if session.req_header().version < http::Version::HTTP_2 {
            connection.cut();
        }
    }
    let status = status.filter(|_| !begun);
    if let Some(status) = status {
        session.set_keepalive(None);
        if let Err(error) = refuse(session, ctx, status, detail).await {
            tracing::debug!(%error, "the client is gone before its error answer");
        }
    }
    FailToProxy { error_code: status.map_or(0, |s| s.as_u16()), can_reuse_downstream: false }
}

/// Finds the outcome of a failure that no phase has named yet.
fn classify(error: &Error, begun: bool, ctx: &mut Context) {
    let named = !matches!(ctx.outcome, Outcome::Internal | Outcome::Forwarded | Outcome::Upgraded);
    let from_client = *error.esource() == ErrorSource::Downstream;
    if named && !from_client {
        return;
    }
    let gone = matches!(
        error.etype(),
        ErrorType::WriteError
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::H2Error
    );
    ctx.outcome = match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, _) if gone || begun => Outcome::ClientGone,
        (ErrorSource::Downstream, _) => Outcome::BadRequest,
        (ErrorSource::Upstream, _) if begun => Outcome::UpstreamCut,
        (ErrorSource::Upstream, _) => super::attempts::outcome(error),
        _ => Outcome::Internal,
    };
    ctx.reason = Some(super::attempts::in_words(error));
}

/// Counts and records a request that ended.
pub(super) fn record(gateway: &Gateway, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
    ctx.attempts.end();
    ctx.asked = None;
    let written = session.response_written().map(|response| response.status);
    let by_client = error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
    if (error.is_some() && ctx.outcome == Outcome::Forwarded) || (by_client && written.is_none()) {
        ctx.outcome = Outcome::ClientGone;
    }
    // Nobody was there to get the answer, unless there was none.
    let status = written.unwrap_or(match ctx.outcome {
        Outcome::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
    });
    if ctx.outcome.is_success() && ctx.outcome != Outcome::Upgraded {
        // What went wrong before is told of the attempt that it was.
        ctx.reason = None;
    }
    let failure = ctx.outcome.is_of_upstream().then_some(ctx.outcome);
    ctx.attempts.conclude(ctx.started, failure, ctx.reason.as_deref().filter(|_| failure.is_some()));
    let took = ctx.started.elapsed();
    let (received, sent) = (session.body_bytes_read(), session.body_bytes_sent());
    let end = End { method: &session.req_header().method, status, received, sent, took };
    ctx.ended(&end, gateway.metrics.no_route());
    gateway.journal.write(session, ctx, status, took);
}
