//! Names of directory entries (RFC 4514), as far as groups are called after them.

/// The value of the first `CN` of a name: what a group is called.
pub(super) fn common_name(dn: &str) -> Option<String> {
    split(dn, ',').into_iter().flat_map(|rdn| split(rdn, '+')).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let is_cn = key.trim().eq_ignore_ascii_case("cn") || key.trim() == "2.5.4.3";
        is_cn.then(|| unescaped(value)).flatten().filter(|name| !name.is_empty())
    })
}

/// The parts of a text between separators that are not escaped.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == separator => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A value without its escapes and the blanks around it; `None` where they are not sound.
fn unescaped(value: &str) -> Option<String> {
    let value = value.trim_start_matches(' ');
    let mut out = Vec::with_capacity(value.len());
    let mut end = 0;
    let mut left = value.bytes();
    while let Some(byte) = left.next() {
        if byte != b'\\' {
            out.push(byte);
            end = if byte == b' ' { end } else { out.len() };
            continue;
        }
        let first = left.next()?;
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match hex(first) {
            Some(high) => out.push(high << 4 | hex(left.next()?)?),
            None => out.push(first),
        }
        end = out.len();
    }
    out.truncate(end);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_called_after_their_common_name() {
        for (dn, name) in [
            ("CN=staff,OU=groups,DC=example,DC=org", Some("staff")),
            ("cn = the staff ,ou=groups", Some("the staff")),
            ("uid=x+cn=both,dc=y", Some("both")),
            ("ou=people,cn=later", Some("later")),
            (r"CN=a\,CN=b\2c\C3\A9\+,OU=x", Some("a,CN=b,é+")),
            (r"CN=\ x\ ,OU=x", Some(" x ")),
            ("OU=groups", None),
            ("CN=,OU=groups", None),
            (r"CN=x\", None),
            (r"CN=x\4", None),
            (r"CN=\ff", None),
            ("", None),
            ("CN", None),
        ] {
            assert_eq!(common_name(dn).as_deref(), name, "{dn}");
        }
        assert_eq!(split(r"CN=a\;b;CN=c;", ';'), [r"CN=a\;b", "CN=c", ""]);
    }
}
