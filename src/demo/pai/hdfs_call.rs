//! What the nodes of HDFS are asked over HTTP, and how they refuse it.

use std::collections::HashMap;

use axum::{
    Json, Router,
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use http::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::files::Refusal;

const ROOT: &str = "/webhdfs/v1";

/// Leads every path of the file system to `handler`.
pub(super) fn operations(handler: MethodRouter) -> Router {
    let below = format!("{ROOT}/{{*path}}");
    let slash = format!("{ROOT}/");
    Router::new().route(ROOT, handler.clone()).route(&slash, handler.clone()).route(&below, handler)
}

/// An operation as a request names it.
pub(super) struct Call {
    /// Method and operation, as `GET OPEN`.
    pub(super) operation: String,
    pub(super) path: String,
    pub(super) query: HashMap<String, String>,
}

impl Call {
    pub(super) fn new(method: &Method, uri: &Uri, query: HashMap<String, String>) -> Result<Self, Problem> {
        let operation = format!("{method} {}", query.get("op").map(|op| op.to_uppercase()).unwrap_or_default());
        let encoded = uri.path().strip_prefix(ROOT).unwrap_or_default();
        let decoded = percent_decode_str(encoded).decode_utf8();
        let path = plain_path(&decoded.map_err(|_| Problem::illegal(format!("The path is not UTF-8: {encoded}")))?)?;
        Ok(Self { operation, path, query })
    }

    pub(super) fn user(&self) -> &str {
        self.query.get("user.name").map_or("dr.who", String::as_str)
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn number(&self, name: &str, default: u64) -> Result<u64, Problem> {
        let read =
            |text: &String| text.parse().map_err(|_| Problem::illegal(format!("{name} is not a number: {text}")));
        self.query.get(name).map_or(Ok(default), read)
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Problem {
        Problem::new(refusal, &self.path)
    }
}

/// The path without empty segments and without a slash at its end.
pub(super) fn plain_path(path: &str) -> Result<String, Problem> {
    let mut plain = String::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        if [".", ".."].contains(&segment) || segment.contains('\0') {
            return Err(Problem::illegal(format!("Invalid path name {path}")));
        }
        plain = plain + "/" + segment;
    }
    Ok(plain)
}

/// What HDFS calls a remote exception.
pub(super) struct Problem {
    status: StatusCode,
    exception: &'static str,
    package: &'static str,
    message: String,
}

impl Problem {
    fn new(refusal: Refusal, path: &str) -> Self {
        let path = if path.is_empty() { "/" } else { path };
        let (status, package, exception, why) = match refusal {
            Refusal::NotFound => (StatusCode::NOT_FOUND, "java.io", "FileNotFoundException", "does not exist"),
            Refusal::NotAFile => (StatusCode::NOT_FOUND, "java.io", "FileNotFoundException", "is not a file"),
            Refusal::Exists => {
                (StatusCode::FORBIDDEN, "org.apache.hadoop.fs", "FileAlreadyExistsException", "already exists")
            }
            Refusal::NotADirectory => {
                (StatusCode::FORBIDDEN, "org.apache.hadoop.fs", "ParentNotDirectoryException", "is below a file")
            }
            Refusal::NotEmpty => {
                (StatusCode::FORBIDDEN, "org.apache.hadoop.fs", "PathIsNotEmptyDirectoryException", "is not empty")
            }
            Refusal::Interrupted => (StatusCode::BAD_REQUEST, "java.io", "IOException", "came only in part"),
            Refusal::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "org.apache.hadoop.hdfs.protocol",
                "DSQuotaExceededException",
                "does not fit: the stand-in keeps 256 MiB in all, so delete something",
            ),
        };
        Self { status, exception, package, message: format!("{path} {why}") }
    }

    pub(super) fn illegal(message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, exception: "IllegalArgumentException", package: "java.lang", message }
    }

    pub(super) fn unsupported(call: &Call) -> Self {
        Self::illegal(format!("The stand-in has no operation {}", call.operation))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let class = format!("{}.{}", self.package, self.exception);
        let exception = json!({ "exception": self.exception, "javaClassName": class, "message": self.message });
        (self.status, Json(json!({ "RemoteException": exception }))).into_response()
    }
}
