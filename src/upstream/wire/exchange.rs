//! One request and its answer on a connection, as the connection and the request's phases both see it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use once_cell::sync::Lazy;
use tokio::time::Instant;

/// How long each stage may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For the first byte of the answer, from when the request is sent whole.
    pub first_byte: Duration,
    /// For the next byte in either direction.
    pub idle: Duration,
    /// When the whole is to be over.
    pub end: Option<Instant>,
}

/// Nothing is under way.
const IDLE: u8 = 0;
/// The request is being sent.
const SENDING: u8 = 1;
/// The request is sent, nothing of the answer has come.
const WAITING: u8 = 2;
/// The answer is coming.
const ANSWERING: u8 = 3;

/// The state of an exchange. One task at a time works on a connection, so the order of memory is no matter.
#[derive(Debug, Default)]
pub struct Exchange {
    stage: AtomicU8,
    awaits_head: AtomicBool,
    begins: AtomicBool,
    careful: AtomicBool,
    yields: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    /// When bytes last moved.
    moved: AtomicU64,
    first_byte: AtomicU64,
    idle: AtomicU64,
    end: AtomicU64,
}

const ORDER: Ordering = Ordering::Relaxed;

/// Where the times of this module count from.
static START: Lazy<Instant> = Lazy::new(Instant::now);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

fn now() -> u64 {
    nanos(START.elapsed())
}

impl Exchange {
    /// A request begins. One that is to be upgraded is read with care: see [`Self::is_to_yield`].
    pub fn begin(&self, times: Times, upgrade: bool) {
        self.first_byte.store(nanos(times.first_byte), ORDER);
        self.idle.store(nanos(times.idle), ORDER);
        self.end.store(times.end.map_or(0, |end| nanos(end.duration_since(*START)).max(1)), ORDER);
        self.sent.store(0, ORDER);
        self.received.store(0, ORDER);
        self.moved.store(now(), ORDER);
        self.awaits_head.store(true, ORDER);
        self.begins.store(true, ORDER);
        self.careful.store(upgrade, ORDER);
        self.yields.store(false, ORDER);
        self.stage.store(SENDING, ORDER);
    }

    /// The request is sent whole: from now on the server has to answer.
    pub fn request_is_sent(&self) {
        if self.stage.load(ORDER) == SENDING {
            self.moved.store(now(), ORDER);
            self.stage.store(WAITING, ORDER);
        }
    }

    /// The request is over; what follows on the connection is not its matter.
    pub fn end(&self) {
        self.stage.store(IDLE, ORDER);
        self.awaits_head.store(false, ORDER);
        self.careful.store(false, ORDER);
    }

    /// Bytes of the request that the system has taken.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(ORDER)
    }

    /// Bytes of the answer.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.received.load(ORDER)
    }

    /// Whether a read is to let other futures go first: the first one after a write, on a connection that may be upgraded.
    ///
    /// Pingora's relay runs two futures, and closes the stream when the answer to an upgrade overtakes the end of the
    /// empty request body between them.
    pub(super) fn is_to_yield(&self) -> bool {
        self.careful.load(ORDER) && self.yields.swap(false, ORDER)
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, ORDER);
        self.moved.store(now(), ORDER);
        self.yields.store(true, ORDER);
    }

    /// Counts bytes of the answer; whether they are its first.
    pub(super) fn begins_to_answer(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        self.received.fetch_add(bytes as u64, ORDER);
        self.moved.store(now(), ORDER);
        let stage = self.stage.load(ORDER);
        if stage == WAITING {
            self.stage.store(ANSWERING, ORDER);
        }
        self.begins.swap(false, ORDER)
    }

    pub(super) fn awaits_head(&self) -> bool {
        self.awaits_head.load(ORDER)
    }

    pub(super) fn head_is_complete(&self) {
        self.awaits_head.store(false, ORDER);
    }

    /// Until when the next byte has to come, and what to say when it has not.
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let moved = self.moved.load(ORDER);
        let stage = match self.stage.load(ORDER) {
            IDLE => return None,
            // While the client is still sending, it is not the server that is late.
            SENDING => None,
            WAITING => Some((moved.saturating_add(self.first_byte.load(ORDER)), "no answer in time")),
            _ => Some((moved.saturating_add(self.idle.load(ORDER)), "no further byte in time")),
        };
        let end = match self.end.load(ORDER) {
            0 => None,
            end => Some((end, "the time for the whole request is over")),
        };
        let (nanos, what) = stage.into_iter().chain(end).min()?;
        Some((*START + Duration::from_nanos(nanos), what))
    }
}
