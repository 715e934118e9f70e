//! `pylon healthcheck`: ask a running Pylon whether it serves.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::remote::agent;
use super::{say, say_error};

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
