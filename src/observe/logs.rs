//! The log channels: access (requests), error (what happens to the process) and audit (what operators do). Each has a
//! target and a level; levels can be changed while the process runs.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use once_cell::sync::OnceCell;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::access::AccessFormat;
use super::channel::{Channel, Lines, Target};
use super::events::{EventChannel, filter, subscribe, tell_level};
use super::families::Family;
use super::record::{Logged, Record, Severity};

/// What a channel of the access log or the audit log lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    Off = 0,
    /// What failed by an upstream's fault or Pylon's: 5xx, or cut off.
    Error = 1,
    /// And what failed by the client's fault: 4xx.
    Warn = 2,
    /// And all else.
    Info = 3,
}

impl Level {
    const ALL: [Self; 4] = [Self::Off, Self::Error, Self::Warn, Self::Info];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }

    fn lets_through(self, severity: Severity) -> bool {
        self as u8 > severity as u8
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not a level of this channel; write off, error, warn or info"))
    }
}

/// What the three channels are to be.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Where the access log goes.
    pub access_to: Target,
    /// How its lines look.
    pub access_format: AccessFormat,
    /// What of it is let through.
    pub access_level: Level,
    /// How many requests of it, of 2³².
    pub access_share: u64,
    /// Names of parameters that are secret besides the usual ones, in lower case.
    pub secrets: Vec<String>,
    /// Where the error log goes.
    pub error_to: Target,
    /// Whether its lines are JSON.
    pub error_json: bool,
    /// A level, or a filter by module.
    pub error_level: String,
    /// Where the audit log goes.
    pub audit_to: Target,
    /// What of it is let through.
    pub audit_level: Level,
}

/// The channels of this process.
pub struct Logs {
    access: Channel<Arc<Record>, 8192>,
    access_level: AtomicU8,
    share: u64,
    secrets: Vec<String>,
    error: Arc<EventChannel>,
    error_filter: reload::Handle<EnvFilter, Registry>,
    error_level: std::sync::Mutex<String>,
    audit: Arc<EventChannel>,
    audit_level: Arc<AtomicU8>,
    /// Requests that did not get as far as here.
    unrecorded: OnceCell<Box<dyn Fn() -> u64 + Send + Sync>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("access", &self.access.target()).finish_non_exhaustive()
    }
}

/// A channel, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChannelStatus {
    /// `access`, `error` or `audit`.
    pub channel: &'static str,
    /// Where its lines go.
    pub target: String,
    /// What it lets through.
    pub level: String,
    /// The levels that it can have.
    pub levels: &'static [&'static str],
    /// What became of its lines.
    #[serde(flatten)]
    pub lines: Lines,
}

impl Logs {
    /// Opens all channels, and has events go to them from now on.
    ///
    /// # Errors
    /// What is wrong with a target or a level, and with which.
    pub fn start(options: LogOptions) -> Result<Arc<Self>, String> {
        let place = |name: &str, target: &Target, error: &std::io::Error| {
            let key = if name == "error" { "log.to".to_owned() } else { format!("log.{name}.to") };
            format!("{key}: `{target}` cannot be opened: {error}")
        };
        let lines = |name: &'static str, target: &Target| {
            let push = |buffer: &mut Vec<u8>, line: Vec<u8>| buffer.extend_from_slice(&line);
            EventChannel::start(name, target.clone(), push).map(Arc::new).map_err(|error| place(name, target, &error))
        };
        let (error, audit) = (lines("error", &options.error_to)?, lines("audit", &options.audit_to)?);
        let (format, secrets) = (options.access_format, options.secrets.clone());
        let push = move |buffer: &mut Vec<u8>, record: Arc<Record>| format.push(buffer, &record, &secrets);
        let access = Channel::start("access", options.access_to.clone(), push);
        let access = access.map_err(|error| place("access", &options.access_to, &error))?;
        let level = match std::env::var("RUST_LOG") {
            Ok(filter) if !filter.is_empty() => filter,
            _ => options.error_level.clone(),
        };
        let (filter, error_filter) = reload::Layer::new(filter(&level).map_err(|error| format!("log.level: {error}"))?);
        let audit_level = Arc::new(AtomicU8::new(options.audit_level as u8));
        subscribe(&error, options.error_json, filter, &audit, &audit_level)?;
        Ok(Arc::new(Self {
            access,
            access_level: AtomicU8::new(options.access_level as u8),
            share: options.access_share,
            secrets: options.secrets,
            error,
            error_filter,
            error_level: level.into(),
            audit,
            audit_level,
            unrecorded: OnceCell::new(),
        }))
    }

    /// Sets who knows how many requests did not get as far as here: they count as dropped.
    pub fn follow(&self, unrecorded: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.unrecorded.set(Box::new(unrecorded));
    }

    fn access_lines(&self) -> Lines {
        let mut lines = self.access.lines();
        lines.dropped += self.unrecorded.get().map_or(0, |unrecorded| unrecorded());
        lines
    }

    /// Logs a request, as far as the channel's level and its route's share have it.
    pub fn request(&self, record: &Arc<Record>) {
        let level = Level::ALL[usize::from(self.access_level.load(Ordering::Relaxed).min(3))];
        let of_route = record.route.as_deref().and_then(|route| route.logged);
        let severity = record.severity();
        if !level.lets_through(severity) {
            return;
        }
        let share = match of_route.unwrap_or(Logged::Share(self.share)) {
            Logged::None => return,
            Logged::Share(share) => share,
        };
        if severity == Severity::Error || u64::from(fastrand::u32(..)) < share {
            self.access.push(Arc::clone(record), record.size());
        }
    }

    /// Names of parameters that are secret besides the usual ones.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// All channels.
    #[must_use]
    pub fn channels(&self) -> [ChannelStatus; 3] {
        const LEVELS: &[&str] = &["off", "error", "warn", "info"];
        let level =
            |level: &AtomicU8| Level::ALL[usize::from(level.load(Ordering::Relaxed).min(3))].as_str().to_owned();
        let error_level = self.error_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        [
            ChannelStatus {
                channel: "access",
                target: self.access.target().to_string(),
                level: level(&self.access_level),
                levels: LEVELS,
                lines: self.access_lines(),
            },
            ChannelStatus {
                channel: "error",
                target: self.error.target().to_string(),
                level: error_level,
                levels: &["off", "error", "warn", "info", "debug", "trace"],
                lines: self.error.lines(),
            },
            ChannelStatus {
                channel: "audit",
                target: self.audit.target().to_string(),
                level: level(&self.audit_level),
                levels: LEVELS,
                lines: self.audit.lines(),
            },
        ]
    }

    /// Changes what a channel lets through, from now on.
    ///
    /// # Errors
    /// What is wrong with the channel's name or the level, and what would be right.
    pub fn set_level(&self, channel: &str, level: &str) -> Result<(), String> {
        match channel {
            "access" => self.access_level.store(level.parse::<Level>()? as u8, Ordering::Relaxed),
            "audit" => self.audit_level.store(level.parse::<Level>()? as u8, Ordering::Relaxed),
            "error" => {
                self.error_filter.reload(filter(level)?).map_err(|error| error.to_string())?;
                tell_level();
                level.clone_into(&mut self.error_level.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            }
            other => return Err(format!("`{other}` is not a log channel; there are access, error and audit")),
        }
        Ok(())
    }

    /// Opens all files anew, as they were moved away.
    pub fn reopen(&self) {
        self.access.reopen();
        self.error.reopen();
        self.audit.reopen();
    }

    /// Waits, for a while at most, until all lines are written.
    pub fn flush(&self) {
        self.access.flush();
        self.error.flush();
        self.audit.flush();
    }

    /// The families.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let mut lines = Family::counter("pylon_log_lines_total", "Lines that were written, by log channel.");
        let mut dropped = Family::counter(
            "pylon_log_dropped_total",
            "Lines that were dropped, as the target did not take them in time or at all.",
        );
        let mut errors = Family::counter("pylon_log_write_errors_total", "Writes to a log's target that failed.");
        for channel in self.channels() {
            let labels = [("channel", channel.channel)];
            lines.push_count(&labels, channel.lines.lines);
            dropped.push_count(&labels, channel.lines.dropped);
            errors.push_count(&labels, channel.lines.errors);
        }
        vec![lines, dropped, errors]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_let_through_what_matters_more() {
        assert!(!Level::Off.lets_through(Severity::Error));
        assert!(Level::Error.lets_through(Severity::Error) && !Level::Error.lets_through(Severity::Warn));
        assert!(Level::Warn.lets_through(Severity::Warn) && !Level::Warn.lets_through(Severity::Info));
        assert!(Level::Info.lets_through(Severity::Info));
    }
}
