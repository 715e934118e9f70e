//! `pylon log-level`: show what a running Pylon logs, and change it.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Failure, Remote, end};
use super::say;
use super::table::{Column, Table};

/// Show what a running Pylon logs, or change it until its next start.
#[derive(Debug, Args)]
pub(super) struct LogLevel {
    #[command(flatten)]
    remote: Remote,
    /// A channel and its new level, such as `error=debug`.
    #[arg(value_name = "CHANNEL=LEVEL")]
    change: Option<String>,
}

impl LogLevel {
    pub(super) fn run(&self) -> ExitCode {
        end(self.show_or_change())
    }

    fn show_or_change(&self) -> Result<(), Failure> {
        let reply = match &self.change {
            None => self.remote.ask("/api/log-level")?,
            Some(change) => {
                let wrong = || Failure::usage(format!("`{change}` is no change; write one such as error=debug"));
                let (channel, level) = change.split_once('=').ok_or_else(wrong)?;
                self.remote.tell("/api/log-level", &json!({ "channel": channel, "level": level }))?
            }
        };
        let body = self.remote.good(reply)?;
        if !self.remote.json {
            say(&shown(&body));
        }
        Ok(())
    }
}

fn shown(body: &Value) -> String {
    let mut table =
        Table::new([Column::left("CHANNEL"), Column::left("LEVEL"), Column::left("TARGET"), Column::left("LEVELS")]);
    for channel in body["channels"].as_array().into_iter().flatten() {
        let text = |key: &str| channel[key].as_str().unwrap_or("?").to_owned();
        let levels: Vec<&str> = channel["levels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        table.row([text("channel"), text("level"), text("target"), levels.join(" ")]);
    }
    table.text()
}
