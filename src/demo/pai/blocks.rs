//! Bytes kept in memory, all of them against one limit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};

use super::files::Refusal;

/// What is kept in all, in bytes.
pub(super) const CAPACITY: u64 = 256 * 1024 * 1024;
/// What an entry or an extent costs beside its name or its bytes; roughly.
pub(super) const OVERHEAD: u64 = 512;
/// The bytes of a file are kept in blocks of this size.
const BLOCK: usize = 1024 * 1024;

/// How much of [`CAPACITY`] is taken.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Budget {
    pub(super) fn used(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Room for `size` bytes and the overhead.
    pub(super) fn room(&self, size: u64) -> Result<Room, Refusal> {
        let mut room = Room { size: 0, budget: self.clone() };
        room.grow(size + OVERHEAD)?;
        Ok(room)
    }

    pub(super) fn writer(&self) -> Result<Writer, Refusal> {
        Ok(Writer { blocks: Vec::new(), last: BytesMut::new(), room: self.room(0)? })
    }
}

/// Bytes, in the pieces in which they were written.
#[derive(Clone, Default)]
pub(super) struct Content(pub(super) Vec<Arc<Extent>>);

/// What one writer wrote.
pub(super) struct Extent {
    blocks: Vec<Bytes>,
    room: Room,
}

/// A part of the capacity; given back when dropped.
pub(super) struct Room {
    size: u64,
    budget: Budget,
}

impl Room {
    fn grow(&mut self, size: u64) -> Result<(), Refusal> {
        let fits = |used: u64| used.checked_add(size).filter(|sum| *sum <= CAPACITY);
        self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Refusal::Full)?;
        self.size += size;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|extent| extent.room.size - OVERHEAD).sum()
    }

    /// `length` bytes from `offset` on, as far as there are such, without a copy. They keep their room until the last
    /// is dropped.
    pub(super) fn read(self, offset: u64, length: u64) -> impl Iterator<Item = Bytes> {
        let (mut skip, mut left) = (offset, length);
        self.0.into_iter().flat_map(move |extent| {
            let mut slices = Vec::new();
            for block in &extent.blocks {
                let from = skip.min(block.len() as u64);
                let count = left.min(block.len() as u64 - from);
                (skip, left) = (skip - from, left - count);
                if let (Ok(from), Ok(count @ 1..)) = (usize::try_from(from), usize::try_from(count)) {
                    slices.push(block.slice(from..from + count));
                }
            }
            slices.into_iter().inspect(move |_| {
                let _held = &extent;
            })
        })
    }
}

/// Takes the bytes of a file or of what is appended to one.
pub(super) struct Writer {
    blocks: Vec<Bytes>,
    last: BytesMut,
    room: Room,
}

impl Writer {
    pub(super) fn push(&mut self, mut data: &[u8]) -> Result<(), Refusal> {
        self.room.grow(data.len() as u64)?;
        // Copied, since a slice of a socket's buffer would keep the whole buffer.
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(BLOCK - self.last.len()));
            self.last.extend_from_slice(now);
            if self.last.len() == BLOCK {
                self.blocks.push(std::mem::take(&mut self.last).freeze());
            }
            data = later;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Arc<Extent> {
        self.blocks.push(Bytes::copy_from_slice(&self.last));
        Arc::new(Extent { blocks: self.blocks, room: self.room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_crosses_blocks_and_extents() {
        let budget = Budget::default();
        let data: Vec<u8> = (0..=250).cycle().take(BLOCK + 10).collect();
        let write = |data: &[u8]| {
            let mut writer = budget.writer().unwrap();
            data.chunks(1000).for_each(|chunk| writer.push(chunk).unwrap());
            writer.finish()
        };
        let content = Content(vec![write(&data), write(b"the end")]);
        assert_eq!(content.len(), (data.len() + 7) as u64);
        let read = content.clone().read(BLOCK as u64 - 2, 15).collect::<Vec<_>>().concat();
        assert_eq!(read, [&data[BLOCK - 2..], b"the"].concat());
        assert_eq!(content.read(u64::MAX, u64::MAX).count(), 0);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_limit_holds() {
        let budget = Budget::default();
        let mut writer = budget.writer().unwrap();
        let block = vec![0; BLOCK];
        let pushed = (0..1000).take_while(|_| writer.push(&block).is_ok()).count();
        assert_eq!(pushed, 255);
        drop(writer);
        assert_eq!(budget.used(), 0);
    }
}
