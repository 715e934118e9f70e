//! `pylon status`: what a running Pylon does, on one screen.

mod latency;
mod screen;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::remote::{Failure, Remote, end};
use super::{say, say_error};
use screen::screen;

/// Clears the screen and goes to its top.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Show what a running Pylon does: state, configuration, traffic, routes and pools.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
    /// Show it again and again, so many seconds apart, with what happened meanwhile; Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// Show all routes, not only those with the most requests.
    #[arg(long)]
    all: bool,
}

/// What was seen at one time.
struct Sample {
    status: Value,
    upstreams: Value,
}

impl Status {
    pub(super) fn run(&self) -> ExitCode {
        let Some(pause) = self.watch else {
            return end(self.sample().map(|sample| say(&self.shown(&sample, None))));
        };
        let mut before = None;
        loop {
            match self.sample() {
                Ok(sample) => {
                    let clear = if std::io::stdout().is_terminal() && !self.remote.json { CLEAR } else { "" };
                    if writeln!(std::io::stdout(), "{clear}{}", self.shown(&sample, before.as_ref())).is_err() {
                        // Nobody looks any more.
                        return ExitCode::SUCCESS;
                    }
                    before = Some(sample);
                }
                // It may be back at the next look, unless there was nothing to begin with.
                Err(failure) if before.is_some() => say_error(&failure.message()),
                Err(failure) => return end(Err(failure)),
            }
            std::thread::sleep(Duration::from_secs(pause));
        }
    }

    fn sample(&self) -> Result<Sample, Failure> {
        let get = |path: &str| self.remote.ask(path).and_then(|reply| self.remote.expect(reply));
        Ok(Sample { status: get("/api/status")?, upstreams: get("/api/upstreams")? })
    }

    fn shown(&self, sample: &Sample, before: Option<&Sample>) -> String {
        if self.remote.json {
            let mut all = sample.status.clone();
            all["upstreams"].clone_from(&sample.upstreams["upstreams"]);
            all.to_string()
        } else {
            screen(sample, before, self.all)
        }
    }
}
