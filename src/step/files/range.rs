//! `Range` (RFC 9110 §14): which bytes of a file a client wants.

/// Ranges that one request may ask for; one that asks for more gets the whole file.
const MOST: usize = 32;

/// Some bytes of a file: from where, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) length: u64,
}

/// What a `Range` header comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The whole file: the header is not understood, or not worth following.
    Whole,
    /// These, one or more, in the order of the client.
    Some(Vec<Range>),
    /// None of them is in the file.
    Outside,
}

/// Reads a `Range` header for a file of this size.
pub(super) fn ranges(header: &str, size: u64) -> Ranges {
    let Some((unit, list)) = header.split_once('=') else { return Ranges::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || size == 0 {
        return Ranges::Whole;
    }
    let (mut found, mut asked) = (Vec::new(), 0);
    for item in list.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty()) {
        asked += 1;
        match range(item, size) {
            Err(NotOne) => return Ranges::Whole,
            Ok(_) if asked > MOST => return Ranges::Whole,
            Ok(range) => found.extend(range),
        }
    }
    // Ranges that overlap so much that they are more than the file serve nobody.
    let all = found.iter().try_fold(0_u64, |all, range| all.checked_add(range.length));
    match (asked, found.as_slice()) {
        (0, _) => Ranges::Whole,
        (_, []) => Ranges::Outside,
        _ if all.is_none_or(|all| all > size) => Ranges::Whole,
        _ => Ranges::Some(found),
    }
}

/// It is no range.
struct NotOne;

/// Reads one range; `None` where it is outside of the file.
fn range(item: &str, size: u64) -> Result<Option<Range>, NotOne> {
    let (first, last) = item.split_once('-').ok_or(NotOne)?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Ok((length > 0).then(|| Range { start: size - length, length }));
    }
    let start = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < start {
        return Err(NotOne);
    }
    let last = last.min(size - 1);
    Ok((start < size).then(|| Range { start, length: last - start + 1 }))
}

/// Digits; a number that is too large is as good as the largest.
fn number(text: &str) -> Result<u64, NotOne> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotOne);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_standard() {
        let some =
            |list: &[(u64, u64)]| Ranges::Some(list.iter().map(|&(start, length)| Range { start, length }).collect());
        for (header, expected) in [
            ("bytes=0-0", some(&[(0, 1)])),
            ("bytes=0-", some(&[(0, 10)])),
            ("Bytes= 3-5 , 8-", some(&[(3, 3), (8, 2)])),
            ("bytes=-3", some(&[(7, 3)])),
            ("bytes=-30", some(&[(0, 10)])),
            ("bytes=9-99999999999999999999", some(&[(9, 1)])),
            ("bytes=99999999999999999999-", Ranges::Outside),
            ("bytes=10-", Ranges::Outside),
            ("bytes=-0", Ranges::Outside),
            ("bytes=10-,0-1", some(&[(0, 2)])),
            ("bytes=,,0-1,", some(&[(0, 2)])),
            ("bytes=0-9,0-9", Ranges::Whole),
            ("bytes=", Ranges::Whole),
            ("bytes=5-3", Ranges::Whole),
            ("bytes=0-1,x", Ranges::Whole),
            ("bytes=+1-2", Ranges::Whole),
            ("bytes=--1", Ranges::Whole),
            ("bytes=1", Ranges::Whole),
            ("lines=0-1", Ranges::Whole),
            ("", Ranges::Whole),
        ] {
            assert_eq!(ranges(header, 10), expected, "{header}");
        }
        assert_eq!(ranges("bytes=0-", 0), Ranges::Whole);
        assert_eq!(ranges(&format!("bytes={}", "1-1,".repeat(MOST + 1)), 1 << 20), Ranges::Whole);
    }

    proptest::proptest! {
        #[test]
        fn no_range_leaves_the_file(header in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,4}", size in 0_u64..300) {
            if let Ranges::Some(found) = ranges(&header, size) {
                proptest::prop_assert!(!found.is_empty());
                proptest::prop_assert!(found.iter().all(|r| r.length > 0 && r.start + r.length <= size));
            }
        }
    }
}
