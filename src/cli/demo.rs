//! `pylon demo`: stand-ins of all services on loopback, and Pylon before them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::config::STAND_ALONE;
use crate::demo::{Ports, start_on, tour};
use crate::reload::Source;
use crate::server::Process;

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
        let mut variables: BTreeMap<String, String> =
            stand_ins.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        variables.insert("PYLON_LISTEN".to_owned(), self.listen.clone());
        variables.insert("PYLON_ADMIN_LISTEN".to_owned(), self.admin.clone());
        let source = Source::System { name: STAND_ALONE.to_owned(), variables: Some(variables) };
        let process = match Process::prepare(&source, false) {
            Ok(process) => process,
            Err(error) => {
                say_error(&error);
                return error.exit_code();
            }
        };
        say(&tour(&format!("http://{}", self.listen), &stand_ins));
        match process.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say_error(&error);
                error.exit_code()
            }
        }
    }
}
