//! `pylon check`: all that is wrong with configuration files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Which, say, say_error};
use crate::config::{Loaded, Report};
use crate::listen::Listeners;
use crate::observe::Metrics;
use crate::reload::{Source, compile_all};
use crate::server::BAD_CONFIG;
use crate::snapshot::Snapshot;

/// Check configuration files.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    which: Which,
    /// Files to check, in place of `--config`.
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "system"])]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self) -> ExitCode {
        let sources = if self.files.is_empty() {
            vec![self.which.source()]
        } else {
            self.files.iter().cloned().map(Source::File).collect()
        };
        let mut code = ExitCode::SUCCESS;
        let mut results = Vec::new();
        for source in &sources {
            let result = check(source);
            if result.is_err() {
                code = ExitCode::from(BAD_CONFIG);
            }
            if self.json {
                results.push(as_json(source, &result));
            } else {
                print(source, &result);
            }
        }
        if self.json {
            say(&json!(results).to_string());
        }
        code
    }
}

/// Reads and compiles a configuration, as a start would.
pub(super) fn check(source: &Source) -> Result<(Loaded, Snapshot, Listeners), Report> {
    let loaded = source.load()?;
    let (listeners, snapshot) = compile_all(&loaded, None, &Metrics::default())?;
    Ok((loaded, snapshot, listeners))
}

fn print(source: &Source, result: &Result<(Loaded, Snapshot, Listeners), Report>) {
    match result {
        Err(report) => {
            say_error(report);
            let count = report.problems().len();
            say_error(&format!("{source}: {count} problem{}", if count == 1 { "" } else { "s" }));
        }
        Ok((_, snapshot, listeners)) => {
            let (routes, upstreams) = (snapshot.routes().len(), snapshot.upstreams().len());
            say(&format!("{source}: good, {routes} routes, {upstreams} upstreams, hash {}", snapshot.hash));
            for warning in listeners.warnings() {
                say(&format!("  warning: {warning}"));
            }
            let (routes, causes): (Vec<_>, Vec<_>) = snapshot.left_out.iter().partition(|out| out.kind == "route");
            for out in causes {
                say(&format!("  left out: {} `{}`: {}", out.kind, out.name, out.reason));
            }
            if !routes.is_empty() {
                let names: Vec<&str> = routes.iter().map(|out| out.name.as_str()).collect();
                say(&format!("  with them the routes {}", names.join(", ")));
            }
        }
    }
}

fn as_json(source: &Source, result: &Result<(Loaded, Snapshot, Listeners), Report>) -> serde_json::Value {
    match result {
        Err(report) => json!({ "source": source.to_string(), "good": false, "problems": report }),
        Ok((_, snapshot, listeners)) => json!({
            "source": source.to_string(),
            "good": true,
            "routes": snapshot.routes().len(),
            "upstreams": snapshot.upstreams().len(),
            "hash": snapshot.hash,
            "left_out": snapshot.left_out,
            "warnings": listeners.warnings(),
        }),
    }
}
