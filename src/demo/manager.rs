//! The manager of Backend.AI: it verifies signed requests, and has a stream.

use std::io;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::{HeaderMap, StatusCode, header};
use ring::hmac;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::site::{echo, hex, not_found, page, script, style};
use super::{StandIns, in_background, site, transfer};

/// Who may ask.
const ACCESS: &str = "AKIADEMODEMODEMODEMO";
/// With this secret.
const SECRET: &str = "of-the-demo-and-known-to-everybody";
/// How far the client's clock may be off.
const OFF: Duration = Duration::from_secs(15 * 60);
/// From this version on bodies are not signed.
const UNSIGNED: &str = "v4.20181215";

/// Starts the manager.
pub(super) async fn start(public: &str) -> io::Result<StandIns> {
    let open = async {
        let listener = site::bind(0).await?;
        let address = listener.local_addr()?;
        site::serve(listener, router());
        Ok(address)
    };
    let (address, background) = in_background(open).await?;
    let variables = vec![("BACKENDAI_MANAGER_URI", format!("http://{address}")), ("SSL_ENABLE", "false".to_owned())];
    Ok(StandIns { variables, tour: tour(public), _kept: Box::new(background) })
}

fn tour(public: &str) -> String {
    format!(
        "\
Open in a browser
  {public}/                        signed requests, a stream; change the secret and see it refused

Ask from a shell
  # The manager's own answer; nothing is signed, nothing is told
  curl -i {public}/v4/folders
  # Bodies of up to 32 MiB pass, more are refused at once
  head -c 30000000 /dev/zero | curl -T - -X POST {public}/upload
  head -c 40000000 /dev/zero | curl -i -T - -X POST {public}/upload
"
    )
}

fn router() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/style.css", get(style))
        .route("/script.js", get(script))
        .route("/upload", post(transfer::upload))
        .route("/v4/stream/echo", any(echo))
        .route("/v4/{*path}", get(verified))
        .fallback(not_found)
}

async fn home() -> Response {
    let body = include_str!("manager.html").replace("{{access}}", ACCESS).replace("{{secret}}", SECRET);
    let head = "<link rel=\"stylesheet\" href=\"/style.css\"><script defer src=\"/script.js\"></script>";
    page("Backend.AI manager", head, &body)
}

async fn verified(request: Request) -> Response {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    match verify(request.method().as_str(), target, request.headers(), SystemTime::now()) {
        Ok(()) => Json(json!({ "asked_by": ACCESS, "target": target })).into_response(),
        Err(why) => {
            let problem = json!({ "type": "https://api.backend.ai/probs/auth-failed", "title": why });
            ([(header::CONTENT_TYPE, "application/problem+json")], (StatusCode::UNAUTHORIZED, problem.to_string()))
                .into_response()
        }
    }
}

/// Verifies the signature of a request without a body.
fn verify(method: &str, target: &str, headers: &HeaderMap, now: SystemTime) -> Result<(), &'static str> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, rest) = value("authorization").split_once(' ').ok_or("The request is not signed.")?;
    if !["BackendAI", "Sorna"].contains(&scheme) || !rest.contains("signMethod=HMAC-SHA256") {
        return Err("It is signed in a way that is not known.");
    }
    let credential = rest.split(',').find_map(|part| part.trim().strip_prefix("credential="));
    let (access, signature) = credential.and_then(|text| text.split_once(':')).ok_or("It has no credential.")?;
    if access != ACCESS {
        return Err("The access key is not known.");
    }
    let date = [value("date"), value("x-backendai-date")].into_iter().find(|date| !date.is_empty()).unwrap_or_default();
    let at = OffsetDateTime::parse(date, &Rfc3339).or_else(|_| OffsetDateTime::parse(date, &Rfc2822));
    let at = at.map_err(|_| "Its date cannot be read.")?;
    if (OffsetDateTime::from(now) - at).unsigned_abs() > OFF {
        return Err("Its date is too far away.");
    }
    let (host, version) = (value("host"), value("x-backendai-version"));
    if version < UNSIGNED {
        return Err("The version is too old for this stand-in.");
    }
    let kind = value("content-type").split(';').next().unwrap_or_default().trim();
    let nothing = hex(&Sha256::digest(b""));
    let text = format!(
        "{method}\n{target}\n{date}\nhost:{host}\ncontent-type:{kind}\nx-backendai-version:{version}\n{nothing}"
    );
    let signed = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let day = format!("{:04}{:02}{:02}", at.year(), u8::from(at.month()), at.day());
    let key = signed(signed(SECRET.as_bytes(), &day).as_ref(), host);
    let claimed = data_encoding::HEXLOWER_PERMISSIVE.decode(signature.as_bytes()).unwrap_or_default();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes(), &claimed)
        .map_err(|_| "The signature is not right.")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// A signature that another program made.
    #[test]
    fn a_signature_is_verified() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:8080"),
            ("content-type", "application/json"),
            ("x-backendai-version", "v4.20181215"),
            ("x-backendai-date", "2026-01-02T23:30:00+02:00"),
            (
                "authorization",
                "BackendAI signMethod=HMAC-SHA256, credential=AKIADEMODEMODEMODEMO:\
                 2f949293c27bb72bcbeb382b6113e95ee5ba6e33c06b32b9fb2d39e32bda01b1",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_389_400);
        assert_eq!(verify("GET", "/v4/x?a=%2F", &headers, now), Ok(()));
        assert!(verify("GET", "/v4/x?a=/", &headers, now).is_err());
        assert!(verify("GET", "/v4/x?a=%2F", &headers, now + 2 * OFF).is_err());
        headers.insert("host", HeaderValue::from_static("127.0.0.1:8081"));
        assert!(verify("GET", "/v4/x?a=%2F", &headers, now).is_err());
    }
}
