//! `/api/instances`: servers that come and go, put there by whoever starts and stops them.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, as_json, json_with};
use super::audit::audit;
use super::{Admin, Asked};
use crate::instance::{Change, Condition, Done, Entry, NotDone, Wanted, check_name};

/// A body that would do.
const EXAMPLE: &str = r#"{"address": "http://10.0.0.5:8787", "owner": "ann", "groups": ["staff"], "ttl": "60s"}"#;

/// `GET /api/instances`.
pub(super) async fn list(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&["group", "limit", "owner"])?;
    let limit = match asked.query.get("limit").map(str::parse::<usize>) {
        None => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            return Err(Refusal::bad("limit: it is no number; write how many are wanted at most, such as 100"));
        }
    };
    let registry = Arc::clone(&admin.sources.instances);
    let tell = move || {
        let of = |known: Option<&str>, wanted: Option<&str>| wanted.is_none_or(|wanted| known == Some(wanted));
        let (owner, group) = (asked.query.get("owner"), asked.query.get("group"));
        let mut entries = registry.entries();
        entries.retain(|entry| {
            let instance = &entry.instance;
            of(instance.owner.as_deref(), owner) && group.is_none_or(|group| instance.groups.iter().any(|g| g == group))
        });
        as_json(&json!({
            "store": registry.kind(),
            "durable": registry.is_durable(),
            "trouble": registry.trouble(),
            "total": entries.len(),
            "instances": entries.iter().take(limit).map(shown).collect::<Vec<_>>(),
        }))
    };
    admin.bench.work(tell).await
}

/// `GET /api/instances/{name}`.
pub(super) fn show(admin: &Admin, asked: &Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    check_name(&asked.id).map_err(Refusal::bad)?;
    let entry = admin.sources.instances.entry(&asked.id).ok_or_else(|| refusal(NotDone::Missing))?;
    answer(admin, StatusCode::OK, &entry)
}

/// `PUT /api/instances/{name}`: the same again is a heartbeat.
pub(super) async fn put(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    let checked = asked.query.only(&[]).and_then(|()| {
        check_name(&asked.id).map_err(Refusal::bad)?;
        let wanted = Wanted::parse(&asked.body, admin.sources.instances.allow());
        let wanted = wanted.map_err(|why| Refusal::bad(why).cure(format!("send JSON such as {EXAMPLE}")))?;
        Ok(Change { name: asked.id.clone(), wanted: Some(wanted), condition: condition(&asked.headers)? })
    });
    let (entry, done) = make(&admin, &asked, "put instance", checked).await?;
    answer(&admin, if done == Done::Created { StatusCode::CREATED } else { StatusCode::OK }, &entry)
}

/// `DELETE /api/instances/{name}`.
pub(super) async fn remove(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    let checked = asked.query.only(&[]).and_then(|()| {
        check_name(&asked.id).map_err(Refusal::bad)?;
        if !asked.body.is_empty() {
            return Err(Refusal::bad("there is a body").cure("send none: the path says which instance goes"));
        }
        Ok(Change { name: asked.id.clone(), wanted: None, condition: condition(&asked.headers)? })
    });
    let (entry, _) = make(&admin, &asked, "remove instance", checked).await?;
    answer(&admin, StatusCode::OK, &entry)
}

/// Makes a change, and has it on record whether or not somebody still waits for it. Heartbeats, which change nothing, are
/// not on record.
async fn make(
    admin: &Arc<Admin>,
    asked: &Asked,
    action: &'static str,
    change: Result<Change, Refusal>,
) -> Result<(Entry, Done), Refusal> {
    let (registry, peer) = (Arc::clone(&admin.sources.instances), asked.peer);
    let name: String = asked.id.chars().take(64).collect();
    let change =
        change.inspect_err(|refusal| audit(action, peer, &format!("{name:?} refused: {}", refusal.error())))?;
    let made = tokio::spawn(async move {
        let made = registry.change(change).await;
        match &made {
            Ok((_, Done::Renewed)) => {}
            Ok((entry, done)) => {
                let owner =
                    entry.instance.owner.as_deref().map_or_else(String::new, |owner| format!(", owner {owner}"));
                audit(action, peer, &format!("{name} {}: {}{owner}", done.as_str(), entry.instance.url));
            }
            Err(why) => audit(action, peer, &format!("{name} refused: {why}")),
        }
        made
    });
    let made = made.await.unwrap_or_else(|error| Err(NotDone::Unavailable(format!("the change broke off: {error}"))));
    made.map_err(refusal)
}

fn refusal(why: NotDone) -> Refusal {
    let text = why.to_string();
    match why {
        NotDone::Missing => {
            Refusal::new(StatusCode::NOT_FOUND, text).cure("GET /api/instances lists those that there are")
        }
        NotDone::Unmet(tag) => {
            let found = tag.as_ref().map_or("there is none of this name", |_| "there is another of this name");
            let refusal = Refusal::new(StatusCode::PRECONDITION_FAILED, format!("{text}: {found}"));
            match tag.and_then(|tag| HeaderValue::try_from(format!("\"{tag}\"")).ok()) {
                Some(tag) => refusal.header(header::ETAG, tag),
                None => refusal,
            }
        }
        NotDone::Full(_) => Refusal::new(StatusCode::INSUFFICIENT_STORAGE, text),
        NotDone::Unavailable(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1")),
    }
}

/// What `If-Match` or `If-None-Match` ask for (RFC 9110 §13.1).
fn condition(headers: &HeaderMap) -> Result<Condition, Refusal> {
    let of = |name: HeaderName| -> Result<Option<String>, Refusal> {
        let lines: Result<Vec<&str>, _> = headers.get_all(&name).iter().map(HeaderValue::to_str).collect();
        let lines = lines.map_err(|_| Refusal::bad(format!("{name}: it is not text")))?;
        Ok((!lines.is_empty()).then(|| lines.join(",")))
    };
    match (of(header::IF_MATCH)?, of(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::None),
        (Some(_), Some(_)) => Err(Refusal::bad("If-Match and If-None-Match stand there both; keep one")),
        (None, Some(text)) if text.trim() == "*" => Ok(Condition::Absent),
        (None, Some(_)) => Err(Refusal::bad("If-None-Match: only `*` is understood: put it if there is none yet")),
        (Some(text), None) if text.trim() == "*" => Ok(Condition::Present),
        (Some(text), None) => tags(&text).map(Condition::Tagged).ok_or_else(|| {
            Refusal::bad("If-Match: it is no list of strong tags")
                .cure("send the ETag that an answer had, with its quotes")
        }),
    }
}

fn tags(text: &str) -> Option<Vec<String>> {
    let bare = |tag: &str| Some(tag.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned());
    text.split(',').map(bare).collect()
}

fn answer(admin: &Admin, status: StatusCode, entry: &Entry) -> Result<Answer, Refusal> {
    let mut body = shown(entry);
    body["durable"] = admin.sources.instances.is_durable().into();
    let mut answer = json_with(status, &body)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", entry.tag())) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

fn shown(entry: &Entry) -> Value {
    let instance = &entry.instance;
    let since = |moment: std::time::SystemTime| moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    json!({
        "name": instance.name,
        "address": instance.url.to_string(),
        "owner": instance.owner,
        "groups": instance.groups,
        "ttl": entry.ttl.map(|ttl| ttl.to_string()),
        "expires": instance.expires.map(since),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(HeaderName, &'static str)]) -> Result<Condition, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        condition(&headers)
    }

    #[test]
    fn conditions_are_read_or_refused() {
        let tagged = |tags: &[&str]| Ok(Condition::Tagged(tags.iter().map(|&tag| tag.to_owned()).collect()));
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(header::IF_NONE_MATCH, "*")]), Ok(Condition::Absent));
        assert_eq!(of(&[(header::IF_MATCH, " * ")]), Ok(Condition::Present));
        assert_eq!(of(&[(header::IF_MATCH, "\"a\", \"b\"")]), tagged(&["a", "b"]));
        assert_eq!(of(&[(header::IF_MATCH, "\"a\""), (header::IF_MATCH, "\"b\"")]), tagged(&["a", "b"]));
        for wrong in [
            vec![(header::IF_NONE_MATCH, "\"a\"")],
            vec![(header::IF_MATCH, "W/\"a\"")],
            vec![(header::IF_MATCH, "a")],
            vec![(header::IF_MATCH, "")],
            vec![(header::IF_MATCH, "\"a\", *")],
            vec![(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")],
        ] {
            assert!(of(&wrong).is_err(), "{wrong:?}");
        }
    }
}
