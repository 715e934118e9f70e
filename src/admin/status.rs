//! `/api/status`: all that happens, in numbers.

use std::sync::Arc;

use super::answer::{Answer, Refusal, as_json};
use super::{Admin, Asked};

/// `GET /api/status`.
pub(super) async fn status(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let sources = admin.sources.clone();
    admin.bench.work(move || as_json(&sources.status())).await
}
