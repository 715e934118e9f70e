//! Bodies of any size in either direction, in constant memory.

use std::{collections::HashMap, convert::Infallible};

use axum::{
    Json,
    body::Body,
    extract::Query,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::site::hex;

/// How much of a download is sent at a time. It has no part in common with usual buffer sizes.
const PIECE: usize = 65_521;

/// Counts and hashes what is sent.
pub(super) async fn upload(body: Body) -> Response {
    let (mut count, mut hash) = (0u64, Sha256::new());
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "error": "It came only in part.", "bytes": count })))
                .into_response();
        };
        count += chunk.len() as u64;
        hash.update(&chunk);
    }
    Json(json!({ "bytes": count, "sha256": hex(&hash.finalize()) })).into_response()
}

/// Sends `?bytes=N` bytes, 1 MiB unless told.
pub(super) async fn download(Query(query): Query<HashMap<String, String>>) -> Response {
    let Ok(length) = query.get("bytes").map_or(Ok(1024 * 1024), |bytes| bytes.parse::<u64>()) else {
        return (StatusCode::BAD_REQUEST, "Write how many, as ?bytes=1000000\n").into_response();
    };
    let piece: Bytes = (0..=250).cycle().take(PIECE).collect();
    let chunks = stream::unfold((piece, length), async |(piece, left)| {
        let count = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        (count > 0).then(|| (Ok::<_, Infallible>(piece.slice(..count)), (piece, left - count as u64)))
    });
    let mut headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(length))]);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    (headers, Body::from_stream(chunks)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        routing::{get as on_get, post as on_post},
    };

    use super::*;
    use crate::demo::{
        site,
        testing::{ask, get},
    };

    #[tokio::test]
    async fn bodies_arrive_whole() {
        let listener = site::bind(0).await.unwrap();
        let portal = listener.local_addr().unwrap();
        site::serve(listener, Router::new().route("/upload", on_post(upload)).route("/download", on_get(download)));
        let sent = ask(portal, "POST /upload", "", b"abc").await.json();
        assert_eq!(sent["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let got = get(portal, "/download?bytes=300000").await;
        assert_eq!((got.body.len(), got.header("content-length")), (300_000, Some("300000")));
        assert_eq!(get(portal, "/download?bytes=0").await.body.len(), 0);
        assert_eq!(get(portal, "/download?bytes=x").await.status, 400);
    }
}
