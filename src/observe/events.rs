//! Events of the `tracing` crate, on their way to the error channel and the audit channel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::channel::Channel;

/// A channel of lines that are made already.
pub(super) type EventChannel = Channel<Vec<u8>, 1024>;

/// What goes to the audit channel: events of this target.
pub const AUDIT: &str = "audit";

/// The filter of the error channel.
pub(super) fn filter(level: &str) -> Result<EnvFilter, String> {
    let wrong = |why: String| {
        format!("`{level}` is not a level ({why}); write off, error, warn, info, debug, trace, or a filter by module")
    };
    if level.trim().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    let plain = level.parse::<LevelFilter>().is_ok();
    if !plain && !level.contains(['=', ',']) {
        return Err(wrong("no such word".to_owned()));
    }
    // Pingora and rustls report as errors what clients do wrong in a handshake and that idle connections end, and what Pylon's own
    // lines say with more context.
    let quiet = match level {
        "off" => level.to_owned(),
        _ => format!(
            "{level},pingora_proxy=error,pingora_core=error,pingora_core::connectors=off,pingora_core::apps=off,rustls=error"
        ),
    };
    EnvFilter::try_new(quiet).map_err(|error| wrong(error.to_string()))
}

/// Has events go to the channels.
pub(super) fn subscribe(
    error: &Arc<EventChannel>,
    json: bool,
    filter: reload::Layer<EnvFilter, Registry>,
    audit: &Arc<EventChannel>,
    audit_level: &Arc<AtomicU8>,
) -> Result<(), String> {
    let level = Arc::clone(audit_level);
    let audited = tracing_subscriber::filter::dynamic_filter_fn(move |event, _| {
        // Levels of events are ordered the other way round: what matters least is the greatest.
        let most = match level.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            _ => LevelFilter::INFO,
        };
        event.target() == AUDIT && *event.level() <= most
    });
    // What both channels say they never want costs an event a comparison, and is not asked of them again.
    let audited = audited.with_max_level_hint(LevelFilter::INFO).with_callsite_filter(|event| match event.target() {
        AUDIT => Interest::sometimes(),
        _ => Interest::never(),
    });
    let others = Targets::new().with_default(LevelFilter::TRACE).with_target(AUDIT, LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Writer(Arc::clone(error)));
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.with_target(false).boxed() };
    let of_audit = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Writer(Arc::clone(audit)));
    let of_audit = of_audit.json().flatten_event(true).with_target(false);
    // The filter that can be changed knows the registry alone: it stands first.
    tracing_subscriber::registry()
        .with(Layer::<Registry>::boxed(lines.with_filter(filter.and(others))))
        .with(of_audit.with_filter(audited))
        .try_init()
        .map_err(|error| error.to_string())
}

/// Has libraries that write to `log` know the level that holds since the filter was changed.
pub(super) fn tell_level() {
    let level = LevelFilter::current().to_string();
    log::set_max_level(level.parse().unwrap_or(log::LevelFilter::Trace));
}

/// Makes a line of each event for a channel.
struct Writer(Arc<EventChannel>);

/// A line that is being written.
struct Line<'c> {
    channel: &'c EventChannel,
    bytes: Vec<u8>,
}

impl<'c> MakeWriter<'c> for Writer {
    type Writer = Line<'c>;

    fn make_writer(&'c self) -> Line<'c> {
        Line { channel: &self.0, bytes: Vec::new() }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            let line = std::mem::take(&mut self.bytes);
            let size = line.len();
            self.channel.push(line, size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_the_error_channel_are_checked() {
        for good in ["info", "off", "TRACE", "info,pylon=debug", "pylon::proxy=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,pylon=loud", "3x"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
