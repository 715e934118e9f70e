//! `pylon reload`: make a running Pylon read its configuration again.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Failure, Remote, end};
use super::say;

/// Make a running Pylon read its configuration again.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    remote: Remote,
}

impl Reload {
    pub(super) fn run(&self) -> ExitCode {
        end(self.reload())
    }

    fn reload(&self) -> Result<(), Failure> {
        let reply = self.remote.tell("/api/reload", &json!({}))?;
        if reply.status == 422 {
            if self.remote.json {
                say(reply.text.trim_end());
                return Err(Failure::config(""));
            }
            return Err(Failure::config(refused(&reply.body)));
        }
        let done = self.remote.good(reply)?;
        if !self.remote.json {
            say(&taken_over(&done));
        }
        Ok(())
    }
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

fn refused(body: &Value) -> String {
    let problems = body["problems"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = problems
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
