//! Character references in attribute values (HTML standard, 13.2.5.72 and on), as far as URLs use them.

/// Names with and without a semicolon at their end.
const OLD: [(&str, char); 5] = [("amp", '&'), ("AMP", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"')];

/// Names that end with a semicolon.
const NEW: [(&str, char); 18] = [
    ("apos", '\''),
    ("nbsp", '\u{a0}'),
    ("sol", '/'),
    ("colon", ':'),
    ("quest", '?'),
    ("num", '#'),
    ("equals", '='),
    ("period", '.'),
    ("comma", ','),
    ("semi", ';'),
    ("lowbar", '_'),
    ("percnt", '%'),
    ("commat", '@'),
    ("plus", '+'),
    ("lpar", '('),
    ("rpar", ')'),
    ("Tab", '\t'),
    ("NewLine", '\n'),
];

/// A value with its references undone. Those it does not know stay as they are.
pub(super) struct Decoded {
    pub(super) text: String,
    /// For each byte of the text, where in the raw value it comes from.
    origins: Vec<usize>,
}

impl Decoded {
    fn new(raw: &str) -> Self {
        let mut decoded = Self { text: String::with_capacity(raw.len()), origins: Vec::new() };
        let mut rest = raw;
        while let Some(c) = rest.chars().next() {
            let (c, length) = if c == '&' { reference(rest).unwrap_or((c, 1)) } else { (c, c.len_utf8()) };
            decoded.text.push(c);
            decoded.origins.resize(decoded.text.len(), raw.len() - rest.len());
            rest = rest.get(length..).unwrap_or_default();
        }
        decoded
    }
}

/// Undoes the references of a value.
pub(super) fn decode(raw: &str) -> String {
    Decoded::new(raw).text
}

/// Makes text fit for an attribute value; quotes are the serialiser's care.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
}

/// Maps the URL in a raw value. What the new URL has in common with the end of the old one stays as it was written.
pub(super) fn rewrite(raw: &str, map: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let blank = |c: char| c.is_ascii_whitespace();
    let lead = raw.len() - raw.trim_start_matches(blank).len();
    let tail = raw.trim_end_matches(blank).len().max(lead);
    let (before, core, after) = (raw.get(..lead)?, raw.get(lead..tail)?, raw.get(tail..)?);
    if core.is_empty() {
        return None;
    }
    if !core.contains('&') {
        let new = map(core).filter(|new| new != core)?;
        return Some(format!("{before}{}{after}", escape(&new)));
    }
    let decoded = Decoded::new(core);
    let new = map(&decoded.text).filter(|new| *new != decoded.text)?;
    let same = common_end(&decoded.text, &new);
    let kept_from = decoded.origins.get(decoded.text.len() - same).copied().unwrap_or(core.len());
    let (changed, kept) = (new.get(..new.len() - same)?, core.get(kept_from..)?);
    Some(format!("{before}{}{kept}{after}", escape(changed)))
}

/// How many bytes two texts have in common at their ends, in whole characters.
fn common_end(one: &str, other: &str) -> usize {
    let pairs = one.chars().rev().zip(other.chars().rev());
    pairs.take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// The reference at the start of `text`: what it stands for and how long it is.
fn reference(text: &str) -> Option<(char, usize)> {
    let body = text.strip_prefix('&')?;
    if let Some(number) = body.strip_prefix('#') {
        return numeric(number).map(|(c, length)| (c, length + 2));
    }
    let name_length = body.bytes().take_while(u8::is_ascii_alphanumeric).count();
    let (name, rest) = body.split_at_checked(name_length)?;
    let find = |(known, c): &(&str, char)| (*known == name).then_some(*c);
    if rest.starts_with(';') {
        return OLD.iter().chain(&NEW).find_map(find).map(|c| (c, name.len() + 2));
    }
    // In attributes `&lt=` and `&ltx` are no references (for the sake of `?a=1&lt=2`).
    if rest.starts_with('=') {
        return None;
    }
    OLD.iter().find_map(find).map(|c| (c, name.len() + 1))
}

fn numeric(text: &str) -> Option<(char, usize)> {
    let (digits, radix, prefix) = match text.strip_prefix(['x', 'X']) {
        Some(hex) => (hex, 16, 1),
        None => (text, 10, 0),
    };
    let length = digits.chars().take_while(|c| c.is_digit(radix)).count();
    let code = u32::from_str_radix(digits.get(..length)?, radix).ok()?;
    let c = char::from_u32(code).filter(|&c| c != '\0')?;
    let semicolon = usize::from(digits.get(length..)?.starts_with(';'));
    Some((c, prefix + length + semicolon))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn references_are_undone_as_in_attributes() {
        for (raw, text) in [
            ("/a?b=1&amp;c=2", "/a?b=1&c=2"),
            ("&#47;x&#x2F;y&#X2fz", "/x/y/z"),
            ("&sol;x&colon;&unknown;", "/x:&unknown;"),
            ("?a&amp b&lt=1&ltx&lt", "?a& b&lt=1&ltx<"),
            ("&", "&"),
            ("&#;&#x;&#0;", "&#;&#x;&#0;"),
            ("é&amp;é", "é&é"),
        ] {
            assert_eq!(decode(raw), text);
        }
    }

    #[test]
    fn only_what_changes_is_written_anew() {
        let prefix = |url: &str| url.starts_with('/').then(|| format!("/p&q{url}"));
        let rewritten = |raw| rewrite(raw, &prefix);
        assert_eq!(rewritten("/a").as_deref(), Some("/p&amp;q/a"));
        assert_eq!(rewritten(" &#47;a?x&y=&eacute;&amp;z\n").as_deref(), Some(" /p&amp;q&#47;a?x&y=&eacute;&amp;z\n"));
        assert_eq!(rewritten("x&amp;/"), None);
        assert_eq!(rewritten("  "), None);
        let shorten = |url: &str| url.strip_prefix("http://h").map(str::to_owned);
        assert_eq!(rewrite("http:&#47;/h/a&amp;b", &shorten).as_deref(), Some("/a&amp;b"));
        assert_eq!(rewrite("http:&#47;/h", &shorten).as_deref(), Some(""));
    }
}
