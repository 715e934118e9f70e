//! Undoes the `Content-Encoding` of a body while it streams (RFC 9110 section 8.4).
//!
//! Known codings: `gzip` and `x-gzip`, `deflate` (zlib as the standard says, and raw as many servers send), `br`,
//! `zstd`, and lists of them. Data leaves in slices of at most [`SLICE`], so a small body that expands without bound
//! never occupies more than the windows of its decoders.
//!
//! What comes after a complete body: a further gzip member or zstd frame is decoded as part of the body. Anything else
//! after gzip, deflate or brotli data is left out, as browsers do; after zstd it is an error. A body that stops early
//! is an error at the end, so that the client sees a cut connection and not a short page. An empty body stays empty.

mod deflate;
mod gzip;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation};

use super::{BodyError, SLICE};
use deflate::Deflate;
use gzip::Gzip;

/// The largest zstd window that is accepted, as a power of two: 8 MiB, which is what RFC 9659 allows on the web.
const ZSTD_WINDOW: u32 = 23;

/// How many codings a list may stack; more than two is never seen outside attacks.
const MAX_STACK: usize = 4;

/// What a decoder hands its data to, slice by slice.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), BodyError>;

/// Undoes one `Content-Encoding`, which may be a list.
pub struct Decoder {
    /// The coding applied last comes first.
    stages: Vec<Stage>,
}

struct Stage {
    coding: Coding,
    buffer: Vec<u8>,
}

enum Coding {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl Decoder {
    /// The decoder for the value of a `Content-Encoding` header, or `None` if it has a coding that is not known (or
    /// stacks too many). `identity` and the empty value give a decoder that passes everything.
    #[must_use]
    pub fn for_encoding(encoding: &str) -> Option<Self> {
        let mut stages = Vec::new();
        for name in encoding.split(',').rev() {
            let coding = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip(Gzip::default()),
                "deflate" => Coding::Deflate(Deflate::default()),
                "br" => Coding::Brotli(Box::new(Brotli::new())),
                "zstd" => Coding::Zstd(Zstd::new()?),
                _ => return None,
            };
            stages.push(Stage { coding, buffer: Vec::new() });
        }
        (stages.len() <= MAX_STACK).then_some(Self { stages })
    }

    /// Whether there is nothing to undo.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes `chunk` and hands what results to `sink`, at most [`SLICE`] bytes at a time.
    ///
    /// # Errors
    /// When the chunk is not what its coding says, or when `sink` refuses.
    pub fn decode(&mut self, chunk: &[u8], sink: Sink<'_>) -> Result<(), BodyError> {
        feed(&mut self.stages, chunk, sink)
    }

    /// Ends the body. What is still to come out went to [`decode`](Self::decode)'s sink already.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when the encoded body is not complete.
    pub fn end(&mut self) -> Result<(), BodyError> {
        self.stages.iter_mut().try_for_each(|stage| stage.coding.end())
    }
}

/// Runs `input` through the first stage and each slice of what results through the rest.
fn feed(stages: &mut [Stage], mut input: &[u8], sink: Sink<'_>) -> Result<(), BodyError> {
    let Some((stage, rest)) = stages.split_first_mut() else {
        return input.chunks(SLICE).try_for_each(sink);
    };
    if stage.buffer.is_empty() && !input.is_empty() {
        stage.buffer.resize(SLICE, 0);
    }
    loop {
        let step = stage.coding.step(input, &mut stage.buffer)?;
        input = input.get(step.read..).unwrap_or_default();
        if step.written > 0 {
            feed(rest, stage.buffer.get(..step.written).unwrap_or_default(), sink)?;
        }
        let pending = step.written == stage.buffer.len() && step.written > 0;
        let stuck = step.read == 0 && step.written == 0 && !step.ended;
        if stuck || (input.is_empty() && !pending) {
            return Ok(());
        }
    }
}

/// What one step of a decoder consumed and produced. Neither: it needs more input.
#[derive(Default, Clone, Copy)]
struct Step {
    read: usize,
    written: usize,
    /// The encoded stream ended here; what follows is for the next state.
    ended: bool,
}

impl Step {
    /// All of `input` is taken and nothing comes of it.
    fn skip(input: &[u8]) -> Self {
        Self { read: input.len(), ..Self::default() }
    }
}

impl Coding {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate(deflate) => deflate.step(input, output),
            Self::Brotli(brotli) => brotli.step(input, output),
            Self::Zstd(zstd) => zstd.step(input, output),
        }
    }

    fn end(&mut self) -> Result<(), BodyError> {
        let (complete, encoding) = match self {
            Self::Gzip(gzip) => (gzip.is_complete(), "gzip"),
            Self::Deflate(deflate) => (deflate.is_complete(), "deflate"),
            Self::Brotli(brotli) => (brotli.done || !brotli.begun, "br"),
            Self::Zstd(zstd) => (zstd.at_frame_end, "zstd"),
        };
        if complete { Ok(()) } else { Err(BodyError::Truncated { encoding }) }
    }
}

/// One call of the inflater.
fn inflate(
    inflater: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
    encoding: &'static str,
) -> Result<Step, BodyError> {
    let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
    let status =
        inflater.decompress(input, output, FlushDecompress::None).map_err(|_| BodyError::Corrupt { encoding })?;
    let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or_default();
    Ok(Step {
        read: moved(inflater.total_in(), before_in),
        written: moved(inflater.total_out(), before_out),
        ended: status == Status::StreamEnd,
    })
}

type BrotliState =
    brotli::BrotliState<brotli::writer::StandardAlloc, brotli::writer::StandardAlloc, brotli::writer::StandardAlloc>;

struct Brotli {
    state: BrotliState,
    begun: bool,
    done: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = brotli::writer::StandardAlloc::default;
        // Strict: no "large window" streams, which could ask for a gigabyte.
        Self { state: BrotliState::new_strict(alloc(), alloc(), alloc()), begun: false, done: false }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        if self.done {
            return Ok(Step::skip(input));
        }
        self.begun |= !input.is_empty();
        if !self.begun {
            return Ok(Step::default());
        }
        let (mut left, mut read, mut room, mut written, mut total) = (input.len(), 0, output.len(), 0, 0);
        let result = brotli::BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.state,
        );
        match result {
            brotli::BrotliResult::ResultFailure => {
                return Err(BodyError::Corrupt { encoding: "br" });
            }
            brotli::BrotliResult::ResultSuccess => self.done = true,
            _ => {}
        }
        Ok(Step { read, written, ended: self.done })
    }
}

struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    at_frame_end: bool,
}

impl Zstd {
    fn new() -> Option<Self> {
        let mut decoder = zstd::stream::raw::Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).ok()?;
        Some(Self { decoder, at_frame_end: true })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, BodyError> {
        if input.is_empty() && self.at_frame_end {
            return Ok(Step::default());
        }
        let status = self.decoder.run_on_buffers(input, output).map_err(|_| BodyError::Corrupt { encoding: "zstd" })?;
        if status.bytes_read > 0 || status.bytes_written > 0 {
            self.at_frame_end = status.remaining == 0;
        }
        Ok(Step { read: status.bytes_read, written: status.bytes_written, ended: false })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests;
