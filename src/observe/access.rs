//! The access log: one JSON line for each request, written off the data path.
//!
//! Requests hand a record over through a bounded queue; where the writer cannot follow, records are dropped and
//! counted, and no request ever waits. Queries are left out: they hold tokens too often.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode};

use super::Outcome;

/// How many records wait for the writer.
const QUEUE: usize = 8192;

/// What is logged of a request.
#[derive(Debug)]
pub struct AccessRecord {
    /// The request's id.
    pub id: HeaderValue,
    /// The client.
    pub client: IpAddr,
    /// The method.
    pub method: Method,
    /// The authority that the client named.
    pub host: String,
    /// The path as it came, without query.
    pub path: String,
    /// The route that won.
    pub route: Option<String>,
    /// The server that was asked.
    pub server: Option<SocketAddr>,
    /// How many attempts were made.
    pub attempts: usize,
    /// The status that the client got.
    pub status: StatusCode,
    /// The status that the upstream gave.
    pub upstream_status: Option<StatusCode>,
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes of the response body.
    pub bytes_out: usize,
    /// Bytes of the request body.
    pub bytes_in: usize,
    /// From the request's header section to its end.
    pub duration: Duration,
}

/// What goes through the queue.
enum Entry {
    Record(SystemTime, Box<AccessRecord>),
    /// All that came before is to be written, then this is to be answered.
    Flush(SyncSender<()>),
}

/// Where records go.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    queue: Option<SyncSender<Entry>>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// A log that writes to standard output, from a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to_stdout() -> std::io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write_all(&records))?;
        Ok(Self { queue: Some(queue), dropped: Arc::default() })
    }

    /// Whether anything is logged.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a record over, or drops it when the writer cannot follow.
    pub fn write(&self, record: AccessRecord) {
        if let Some(queue) = &self.queue
            && queue.try_send(Entry::Record(SystemTime::now(), Box::new(record))).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, for a second at most, until all records are written.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(Entry::Flush(done)).is_ok()) {
            let _ = written.recv_timeout(Duration::from_secs(1));
        }
    }

    /// How many records were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn write_all(records: &Receiver<Entry>) {
    let mut buffer = Vec::with_capacity(64 * 1024);
    while let Ok(first) = records.recv() {
        buffer.clear();
        let mut flushed = Vec::new();
        let mut next = Some(first);
        while let Some(entry) = next.take() {
            match entry {
                Entry::Record(time, record) => push_line(&mut buffer, time, &record),
                Entry::Flush(done) => flushed.push(done),
            }
            if buffer.len() < 60 * 1024 {
                next = records.try_recv().ok();
            }
        }
        let mut out = std::io::stdout().lock();
        if out.write_all(&buffer).and_then(|()| out.flush()).is_err() {
            return;
        }
        for done in flushed {
            let _ = done.try_send(());
        }
    }
}

fn push_line(buffer: &mut Vec<u8>, time: SystemTime, record: &AccessRecord) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let line = serde_json::json!({
        "time": since.as_secs_f64(),
        "id": record.id.to_str().unwrap_or_default(),
        "client": record.client,
        "method": record.method.as_str(),
        "host": record.host,
        "path": record.path,
        "route": record.route,
        "server": record.server,
        "attempts": record.attempts,
        "status": record.status.as_u16(),
        "upstream_status": record.upstream_status.map(|status| status.as_u16()),
        "outcome": record.outcome.as_str(),
        "bytes_out": record.bytes_out,
        "bytes_in": record.bytes_in,
        "seconds": record.duration.as_secs_f64(),
    });
    if serde_json::to_writer(&mut *buffer, &line).is_ok() {
        buffer.push(b'\n');
    }
}
