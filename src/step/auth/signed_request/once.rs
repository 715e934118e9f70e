//! Signatures that were used, for those that may be used once.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::step::shared::Keep;

/// Signatures that are kept at most: past them nothing passes until some are too old to be used again.
const MOST: usize = 1_000_000;

/// Those that are still young enough to be used again.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    known: HashSet<[u8; 16]>,
    /// With when each may be forgotten.
    order: VecDeque<(SystemTime, [u8; 16])>,
}

impl Keep for Once {}

impl Once {
    /// Takes a signature that was proven; `false` where it was used before.
    pub(super) fn take(&self, signature: &str, now: SystemTime, kept: Duration) -> bool {
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(signature.as_bytes())[..16]);
        let mut seen = self.0.lock();
        while let Some((_, old)) = seen.order.front().copied().filter(|(until, _)| *until <= now) {
            seen.order.pop_front();
            seen.known.remove(&old);
        }
        if seen.known.len() >= MOST || !seen.known.insert(short) {
            return false;
        }
        seen.order.push_back((now + kept, short));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_passes_once_until_it_is_too_old_anyway() {
        let (once, kept) = (Once::default(), Duration::from_secs(10));
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(once.take("a", at(0), kept) && once.take("b", at(1), kept));
        assert!(!once.take("a", at(9), kept));
        assert!(once.take("a", at(10), kept));
        assert_eq!(once.0.lock().known.len(), 2);
    }
}
