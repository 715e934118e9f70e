//! The name node of HDFS, over HTTP. It knows the tree; whoever creates, appends or opens a file is sent by a 307 to a
//! data node, which is on another port.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, RawQuery, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::{
    Addresses, Service,
    blocks::Content,
    files::{Entry, Files, Refusal},
    hdfs_call::{Call, Problem, operations, plain_path},
    hdfs_pages, site,
};

const BLOCK_SIZE: u64 = 128 * 1024 * 1024;

struct NameNode {
    datanode: SocketAddr,
    files: Arc<Files>,
}

/// The name node, with its dashboard.
pub(super) fn router(all: Addresses, files: Arc<Files>) -> Router {
    let state = Arc::new(NameNode { datanode: all.of(Service::DataNode), files: Arc::clone(&files) });
    operations(any(name).with_state(state)).merge(hdfs_pages::router(all, files))
}

async fn name(
    State(node): State<Arc<NameNode>>,
    method: Method,
    uri: Uri,
    RawQuery(raw): RawQuery,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let call = Call::new(&method, &uri, query)?;
    let checked = match call.operation.as_str() {
        "PUT CREATE" => node.files.may_create(&call.path, call.is_on("overwrite")),
        "GET OPEN" | "POST APPEND" => node.files.content(&call.path).map(drop),
        _ => return Ok(Json(answer(&node.files, &call)?).into_response()),
    };
    checked.map_err(|refusal| call.refused(refusal))?;
    Ok(node.send_on(&uri, raw))
}

impl NameNode {
    /// To the data node, with path and query as they came.
    fn send_on(&self, uri: &Uri, raw_query: Option<String>) -> Response {
        let (path, query) = (uri.path(), raw_query.unwrap_or_default());
        let location = format!("http://{}{path}?{query}&namenoderpcaddress=127.0.0.1:8020", self.datanode);
        site::redirect(StatusCode::TEMPORARY_REDIRECT, &location)
    }
}

/// Those operations that need the tree alone.
fn answer(files: &Files, call: &Call) -> Result<Value, Problem> {
    let refused = |refusal| call.refused(refusal);
    Ok(match call.operation.as_str() {
        "GET LISTSTATUS" => {
            let entries = files.list(&call.path).map_err(refused)?;
            let shown: Vec<_> = entries.iter().map(|(name, entry, count)| status(name, entry, *count)).collect();
            json!({ "FileStatuses": { "FileStatus": shown } })
        }
        "GET GETFILESTATUS" => {
            let (entry, count) = files.find(&call.path).ok_or(Refusal::NotFound).map_err(refused)?;
            json!({ "FileStatus": status("", &entry, count) })
        }
        "GET GETCONTENTSUMMARY" => {
            let sum = files.summary(&call.path).map_err(refused)?;
            json!({ "ContentSummary": {
                "directoryCount": sum.directories, "fileCount": sum.files, "length": sum.length,
                "quota": -1, "spaceConsumed": sum.length, "spaceQuota": -1,
            }})
        }
        "GET GETHOMEDIRECTORY" => json!({ "Path": format!("/user/{}", call.user()) }),
        "PUT MKDIRS" => {
            files.make_directories(&call.path, call.user()).map_err(refused)?;
            json!({ "boolean": true })
        }
        "PUT RENAME" => {
            let target = call.query.get("destination").filter(|target| target.starts_with('/'));
            let target =
                target.ok_or_else(|| Problem::illegal("Write the absolute path as destination=".to_owned()))?;
            json!({ "boolean": files.rename(&call.path, &plain_path(target)?).map_err(refused)? })
        }
        "DELETE DELETE" => {
            json!({ "boolean": files.delete(&call.path, call.is_on("recursive")).map_err(refused)? })
        }
        _ => return Err(Problem::unsupported(call)),
    })
}

fn status(name: &str, entry: &Entry, children: usize) -> Value {
    let (kind, permission) = if entry.content.is_some() { ("FILE", "644") } else { ("DIRECTORY", "755") };
    let is_file = u64::from(entry.content.is_some());
    json!({
        "pathSuffix": name, "type": kind, "permission": permission,
        "length": entry.content.as_ref().map_or(0, Content::len),
        "owner": &*entry.owner, "group": "supergroup", "fileId": entry.id, "childrenNum": children,
        "accessTime": entry.modified, "modificationTime": entry.modified,
        "blockSize": BLOCK_SIZE * is_file, "replication": is_file, "storagePolicy": 0,
    })
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::{ask, get};

    #[tokio::test]
    async fn a_file_goes_through_the_data_node() {
        let all = start().await.unwrap();
        let (name, data) = (all.addresses.of(Service::NameNode), all.addresses.of(Service::DataNode));
        let here = format!("http://{data}");
        let path = "/webhdfs/v1/tmp/a%20b%25%C3%A9";
        for (method, op, body, done) in [("PUT", "CREATE", "one,", 201), ("POST", "APPEND", "two", 200)] {
            let sent = ask(name, &format!("{method} {path}?op={op}"), "", b"").await;
            let location = sent.header("location").unwrap();
            assert_eq!(sent.status, 307);
            assert!(location.starts_with(&format!("{here}{path}?op={op}&namenoderpcaddress=")), "{location}");
            let target = location.strip_prefix(&here).unwrap();
            assert_eq!(ask(data, &format!("{method} {target}"), "", body.as_bytes()).await.status, done);
        }
        let opened = get(name, &format!("{path}?op=OPEN&offset=2&length=4")).await;
        let target = opened.header("location").unwrap().strip_prefix(&here).unwrap();
        assert_eq!(get(data, target).await.text(), "e,tw");

        let listed = get(name, "/webhdfs/v1/tmp/?op=LISTSTATUS").await.json();
        assert_eq!(listed["FileStatuses"]["FileStatus"][0]["pathSuffix"], "a b%é");
        let moved = ask(name, &format!("PUT {path}?op=RENAME&destination=/tmp/x%2525"), "", b"").await;
        assert_eq!(moved.json()["boolean"], true);
        assert_eq!(get(name, "/webhdfs/v1/tmp/x%2525?op=GETFILESTATUS").await.json()["FileStatus"]["length"], 7);
    }

    #[tokio::test]
    async fn refusals_are_remote_exceptions() {
        let all = start().await.unwrap();
        let name = all.addresses.of(Service::NameNode);
        let missing = get(name, "/webhdfs/v1/none?op=OPEN").await;
        assert_eq!(
            (missing.status, missing.json()["RemoteException"]["exception"].as_str()),
            (404, Some("FileNotFoundException"))
        );
        assert_eq!(get(name, "/webhdfs/v1/a/../b?op=GETFILESTATUS").await.status, 400);
        assert_eq!(ask(name, "PUT /webhdfs/v1/tmp?op=CREATE", "", b"").await.status, 403);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_and_forgotten() {
        let all = start().await.unwrap();
        let data = all.addresses.of(Service::DataNode);
        let large = vec![0; 257 * 1024 * 1024];
        assert_eq!(ask(data, "PUT /webhdfs/v1/large?op=CREATE", "", &large).await.status, 507);
        assert_eq!(ask(data, "PUT /webhdfs/v1/small?op=CREATE", "", b"x").await.status, 201);
    }
}
