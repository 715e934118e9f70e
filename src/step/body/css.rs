//! Links in style sheets: `url(…)` and `@import "…"`, in `text/css` bodies, `<style>` and `style="…"`.
//!
//! URLs with backslash escapes or longer than 1024 bytes are left as they are, which takes care of most `data:` URLs.

use std::sync::{Arc, LazyLock};

use super::replace::{Compiled, Find, Hit, Rule, Scanner};
use super::{BodyError, BodyStep, LinkMap};

const URL: &str = concat!(
    r"(?i)url\([ \t\r\n\f]{0,16}",
    r#"(?:"([^"\\\r\n]{1,1024})"|'([^'\\\r\n]{1,1024})'|([^ \t\r\n\f"'()\\]{1,1024}))"#,
    r"[ \t\r\n\f]{0,16}\)"
);

const IMPORT: &str = concat!(r"(?i)@import[ \t\r\n\f]{1,16}", r#"(?:"([^"\\\r\n]{1,1024})"|'([^'\\\r\n]{1,1024})')"#);

/// The groups of both patterns that hold a URL.
const GROUPS: std::ops::RangeInclusive<usize> = 1..=3;

static LINKS: LazyLock<Option<Arc<Compiled>>> = LazyLock::new(|| {
    let rule = |pattern: &str| Rule { find: Find::Regex(pattern.to_owned()), boundary: false, once: false };
    // The patterns are constant, and a test compiles them; without them style sheets pass as they are.
    Compiled::new(&[rule(URL), rule(IMPORT)]).ok().map(Arc::new)
});

/// Maps the links of a `text/css` body while it streams.
pub struct CssAdapter {
    scanner: Option<Scanner>,
    map: Arc<dyn LinkMap>,
}

impl CssAdapter {
    /// An adapter for one body.
    #[must_use]
    pub fn new(map: Arc<dyn LinkMap>) -> Self {
        Self { scanner: LINKS.as_ref().map(|links| Scanner::new(Arc::clone(links))), map }
    }

    pub(super) fn feed(&mut self, chunk: &[u8], last: bool, out: &mut Vec<u8>) {
        let Self { scanner, map } = self;
        match scanner {
            Some(scanner) => scanner.feed(chunk, last, out, &mut |hit, out| {
                replace(hit, map.as_ref(), out);
            }),
            None => out.extend_from_slice(chunk),
        }
    }
}

impl BodyStep for CssAdapter {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.feed(chunk, false, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        self.feed(&[], true, out);
        Ok(())
    }
}

/// A piece of CSS with its links mapped, or `None` if that changes nothing.
#[must_use]
pub fn css_urls(css: &str, map: &Arc<dyn LinkMap>) -> Option<String> {
    memchr::memchr2(b'(', b'@', css.as_bytes())?;
    let mut out = Vec::with_capacity(css.len() + 64);
    CssAdapter::new(Arc::clone(map)).feed(css.as_bytes(), true, &mut out);
    (out != css.as_bytes()).then(|| String::from_utf8(out).ok()).flatten()
}

/// Writes a match with the URL in it mapped.
fn replace(hit: &mut Hit<'_>, map: &dyn LinkMap, out: &mut Vec<u8>) {
    let whole = hit.group(0);
    let mapped = GROUPS.into_iter().find_map(|group| {
        let range = hit.span(group)?;
        let url = std::str::from_utf8(whole.get(range.clone())?).ok()?;
        let blank = |c: char| c.is_ascii_whitespace();
        let new = map.map(url.trim_matches(blank)).filter(|new| is_plain(new))?;
        Some((range, new))
    });
    match mapped {
        Some((range, new)) => {
            out.extend_from_slice(whole.get(..range.start).unwrap_or_default());
            out.extend_from_slice(new.as_bytes());
            out.extend_from_slice(whole.get(range.end..).unwrap_or_default());
        }
        None => out.extend_from_slice(whole),
    }
}

/// Whether a URL can stand in any kind of quotes, and without.
fn is_plain(url: &str) -> bool {
    !url.bytes().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'(' | b')' | b'\\' | b'<'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    struct Prefix;

    impl LinkMap for Prefix {
        fn map(&self, url: &str) -> Option<String> {
            url.starts_with('/').then(|| format!("/p{url}"))
        }
    }

    fn adapted(css: &str) -> String {
        let map: Arc<dyn LinkMap> = Arc::new(Prefix);
        let whole = css_urls(css, &map).unwrap_or_else(|| css.to_owned());
        let (mut adapter, mut out) = (CssAdapter::new(map), Vec::new());
        for byte in css.as_bytes() {
            adapter.push(&[*byte], &mut out).unwrap();
        }
        adapter.finish(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), whole);
        whole
    }

    #[test]
    fn urls_and_imports_are_mapped() {
        assert!(LINKS.is_some());
        assert_eq!(adapted("a{b:url(/x.png)}"), "a{b:url(/p/x.png)}");
        assert_eq!(adapted("URL( \"/x y\" ) c"), "URL( \"/x y\" ) c");
        assert_eq!(adapted("URL( \"/x\" ) url('/é')"), "URL( \"/p/x\" ) url('/p/é')");
        assert_eq!(adapted("@import \"/a.css\" x; @IMPORT url(/b)"), "@import \"/p/a.css\" x; @IMPORT url(/p/b)");
    }

    #[test]
    fn the_rest_stays() {
        for same in [
            "url(x.png)",
            "url(data:image/png;base64,AA==)",
            "url(/a\\)b)",
            "url('/x)",
            "@import /x",
            "a{color:red}",
            "url()",
            "url(",
            "@import '",
            "\"/x\"",
        ] {
            assert_eq!(adapted(same), same);
        }
        let long = format!("url(data:{})", "A".repeat(9000));
        assert_eq!(adapted(&long), long);
    }
}
