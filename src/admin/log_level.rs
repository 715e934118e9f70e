//! `/api/log-level`: what is logged, and how to change it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, as_json};
use super::audit::audit;
use super::{Admin, Asked, query};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    channel: String,
    level: String,
}

/// `GET /api/log-level`.
pub(super) fn show(admin: &Admin, asked: &Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    levels(admin)
}

/// `POST /api/log-level`.
pub(super) fn set(admin: &Admin, asked: &Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let order: Order = query::body(&asked.body, r#"{"channel": "error", "level": "debug"}"#)?;
    let Order { channel, level } = order;
    // A change that silences the audit log is on record there itself: it is said before and after.
    audit("log level", asked.peer, &format!("{channel}={level} is asked for"));
    match admin.sources.logs.set_level(&channel, &level) {
        Ok(()) => {
            audit("log level", asked.peer, &format!("{channel}={level}"));
            levels(admin)
        }
        Err(why) => {
            audit("log level", asked.peer, &format!("refused: {why}"));
            Err(Refusal::bad(why))
        }
    }
}

fn levels(admin: &Admin) -> Result<Answer, Refusal> {
    let channels = admin.sources.logs.channels();
    let channels: Vec<Value> = channels
        .iter()
        .map(|c| json!({ "channel": c.channel, "target": c.target, "level": c.level, "levels": c.levels }))
        .collect();
    as_json(&json!({ "channels": channels }))
}
