//! `pylon demo`: stand-ins of all services on loopback, and Pylon before them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::{say, say_error};
use crate::config::{STAND_ALONE, unknown_name};
use crate::demo::{Public, SYSTEMS, start};
use crate::reload::Source;
use crate::server::Process;

/// Start stand-ins of all services and Pylon before them.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The built-in system that is shown.
    #[arg(long, value_name = "NAME", default_value = STAND_ALONE)]
    system: String,
    /// Where Pylon listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Where its admin port is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9180")]
    admin: String,
}

impl Demo {
    pub(super) fn run(&self) -> ExitCode {
        let public = Public { listen: self.listen.clone(), admin: self.admin.clone() };
        let stand_ins = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(start(&self.system, &public)));
        let stand_ins = match stand_ins {
            Ok(Some(stand_ins)) => stand_ins,
            Ok(None) => {
                say_error(&unknown_name("system with a demo", &self.system, SYSTEMS));
                return ExitCode::from(2);
            }
            Err(error) => {
                say_error(&format!("the stand-ins cannot be started: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let mut variables: BTreeMap<String, String> =
            stand_ins.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        variables.insert("PYLON_LISTEN".to_owned(), self.listen.clone());
        variables.insert("PYLON_ADMIN_LISTEN".to_owned(), self.admin.clone());
        let source = Source::System { name: self.system.clone(), variables: Some(variables) };
        let process = match Process::prepare(&source, false) {
            Ok(process) => process,
            Err(error) => {
                say_error(&error);
                return error.exit_code();
            }
        };
        say(&stand_ins.tour);
        match process.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say_error(&error);
                error.exit_code()
            }
        }
    }
}
