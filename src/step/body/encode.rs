//! Compresses a body while it streams, with a content coding of RFC 9110 §8.4.
//!
//! After each piece all of it leaves: what an upstream writes arrives before it writes on. The encoder is made with the
//! first byte. Its memory does not depend on the body, as the windows are small: at level `balanced` at most about 0.3 MiB
//! for gzip, and 2 MiB for br and zstd.

mod gzip;

use std::io::Write;

use brotli::CompressorWriter;
use zstd::stream::raw::CParameter;
use zstd::stream::write::Encoder as ZstdWriter;

use super::{BodyError, BodyStep};
use crate::config::{CompressionLevel, ContentCoding};
use gzip::Gzip;

/// The window of brotli as a power of two: 256 KiB.
const BROTLI_WINDOW: u32 = 18;

/// The window of zstd as a power of two: 512 KiB, far from the 8 MiB that RFC 9659 allows.
const ZSTD_WINDOW: u32 = 19;

/// The buffer from which brotli's output is collected.
const BROTLI_BUFFER: usize = 4096;

/// The name of a coding in `Content-Encoding`.
#[must_use]
pub fn name(coding: ContentCoding) -> &'static str {
    match coding {
        ContentCoding::Br => "br",
        ContentCoding::Zstd => "zstd",
        ContentCoding::Gzip => "gzip",
    }
}

/// Compresses one body.
pub struct Encoder {
    coding: ContentCoding,
    level: CompressionLevel,
    writer: Option<Writer>,
}

enum Writer {
    Gzip(Gzip),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Box<ZstdWriter<'static, Vec<u8>>>),
}

impl Encoder {
    /// The encoder of one body.
    #[must_use]
    pub fn new(coding: ContentCoding, level: CompressionLevel) -> Self {
        Self { coding, level, writer: None }
    }

    fn error(&self) -> BodyError {
        BodyError::Encode { encoding: name(self.coding) }
    }

    fn writer(&mut self) -> Result<&mut Writer, BodyError> {
        if self.writer.is_none() {
            let writer = Writer::new(self.coding, self.level).map_err(|_| self.error())?;
            self.writer = Some(writer);
        }
        let error = self.error();
        self.writer.as_mut().ok_or(error)
    }
}

impl BodyStep for Encoder {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        if chunk.is_empty() {
            return Ok(());
        }
        let error = self.error();
        self.writer()?.write(chunk, out).map_err(|_| error)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.writer()?;
        let error = self.error();
        match self.writer.take() {
            Some(writer) => out.append(&mut writer.finish().map_err(|_| error)?),
            None => return Err(error),
        }
        Ok(())
    }
}

impl Writer {
    fn new(coding: ContentCoding, level: CompressionLevel) -> std::io::Result<Self> {
        let [fast, balanced, small] = match coding {
            ContentCoding::Gzip => [1, 5, 9],
            ContentCoding::Br => [1, 4, 6],
            ContentCoding::Zstd => [1, 3, 8],
        };
        let level: u32 = match level {
            CompressionLevel::Fast => fast,
            CompressionLevel::Balanced => balanced,
            CompressionLevel::Small => small,
        };
        Ok(match coding {
            ContentCoding::Gzip => Self::Gzip(Gzip::new(level)),
            ContentCoding::Br => {
                Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), BROTLI_BUFFER, level, BROTLI_WINDOW)))
            }
            ContentCoding::Zstd => {
                let mut writer = ZstdWriter::new(Vec::new(), i32::try_from(level).unwrap_or_default())?;
                writer.set_parameter(CParameter::WindowLog(ZSTD_WINDOW))?;
                Self::Zstd(Box::new(writer))
            }
        })
    }

    /// Compresses a piece, and hands over all that it came to.
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::Gzip(gzip) => return gzip.write(piece, out),
            Self::Brotli(writer) => writer,
            Self::Zstd(writer) => writer,
        };
        writer.write_all(piece)?;
        writer.flush()?;
        let written = match self {
            Self::Gzip(_) => return Ok(()),
            Self::Brotli(writer) => writer.get_mut(),
            Self::Zstd(writer) => writer.get_mut(),
        };
        out.append(written);
        Ok(())
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Brotli(writer) => Ok(writer.into_inner()),
            Self::Zstd(writer) => writer.finish(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::super::decode::Decoder;
    use super::*;

    const CODINGS: [ContentCoding; 3] = [ContentCoding::Br, ContentCoding::Zstd, ContentCoding::Gzip];
    const LEVELS: [CompressionLevel; 3] = [CompressionLevel::Fast, CompressionLevel::Balanced, CompressionLevel::Small];

    fn encoders() -> impl Iterator<Item = (Encoder, &'static str)> {
        CODINGS.into_iter().flat_map(|c| LEVELS.into_iter().map(move |level| (Encoder::new(c, level), name(c))))
    }

    fn decode(decoder: &mut Decoder, encoded: &[u8]) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut sink = |slice: &[u8]| {
            seen.extend_from_slice(slice);
            Ok(())
        };
        decoder.decode(encoded, &mut sink).unwrap();
        seen
    }

    /// Text that repeats, and noise that does not.
    fn body(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut body = Vec::new();
        while body.len() < length {
            body.extend_from_slice(b"<li class=item>a line like all others</li>\n");
            body.extend((0..random.usize(..40)).map(|_| random.u8(..)));
        }
        body.truncate(length);
        body
    }

    #[test]
    fn each_piece_can_be_read_before_the_next() {
        for (mut encoder, coding) in encoders() {
            let mut decoder = Decoder::for_encoding(coding).unwrap();
            for piece in [&b"data: one\n\n"[..], b"data: two\n\n", b"x", &body(200_000), b"the end"] {
                let mut out = Vec::new();
                encoder.push(piece, &mut out).unwrap();
                assert!(decode(&mut decoder, &out) == piece, "{coding}: {} bytes", piece.len());
            }
            let mut out = Vec::new();
            encoder.finish(&mut out).unwrap();
            assert_eq!(decode(&mut decoder, &out), b"", "{coding}");
            decoder.end().unwrap();
        }
    }

    #[test]
    fn bodies_come_back_however_they_are_cut() {
        let body = body(700_000);
        for (mut encoder, coding) in encoders() {
            let mut random = fastrand::Rng::with_seed(11);
            let (mut rest, mut out) = (&body[..], Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.usize(..70_000).min(rest.len()));
                encoder.push(piece, &mut out).unwrap();
                rest = after;
            }
            encoder.finish(&mut out).unwrap();
            assert!(out.len() < body.len() * 3 / 4, "{coding}: {}", out.len());
            let mut decoder = Decoder::for_encoding(coding).unwrap();
            assert!(decode(&mut decoder, &out) == body, "{coding}");
            decoder.end().unwrap();
        }
    }

    #[test]
    fn an_empty_body_is_whole_and_empty_pieces_are_nothing() {
        for (mut encoder, coding) in encoders() {
            let mut out = Vec::new();
            encoder.push(b"", &mut out).unwrap();
            assert!(out.is_empty() && encoder.writer.is_none());
            encoder.finish(&mut out).unwrap();
            let mut decoder = Decoder::for_encoding(coding).unwrap();
            assert_eq!(decode(&mut decoder, &out), b"");
            assert!(!out.is_empty());
            decoder.end().unwrap();
        }
    }
}
