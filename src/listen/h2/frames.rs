//! The frames that a client sends, counted while they pass: what costs work and carries none is bounded in number, a header
//! block in time, before the HTTP/2 library sees them (RFC 9113 §10.5).

use std::time::{Duration, Instant};

use crate::observe::Rejection;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames without use that a client may send at once, and then a second.
const BURST: u64 = 1_000;
const A_SECOND: u64 = 200;
/// Frames without use that are allowed for each DATA frame, in either direction: windows are updated then, and round trips
/// measured.
const FOR_DATA: u64 = 3;
/// Streams that a client may reset at once, then a second, besides one for each that it lets end.
const RESETS: u64 = 60;
const RESETS_A_SECOND: u64 = 10;
/// CONTINUATION frames of one header block.
const CONTINUATIONS: u32 = 16;

/// Frame types (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Where in a stream of frames the next byte belongs.
#[derive(Debug, Default)]
struct Walk {
    header: [u8; 9],
    have: usize,
    /// Bytes that are still to come before the next frame.
    skip: usize,
}

/// What a walk meets.
enum Met {
    /// A frame begins: its length, type and flags.
    Begin(usize, u8, u8),
    /// A frame that is not empty ends.
    End,
    /// Nothing more for now.
    Nothing,
}

impl Walk {
    /// Goes on to what comes next in `bytes`, and takes what it has passed off them.
    fn next(&mut self, bytes: &mut &[u8]) -> Met {
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            *bytes = &bytes[skipped..];
            return if self.skip == 0 { Met::End } else { Met::Nothing };
        }
        let wanted = (self.header.len() - self.have).min(bytes.len());
        self.header[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
        self.have += wanted;
        *bytes = &bytes[wanted..];
        if self.have < self.header.len() {
            return Met::Nothing;
        }
        self.have = 0;
        let [a, b, c, kind, flags, ..] = self.header;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Met::Begin(self.skip, kind, flags)
    }
}

/// What was counted of a connection.
#[derive(Debug)]
pub struct Frames {
    inbound: Walk,
    outbound: Walk,
    started: Instant,
    useless: u64,
    /// DATA frames in both directions.
    data: u64,
    opened: u64,
    resets: u64,
    continuations: u32,
    /// Since when a header block is open.
    block: Option<Instant>,
    /// Whether the frame that is being read ends it.
    ends_block: bool,
}

impl Frames {
    /// Of a connection that begins; `preface` bytes of its preface are still to come.
    #[must_use]
    pub fn new(preface: usize) -> Self {
        Self {
            inbound: Walk { skip: preface, ..Walk::default() },
            outbound: Walk::default(),
            started: Instant::now(),
            useless: 0,
            data: 0,
            opened: 0,
            resets: 0,
            continuations: 0,
            block: None,
            ends_block: false,
        }
    }

    /// Counts what comes.
    ///
    /// # Errors
    /// When it is too much of what is of no use.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Rejection> {
        while !bytes.is_empty() {
            match self.inbound.next(&mut bytes) {
                Met::Begin(length, kind, flags) => self.begin_frame(length, kind, flags)?,
                Met::End => self.end_frame(),
                Met::Nothing => {}
            }
        }
        Ok(())
    }

    /// Counts what is sent.
    pub fn wrote(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if let Met::Begin(1.., DATA, _) = self.outbound.next(&mut bytes) {
                self.data += 1;
            }
        }
    }

    /// When the header block that is open has to be complete.
    #[must_use]
    pub fn deadline(&self, time: Duration) -> Option<Instant> {
        self.block.map(|since| since + time)
    }

    fn begin_frame(&mut self, length: usize, kind: u8, flags: u8) -> Result<(), Rejection> {
        let seconds = self.started.elapsed().as_secs();
        let of_use = match kind {
            DATA => length > 0 || flags & END_STREAM != 0,
            HEADERS => {
                self.opened += 1;
                self.continuations = 0;
                self.block = Some(Instant::now());
                self.ends_block = flags & END_HEADERS != 0;
                true
            }
            CONTINUATION => {
                self.continuations += 1;
                if self.continuations > CONTINUATIONS {
                    return Err(Rejection::Http2Flood);
                }
                self.ends_block = flags & END_HEADERS != 0;
                true
            }
            RST_STREAM => {
                self.resets += 1;
                let kept = self.opened.saturating_sub(self.resets);
                if self.resets > RESETS + RESETS_A_SECOND * seconds + kept {
                    return Err(Rejection::Http2Resets);
                }
                false
            }
            _ => false,
        };
        if kind == DATA {
            self.data += u64::from(length > 0);
        }
        if !of_use {
            self.useless += 1;
            if self.useless > BURST + A_SECOND * seconds + self.opened + FOR_DATA * self.data {
                return Err(Rejection::Http2Flood);
            }
        }
        if length == 0 {
            self.end_frame();
        }
        Ok(())
    }

    fn end_frame(&mut self) {
        if self.ends_block {
            self.block = None;
            self.ends_block = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, kind: u8, flags: u8) -> Vec<u8> {
        let [.., high, low] = length.to_be_bytes();
        let mut bytes = vec![0, high, low, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + length, 0);
        bytes
    }

    /// How many of these frames pass, and in how many seconds, the last one counted whole.
    fn passes(one: &[u8], step: usize) -> (u64, u64) {
        let began = Instant::now();
        let mut frames = Frames::new(PREFACE.len());
        frames.read(PREFACE).unwrap();
        let passed = (0..100_000).take_while(|_| one.chunks(step).all(|piece| frames.read(piece).is_ok())).count();
        (passed as u64, began.elapsed().as_secs() + 1)
    }

    #[test]
    fn floods_are_cut_however_they_are_split() {
        for step in [1, 5, 1000] {
            for one in
                [frame(8, 6, 0), frame(0, 4, 0), frame(0, DATA, 0), frame(4, 8, 0), frame(5, 2, 0), frame(3, 99, 0)]
            {
                let (passed, seconds) = passes(&one, step);
                assert!((BURST..BURST + 3 * A_SECOND * seconds).contains(&passed), "{passed} in {seconds} s");
            }
            let block = [frame(5, HEADERS, 0), frame(1, CONTINUATION, 0).repeat(20)].concat();
            assert_eq!(passes(&block, step).0, 0);
        }
    }

    #[test]
    fn resets_are_bounded_by_what_is_let_end() {
        let reset = [frame(5, HEADERS, END_HEADERS | END_STREAM), frame(4, RST_STREAM, 0)].concat();
        let (passed, seconds) = passes(&reset, 1000);
        assert!((RESETS..RESETS + 3 * RESETS_A_SECOND * seconds).contains(&passed), "{passed} in {seconds} s");
        let half = [frame(5, HEADERS, END_HEADERS | END_STREAM), reset].concat();
        assert_eq!(passes(&half, 1000).0, 100_000);
    }

    #[test]
    fn bodies_of_any_length_pass() {
        assert_eq!(passes(&frame(1000, DATA, 0), 333).0, 100_000);
    }

    #[test]
    fn a_header_block_is_open_until_it_ends() {
        let mut frames = Frames::new(0);
        let headers = frame(5, HEADERS, 0);
        frames.read(&headers[..4]).unwrap();
        assert!(frames.deadline(Duration::ZERO).is_none());
        frames.read(&headers[4..]).unwrap();
        assert!(frames.deadline(Duration::ZERO).is_some());
        let last = frame(2, CONTINUATION, END_HEADERS);
        frames.read(&last[..10]).unwrap();
        assert!(frames.deadline(Duration::ZERO).is_some());
        frames.read(&last[10..]).unwrap();
        assert!(frames.deadline(Duration::ZERO).is_none());
    }
}
