//! Requests to the members of an etcd cluster, signed in where it has users.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::wire::{Fault, NOT_ASKED, SignedIn, UNAUTHENTICATED, read};
use crate::config::value::{HttpUrl, Secret};
use crate::remote::{HttpClient, HttpError, Opened};

/// The largest answer, and the largest message of a stream.
const LARGE: usize = 64 * 1024 * 1024;
/// The largest answer that is no success.
const FAULT: usize = 64 * 1024;

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The member does not answer, or the cluster is not able to.
    Away(String),
    /// It answers, and refuses.
    Refused { code: i64, message: String },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) => f.write_str(why),
            Self::Refused { message, .. } => write!(f, "etcd refuses: {message}"),
        }
    }
}

/// The members of a cluster.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    endpoints: Vec<HttpUrl>,
    /// The one that is asked.
    current: AtomicUsize,
    credentials: Option<(String, Secret)>,
    token: ArcSwapOption<HeaderValue>,
    deadline: Duration,
}

impl Client {
    pub(super) fn new(
        http: HttpClient,
        endpoints: Vec<HttpUrl>,
        credentials: Option<(String, Secret)>,
        deadline: Duration,
    ) -> Self {
        let token = ArcSwapOption::empty();
        Self { http, endpoints, current: AtomicUsize::new(0), credentials, token, deadline }
    }

    /// The member that is asked at the moment.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Turns to the member after this one, unless that was done already.
    pub(super) fn leave(&self, member: usize) {
        let next = (member + 1) % self.endpoints.len().max(1);
        let _ = self.current.compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn members(&self) -> usize {
        self.endpoints.len()
    }

    /// Asks the current member; the next ones in turn where it cannot be reached, all of them within the deadline. For
    /// what may be asked twice.
    pub(super) async fn ask_any<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let mut last = Failure::Away("etcd has no members".to_owned());
        let all = async {
            for _ in 0..self.members() {
                let member = self.current();
                match self.ask(member, path, body).await {
                    Err(failure @ Failure::Away(_)) => {
                        self.leave(member);
                        last = failure;
                    }
                    other => return Some(other),
                }
            }
            None
        };
        match tokio::time::timeout(self.deadline, all).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(last),
            Err(_) => {
                let member = self.current();
                self.leave(member);
                Err(self.late(member))
            }
        }
    }

    /// Asks a member.
    pub(super) async fn ask<T: DeserializeOwned>(&self, member: usize, path: &str, body: &Value) -> Result<T, Failure> {
        match self.try_ask(member, path, body).await {
            // Tokens end by time, by a restart of the cluster, and by a change of its users.
            Err(Failure::Refused { code, message }) if self.is_signed_out(code, &message) => {
                self.token.store(None);
                self.try_ask(member, path, body).await
            }
            other => other,
        }
    }

    async fn try_ask<T: DeserializeOwned>(&self, member: usize, path: &str, body: &Value) -> Result<T, Failure> {
        let token = self.token(member).await?;
        self.call(member, path, body, token.as_deref()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        member: usize,
        path: &str,
        body: &Value,
        token: Option<&HeaderValue>,
    ) -> Result<T, Failure> {
        let request = self.request(member, path, body, token)?;
        let answer = self.http.send(request, self.deadline, LARGE).await.map_err(|error| self.away(member, &error))?;
        if answer.status != StatusCode::OK {
            return Err(self.refusal(member, answer.status, &answer.body));
        }
        read(&answer.body).map_err(|why| self.strange(member, &why))
    }

    /// Opens a stream of messages.
    pub(super) async fn stream(&self, member: usize, path: &str, body: &Value) -> Result<Messages, Failure> {
        let token = self.token(member).await?;
        let request = self.request(member, path, body, token.as_deref())?;
        let opened = self.http.open(request, self.deadline).await.map_err(|error| self.away(member, &error))?;
        let mut messages = Messages { status: opened.status, opened, buffer: BytesMut::new() };
        if messages.status == StatusCode::OK {
            return Ok(messages);
        }
        let text = tokio::time::timeout(self.deadline, messages.next()).await;
        let refusal =
            self.refusal(member, messages.status, &text.ok().and_then(Result::ok).flatten().unwrap_or_default());
        if let Failure::Refused { code, message } = &refusal
            && self.is_signed_out(*code, message)
        {
            self.token.store(None);
        }
        Err(refusal)
    }

    async fn token(&self, member: usize) -> Result<Option<Arc<HeaderValue>>, Failure> {
        let Some((user, password)) = &self.credentials else { return Ok(None) };
        if let Some(token) = self.token.load_full() {
            return Ok(Some(token));
        }
        let body = json!({ "name": user, "password": password.expose() });
        let signed_in: SignedIn = self.call(member, "auth/authenticate", &body, None).await?;
        let mut token = HeaderValue::from_str(&signed_in.token)
            .map_err(|_| self.strange(member, "the token that it gives is none"))?;
        token.set_sensitive(true);
        let token = Arc::new(token);
        self.token.store(Some(Arc::clone(&token)));
        Ok(Some(token))
    }

    fn is_signed_out(&self, code: i64, message: &str) -> bool {
        self.credentials.is_some() && (code == UNAUTHENTICATED || message.contains("auth store is old"))
    }

    fn request(
        &self,
        member: usize,
        path: &str,
        body: &Value,
        token: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v3/{path}", self.name(member)))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let body = Full::new(Bytes::from(body.to_string()));
        request.body(body).map_err(|error| Failure::Away(format!("etcd cannot be asked: {error}")))
    }

    fn refusal(&self, member: usize, status: StatusCode, body: &[u8]) -> Failure {
        let fault: Option<Fault> = serde_json::from_slice(&body[..body.len().min(FAULT)]).ok();
        let Some(Fault { code, message }) = fault.filter(|fault| !fault.message.is_empty()) else {
            let cure =
                if status == StatusCode::NOT_FOUND { "; is its JSON gateway on (`enable-grpc-gateway`)?" } else { "" };
            return self.strange(member, &format!("it answers {}{cure}", status.as_u16()));
        };
        if status.is_server_error() || NOT_ASKED.contains(&code) {
            return self.strange(member, &message);
        }
        Failure::Refused { code, message }
    }

    fn away(&self, member: usize, error: &HttpError) -> Failure {
        self.strange(member, &error.to_string())
    }

    fn late(&self, member: usize) -> Failure {
        self.away(member, &HttpError::Late(self.deadline))
    }

    pub(super) fn strange(&self, member: usize, why: &str) -> Failure {
        Failure::Away(format!("etcd at {}: {why}", self.name(member)))
    }

    fn name(&self, member: usize) -> String {
        self.endpoints.get(member).map_or_else(|| "?".to_owned(), ToString::to_string)
    }
}

/// The messages of a stream, a line each.
#[derive(Debug)]
pub(super) struct Messages {
    status: StatusCode,
    opened: Opened,
    buffer: BytesMut,
}

impl Messages {
    /// The next message; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let mut looked = 0;
        loop {
            if let Some(at) = self.buffer[looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(looked + at + 1).freeze();
                looked = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            looked = self.buffer.len();
            if looked > LARGE {
                return Err(format!("a message has more than {LARGE} bytes"));
            }
            match self.opened.next().await.map_err(|error| error.to_string())? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None if self.buffer.is_empty() => return Ok(None),
                // What is no stream of lines, such as a refusal, ends without one.
                None => return Ok(Some(self.buffer.split().freeze())),
            }
        }
    }
}
