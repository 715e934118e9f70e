use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::step::body::Pipeline;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn named_gzip(data: &[u8]) -> Vec<u8> {
    let builder = flate2::GzBuilder::new().filename("name.txt").comment("comment").extra(vec![7; 300]);
    let mut encoder = builder.write(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn brotli(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 4, 18);
    encoder.write_all(data).unwrap();
    drop(encoder);
    out
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(data, 3).unwrap()
}

type Encode = fn(&[u8]) -> Vec<u8>;

const CODINGS: [(&str, Encode); 8] = [
    ("gzip", gzip),
    ("X-Gzip", named_gzip),
    ("deflate", zlib),
    ("deflate", raw_deflate),
    ("br", brotli),
    ("zstd", zstd),
    ("gzip, br", |data| brotli(&gzip(data))),
    ("zstd,identity , gzip", |data| gzip(&zstd(data))),
];

/// Decodes `encoded`, cut into pieces whose sizes `cuts` gives in turn.
fn decode(encoding: &str, encoded: &[u8], cuts: &[usize]) -> Result<Vec<u8>, BodyError> {
    let mut decoder = Decoder::for_encoding(encoding).unwrap();
    let (mut out, mut rest, mut cuts) = (Vec::new(), encoded, cuts.iter().cycle());
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len()));
        let (chunk, after) = rest.split_at(cut);
        rest = after;
        decoder.decode(chunk, &mut |slice| {
            assert!(slice.len() <= SLICE);
            out.extend_from_slice(slice);
            Ok(())
        })?;
    }
    decoder.end()?;
    Ok(out)
}

/// Half noise, half repetition, so that each coding has something to do.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let noise = move |at: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (at / 512).is_multiple_of(2) { (state >> 24) as u8 } else { b'a' }
    };
    (0..length).map(noise).collect()
}

#[test]
fn every_coding_comes_back_however_cut() {
    for length in [0, 1, 1000, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE, 300_000] {
        let data = sample(length);
        for (name, encode) in CODINGS {
            let encoded = encode(&data);
            for cuts in [&[][..], &[1], &[2, 3, 700], &[8192]] {
                if cuts == [1] && length > 100_000 {
                    continue;
                }
                assert!(decode(name, &encoded, cuts).unwrap() == data, "{name} {length} {cuts:?}");
            }
        }
    }
}

#[test]
fn exactly_full_slices_of_compressible_data_end_well() {
    for length in [SLICE, 4 * SLICE, 4 * SLICE + 1] {
        for (name, encode) in CODINGS {
            let data = vec![b'x'; length];
            assert!(decode(name, &encode(&data), &[]).unwrap() == data, "{name} {length}");
        }
    }
}

#[test]
fn a_body_that_stops_early_is_an_error() {
    let data = sample(5000);
    for (name, encode) in CODINGS {
        let encoded = encode(&data);
        for cut in [1, 2, 5, 11, 100, encoded.len() / 2, encoded.len() - 1] {
            let result = decode(name, &encoded[..cut], &[]);
            assert!(matches!(result, Err(BodyError::Truncated { .. })), "{name} {cut}: {result:?}");
        }
    }
}

#[test]
fn an_empty_body_is_no_error() {
    for (name, _) in CODINGS {
        assert_eq!(decode(name, b"", &[]), Ok(Vec::new()), "{name}");
    }
}

#[test]
fn garbage_is_an_error() {
    for name in ["gzip", "zstd", "br"] {
        let result = decode(name, &[0xff; 500], &[]);
        assert!(matches!(result, Err(BodyError::Corrupt { .. })), "{name}: {result:?}");
    }
    let mut wrong_sum = gzip(b"hello");
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert_eq!(decode("gzip", &wrong_sum, &[]), Err(BodyError::Corrupt { encoding: "gzip" }));
}

#[test]
fn further_members_count_and_padding_does_not() {
    let mut two = gzip(b"one ");
    two.extend(named_gzip(b"two"));
    for cuts in [&[][..], &[1], &[7]] {
        assert_eq!(decode("gzip", &two, cuts).unwrap(), b"one two");
        for padding in [&b"\0\0\0"[..], b"\x1f", b"\x1fnot gzip", b"\n"] {
            let padded = [&two[..], padding].concat();
            assert_eq!(decode("gzip", &padded, cuts).unwrap(), b"one two");
        }
    }
    let mut cut_short = two.clone();
    cut_short.truncate(two.len() - 3);
    assert_eq!(decode("gzip", &cut_short, &[]), Err(BodyError::Truncated { encoding: "gzip" }));
    let frames = [zstd(b"one "), zstd(b"two")].concat();
    assert_eq!(decode("zstd", &frames, &[3]).unwrap(), b"one two");
}

#[test]
fn names_are_known_or_not() {
    for known in ["", "identity", "GZIP", " br ", "gzip,br"] {
        assert!(Decoder::for_encoding(known).is_some(), "{known}");
    }
    for unknown in ["compress", "gzip, foo", "gzip;q=1", "gzip,gzip,gzip,gzip,gzip"] {
        assert!(Decoder::for_encoding(unknown).is_none(), "{unknown}");
    }
    assert!(Decoder::for_encoding("identity").unwrap().is_identity());
    assert!(!Decoder::for_encoding("br").unwrap().is_identity());
}

#[test]
fn what_was_flushed_comes_out_at_once() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"data: 1\n\n").unwrap();
    encoder.flush().unwrap();
    let mut pipeline = Pipeline::new(Decoder::for_encoding("gzip"), Vec::new());
    assert_eq!(pipeline.push(encoder.get_ref()).unwrap(), "data: 1\n\n");

    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(b"data: 1\n\n").unwrap();
    encoder.flush().unwrap();
    let mut pipeline = Pipeline::new(Decoder::for_encoding("zstd"), Vec::new());
    assert_eq!(pipeline.push(encoder.get_ref()).unwrap(), "data: 1\n\n");
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = gzip(&vec![0; 20 << 20]);
    let mut pipeline = Pipeline::new(Decoder::for_encoding("gzip"), Vec::new()).with_limit(1 << 20);
    assert_eq!(pipeline.push(&bomb), Err(BodyError::TooLarge { limit: 1 << 20 }));
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        data in proptest::collection::vec(any::<u8>(), 0..3000),
        cuts in proptest::collection::vec(1_usize..200, 1..20),
        coding in 0..CODINGS.len(),
    ) {
        let (name, encode) = CODINGS[coding];
        prop_assert_eq!(decode(name, &encode(&data), &cuts).unwrap(), data);
    }

    #[test]
    fn noise_never_panics(
        data in proptest::collection::vec(any::<u8>(), 0..300),
        coding in 0..CODINGS.len(),
    ) {
        let _ = decode(CODINGS[coding].0, &data, &[17]);
    }
}
