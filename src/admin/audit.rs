//! What operators did, or tried to: one line each, of the target `audit`.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are logged in a second; the others are counted on the next line.
const LINES: u32 = 10;

/// Says what was done from where, and what came of it.
pub(super) fn audit(action: &str, peer: SocketAddr, outcome: &str) {
    tracing::info!(target: "audit", action, client = %peer, outcome, "{action}: {outcome}");
}

/// Says what was refused; who tries again and again fills no disk.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Option<Second>>);

#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl Refused {
    pub(super) fn say(&self, action: &str, peer: SocketAddr, why: &str) {
        if let Some(left_out) = self.may_say() {
            tracing::warn!(target: "audit", action, client = %peer, outcome = why, left_out, "refused: {action}: {why}");
        }
    }

    /// Whether a line is due, and how many were left out before it.
    fn may_say(&self) -> Option<u64> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let second = second.get_or_insert(Second { began: now, lines: 0, left_out: 0 });
        if now.duration_since(second.began) >= Duration::from_secs(1) {
            (second.began, second.lines) = (now, 0);
        }
        second.lines += 1;
        if second.lines > LINES {
            second.left_out += 1;
            return None;
        }
        Some(std::mem::take(&mut second.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines() {
        let refused = Refused::default();
        let said = (0..1000).filter(|_| refused.may_say().is_some()).count();
        assert_eq!(said, LINES as usize);
        if let Some(second) = refused.0.lock().unwrap().as_mut() {
            second.began = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        }
        assert_eq!(refused.may_say(), Some(1000 - u64::from(LINES)));
    }
}
