//! `/api/config` and `/api/reload`: the configuration in use, and another one.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refusal, as_json, json_with};
use super::audit::audit;
use super::{Admin, Asked, query};

/// What a reload is told: nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// `GET /api/config`.
pub(super) async fn show(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let reloader = Arc::clone(&admin.sources.reloader);
    let show = move || {
        let snapshot = reloader.snapshot();
        let effective = reloader.effective().map_err(|error| {
            let message = format!("the configuration cannot be written: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        as_json(&json!({
            "source": reloader.source().to_string(),
            "generation": snapshot.generation,
            "hash": snapshot.hash,
            "left_out": snapshot.left_out,
            "effective": effective,
        }))
    };
    admin.bench.work(show).await
}

/// `POST /api/reload`.
pub(super) async fn reload(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    if !asked.body.is_empty() {
        let Nothing {} = query::body(&asked.body, "{}, or nothing")?;
    }
    let Ok(place) = Arc::clone(&admin.reloads).try_acquire_owned() else {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "several reloads are under way already");
        return Err(refusal.cure("wait for them; each takes over what the files hold by then"));
    };
    // Not given up when the caller leaves: a reload is done, or not.
    let reloader = Arc::clone(&admin.sources.reloader);
    let reload = async move {
        let done = reloader.reload().await;
        drop(place);
        done
    };
    let done = tokio::spawn(reload).await;
    match done {
        Ok(Ok(done)) => {
            let what = if done.changed { "taken over" } else { "unchanged" };
            audit("reload", asked.peer, &format!("{what}, generation {}, hash {}", done.generation, done.hash));
            as_json(&done)
        }
        Ok(Err(report)) => {
            audit("reload", asked.peer, &format!("refused, {} problems", report.problems().len()));
            json_with(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "problems": report }))
        }
        Err(error) => {
            audit("reload", asked.peer, "failed");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the reload failed: {error}")))
        }
    }
}
