//! A running Pylon, asked through its admin port.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use serde_json::Value;

use super::{say, say_error};
use crate::server::BAD_CONFIG;

/// A reload looks names up; all else answers at once.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where the token is taken from when no file is named.
const TOKEN: &str = "PYLON_ADMIN_TOKEN";

/// A running Pylon.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The admin port of the running Pylon.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9180", env = "PYLON_ADMIN_LISTEN")]
    admin: String,
    /// A file that holds the admin port's token; default: the variable `PYLON_ADMIN_TOKEN`, if it is set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) body: Value,
}

/// Why a verb failed.
pub(super) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The command line is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The configuration is wrong.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: BAD_CONFIG }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

/// The status that a verb ends with; what went wrong is said.
pub(super) fn end(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                say_error(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

impl Remote {
    /// Asks for something, and takes whatever comes back.
    pub(super) fn ask(&self, path: &str) -> Result<Reply, Failure> {
        let (url, token) = (self.url(path), self.token()?);
        let mut request = agent(TIMEOUT).get(&url);
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, token);
        }
        self.read(&url, request.call())
    }

    /// Has something done, and takes whatever comes back.
    pub(super) fn tell(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        let (url, token) = (self.url(path), self.token()?);
        let mut request = agent(TIMEOUT).post(&url).header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, token);
        }
        self.read(&url, request.send(body.to_string()))
    }

    /// The body of a good answer; with `--json` it is printed. Any other is a failure.
    pub(super) fn good(&self, reply: Reply) -> Result<Value, Failure> {
        if self.json {
            say(reply.text.trim_end());
        }
        self.expect(reply)
    }

    /// The body of a good answer. Any other is a failure.
    pub(super) fn expect(&self, reply: Reply) -> Result<Value, Failure> {
        if reply.status == 200 {
            return Ok(reply.body);
        }
        Err(Failure::new(match reply.body["error"].as_str() {
            Some(error) => match reply.body["cure"].as_str() {
                Some(cure) => format!("{error}; {cure}"),
                None => error.to_owned(),
            },
            None => format!("{} answers {}: {}", self.admin, reply.status, reply.text.trim_end()),
        }))
    }

    fn read(&self, url: &str, answer: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, Failure> {
        let answer = answer.map_err(|error| {
            Failure::new(format!("no answer from {url}: {error}; is Pylon running, and is this its admin port?"))
        })?;
        let status = answer.status().as_u16();
        let text = answer.into_body().into_with_config().limit(256 * 1024 * 1024).read_to_string();
        let text = text.map_err(|error| Failure::new(format!("the answer from {url} breaks off: {error}")))?;
        if status == 401 {
            let known = self.token_file.is_some() || std::env::var_os(TOKEN).is_some();
            let what = if known { "this is not the token of" } else { "a token is needed by" };
            let cure = format!("set {TOKEN}, or name the file that holds `admin.token` with --token-file");
            return Err(Failure::new(format!("{what} the admin port {}; {cure}", self.admin)));
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply { status, text, body })
    }

    /// The URL of a path. A port that listens everywhere is asked on this machine.
    fn url(&self, path: &str) -> String {
        let admin = self.admin.strip_prefix("http://").unwrap_or(&self.admin).trim_end_matches('/');
        let (host, port) = admin.rsplit_once(':').unwrap_or((admin, "9180"));
        let host = match host {
            "" | "0.0.0.0" | "*" => "127.0.0.1",
            "[::]" => "[::1]",
            host => host,
        };
        format!("http://{host}:{port}{path}")
    }

    fn token(&self) -> Result<Option<HeaderValue>, Failure> {
        let (token, from) = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let from = path.display().to_string();
                let text = text.map_err(|error| Failure::new(format!("cannot read the token in {from}: {error}")))?;
                (text.trim_end_matches(['\r', '\n']).to_owned(), from)
            }
            None => match std::env::var(TOKEN) {
                Ok(token) if !token.is_empty() => (token, TOKEN.to_owned()),
                _ => return Ok(None),
            },
        };
        let value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| !token.is_empty());
        value
            .map(Some)
            .ok_or_else(|| Failure::new(format!("{from} holds no token; it is one line of letters and digits")))
    }
}

/// A client that follows no proxy and takes every status.
pub(super) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None);
    config.build().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_listens_everywhere_is_asked_here() {
        for (admin, url) in [
            ("127.0.0.1:9180", "http://127.0.0.1:9180/x"),
            ("0.0.0.0:9180", "http://127.0.0.1:9180/x"),
            (":9180", "http://127.0.0.1:9180/x"),
            ("[::]:1", "http://[::1]:1/x"),
            ("pylon.example:1", "http://pylon.example:1/x"),
            ("http://127.0.0.1:9180/", "http://127.0.0.1:9180/x"),
            ("pylon.example", "http://pylon.example:9180/x"),
        ] {
            let remote = Remote { admin: admin.to_owned(), token_file: None, json: false };
            assert_eq!(remote.url("/x"), url);
        }
    }
}
