//! What this process keeps of each key: bounded in number, in parts that do not wait for each other.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use parking_lot::Mutex;

/// A key, hashed with secrets of this process: nobody can make two that are the same.
pub(super) type Hashed = u128;

/// Hashes keys.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    high: RandomState,
    low: RandomState,
}

impl Hashing {
    /// The hash of a key of some kind; equal texts of different kinds are different keys.
    pub(super) fn hash(&self, kind: u8, text: &[u8]) -> Hashed {
        let (high, low) = (self.high.hash_one((kind, text)), self.low.hash_one((kind, text)));
        (u128::from(high) << 64) | u128::from(low)
    }
}

/// What is kept of a key.
pub(super) trait Kept: Default {
    /// What tells when it is worth nothing any more.
    type Rule;
    /// Whether nothing would be lost without it.
    fn is_idle(&self, rule: &Self::Rule, now: u64) -> bool;
    /// When it was used last; among equals the oldest goes first.
    fn used(&self) -> u64;
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        #[allow(clippy::cast_possible_truncation, reason = "the lower half of a hash is one, too")]
        let low = hash as u64;
        self.0 = low;
    }
}

type Map<T> = HashMap<Hashed, T, BuildHasherDefault<AsItIs>>;

/// A part, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Part<T>(Mutex<Map<T>>);

/// All keys.
#[derive(Debug)]
pub(super) struct Table<T> {
    parts: Box<[Part<T>]>,
    /// How many keys each part holds.
    most: usize,
}

impl<T: Kept> Table<T> {
    /// A table for about so many keys.
    pub(super) fn new(most: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = (cores * 8).next_power_of_two().clamp(16, 512).min((most / 16).next_power_of_two().max(1));
        let part = |_| Part(Mutex::new(Map::default()));
        Self { parts: (0..parts).map(part).collect(), most: most.div_ceil(parts).max(8) }
    }

    /// Works on what is kept of a key, which is made where it is not there.
    pub(super) fn with<R>(&self, key: Hashed, rule: &T::Rule, now: u64, work: impl FnOnce(&mut T) -> R) -> R {
        let mut part = self.part(key).lock();
        if let Some(kept) = part.get_mut(&key) {
            return work(kept);
        }
        if part.len() >= self.most {
            make_room(&mut part, rule, now);
        }
        work(part.entry(key).or_default())
    }

    /// Looks at what is kept of a key, if anything.
    pub(super) fn look<R>(&self, key: Hashed, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.part(key).lock().get_mut(&key).map(work)
    }

    fn part(&self, key: Hashed) -> &Mutex<Map<T>> {
        #[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one, too")]
        let part = (key >> 64) as usize & (self.parts.len() - 1);
        &self.parts[part].0
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.0.lock().len()).sum()
    }
}

/// Forgets what is idle; where that is less than an eighth, also what was used least lately. So the work is shared by many
/// new keys.
fn make_room<T: Kept>(part: &mut Map<T>, rule: &T::Rule, now: u64) {
    let before = part.len();
    part.retain(|_, kept| !kept.is_idle(rule, now));
    let wanted = before - before / 8 - 1;
    if part.len() <= wanted {
        return;
    }
    let mut used: Vec<u64> = part.values().map(Kept::used).collect();
    let surplus = part.len() - wanted;
    let (_, last, _) = used.select_nth_unstable(surplus - 1);
    let last = *last;
    let mut left = surplus;
    part.retain(|_, kept| {
        let goes = left > 0 && kept.used() <= last;
        left -= usize::from(goes);
        !goes
    });
}

/// How many requests of each key are under way. A key is there as long as one is, so nothing needs to be forgotten.
#[derive(Debug)]
pub(super) struct UnderWay {
    parts: Box<[Part<u32>]>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { parts: (0..64).map(|_| Part(Mutex::new(Map::default()))).collect() }
    }
}

impl UnderWay {
    fn part(&self, key: Hashed) -> &Mutex<Map<u32>> {
        #[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one, too")]
        let part = (key >> 64) as usize & (self.parts.len() - 1);
        &self.parts[part].0
    }

    /// Takes a place of so many; how many are left then, or `None`.
    pub(super) fn enter(&self, key: Hashed, most: u32) -> Option<u32> {
        let mut part = self.part(key).lock();
        let under_way = part.get(&key).copied().unwrap_or(0);
        if under_way >= most {
            return None;
        }
        part.insert(key, under_way + 1);
        Some(most - under_way - 1)
    }

    /// Gives a place back.
    pub(super) fn leave(&self, key: Hashed) {
        let mut part = self.part(key).lock();
        match part.get_mut(&key) {
            Some(under_way) if *under_way > 1 => *under_way -= 1,
            _ => {
                part.remove(&key);
                // What a burst of strangers needed goes back.
                if part.capacity() > 1024 && part.len() < part.capacity() / 8 {
                    part.shrink_to(64);
                }
            }
        }
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.0.lock().len()).sum()
    }
}
