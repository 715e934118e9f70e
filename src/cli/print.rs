//! `pylon print-config`, `pylon schema`, `pylon version`.

use std::process::ExitCode;

use super::{Which, say, say_error};
use crate::config::Spec;
use crate::server::BAD_CONFIG;

/// Prints the configuration in effect.
pub(super) fn config(which: &Which) -> ExitCode {
    match which.source().load() {
        Err(report) => {
            say_error(&report);
            ExitCode::from(BAD_CONFIG)
        }
        Ok(loaded) => match loaded.effective() {
            Ok(text) => {
                say(text.trim_end());
                for out in &loaded.left_out {
                    say(&format!("# left out: {} {}: {}", out.kind, out.name, out.reason));
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                say_error(&error);
                ExitCode::FAILURE
            }
        },
    }
}

/// Prints the schema.
pub(super) fn schema() -> ExitCode {
    match serde_json::to_string_pretty(&schemars::schema_for!(Spec)) {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints the version.
pub(super) fn version() -> ExitCode {
    say(&format!("pylon {}", env!("CARGO_PKG_VERSION")));
    ExitCode::SUCCESS
}
