//! `pylon explain`: which route a request takes and why.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::{Which, say, say_error};
use crate::explain::{CLIENT, Question};
use crate::server::BAD_CONFIG;

/// Say which route a request takes and why.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    which: Which,
    /// The method.
    method: String,
    /// The URL as a client would write it, `http://host/path?query`; its path is taken byte for byte.
    url: String,
    /// A request header, `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, default_value = CLIENT)]
    client: IpAddr,
    /// The listener that the request comes in on, by name.
    #[arg(long)]
    listener: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self) -> ExitCode {
        let question = Question {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            client: self.client,
            listener: self.listener.clone(),
        };
        // What is wrong on the command line is told before the configuration is read.
        if let Err(message) = question.check() {
            say_error(&message);
            return ExitCode::from(2);
        }
        let (loaded, snapshot, listeners) = match super::check::check(&self.which.source()) {
            Ok(checked) => checked,
            Err(report) => {
                say_error(&report);
                return ExitCode::from(BAD_CONFIG);
            }
        };
        match question.ask(&snapshot, &listeners) {
            Ok(mut explained) => {
                explained.redact(&loaded);
                let text = if self.json { explained.json().to_string() } else { explained.text() };
                say(text.trim_end());
                ExitCode::SUCCESS
            }
            Err(message) => {
                say_error(&message);
                ExitCode::from(2)
            }
        }
    }
}
