//! `pylon reload` and `pylon healthcheck`: verbs that ask a running Pylon.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{say, say_error};
use crate::server::BAD_CONFIG;

/// Make a running Pylon read its configuration again.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// The admin port of the running Pylon.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9180", env = "PYLON_ADMIN_LISTEN")]
    admin: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Ask a running Pylon whether it serves.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// What to ask for.
    #[arg(long, default_value = "http://127.0.0.1/healthz", env = "PYLON_HEALTHCHECK_URL")]
    url: String,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

impl Reload {
    pub(super) fn run(&self) -> ExitCode {
        let url = format!("http://{}/api/reload", self.admin);
        let agent = agent(Duration::from_secs(60));
        let answer = match agent.post(&url).send_empty() {
            Ok(answer) => answer,
            Err(error) => {
                say_error(&format!("no answer from {url}: {error}; is Pylon running, and is this its admin port?"));
                return ExitCode::FAILURE;
            }
        };
        let status = answer.status().as_u16();
        let text = answer.into_body().read_to_string().unwrap_or_default();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if self.json {
            say(text.trim_end());
        } else if status == 200 {
            say(&taken_over(&body));
        } else {
            say_error(&refused(status, &body, &text));
        }
        match status {
            200 => ExitCode::SUCCESS,
            422 => ExitCode::from(BAD_CONFIG),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Healthcheck {
    pub(super) fn run(&self) -> ExitCode {
        match agent(Duration::from_secs(self.timeout)).get(&self.url).call() {
            Ok(answer) if answer.status().as_u16() == 200 => {
                say("healthy");
                ExitCode::SUCCESS
            }
            Ok(answer) => {
                say_error(&format!("{} answers {}", self.url, answer.status()));
                ExitCode::FAILURE
            }
            Err(error) => {
                say_error(&format!("{}: {error}", self.url));
                ExitCode::FAILURE
            }
        }
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).proxy(None);
    config.build().into()
}

fn taken_over(body: &Value) -> String {
    let what = if body["changed"] == true { "taken over" } else { "unchanged" };
    let mut text = format!(
        "configuration {what}: generation {}, hash {}",
        body["generation"],
        body["hash"].as_str().unwrap_or("?")
    );
    let list =
        |key: &str| -> Vec<&str> { body[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let (listeners, keys) = (list("certificates"), list("needs_restart"));
    if !listeners.is_empty() {
        text.push_str(&format!("; new certificates on {}", listeners.join(", ")));
    }
    if !keys.is_empty() {
        text.push_str(&format!("; a restart is needed for: {}", keys.join(", ")));
    }
    text
}

fn refused(status: u16, body: &Value, text: &str) -> String {
    let Some(problems) = body["problems"].as_array() else {
        return format!("{status}: {text}");
    };
    let mut lines: Vec<String> = problems
        .iter()
        .map(|p| {
            let at = p["file"].as_str().map_or(String::new(), |file| format!("{file}:{}:{}  ", p["line"], p["column"]));
            let path = p["path"].as_str().filter(|path| !path.is_empty());
            let path = path.map_or(String::new(), |path| format!("{path}: "));
            format!("{at}{path}{}", p["message"].as_str().unwrap_or_default())
        })
        .collect();
    lines.push("refused; the configuration before stays in use".to_owned());
    lines.join("\n")
}
