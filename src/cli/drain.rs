//! `pylon drain`: take a running Pylon out of service, and back into it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Failure, Remote, end};
use super::say;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);

/// Take a running Pylon out of service: it serves on, but is not ready any more, and clients' connections close after
/// their request.
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    remote: Remote,
    /// Take it back into service.
    #[arg(long, conflicts_with = "wait")]
    undo: bool,
    /// Wait so long until no request is in flight; exit 1 if there still are some.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

impl Drain {
    pub(super) fn run(&self) -> ExitCode {
        end(self.drain())
    }

    fn drain(&self) -> Result<(), Failure> {
        let deadline = self.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let reply = self.remote.tell("/api/drain", &json!({ "drain": !self.undo }))?;
        // With a wait, the state after it is what is printed.
        let Some(deadline) = deadline else {
            self.tell(&self.remote.good(reply)?);
            return Ok(());
        };
        if reply.status != 200 {
            return self.remote.good(reply).map(drop);
        }
        loop {
            let reply = self.remote.ask("/api/drain")?;
            let left = reply.body["requests_in_flight"].as_u64();
            if reply.status != 200 || left == Some(0) {
                self.tell(&self.remote.good(reply)?);
                return Ok(());
            }
            if Instant::now() >= deadline {
                let left = left.unwrap_or_default();
                self.remote.good(reply)?;
                let seconds = self.wait.unwrap_or_default();
                return Err(Failure::new(format!("{left} requests are still in flight after {seconds} seconds")));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn tell(&self, state: &Value) {
        if !self.remote.json {
            let (requests, connections) = (&state["requests_in_flight"], &state["connections"]);
            let name = state["state"].as_str().unwrap_or("?");
            say(&format!("{name}: {requests} requests in flight, {connections} connections"));
        }
    }
}
