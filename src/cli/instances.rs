//! `pylon instances`: list the instances that are registered at a running Pylon.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::remote::{Failure, Remote, end};
use super::say;
use super::table::{Column, Table, age};

/// List the instances that are registered at a running Pylon.
#[derive(Debug, Args)]
pub(super) struct Instances {
    #[command(flatten)]
    remote: Remote,
    /// Only those of this owner.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
}

impl Instances {
    pub(super) fn run(&self) -> ExitCode {
        end(self.list())
    }

    fn list(&self) -> Result<(), Failure> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.owner.iter().map(|owner| ("owner", owner)));
        let reply = self.remote.ask(&format!("/api/instances?{}", query.finish()))?;
        let body = self.remote.good(reply)?;
        if !self.remote.json {
            say(&shown(&body));
        }
        Ok(())
    }
}

fn shown(body: &Value) -> String {
    let columns = ["NAME", "ADDRESS", "OWNER", "GROUPS"].map(Column::left);
    let [name, address, owner, groups] = columns;
    let mut table = Table::new([name, address, owner, groups, Column::right("TTL"), Column::right("LEFT")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    for instance in body["instances"].as_array().into_iter().flatten() {
        let text = |key: &str| instance[key].as_str().unwrap_or("-").to_owned();
        let groups: Vec<&str> = instance["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let left = instance["expires"].as_f64().map_or_else(|| "-".to_owned(), |expires| age(expires - now));
        table.row([text("name"), text("address"), text("owner"), groups.join(","), text("ttl"), left]);
    }
    let store = body["store"].as_str().unwrap_or("?");
    let lost = if body["durable"] == false { ": a restart forgets them" } else { "" };
    let mut lines = if table.is_empty() { format!("no instances, kept in {store}{lost}") } else { table.text() };
    if !table.is_empty() {
        lines.push_str(&format!("\nkept in {store}{lost}"));
    }
    if let Some(trouble) = body["trouble"].as_str() {
        lines.push_str(&format!("\ntrouble: {}", super::table::plain(trouble)));
    }
    lines
}
