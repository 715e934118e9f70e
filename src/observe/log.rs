//! The log of what happens to the process: text for people or JSON for machines, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` overrides the filter, as is usual.
///
/// # Errors
/// When the filter is not one, or a log is running already.
pub fn start(filter: &str, json: bool) -> Result<(), String> {
    // Pingora and rustls report as errors what clients do wrong in a handshake and that idle connections end, and what Pylon's own
    // lines say with more context.
    let quiet = format!(
        "{filter},pingora_proxy=error,pingora_core=error,pingora_core::connectors=off,pingora_core::apps=off,rustls=error"
    );
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => quiet,
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| error.to_string())?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started =
        if json { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
    started.map_err(|error| error.to_string())
}
