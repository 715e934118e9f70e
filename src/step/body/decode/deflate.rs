//! `deflate`, in the two forms that are sent under that name.

use flate2::Decompress;

use super::{BodyError, Step, inflate};

/// `deflate`, whose first two bytes tell zlib from raw.
#[derive(Default)]
pub(super) enum Deflate {
    #[default]
    Unknown,
    /// The first byte came alone.
    First(u8),
    /// The bytes that were looked at before the kind was known are fed first.
    Known {
        inflater: Decompress,
        first: Option<u8>,
    },
    Done,
}

impl Deflate {
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        if let Self::Known { inflater, first } = self {
            if let Some(byte) = first.take() {
                // One byte can complete nothing in either format.
                inflate(inflater, &[byte], output, "deflate")?;
            }
            let step = inflate(inflater, input, output, "deflate")?;
            if step.ended {
                *self = Self::Done;
            }
            return Ok(step);
        }
        match (&*self, input) {
            (Self::Unknown, [first]) => {
                *self = Self::First(*first);
                Ok(Step::skip(input))
            }
            (Self::Unknown, [first, second, ..]) => {
                *self = Self::known(*first, *second, None);
                self.step(input, output)
            }
            (Self::First(first), [second, ..]) => {
                *self = Self::known(*first, *second, Some(*first));
                self.step(input, output)
            }
            _ => Ok(Step::skip(input)),
        }
    }

    fn known(first: u8, second: u8, fed_first: Option<u8>) -> Self {
        let is_zlib = first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31);
        Self::Known { inflater: Decompress::new(is_zlib), first: fed_first }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Unknown | Self::Done)
    }
}
