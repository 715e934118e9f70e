//! What a `Content-Type` says about a body: whether it is text that can be adapted, and in which charset.

/// The media type of a `Content-Type` without its parameters, as `text/html`.
#[must_use]
pub fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a body of this `Content-Type` is text: `text/*`, JSON, JavaScript, XML and the types built on them, web
/// app manifests. Form data and multipart bodies are not, since their lengths and escapes must stay.
#[must_use]
pub fn text_type(content_type: &str) -> bool {
    const APPLICATION: [&str; 9] =
        ["json", "javascript", "x-javascript", "ecmascript", "xml", "xml-dtd", "x-ndjson", "manifest", "x-yaml"];
    let media = media_type(content_type).to_ascii_lowercase();
    let Some((kind, sub)) = media.split_once('/') else {
        return false;
    };
    if sub.ends_with("+json") || sub.ends_with("+xml") || kind == "text" {
        return !sub.is_empty();
    }
    kind == "application" && APPLICATION.contains(&sub)
}

/// The `charset` parameter of a `Content-Type`, without its quotes.
#[must_use]
pub fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_the_rest() {
        for yes in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "text/event-stream",
            "application/json",
            "application/hal+json",
            "application/manifest+json",
            "image/svg+xml",
            "application/xhtml+xml",
            "application/javascript",
        ] {
            assert!(text_type(yes), "{yes}");
        }
        for no in [
            "",
            "text",
            "text/",
            "image/png",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "video/mp4",
        ] {
            assert!(!text_type(no), "{no}");
        }
    }

    #[test]
    fn charset_is_read_from_the_parameters() {
        assert_eq!(charset("text/html; charset=UTF-8"), Some("UTF-8"));
        assert_eq!(charset("text/html;x=y; Charset=\"koi8-r\""), Some("koi8-r"));
        assert_eq!(charset("text/html; charset="), None);
        assert_eq!(charset("text/html"), None);
    }
}
