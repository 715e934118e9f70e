//! Files: found and read beside the workers, and sent as fast as the client takes them.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_RANGE, LOCATION};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::Context;
use super::accept::origin_form;
use super::finish::{end_answer, refuse, refuse_with, write_answer, write_head};
use crate::observe::Outcome;
use crate::route::asker::Asker;
use crate::route::template::Values;
use crate::snapshot::{Action, Route, query_of};
use crate::step::files::{Asked, Files, Found, Head, PIECE, Segment, Served, Wanted};

/// Bytes of a body that are written at once over HTTP/2, where each write has its time.
const WRITE: usize = 16 * 1024;

/// Answers with a file.
pub(super) async fn serve(session: &mut Session, ctx: &mut Context, wanted: Wanted) -> Result<()> {
    let Some(route) = ctx.route().cloned() else { return Ok(()) };
    let Action::Files(files) = &route.action else { return Ok(()) };
    let request = session.req_header();
    if !matches!(request.method, Method::GET | Method::HEAD) {
        ctx.outcome = Outcome::Refused;
        ctx.reason = Some("files are answered to GET and HEAD alone".to_owned());
        let allow = (ALLOW, HeaderValue::from_static("GET, HEAD"));
        let detail = "this address does not take this method";
        return refuse_with(session, ctx, StatusCode::METHOD_NOT_ALLOWED, detail, &[allow]).await;
    }
    let codings = files.codings(&request.headers);
    let found = find(&route, wanted.clone(), codings).await;
    ctx.outcome = Outcome::Answered;
    match found {
        Err(error) => cannot_be_read(session, ctx, files, &wanted, &error).await,
        Ok(Found::Folder) => to_folder(session, ctx).await,
        Ok(Found::Nothing(None)) => refuse(session, ctx, StatusCode::NOT_FOUND, "there is no such file").await,
        Ok(Found::Nothing(Some(served))) => send(session, ctx, files, *served, Files::missing).await,
        Ok(Found::File(served)) => {
            let now = SystemTime::now();
            let request = session.req_header();
            let head = files.answer(&served, Asked { method: &request.method, headers: &request.headers, now });
            send(session, ctx, files, *served, |_| head).await
        }
    }
}

/// Looks for a file, beside the workers.
async fn find(route: &Arc<Route>, wanted: Wanted, codings: Vec<crate::config::ContentCoding>) -> io::Result<Found> {
    let route = Arc::clone(route);
    let look = move || match &route.action {
        Action::Files(files) => files.find(&wanted, &codings),
        _ => Ok(Found::Nothing(None)),
    };
    tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
}

async fn cannot_be_read(
    session: &mut Session,
    ctx: &mut Context,
    files: &Files,
    wanted: &Wanted,
    error: &io::Error,
) -> Result<()> {
    let path = files.whereabouts(wanted).unwrap_or_default();
    ctx.outcome = Outcome::FileFailed;
    ctx.reason = Some(format!("`{}` cannot be read: {error}", path.display()));
    let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
    let status = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::INTERNAL_SERVER_ERROR };
    refuse(session, ctx, status, Outcome::FileFailed.detail()).await
}

/// Sends the client to the path of a folder, which ends in a slash.
async fn to_folder(session: &mut Session, ctx: &mut Context) -> Result<()> {
    let path = ctx.decision.as_ref().map_or("", |decision| &decision.path);
    let target = std::str::from_utf8(session.req_header().raw_path()).unwrap_or_default();
    let (_, target) = origin_form(target);
    let location = format!("{}://{}{path}/{}", ctx.client.scheme, ctx.host, query_of(&target));
    let mut header = ResponseHeader::build(StatusCode::MOVED_PERMANENTLY, Some(4))?;
    header.insert_header(LOCATION, location)?;
    write_answer(session, ctx, header, Bytes::new()).await
}

/// Sends an answer, with the parts of the file that belong to it.
async fn send(
    session: &mut Session,
    ctx: &mut Context,
    files: &Files,
    served: Served,
    head: impl FnOnce(&Served) -> Head,
) -> Result<()> {
    let head = head(&served);
    if matches!(head.status, StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) {
        let detail = "the file is not in the state, or does not have the bytes, that the request asks for";
        let extra: Vec<_> =
            head.headers.get(CONTENT_RANGE).map(|size| (CONTENT_RANGE, size.clone())).into_iter().collect();
        return refuse_with(session, ctx, head.status, detail, &extra).await;
    }
    let mut header = ResponseHeader::build(head.status, Some(head.headers.len() + 4))?;
    for (name, value) in &head.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    let length: u64 = head.body.iter().map(Segment::length).sum();
    if head.status != StatusCode::NOT_MODIFIED {
        header.insert_header(CONTENT_LENGTH, length.to_string())?;
    }
    if let Some(decision) = &ctx.decision
        && let Some((_, found)) = &decision.route
    {
        let identity = ctx.identity().map(|identity| identity as &dyn Asker);
        let values = Values { path: &decision.path, found, scheme: ctx.client.scheme, host: &ctx.host, identity };
        files.response_headers.apply(&mut header, &values);
    }
    super::admit::answered(&header, ctx);
    let bodiless = length == 0 || session.req_header().method == Method::HEAD;
    write_head(session, ctx, header, bodiless).await.map_err(gone)?;
    if !bodiless {
        send_body(session, ctx, served, head.body, length).await?;
    }
    end_answer(session, ctx).await;
    Ok(())
}

async fn send_body(
    session: &mut Session,
    ctx: &mut Context,
    served: Served,
    body: Vec<Segment>,
    mut left: u64,
) -> Result<()> {
    let served = Arc::new(served);
    for segment in body {
        match segment {
            Segment::Text(text) => write(session, ctx, text, &mut left).await?,
            Segment::Part { start, length } => {
                let mut at = start;
                while at < start + length {
                    let wanted = (start + length - at).min(PIECE);
                    let piece = read(&served, at, wanted).await;
                    let piece = match piece {
                        Ok(piece) if piece.len() as u64 == wanted => piece,
                        Ok(_) => return Err(broken(ctx, "the file became shorter while it was sent".to_owned())),
                        Err(error) => return Err(broken(ctx, format!("the file cannot be read any more: {error}"))),
                    };
                    at += wanted;
                    write(session, ctx, piece, &mut left).await?;
                }
            }
        }
    }
    Ok(())
}

async fn read(served: &Arc<Served>, start: u64, length: u64) -> io::Result<Bytes> {
    let served = Arc::clone(served);
    tokio::task::spawn_blocking(move || served.read(start, length)).await.map_err(io::Error::other)?
}

/// Sends a piece; `left` are the bytes that are to go out, those of the piece among them.
async fn write(session: &mut Session, ctx: &mut Context, mut piece: Bytes, left: &mut u64) -> Result<()> {
    let most = if session.req_header().version == Version::HTTP_2 { WRITE } else { piece.len() };
    while !piece.is_empty() {
        let now = piece.split_to(most.min(piece.len()));
        *left -= now.len() as u64;
        ctx.send(Some(&now));
        session.write_response_body(Some(now), *left == 0).await.map_err(gone)?;
    }
    Ok(())
}

/// The client did not take what was sent to it.
fn gone(error: Box<Error>) -> Box<Error> {
    error.into_down()
}

/// The answer cannot be ended: what went out must not look whole.
fn broken(ctx: &mut Context, reason: String) -> Box<Error> {
    ctx.outcome = Outcome::FileFailed;
    ctx.reason = Some(reason);
    Error::explain(ErrorType::FileReadError, Outcome::FileFailed.detail())
}
