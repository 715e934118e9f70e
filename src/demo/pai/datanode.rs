//! The data node of HDFS: takes and gives the bytes of files.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::{
    blocks::Writer,
    files::{Files, Refusal},
    hdfs_call::{Call, Problem, operations},
    site,
};

/// The data node.
pub(super) fn router(files: Arc<Files>) -> Router {
    let home =
        || site::page("Data node", "", "<p>Only the name node knows what is here, under <code>/webhdfs/v1</code>.</p>");
    operations(any(data).with_state(files)).route("/", get(async move || home()))
}

async fn data(
    State(files): State<Arc<Files>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Body,
) -> Result<Response, Problem> {
    let call = Call::new(&method, &uri, query)?;
    match call.operation.as_str() {
        "PUT CREATE" => create(&files, &call, body).await,
        "POST APPEND" => append(&files, &call, body).await,
        "GET OPEN" => open(&files, &call),
        _ => Err(Problem::unsupported(&call)),
    }
}

async fn create(files: &Files, call: &Call, body: Body) -> Result<Response, Problem> {
    let refused = |refusal| call.refused(refusal);
    let overwrite = call.is_on("overwrite");
    let writer = take(files, body).await.map_err(refused)?;
    files.create(&call.path, writer, call.user(), overwrite).map_err(refused)?;
    // Hadoop's own scheme, as the real one answers: a name, not something to ask over HTTP.
    let escaped: String = call.path.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    let location = HeaderValue::try_from(format!("hdfs://127.0.0.1:8020{escaped}"));
    let mut answer = StatusCode::CREATED.into_response();
    answer.headers_mut().extend(location.map(|value| (header::LOCATION, value)));
    Ok(answer)
}

async fn append(files: &Files, call: &Call, body: Body) -> Result<Response, Problem> {
    let refused = |refusal| call.refused(refusal);
    files.content(&call.path).map_err(refused)?;
    let writer = take(files, body).await.map_err(refused)?;
    files.append(&call.path, writer).map_err(refused)?;
    Ok(StatusCode::OK.into_response())
}

/// Reads to the end even what there is no room for, so that the client comes to read the answer.
async fn take(files: &Files, body: Body) -> Result<Writer, Refusal> {
    let mut writer = files.budget().writer();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::Interrupted)?;
        writer = writer.and_then(|mut writer| writer.push(&chunk).map(|()| writer));
    }
    writer
}

fn open(files: &Files, call: &Call) -> Result<Response, Problem> {
    let content = files.content(&call.path).map_err(|refusal| call.refused(refusal))?;
    let offset = call.number("offset", 0)?;
    let rest = content.len().checked_sub(offset);
    let rest = rest.ok_or_else(|| Problem::illegal(format!("offset {offset} is past the end")))?;
    let length = call.number("length", rest)?.min(rest);
    let body = Body::from_stream(stream::iter(content.read(offset, length).map(Ok::<_, Infallible>)));
    let mut headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(length))]);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok((headers, body).into_response())
}
