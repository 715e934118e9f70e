//! `/api/explain`: which route a request would take, and why, in the configuration in use.

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::{Answer, Refusal, as_json};
use super::{Admin, Asked};
use crate::explain::{CLIENT, Question};

/// `GET /api/explain`.
pub(super) async fn explain(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    let query = &asked.query;
    query.only(&["method", "url", "header*", "client", "listener"])?;
    let missing = || Refusal::bad("`url` is missing").cure("write /api/explain?url=http://host/path");
    let client = query.get("client").unwrap_or(CLIENT);
    let client: IpAddr = client
        .parse()
        .map_err(|_| Refusal::bad(format!("`{client}` is not an address; write one such as {CLIENT}")))?;
    let question = Question {
        method: query.get("method").unwrap_or("GET").to_owned(),
        url: query.get("url").ok_or_else(missing)?.to_owned(),
        headers: query.all("header").map(str::to_owned).collect(),
        client,
        listener: query.get("listener").map(str::to_owned),
    };
    let reloader = Arc::clone(&admin.sources.reloader);
    let explain = move || {
        let mut explained = question.ask(&reloader.snapshot(), reloader.listeners()).map_err(Refusal::bad)?;
        explained.redact(&reloader.in_use());
        as_json(&explained.json())
    };
    admin.bench.work(explain).await
}
