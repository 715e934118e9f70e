//! The name of a request, in the log, in error pages and towards upstreams.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use once_cell::sync::Lazy;

/// 32 hexadecimal digits: 64 bits that are random for each process, then a count that is scrambled.
#[must_use]
pub fn new_request_id() -> HeaderValue {
    static PROCESS: Lazy<u64> = Lazy::new(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
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
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
