//! What must hold for any input: shared by the fuzz targets and by the test that replays their corpus.

use bytes::BytesMut;
use pylon::listen::h1::{Body, Framing, HeadLimits, HeadReader, take_head};
use pylon::listen::h2::Frames;
use pylon::listen::proxy_header::{self, Read};
use pylon::route::{PathPattern, RequestPath};

/// A PROXY header is read the same in whatever pieces it comes, and never beyond what came.
pub(crate) fn proxy_header(data: &[u8]) {
    let whole = proxy_header::read(data);
    for end in 0..data.len().min(600) {
        match proxy_header::read(&data[..end]) {
            Ok(Read::Partial) => {}
            early => {
                assert_eq!(early, whole, "after {end} bytes");
                break;
            }
        }
    }
    if let Ok(Read::Complete(header)) = whole {
        assert!(header.length <= data.len());
        if let Some((client, local)) = header.addresses {
            for again in [proxy_header::write_v1(client, local), proxy_header::write_v2(client, local)] {
                assert!(matches!(proxy_header::read(&again), Ok(Read::Complete(again)) if again.addresses.is_some()));
            }
        }
    }
}

/// A header section is read the same in whatever pieces it comes; what is taken of it is one in origin form, which reads
/// the same again.
pub(crate) fn request(data: &[u8]) {
    let limits = HeadLimits::default();
    let read = |step: usize| {
        let mut reader = HeadReader::default();
        let mut end = 0;
        while end < data.len() {
            end = (end + step).min(data.len());
            match reader.read(&data[..end], &limits) {
                Ok(None) => {}
                other => return other,
            }
        }
        Ok(None)
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(1).is_ok_and(|head| head.is_some()), whole.is_ok_and(|head| head.is_some()));
    let Ok(Some(head)) = whole else { return };
    let mut bytes = BytesMut::from(data);
    let section = take_head(&mut bytes, &head);
    assert_eq!(&bytes[..], &data[head.end..]);
    let again = HeadReader::default().read(&section, &limits);
    let Ok(Some(again)) = again else { panic!("{}: {again:?}", section.escape_ascii()) };
    assert_eq!((again.framing, again.absolute, again.end), (head.framing, None, section.len()));
}

/// Chunks end at the same byte in whatever pieces they come.
pub(crate) fn chunks(data: &[u8]) {
    let end = |step: usize| {
        let mut body = Body::new(Framing::Chunked);
        let mut at = 0;
        for piece in data.chunks(step) {
            at += body.take(piece).ok()?;
            if body.is_done() {
                return Some(at);
            }
        }
        None
    };
    assert_eq!(end(1), end(data.len().max(1)));
}

/// Frames are counted the same in whatever pieces they come.
pub(crate) fn frames(data: &[u8]) {
    let passes = |step: usize| {
        let mut frames = Frames::new(0);
        data.chunks(step).all(|piece| frames.read(piece).is_ok())
    };
    assert_eq!(passes(1), passes(data.len().max(1)));
}

/// A path that is accepted stays as it is when it is normalised again, and never climbs.
pub(crate) fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(parsed) = RequestPath::parse(text) {
        let once = parsed.as_str().to_owned();
        assert!(!once.split('/').any(|segment| segment == ".." || segment == "."), "{once}");
        assert_eq!(RequestPath::parse(&once).map(|path| path.as_str().to_owned()).ok(), Some(once));
        let _ = parsed.lenient();
    }
}

/// A pattern that is accepted says of itself what makes the same one again.
pub(crate) fn pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(pattern) = text.parse::<PathPattern>() {
        let again = pattern.to_string().parse::<PathPattern>();
        assert_eq!(again.map(|again| again.to_string()).ok(), Some(pattern.to_string()));
    }
}

/// A configuration is taken or refused, and whatever is said of it names a place.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), text).is_err() {
        return;
    }
    let nothing = std::collections::BTreeMap::<String, String>::new();
    match pylon::config::load(file.path(), &nothing) {
        Ok(loaded) => {
            let _ = pylon::listen::Listeners::compile(&loaded);
            let _ = pylon::snapshot::compile(&loaded, None, &pylon::observe::Metrics::default());
        }
        Err(report) => assert!(!report.to_string().is_empty()),
    }
}
