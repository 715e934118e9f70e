//! The methods by which an endpoint is chosen, prepared for a list of weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::BackendSelection;
use pingora_load_balancing::selection::consistent::KetamaHashing;

use super::endpoint::Endpoint;

/// The most turns of one round.
const MOST_TURNS: u64 = 16_384;

/// Turns: each index as often as its weight says, spread as evenly as can be.
#[derive(Debug, Default)]
pub(super) struct Turns(Box<[u32]>);

impl Turns {
    pub(super) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |a, weight| gcd(a, *weight)).max(1);
        let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
        // Many servers of odd weights: their shares are rounded, so that a round does not fill the memory.
        let most = MOST_TURNS.max(weights.len() as u64);
        let turns_of = |weight: u32| {
            let turns = u64::from(weight / divisor);
            if total > most { (turns * most / total).max(1) } else { turns }
        };
        let mut turns: Vec<(f64, u32)> = Vec::new();
        for (index, weight) in (0_u32..).zip(weights) {
            let count = turns_of(*weight);
            #[allow(clippy::cast_precision_loss, reason = "16,384 turns at most")]
            turns.extend((0..count).map(|turn| ((turn as f64 + 0.5) / count as f64, index)));
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(turns.into_iter().map(|(_, index)| index).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The index whose turn it is; of no turns 0.
    pub(super) fn at(&self, turn: usize) -> usize {
        let turn = turn.checked_rem(self.0.len()).and_then(|turn| self.0.get(turn));
        turn.map_or(0, |index| *index as usize)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Two at random, each as likely as its weight says: the power of two choices (Mitzenmacher 2001).
#[derive(Debug, Default)]
pub(super) struct Two {
    count: u32,
    /// The sum of the weights up to each index; empty where all are the same.
    sums: Box<[u32]>,
}

impl Two {
    pub(super) fn new(weights: &[u32]) -> Self {
        let count = u32::try_from(weights.len()).unwrap_or(u32::MAX);
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self { count, sums: Box::default() };
        }
        let mut sum = 0;
        let sums = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        Self { count, sums: sums.collect() }
    }

    /// Two different indexes, where there are two.
    pub(super) fn pick(&self) -> Option<(usize, usize)> {
        let (first, second) = match self.count {
            0 => return None,
            1 => return Some((0, 0)),
            2 if self.sums.is_empty() => (fastrand::u32(..2), 0),
            _ => (self.one(), self.one()),
        };
        let second = if self.count == 2 {
            1 - first
        } else if first == second {
            (second + 1) % self.count
        } else {
            second
        };
        Some((first as usize, second as usize))
    }

    fn one(&self) -> u32 {
        match self.sums.last() {
            None => fastrand::u32(..self.count),
            Some(total) => {
                let point = fastrand::u32(..*total);
                u32::try_from(self.sums.partition_point(|sum| *sum <= point)).unwrap_or(0)
            }
        }
    }
}

/// A ring of points by which keys find their endpoints: consistent hashing as libketama does it.
pub(super) struct Ring(pub(super) Arc<KetamaHashing>);

impl Ring {
    /// A ring of all endpoints that have a weight, healthy or not, so that health moves no other keys.
    pub(super) fn new(all: &[Arc<Endpoint>]) -> Self {
        let weighted = all.iter().enumerate().filter(|(_, endpoint)| endpoint.configured.weight > 0);
        let backends: BTreeSet<Backend> = weighted
            .map(|(index, endpoint)| {
                let mut ext = http::Extensions::new();
                ext.insert(index);
                Backend { addr: endpoint.address.into(), weight: endpoint.configured.weight as usize, ext }
            })
            .collect();
        Self(Arc::new(KetamaHashing::build(&backends)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_by_weight() {
        let turns = Turns::new(&[20, 10]);
        assert_eq!(&*turns.0, [0, 1, 0]);
        let turns = Turns::new(&[1, 1, 1]);
        assert_eq!(&*turns.0, [0, 1, 2]);
        let odd: Vec<u32> = (0..1000).map(|index| 1 + index * 7 % 1000).collect();
        assert!(Turns::new(&odd).len() < 20_000);
        assert_eq!(Turns::new(&[]).at(7), 0);
    }

    #[test]
    fn pairs_differ_and_follow_the_weights() {
        assert_eq!(Two::new(&[]).pick(), None);
        assert_eq!(Two::new(&[5]).pick(), Some((0, 0)));
        let two = Two::new(&[1, 1, 8]);
        let mut heavy = 0;
        for _ in 0..10_000 {
            let (first, second) = two.pick().unwrap();
            assert_ne!(first, second);
            heavy += usize::from(first == 2);
        }
        assert!((7_700..8_300).contains(&heavy), "{heavy}");
    }
}
