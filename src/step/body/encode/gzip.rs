//! Writes gzip, RFC 1952. (The writer of the library leaves data behind when a flush is larger than its buffer.)

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

/// Magic, deflate, no flags, no time, no hint, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Room that is made for what a call puts out.
const ROOM: usize = 8 * 1024;

/// One gzip member.
pub(super) struct Gzip {
    deflate: Compress,
    sum: crc32fast::Hasher,
    begun: bool,
}

impl Gzip {
    pub(super) fn new(level: u32) -> Self {
        let deflate = Compress::new(Compression::new(level), false);
        Self { deflate, sum: crc32fast::Hasher::new(), begun: false }
    }

    /// Compresses a piece, all of it.
    pub(super) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if !self.begun {
            out.extend_from_slice(&HEADER);
            self.begun = true;
        }
        self.sum.update(piece);
        self.run(piece, FlushCompress::Sync, out)
    }

    /// Ends the member.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        if !self.begun {
            out.extend_from_slice(&HEADER);
        }
        self.run(&[], FlushCompress::Finish, &mut out)?;
        let length = u32::try_from(self.deflate.total_in() & u64::from(u32::MAX)).unwrap_or_default();
        out.extend_from_slice(&self.sum.finalize().to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        Ok(out)
    }

    /// Calls the library until there is room left behind what it puts out: only then it has put out all.
    fn run(&mut self, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> io::Result<()> {
        loop {
            out.reserve(ROOM);
            let before = (self.deflate.total_in(), out.len());
            let status = self.deflate.compress_vec(input, out, flush).map_err(io::Error::other)?;
            let read = self.deflate.total_in() - before.0;
            input = input.get(usize::try_from(read).unwrap_or(input.len())..).unwrap_or_default();
            let moved = read > 0 || out.len() > before.1;
            if status == Status::StreamEnd || (input.is_empty() && out.len() < out.capacity()) {
                return Ok(());
            }
            if !moved {
                return Err(io::Error::other("it does not go on"));
            }
        }
    }
}
