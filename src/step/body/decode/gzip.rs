//! gzip (RFC 1952): header, deflate data, and a trailer with checksum and length; one member or several.

use flate2::{Crc, Decompress};

use super::{BodyError, Step, inflate};

/// A header longer than this (its file name and comment have no bound) is refused.
const MAX_HEADER: usize = 16 * 1024;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const TRAILER: usize = 8;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;

const CORRUPT: BodyError = BodyError::Corrupt { encoding: "gzip" };

/// A streaming gzip decoder.
#[derive(Default)]
pub(super) struct Gzip {
    state: State,
    /// Header or trailer bytes that came in an earlier chunk.
    partial: Vec<u8>,
    /// Complete members so far.
    members: usize,
}

#[derive(Default)]
enum State {
    #[default]
    Header,
    Body(Box<Member>),
    Trailer(Sums),
    /// What follows the last member is no member.
    Ignored,
}

struct Member {
    inflater: Decompress,
    crc: Crc,
}

#[derive(Clone, Copy)]
struct Sums {
    crc: u32,
    length: u32,
}

impl Gzip {
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        match &mut self.state {
            State::Header => self.header(input),
            State::Body(member) => {
                let step = inflate(&mut member.inflater, input, output, "gzip")?;
                member.crc.update(output.get(..step.written).unwrap_or_default());
                if step.ended {
                    self.state = State::Trailer(Sums { crc: member.crc.sum(), length: member.crc.amount() });
                }
                Ok(step)
            }
            State::Trailer(sums) => {
                let sums = *sums;
                self.trailer(sums, input)
            }
            State::Ignored => Ok(Step::skip(input)),
        }
    }

    /// At the border of a member: nothing begun, or nothing but padding after it.
    pub(super) fn is_complete(&self) -> bool {
        match self.state {
            State::Header => self.partial.is_empty() || (self.members > 0 && self.partial.len() < MAGIC.len()),
            State::Ignored => true,
            State::Body(_) | State::Trailer(_) => false,
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let before = self.partial.len();
        let room = (MAX_HEADER + 1).saturating_sub(before);
        self.partial.extend_from_slice(input.get(..room).unwrap_or(input));
        if !MAGIC.starts_with(self.partial.get(..MAGIC.len()).unwrap_or(&self.partial)) {
            if self.members == 0 {
                return Err(CORRUPT);
            }
            self.state = State::Ignored;
            return Ok(Step::skip(input));
        }
        let Some(length) = header_length(&self.partial)? else {
            return if self.partial.len() > MAX_HEADER { Err(CORRUPT) } else { Ok(Step::skip(input)) };
        };
        self.partial.clear();
        self.state = State::Body(Box::new(Member { inflater: Decompress::new(false), crc: Crc::new() }));
        // What earlier chunks brought was not a whole header, so it ends within this one.
        Ok(Step { read: length.saturating_sub(before), ..Step::default() })
    }

    fn trailer(&mut self, sums: Sums, input: &[u8]) -> Result<Step, BodyError> {
        let wanted = TRAILER.saturating_sub(self.partial.len());
        let taken = input.get(..wanted).unwrap_or(input);
        self.partial.extend_from_slice(taken);
        if let Some((&crc, rest)) = self.partial.split_first_chunk::<4>()
            && let Some((&length, _)) = rest.split_first_chunk::<4>()
        {
            if (u32::from_le_bytes(crc), u32::from_le_bytes(length)) != (sums.crc, sums.length) {
                return Err(CORRUPT);
            }
            self.partial.clear();
            self.members += 1;
            self.state = State::Header;
        }
        Ok(Step::skip(taken))
    }
}

/// How long the header at the start of `bytes` is, or `None` if it goes on after them.
fn header_length(bytes: &[u8]) -> Result<Option<usize>, BodyError> {
    let Some((&[_, _, method, flags, ..], mut rest)) = bytes.split_first_chunk::<10>() else {
        return Ok(None);
    };
    if method != 8 || flags & 0xe0 != 0 {
        return Err(CORRUPT);
    }
    if flags & FLAG_EXTRA != 0 {
        let Some((&length, after)) = rest.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let Some(after) = after.get(usize::from(u16::from_le_bytes(length))..) else {
            return Ok(None);
        };
        rest = after;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let Some(end) = memchr::memchr(0, rest) else {
                return Ok(None);
            };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let Some(after) = rest.get(2..) else {
            return Ok(None);
        };
        rest = after;
    }
    Ok(Some(bytes.len() - rest.len()))
}
