//! The log channels, the flight recorder and the export of traces of a process, as its configuration has them.

use std::sync::Arc;

use super::StartError;
use crate::config::value::Percent;
use crate::config::{AccessLogFormat, Loaded, LogFormat, LogLevel, LogTarget, RecordCount, of_all};
use crate::observe::{AccessFormat, Kept, Level, LogOptions, Logs, Recorder, Target, TraceExporter, TraceOptions};
use crate::proxy::Journal;

/// The share of traces that is exported where nothing is said, and somebody takes them.
const TRACED: Percent = Percent::new(1);

/// What records requests and all else that happens.
#[derive(Clone)]
pub(super) struct Recording {
    /// The log channels.
    pub(super) logs: Arc<Logs>,
    /// The last requests.
    pub(super) recorder: Arc<Recorder>,
    /// Where traces go.
    pub(super) exporter: Option<Arc<TraceExporter>>,
    /// Where requests go that have ended.
    pub(super) journal: Journal,
    /// The share of traces that is exported, of 2³².
    pub(super) traced: u64,
}

impl Recording {
    /// Opens logs and starts what writes them.
    ///
    /// # Errors
    /// What is wrong with a log's target or level, or what the system refuses.
    pub(super) fn start(loaded: &Loaded) -> Result<Self, StartError> {
        let options = log_options(loaded);
        let has_agent = options.access_format.has_agent();
        let secrets = options.secrets.clone();
        let logs = Logs::start(options).map_err(StartError::System)?;
        let spec = &loaded.process.recorder;
        let kept = |count: Option<RecordCount>, default: usize| count.map_or(default, |count| count.0);
        let default = Kept::default();
        let recorder = Arc::new(Recorder::new(Kept {
            requests: kept(spec.requests, default.requests),
            failures: kept(spec.failures, default.failures),
        }));
        let cannot = |error: std::io::Error| StartError::System(format!("cannot start threads: {error}"));
        let tracing = &loaded.process.tracing;
        let exporter = tracing.otlp.as_ref().map(|otlp| {
            TraceExporter::start(TraceOptions {
                otlp: otlp.0.clone(),
                authorization: tracing.authorization.as_ref().map(|secret| secret.expose().to_owned()),
                service: tracing.service.clone().unwrap_or_else(|| "pylon".to_owned()),
                secrets,
            })
        });
        let exporter = exporter.transpose().map_err(cannot)?;
        let journal = Journal::start(Arc::clone(&logs), &recorder, exporter.clone(), has_agent).map_err(cannot)?;
        // Where nobody exports, those behind decide by themselves; many of them would drop what is marked as not sampled.
        let default = if exporter.is_some() { TRACED } else { Percent::ALL };
        let traced = of_all(tracing.sample.unwrap_or(default));
        Ok(Self { logs, recorder, exporter, journal, traced })
    }

    /// Waits, for a while at most, until all that was recorded is written.
    pub(super) fn flush(&self) {
        self.journal.catch_up();
        self.exporter.iter().for_each(|exporter| exporter.flush());
        self.logs.flush();
    }
}

fn log_options(loaded: &Loaded) -> LogOptions {
    let log = &loaded.process.log;
    let access = log.access.as_deref().cloned().unwrap_or_default();
    let audit = log.audit.as_deref().cloned().unwrap_or_default();
    let target = |target: Option<&LogTarget>, default: Target| match target {
        None => default,
        Some(LogTarget::Stdout) => Target::Stdout,
        Some(LogTarget::Stderr) => Target::Stderr,
        Some(LogTarget::File(path)) => Target::File(loaded.resolve_path(0, path)),
    };
    LogOptions {
        access_to: target(access.to.as_ref(), Target::Stdout),
        access_format: match access.format {
            Some(AccessLogFormat::Combined) => AccessFormat::Combined,
            Some(AccessLogFormat::Json) | None => AccessFormat::Json,
        },
        access_level: level(access.level),
        access_share: of_all(access.sample.unwrap_or(Percent::ALL)),
        secrets: access.redact.iter().map(|name| name.to_ascii_lowercase()).collect(),
        error_to: target(log.to.as_ref(), Target::Stderr),
        error_json: log.format == Some(LogFormat::Json),
        error_level: log.level.clone().unwrap_or_else(|| "info".to_owned()),
        audit_to: target(audit.to.as_ref(), Target::Stderr),
        audit_level: level(audit.level),
    }
}

fn level(level: Option<LogLevel>) -> Level {
    match level {
        Some(LogLevel::Off) => Level::Off,
        Some(LogLevel::Error) => Level::Error,
        Some(LogLevel::Warn) => Level::Warn,
        Some(LogLevel::Info) | None => Level::Info,
    }
}
