//! What happens to a body on its way through: decode, adapt links, substitute text.
//!
//! A [`BodyStep`] takes chunks and gives chunks; a [`Pipeline`] runs an optional [`decode::Decoder`] and a list of
//! steps over them. Nothing here does I/O or waits, so a pipeline can sit in the context of a request.
//!
//! Three promises hold for every step:
//! - the output does not depend on how the body was cut into chunks;
//! - what can be sent is sent: a step holds back only bytes that later ones may still change;
//! - memory is bounded. Decoded data runs through the steps in slices of at most [`SLICE`] bytes, however far it
//!   expands, and what one call may hand back is capped.

pub mod content_type;
pub mod css;
pub mod decode;
pub mod encode;
pub mod html;
pub mod replace;

use bytes::Bytes;

use decode::Decoder;

/// The most bytes that run through the steps at once.
pub const SLICE: usize = 64 * 1024;

/// What one call of [`Pipeline::push`] may hand back unless [`Pipeline::with_limit`] says otherwise: 80 MiB.
pub const DEFAULT_LIMIT: usize = 80 * 1024 * 1024;

/// Scratch buffers above this size are given back after the call that needed them.
const KEEP_SCRATCH: usize = 4 * SLICE;

/// Why a body cannot be passed on. The response has begun by then, so it must be cut off, not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is not what its `Content-Encoding` says.
    #[error("the body is not valid {encoding}")]
    Corrupt {
        /// The content coding that failed, as `gzip`.
        encoding: &'static str,
    },
    /// The body ended in the middle of its encoded form.
    #[error("the {encoding} body ends too early")]
    Truncated {
        /// The content coding that was not complete.
        encoding: &'static str,
    },
    /// One chunk grew to more than the limit.
    #[error("one chunk of the body grew to more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body could not be compressed.
    #[error("the body cannot be compressed with {encoding}")]
    Encode {
        /// The content coding that failed.
        encoding: &'static str,
    },
    /// The library behind a decoder could not be set up.
    #[error("the {encoding} decoder could not be set up")]
    Unavailable {
        /// The content coding whose decoder failed to start.
        encoding: &'static str,
    },
}

/// Where a link in a page shall lead instead.
pub trait LinkMap: Send + Sync {
    /// The new form of `url`, with its character references undone and without surrounding blanks; `None` leaves the
    /// link as it is. Comes with every kind of URL, as `/x`, `x`, `#x`, `https://h/x`, `data:…`.
    fn map(&self, url: &str) -> Option<String>;
}

/// One transformation of a body, fed chunk by chunk.
pub trait BodyStep: Send {
    /// Takes the next bytes of the body and appends to `out` what can leave by now.
    ///
    /// # Errors
    /// When the body cannot be passed on; the step must not be used again.
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError>;

    /// Appends what was held back. Called once, after the last chunk.
    ///
    /// # Errors
    /// When the body cannot be passed on.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError>;
}

/// A decoder, if the body is encoded, and the steps that work on its text, in order.
pub struct Pipeline {
    decoder: Option<Decoder>,
    chain: Chain,
    failed: Option<BodyError>,
}

/// The steps and the buffers between them.
struct Chain {
    steps: Vec<Box<dyn BodyStep>>,
    front: Vec<u8>,
    back: Vec<u8>,
    limit: usize,
}

impl Pipeline {
    /// A pipeline that decodes (if asked to) and applies `steps` one after the other.
    #[must_use]
    pub fn new(decoder: Option<Decoder>, steps: Vec<Box<dyn BodyStep>>) -> Self {
        let chain = Chain { steps, front: Vec::new(), back: Vec::new(), limit: DEFAULT_LIMIT };
        Self { decoder, chain, failed: None }
    }

    /// Adds a step behind all others.
    #[must_use]
    pub fn then(mut self, step: Box<dyn BodyStep>) -> Self {
        self.chain.steps.push(step);
        self
    }

    /// Sets how many bytes one call may hand back.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.chain.limit = limit;
        self
    }

    /// Whether a body passes unchanged, so that the caller need not send it through here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decoder.is_none() && self.chain.steps.is_empty()
    }

    /// Takes a chunk of the body and hands back what can be sent by now, possibly nothing.
    ///
    /// # Errors
    /// The first error of a decoder or step, and again on every later call.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Bytes, BodyError> {
        self.guarded(chunk.len(), |decoder, chain, out| match decoder {
            Some(decoder) => decoder.decode(chunk, &mut |slice| chain.push(slice, out)),
            None => chunk.chunks(SLICE).try_for_each(|slice| chain.push(slice, out)),
        })
    }

    /// Ends the body and hands back what was held.
    ///
    /// # Errors
    /// As [`push`](Self::push), and when an encoded body is not complete.
    pub fn finish(&mut self) -> Result<Bytes, BodyError> {
        self.guarded(0, |decoder, chain, out| {
            if let Some(decoder) = decoder {
                decoder.end()?;
            }
            chain.finish(out)
        })
    }

    fn guarded(
        &mut self,
        expected: usize,
        work: impl FnOnce(Option<&mut Decoder>, &mut Chain, &mut Vec<u8>) -> Result<(), BodyError>,
    ) -> Result<Bytes, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut out = Vec::with_capacity(expected);
        let result = work(self.decoder.as_mut(), &mut self.chain, &mut out);
        self.chain.trim();
        match result {
            Ok(()) => Ok(Bytes::from(out)),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }
}

impl Chain {
    /// Runs one slice through all steps; the last one writes where the answer is collected.
    fn push(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.run(0, slice, out)
    }

    fn run(&mut self, from: usize, slice: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        match self.steps.get_mut(from..).unwrap_or_default() {
            [] => out.extend_from_slice(slice),
            [only] => only.push(slice, out)?,
            [first, between @ .., last] => {
                self.front.clear();
                first.push(slice, &mut self.front)?;
                for step in between {
                    self.back.clear();
                    step.push(&self.front, &mut self.back)?;
                    std::mem::swap(&mut self.front, &mut self.back);
                }
                last.push(&self.front, out)?;
            }
        }
        self.check(out)
    }

    /// Ends the steps in order; what one still held runs through those after it before they end.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let mut held = Vec::new();
        for index in 0..self.steps.len() {
            held.clear();
            if let Some(step) = self.steps.get_mut(index) {
                step.finish(&mut held)?;
            }
            if !held.is_empty() {
                self.run(index + 1, &held, out)?;
            }
        }
        self.check(out)
    }

    fn check(&self, out: &[u8]) -> Result<(), BodyError> {
        if out.len() > self.limit { Err(BodyError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    fn trim(&mut self) {
        for buffer in [&mut self.front, &mut self.back] {
            if buffer.capacity() > KEEP_SCRATCH {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    /// Holds the last byte back and doubles every other one, to see order and flushing.
    struct Doubler(Option<u8>);

    impl BodyStep for Doubler {
        fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
            for &byte in chunk {
                if let Some(held) = self.0.replace(byte) {
                    out.extend_from_slice(&[held, held]);
                }
            }
            Ok(())
        }

        fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
            out.extend(self.0.take());
            Ok(())
        }
    }

    fn doublers(count: usize) -> Pipeline {
        let steps = (0..count).map(|_| Box::new(Doubler(None)) as Box<dyn BodyStep>);
        Pipeline::new(None, steps.collect())
    }

    #[test]
    fn no_steps_pass_everything() {
        let mut pipeline = doublers(0);
        assert!(pipeline.is_empty());
        assert_eq!(pipeline.push(b"abc").unwrap(), "abc");
        assert_eq!(pipeline.finish().unwrap(), "");
    }

    #[test]
    fn each_step_sees_what_the_one_before_flushed() {
        for (count, expected) in [(1, "aab"), (2, "aaaab"), (3, "aaaaaaaab")] {
            let mut pipeline = doublers(count);
            let mut seen = pipeline.push(b"ab").unwrap().to_vec();
            seen.extend(pipeline.finish().unwrap());
            assert_eq!(String::from_utf8(seen).unwrap(), expected);
        }
    }

    #[test]
    fn growth_is_capped_and_the_error_stays() {
        let mut pipeline = doublers(3).with_limit(100);
        assert_eq!(pipeline.push(&[b'x'; 50]), Err(BodyError::TooLarge { limit: 100 }));
        assert_eq!(pipeline.finish(), Err(BodyError::TooLarge { limit: 100 }));
    }

    #[test]
    fn a_pipeline_can_cross_threads() {
        fn is_send<T: Send>(_: &T) {}
        is_send(&doublers(1));
    }
}
