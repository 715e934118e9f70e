//! One request and its answer on a connection, as the connection and the request's phases both see it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
const IDLE: u64 = 0;
/// The request is being sent.
const SENDING: u64 = 1;
/// The request is sent, nothing of the answer has come.
const WAITING: u64 = 2;
/// The answer is coming.
const ANSWERING: u64 = 3;
/// The bits of a stage; the others count the requests of the connection.
const STAGE: u64 = 3;

/// Which request of a connection something is about: it may be in use for the next one when the last one is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn(u64);

/// The state of an exchange. One task at a time works on a connection, so the order of memory is no matter.
#[derive(Debug, Default)]
pub struct Exchange {
    /// A turn and its stage.
    state: AtomicU64,
    awaits_head: AtomicBool,
    begins: AtomicBool,
    careful: AtomicBool,
    yields: AtomicBool,
    /// Whether the server does not take what it is sent.
    blocked: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    /// When bytes last moved.
    moved: AtomicU64,
    /// When the request was sent whole; 0: it is not yet.
    asked: AtomicU64,
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
    /// A request begins. One that is to be upgraded is read with care: see `is_to_yield`.
    pub fn begin(&self, times: Times, upgrade: bool) -> Turn {
        self.first_byte.store(nanos(times.first_byte), ORDER);
        self.idle.store(nanos(times.idle), ORDER);
        self.end.store(times.end.map_or(0, |end| nanos(end.duration_since(*START)).max(1)), ORDER);
        self.sent.store(0, ORDER);
        self.received.store(0, ORDER);
        self.asked.store(0, ORDER);
        self.moved.store(now(), ORDER);
        self.awaits_head.store(true, ORDER);
        self.begins.store(true, ORDER);
        self.careful.store(upgrade, ORDER);
        self.yields.store(false, ORDER);
        self.blocked.store(false, ORDER);
        let turn = (self.state.load(ORDER) & !STAGE).wrapping_add(STAGE + 1);
        self.state.store(turn | SENDING, ORDER);
        Turn(turn)
    }

    /// The request is sent whole: from now on the server has to answer.
    pub fn request_is_sent(&self, turn: Turn) {
        let now = now();
        self.asked.store(now, ORDER);
        let next = if self.bytes_received() > 0 { ANSWERING } else { WAITING };
        if self.state.compare_exchange(turn.0 | SENDING, turn.0 | next, ORDER, ORDER).is_ok() {
            self.moved.store(now, ORDER);
        }
    }

    /// The request is over; what follows on the connection is not its matter.
    pub fn end(&self, turn: Turn) {
        let _ = self.state.fetch_update(ORDER, ORDER, |state| (state & !STAGE == turn.0).then_some(turn.0 | IDLE));
    }

    /// How long the server has taken since the request was sent whole.
    #[must_use]
    pub fn since_asked(&self) -> Option<Duration> {
        let asked = self.asked.load(ORDER);
        (asked != 0).then(|| Duration::from_nanos(now().saturating_sub(asked)))
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

    /// Whether the connection may become a tunnel, and the answer that says so is to come: no read is to overtake a write.
    pub(super) fn is_being_upgraded(&self) -> bool {
        self.careful.load(ORDER) && self.awaits_head()
    }

    /// Whether nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        self.state.load(ORDER) & STAGE == IDLE
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, ORDER);
        self.moved.store(now(), ORDER);
        self.yields.store(true, ORDER);
        self.blocked.store(false, ORDER);
    }

    /// The server takes nothing more for now.
    pub(super) fn is_blocked(&self) {
        self.blocked.store(true, ORDER);
    }

    /// Counts bytes of the answer; whether they are its first.
    pub(super) fn begins_to_answer(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        self.received.fetch_add(bytes as u64, ORDER);
        self.moved.store(now(), ORDER);
        let state = self.state.load(ORDER);
        if state & STAGE == WAITING {
            let _ = self.state.compare_exchange(state, (state & !STAGE) | ANSWERING, ORDER, ORDER);
        }
        self.begins.load(ORDER) && self.begins.swap(false, ORDER)
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
        let stage = match self.state.load(ORDER) & STAGE {
            IDLE => return None,
            // While the client is still sending, it is not the server that is late.
            SENDING if !self.blocked.load(ORDER) && self.bytes_received() == 0 => None,
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
