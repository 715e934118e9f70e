//! `/api/requests` and `/api/why/{id}`: what became of the last requests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::answer::{Answer, Refusal, as_json};
use super::{Admin, Asked};

/// How many requests are told of where nothing is said, and at most.
const SOME: usize = 50;
const MOST: usize = 500;

/// How often, and with which pauses, a request is looked for.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// `GET /api/requests`.
pub(super) async fn requests(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    let query = &asked.query;
    query.only(&["failed", "limit", "route"])?;
    let failed = match query.get("failed") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Refusal::bad(format!("failed: `{other}` is neither `true` nor `false`"))),
    };
    let limit = query.get("limit").map_or(Some(SOME), |limit| limit.parse().ok());
    let Some(limit @ 1..=MOST) = limit else {
        return Err(Refusal::bad(format!("limit: write a number from 1 to {MOST}")));
    };
    let route = query.get("route").map(str::to_owned);
    let (recorder, logs) = (Arc::clone(&admin.sources.recorder), Arc::clone(&admin.sources.logs));
    let tell = move || {
        recorder.catch_up();
        let records = recorder.last(limit, failed, route.as_deref());
        let records: Vec<_> = records.iter().map(|record| record.json(logs.secrets())).collect();
        as_json(&json!({ "requests": records }))
    };
    admin.bench.work(tell).await
}

/// `GET /api/why/{id}`.
pub(super) async fn why(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let (recorder, logs) = (Arc::clone(&admin.sources.recorder), Arc::clone(&admin.sources.logs));
    // Its answer may have gone out just now, and the record of it follows.
    for _ in 0..LOOKS {
        let (recorder, logs, id) = (Arc::clone(&recorder), Arc::clone(&logs), asked.id.clone());
        let tell = move || {
            recorder.catch_up();
            recorder.find(&id).map(|record| as_json(&record.json(logs.secrets()))).transpose()
        };
        if let Some(found) = admin.bench.work(tell).await? {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Refusal::new(StatusCode::NOT_FOUND, format!("no request `{}` is remembered", asked.id)).cure(
        "take the id from X-Request-Id of its answer; older requests are in the access log, and `recorder` says how many are \
         remembered; what was turned away before it was a request is in the error log",
    ))
}
