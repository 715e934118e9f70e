//! Which attributes hold links, and how they hold them.

/// A rewriter of one URL as it is written; `None` leaves it.
type Rewrite<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How an attribute holds links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is a URL.
    Url,
    /// URLs with blanks between them.
    List,
    /// Images with their sizes, as `a.png 1x, b.png 2x`.
    Srcset,
    /// The `content` of a refresh, as `5; url=/x`.
    Refresh,
    /// CSS declarations.
    Style,
}

/// How the attribute of an element holds links, if it does. Names are in lower case.
///
/// `content` is for the caller to check: it counts only beside `http-equiv=refresh`.
pub(super) fn kind(attribute: &str, element: impl Fn() -> String) -> Option<Kind> {
    match attribute {
        "href" | "src" | "action" | "formaction" | "poster" | "cite" | "background" | "manifest" | "xlink:href" => {
            Some(Kind::Url)
        }
        "srcset" | "imagesrcset" => Some(Kind::Srcset),
        "ping" => Some(Kind::List),
        "style" => Some(Kind::Style),
        "data" if element() == "object" => Some(Kind::Url),
        "content" if element() == "meta" => Some(Kind::Refresh),
        _ => None,
    }
}

/// Rewrites the URLs of a list.
pub(super) fn list(value: &str, rewrite: Rewrite<'_>) -> Option<String> {
    let mut changes = Changes::new(value);
    for url in value.split_ascii_whitespace() {
        changes.apply(url, rewrite);
    }
    changes.finish()
}

/// Rewrites the URLs of a `srcset` (HTML standard, 4.8.4.2.1).
pub(super) fn srcset(value: &str, rewrite: Rewrite<'_>) -> Option<String> {
    let mut changes = Changes::new(value);
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.is_empty() {
            return changes.finish();
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (url, after) = rest.split_at(end);
        let bare = url.trim_end_matches(',');
        changes.apply(bare, rewrite);
        // A comma right behind the URL ends the candidate, else its descriptors go on to the next comma.
        rest = if bare.len() < url.len() { after } else { skip_descriptors(after) };
    }
}

fn skip_descriptors(text: &str) -> &str {
    let mut depth = 0_usize;
    let end = text.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    text.get(end.unwrap_or(text.len())..).unwrap_or_default()
}

/// Rewrites the URL of a refresh (HTML standard, 4.2.5.3).
pub(super) fn refresh(value: &str, rewrite: Rewrite<'_>) -> Option<String> {
    let blank = |c: char| c.is_ascii_whitespace();
    let time = value.trim_start_matches(blank);
    let rest = time.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if rest.len() == time.len() {
        return None;
    }
    let rest = rest.trim_start_matches(|c: char| blank(c) || c == ';' || c == ',');
    let mut url = rest;
    if rest.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("url")) {
        let behind = rest.get(3..)?.trim_start_matches(blank);
        url = behind.strip_prefix('=').map_or(rest, |url| url.trim_start_matches(blank));
    }
    for quote in ["'", "\"", "&quot;", "&#39;", "&apos;"] {
        if let Some(quoted) = url.strip_prefix(quote) {
            url = quoted.split_once(quote).map_or(quoted, |(url, _)| url);
            break;
        }
    }
    let mut changes = Changes::new(value);
    changes.apply(url, rewrite);
    changes.finish()
}

/// A value in which parts are replaced, from left to right.
struct Changes<'a> {
    value: &'a str,
    done: usize,
    out: String,
}

impl<'a> Changes<'a> {
    fn new(value: &'a str) -> Self {
        Self { value, done: 0, out: String::new() }
    }

    /// Rewrites `part`, a slice of the value behind those before.
    fn apply(&mut self, part: &'a str, rewrite: Rewrite<'_>) {
        let Some(new) = (!part.is_empty()).then(|| rewrite(part)).flatten() else {
            return;
        };
        let start = part.as_ptr().addr().wrapping_sub(self.value.as_ptr().addr());
        if let Some(before) = self.value.get(self.done..start) {
            self.out.push_str(before);
            self.out.push_str(&new);
            self.done = start + part.len();
        }
    }

    fn finish(mut self) -> Option<String> {
        if self.done == 0 {
            return None;
        }
        self.out.push_str(self.value.get(self.done..).unwrap_or_default());
        Some(self.out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    fn prefix(url: &str) -> Option<String> {
        url.starts_with('/').then(|| format!("/p{url}"))
    }

    #[test]
    fn srcset_candidates_are_told_apart() {
        for (value, expected) in [
            ("/a.png", Some("/p/a.png")),
            ("/a.png 1x, /b,c.png 2x", Some("/p/a.png 1x, /p/b,c.png 2x")),
            (" ,/a, /b 3w,x 1x,/c", Some(" ,/p/a, /p/b 3w,x 1x,/p/c")),
            ("/a (x,/y) 1x, /b", Some("/p/a (x,/y) 1x, /p/b")),
            ("a 1x, b 2x", None),
            ("", None),
        ] {
            assert_eq!(srcset(value, &prefix).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn refresh_finds_its_url() {
        for (value, expected) in [
            ("5; url=/x", Some("5; url=/p/x")),
            ("0;URL='/x'", Some("0;URL='/p/x'")),
            (" 1.5 , Url = /x?a;b", Some(" 1.5 , Url = /p/x?a;b")),
            ("0 /x", Some("0 /p/x")),
            ("0; url=x", None),
            ("5", None),
            ("url=/x", None),
            ("", None),
        ] {
            assert_eq!(refresh(value, &prefix).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn lists_are_split_at_blanks() {
        assert_eq!(list(" /a  b\t/c ", &prefix).as_deref(), Some(" /p/a  b\t/p/c "));
        assert_eq!(list("a", &prefix), None);
    }

    #[test]
    fn some_attributes_depend_on_their_element() {
        assert_eq!(kind("data", || "object".into()), Some(Kind::Url));
        assert_eq!(kind("data", || "div".into()), None);
        assert_eq!(kind("title", || "a".into()), None);
    }
}
