//! `pylon print-config`, `pylon schema`, `pylon version`.

use std::process::ExitCode;

use serde_json::{Value, json};

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

/// Lets a variable stand where a schema knows a few words only: its value is one of them, or an error when it is loaded.
fn allow_variables(schema: &mut Value) {
    let is_word = |one: &Value| one.get("const").is_some_and(Value::is_string);
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(words)) = map.get_mut("oneOf")
                && words.iter().all(is_word)
            {
                words.push(json!({ "description": "A variable.", "type": "string", "pattern": "\\$\\{" }));
            }
            map.values_mut().for_each(allow_variables);
        }
        Value::Array(list) => list.iter_mut().for_each(allow_variables),
        _ => {}
    }
}

/// Prints the schema.
pub(super) fn schema() -> ExitCode {
    let mut schema = schemars::schema_for!(Spec).to_value();
    allow_variables(&mut schema);
    match serde_json::to_string_pretty(&schema) {
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
