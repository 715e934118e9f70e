//! `/api/drain`: out of service and back, without a request lost.

use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refusal, as_json};
use super::audit::audit;
use super::{Admin, Asked, query};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    drain: bool,
}

/// `GET /api/drain`.
pub(super) fn show(admin: &Admin, asked: &Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    state(admin)
}

/// `POST /api/drain`.
pub(super) fn set(admin: &Admin, asked: &Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let order: Order = query::body(&asked.body, r#"{"drain": true}"#)?;
    admin.sources.lifecycle.drain(order.drain);
    let (action, state_now) = (if order.drain { "drain" } else { "undo drain" }, admin.sources.lifecycle.state());
    audit(action, asked.peer, state_now.as_str());
    tracing::info!(state = state_now.as_str(), "{action}");
    state(admin)
}

fn state(admin: &Admin) -> Result<Answer, Refusal> {
    let lifecycle = &admin.sources.lifecycle;
    as_json(&json!({
        "state": lifecycle.state(),
        "requests_in_flight": lifecycle.under_way(),
        "connections": lifecycle.connections(),
    }))
}
