//! The name of a request, in the log, in error pages and towards upstreams.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use once_cell::sync::Lazy;

thread_local! {
    /// Each thread counts in a range of its own, so that none waits for another: 2⁴⁸ requests for each of 2¹⁶ threads.
    static COUNT: Cell<u64> = {
        static THREADS: AtomicU64 = AtomicU64::new(0);
        Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 48)
    };
}

/// 32 hexadecimal digits: 64 bits that are random for each process, then a count that is scrambled.
#[must_use]
pub fn new_request_id() -> HeaderValue {
    static PROCESS: Lazy<u64> = Lazy::new(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    });
    let count = COUNT.with(|count| {
        let next = count.get();
        count.set(next + 1);
        next
    });
    let scrambled = (count ^ *PROCESS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let id = (u128::from(*PROCESS) << 64) | u128::from(scrambled);
    let mut text = [0_u8; 32];
    for (digit, byte) in text.iter_mut().enumerate() {
        let nibble = (id >> (124 - digit * 4)) & 0xf;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ() {
        let make = || (0..1000).map(|_| new_request_id()).collect::<Vec<_>>();
        let other = std::thread::spawn(make);
        let ids: std::collections::HashSet<_> = make().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(ids.len(), 2000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
