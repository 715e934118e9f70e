//! Checks of passwords, which take a core for a good part of a second: only few run at once, so that requests which need none
//! do not wait for those that do, whoever sends them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use once_cell::sync::Lazy;
use tokio::sync::Semaphore;

use super::file::Hash;

/// For how long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many wait, and how many of them for one client.
const WAITING: usize = 512;
const OF_ONE: usize = 32;

/// Turns of all steps of this process: one core is left to others.
static TURNS: Lazy<Arc<Semaphore>> = Lazy::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)))
});
static QUEUE: Lazy<Queue> = Lazy::new(Queue::default);

/// Who waits.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A place in the queue, which ends with it.
struct Place<'q> {
    queue: &'q Queue,
    client: IpAddr,
}

impl Queue {
    /// A place; `None` where too many wait already.
    fn join(&self, client: IpAddr) -> Option<Place<'_>> {
        let client = network(client);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = waiting.by_client.get(&client).copied().unwrap_or_default();
        if waiting.all >= WAITING || of_client >= OF_ONE {
            return None;
        }
        waiting.all += 1;
        waiting.by_client.insert(client, of_client + 1);
        Some(Place { queue: self, client })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.all = waiting.all.saturating_sub(1);
        match waiting.by_client.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                waiting.by_client.remove(&self.client);
            }
        }
    }
}

/// What one client has for itself: an address, or a network of IPv6 (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// Whether a password fits a hash.
///
/// # Errors
/// Why that could not be checked.
pub(super) async fn check(password: String, hash: Arc<Hash>, client: IpAddr) -> Result<bool, String> {
    let place = QUEUE.join(client).ok_or("too many passwords wait to be checked")?;
    let turn = tokio::time::timeout(PATIENCE, Arc::clone(&TURNS).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(format!("the password was not checked within {PATIENCE:?}: too many others are"));
    };
    drop(place);
    // The turn lasts as long as the check, even where the client does not wait for it.
    let work = move || {
        let fits = hash.fits(&password);
        drop(turn);
        fits
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| "the check of the password broke off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_does_not_keep_others_out() {
        let queue = Queue::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let places: Vec<_> = (0..OF_ONE).map(|_| queue.join(ip("10.0.0.1")).unwrap()).collect();
        assert!(queue.join(ip("10.0.0.1")).is_none());
        assert!(queue.join(ip("10.0.0.2")).is_some());
        drop(places);
        assert!(queue.join(ip("10.0.0.1")).is_some());
        let wide: Vec<_> = (0..OF_ONE).map(|n| queue.join(ip(&format!("2001:db8::{n}"))).unwrap()).collect();
        assert!(queue.join(ip("2001:db8::ffff:1")).is_none());
        assert!(queue.join(ip("2001:db8:0:1::1")).is_some());
        drop(wide);
        let all: Vec<_> = (0..=255).flat_map(|n| (0..2).map(move |_| n)).collect();
        let all: Vec<_> = all.iter().map(|n| queue.join(ip(&format!("10.1.0.{n}"))).unwrap()).collect();
        assert_eq!(all.len(), WAITING);
        assert!(queue.join(ip("10.2.0.1")).is_none());
    }
}
