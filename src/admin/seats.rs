//! Room for connections: so many at a time. When all is taken, the one that has been without work for longest makes room,
//! be it idle, slow to ask, or slow to read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Connections at a time.
const SEATS: usize = 64;

/// All seats.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// Those without work, in the order in which they came to be so.
    waiting: BTreeMap<u64, Arc<Notify>>,
    /// Those for which something is worked out now.
    working: usize,
}

/// The place of a connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    leave: Arc<Notify>,
    /// Its number among those that wait; none while it works.
    number: Mutex<Option<u64>>,
}

/// Something is worked out; until this is dropped, the connection keeps its seat.
pub(super) struct Work<'s>(&'s Seat);

impl Seats {
    /// A seat for one more; waits while all the others work.
    pub(super) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            if let Some(seat) = self.try_take() {
                return seat;
            }
            self.freed.notified().await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.waiting.len() + taken.working >= SEATS {
            taken.waiting.pop_first()?.1.notify_one();
        }
        let leave = Arc::new(Notify::new());
        let number = taken.wait(&leave);
        Some(Seat { seats: Arc::clone(self), leave, number: Mutex::new(Some(number)) })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn wait(&mut self, leave: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, Arc::clone(leave));
        self.next
    }
}

impl Seat {
    /// Ready when the seat is given to another.
    pub(super) async fn given_away(&self) {
        self.leave.notified().await;
    }

    /// Keeps the seat while something is worked out; none where it is given away already.
    pub(super) fn work(&self) -> Option<Work<'_>> {
        let mut taken = self.seats.lock();
        let number = self.number().take()?;
        taken.waiting.remove(&number)?;
        taken.working += 1;
        Some(Work(self))
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let seat = self.0;
        let mut taken = seat.seats.lock();
        taken.working -= 1;
        *seat.number() = Some(taken.wait(&seat.leave));
        seat.seats.freed.notify_one();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(number) = self.number().take() {
            taken.waiting.remove(&number);
        }
        self.seats.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a seat was given away.
    async fn has_left(seat: &Seat) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, seat.given_away()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_without_work_leaves() {
        let seats = Arc::new(Seats::default());
        let mut all = Vec::new();
        for _ in 0..SEATS {
            all.push(seats.take().await);
        }
        let worked = all[0].work().unwrap();
        drop(worked);
        let working = all[1].work().unwrap();
        let late = seats.take().await;
        for (index, seat) in all.iter().enumerate() {
            assert_eq!(has_left(seat).await, index == 2, "{index}");
        }
        assert!(all[2].work().is_none(), "its seat is another's");
        assert!(late.work().is_some());
        drop(working);
        drop((all, late));
        let taken = seats.lock();
        assert_eq!((taken.waiting.len(), taken.working), (0, 0));
    }

    #[tokio::test]
    async fn while_all_work_others_wait() {
        let seats = Arc::new(Seats::default());
        let mut all = Vec::new();
        for _ in 0..SEATS {
            all.push(seats.take().await);
        }
        let mut working: Vec<_> = all.iter().map(|seat| seat.work().unwrap()).collect();
        assert!(seats.try_take().is_none());
        working.pop();
        assert!(tokio::time::timeout(std::time::Duration::from_secs(10), seats.take()).await.is_ok());
    }
}
