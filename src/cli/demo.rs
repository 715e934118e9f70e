//! `pylon demo`: stand-ins of all services on loopback, and Pylon before them.

use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::demo::{Ports, start_on, tour};

/// Start stand-ins of all services and Pylon before them.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where Pylon listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where its admin port is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9180")]
    admin: String,
}

impl Demo {
    pub(super) fn run(&self) -> ExitCode {
        let stand_ins = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(start_on(Ports::Familiar)));
        let stand_ins = match stand_ins {
            Ok(stand_ins) => stand_ins,
            Err(error) => {
                say_error(&format!("the stand-ins cannot be started: {error}"));
                return ExitCode::FAILURE;
            }
        };
        // Pylon itself is this very program in its stand-alone mode, with nothing but the environment it is told.
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => {
                say_error(&format!("cannot find this program: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let child = std::process::Command::new(program)
            .args(["run", "--system", "pai"])
            .envs(stand_ins.environment())
            .env("PYLON_LISTEN", &self.listen)
            .env("PYLON_ADMIN_LISTEN", &self.admin)
            .spawn();
        match child {
            Ok(mut child) => {
                say(&tour(&format!("http://{}", self.listen), &stand_ins));
                // Ctrl-C reaches both processes; the stand-ins go when Pylon has stopped.
                match child.wait() {
                    Ok(status) if status.success() => ExitCode::SUCCESS,
                    Ok(_) => ExitCode::FAILURE,
                    Err(error) => {
                        say_error(&error);
                        ExitCode::FAILURE
                    }
                }
            }
            Err(error) => {
                say_error(&format!("Pylon cannot be started: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}
