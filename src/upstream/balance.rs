//! The methods by which an endpoint is chosen, prepared for a list of weights.

use std::net::SocketAddr;

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

    /// Two indexes: different ones, where all weights are the same.
    pub(super) fn pick(&self) -> Option<(usize, usize)> {
        let (first, second) = match self.count {
            0 => return None,
            1 => return Some((0, 0)),
            _ => (self.one(), self.one()),
        };
        // By weight, the same one twice is as likely as it should be; else it would be a choice of none.
        let second = if first == second && self.sums.is_empty() { (second + 1) % self.count } else { second };
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

/// Points that an endpoint of weight 1 has on a ring.
const POINTS: u64 = 160;
/// The most points of a ring.
const MOST_POINTS: u64 = 1 << 20;

/// A ring of points by which keys find their endpoints: ketama, with the points where nginx's `hash … consistent` has them,
/// so that both lead a key to the same server.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Where a point is, and the index of its endpoint, in order.
    points: Box<[(u32, u32)]>,
    /// For each value of a hash's first bits the first point that is not before it.
    directory: Box<[u32]>,
    shift: u32,
}

impl Ring {
    /// A ring of endpoints by address and weight; those of weight 0 have no points.
    pub(super) fn new(endpoints: &[(SocketAddr, u32)]) -> Self {
        let divisor = endpoints.iter().fold(0, |a, (_, weight)| gcd(a, *weight)).max(1);
        let total: u64 = endpoints.iter().map(|(_, weight)| u64::from(weight / divisor) * POINTS).sum();
        let mut points: Vec<(u32, u32)> = Vec::new();
        for (index, (address, weight)) in (0_u32..).zip(endpoints) {
            let count = u64::from(weight / divisor) * POINTS;
            let count = if total > MOST_POINTS { (count * MOST_POINTS / total).max(count.min(1)) } else { count };
            let mut base = crc32fast::Hasher::new();
            base.update(address.ip().to_string().as_bytes());
            base.update(b"\0");
            base.update(address.port().to_string().as_bytes());
            let mut before = 0_u32;
            for _ in 0..count {
                let mut hasher = base.clone();
                hasher.update(&before.to_le_bytes());
                before = hasher.finalize();
                points.push((before, index));
            }
        }
        points.sort_unstable();
        points.dedup_by_key(|(place, _)| *place);
        let bits = points.len().next_power_of_two().trailing_zeros().min(20);
        let shift = 32 - bits;
        let first = |prefix: u64| points.partition_point(|(place, _)| u64::from(*place) < prefix << shift);
        let directory = (0..=1_u64 << bits).map(|prefix| u32::try_from(first(prefix)).unwrap_or(u32::MAX)).collect();
        Self { points: points.into(), directory, shift }
    }

    /// The endpoints in the order in which a key prefers them; some come more than once.
    pub(super) fn of(&self, key: &[u8]) -> impl Iterator<Item = usize> {
        let hash = crc32fast::hash(key);
        let prefix = u64::from(hash) >> self.shift;
        let from =
            usize::try_from(prefix).ok().and_then(|prefix| self.directory.get(prefix)).map_or(0, |i| *i as usize);
        let rest = self.points.get(from..).unwrap_or_default();
        let before = rest.iter().take_while(|(place, _)| *place < hash).count();
        let start = from + before;
        let (head, tail) = self.points.split_at(start.min(self.points.len()));
        tail.iter().chain(head).map(|(_, index)| *index as usize)
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
            let (first, _) = two.pick().unwrap();
            heavy += usize::from(first == 2);
            let (first, second) = Two::new(&[3, 3]).pick().unwrap();
            assert_ne!(first, second);
        }
        assert!((7_700..8_300).contains(&heavy), "{heavy}");
    }

    #[test]
    fn a_ring_moves_only_the_keys_that_it_must() {
        let address = |host: u8| SocketAddr::from(([10, 0, 0, host], 80));
        let all: Vec<_> = (1..=10).map(|host| (address(host), 1)).collect();
        let (ten, nine) = (Ring::new(&all), Ring::new(&all[..9]));
        let mut counts = [0; 10];
        for key in 0..10_000_u32 {
            let (with, without) =
                (ten.of(&key.to_be_bytes()).next().unwrap(), nine.of(&key.to_be_bytes()).next().unwrap());
            counts[with] += 1;
            assert!(with == 9 || with == without, "{key}");
        }
        assert!(counts.iter().all(|count| (600..1500).contains(count)), "{counts:?}");
        let all_ten: std::collections::HashSet<usize> = ten.of(b"key").collect();
        assert_eq!(all_ten.len(), 10);
    }

    #[test]
    fn points_are_where_nginx_has_them() {
        // crc32("10.0.0.1" NUL "80" 0x00000000), then with the hash before in place of the zeros.
        let ring = Ring::new(&[(SocketAddr::from(([10, 0, 0, 1], 80)), 1)]);
        let first = crc32fast::hash(b"10.0.0.1\080\0\0\0\0");
        let second = crc32fast::hash(&[&b"10.0.0.1\080"[..], &first.to_le_bytes()].concat());
        for place in [first, second] {
            assert!(ring.points.iter().any(|(point, _)| *point == place));
        }
        assert_eq!(ring.points.len(), 160);
    }

    #[test]
    fn rings_of_nothing_and_of_much() {
        assert_eq!(Ring::new(&[]).of(b"key").next(), None);
        let heavy: Vec<_> =
            (1..=200).map(|host| (SocketAddr::from(([10, 0, 0, host], 80)), 993 + u32::from(host) % 7)).collect();
        let ring = Ring::new(&heavy);
        assert!(ring.points.len() as u64 <= MOST_POINTS + 200);
        assert!(ring.of(b"key").next().is_some());
    }
}
