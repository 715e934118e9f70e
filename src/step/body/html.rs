//! Links in HTML: attributes that hold URLs, `srcset`, `<meta http-equiv=refresh>`, and CSS in `style`.
//!
//! Mapped are `href src action formaction poster cite background manifest xlink:href ping srcset imagesrcset`, `data`
//! of `<object>`, the refresh, and `url(…)` and `@import` in `<style>` and `style="…"`. Scripts, comments, text and
//! `srcdoc` are left alone. Everything that is not changed keeps its bytes; a changed attribute is written in double
//! quotes, and only the part of the URL that changed is written anew.
//!
//! The page is read as bytes with ASCII in them, so it comes out whole in any charset and even if it is broken. If a
//! page needs too much memory (one tag of megabytes, elements nested by the ten thousand), the rest of it passes as it is.

mod attributes;
mod entities;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use lol_html::html_content::{ContentType, TextChunk};
use lol_html::send::{Element, ElementContentHandlers, HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings, OutputSink, Selector};

pub use super::LinkMap;
use super::css::{CssAdapter, css_urls};
use super::{BodyError, BodyStep};
use attributes::Kind;

/// How much memory the parser may take for one page, in bytes.
const MEMORY: usize = 4 << 20;

/// Maps the links of one page while it streams.
pub struct HtmlAdapter {
    /// `None` once the parser has given up.
    rewriter: Option<HtmlRewriter<'static, Sink>>,
    output: Arc<Mutex<Vec<u8>>>,
}

/// Where the parser writes; the adapter lends it the caller's buffer for each call.
struct Sink(Arc<Mutex<Vec<u8>>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk);
    }
}

impl HtmlAdapter {
    /// An adapter for one page in `charset` as its `Content-Type` names it (UTF-8 if it names none). `None` if
    /// the charset is unknown or not based on ASCII, as UTF-16: such pages cannot be adapted.
    #[must_use]
    pub fn new(map: Arc<dyn LinkMap>, charset: Option<&str>) -> Option<Self> {
        let charset = match charset {
            Some(label) => Encoding::for_label_no_replacement(label.as_bytes())?,
            None => UTF_8,
        };
        AsciiCompatibleEncoding::new(charset)?;
        // Each byte is a character in this one, so nothing is lost on the way through the parser.
        let encoding = AsciiCompatibleEncoding::new(WINDOWS_1252)?;
        let memory = MemorySettings::new()
            .with_max_allowed_memory_usage(MEMORY)
            .with_graceful_bail_out_on_memory_limit_exceeded(true);
        let links = Links { map: Arc::clone(&map), charset };
        let on_element = ElementContentHandlers::default().element(move |element: &mut Element<'_, '_>| {
            links.adapt(element);
            Ok(())
        });
        let mut sheet = StyleSheet { map, adapter: None };
        let on_style = ElementContentHandlers::default().text(move |text: &mut TextChunk<'_>| {
            sheet.adapt(text);
            Ok(())
        });
        let (all, style): (Selector, Selector) = ("*".parse().ok()?, "style".parse().ok()?);
        let settings = Settings::new_send()
            .append_element_content_handler((Cow::Owned(all), on_element))
            .append_element_content_handler((Cow::Owned(style), on_style))
            .with_encoding(encoding)
            .with_memory_settings(memory)
            .with_strict(false)
            .with_adjust_charset_on_meta_tag(false)
            .with_graceful_bail_out_on_content_handler_error(true);
        let output = Arc::new(Mutex::new(Vec::new()));
        let rewriter = HtmlRewriter::new(settings, Sink(Arc::clone(&output)));
        Some(Self { rewriter: Some(rewriter), output })
    }

    /// Exchanges the caller's buffer with the parser's.
    fn swap(&self, out: &mut Vec<u8>) {
        std::mem::swap(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner), out);
    }
}

impl BodyStep for HtmlAdapter {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        let Some(mut rewriter) = self.rewriter.take() else {
            out.extend_from_slice(chunk);
            return Ok(());
        };
        self.swap(out);
        // When the parser gives up, it has written all it had taken, so the rest can follow.
        if rewriter.write(chunk).is_ok() {
            self.rewriter = Some(rewriter);
        }
        self.swap(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        if let Some(rewriter) = self.rewriter.take() {
            self.swap(out);
            // As above: also when it fails, everything has been written.
            let _ = rewriter.end();
            self.swap(out);
        }
        Ok(())
    }
}

/// Maps the attributes of elements.
struct Links {
    map: Arc<dyn LinkMap>,
    charset: &'static Encoding,
}

impl Links {
    fn adapt(&self, element: &mut Element<'_, '_>) {
        let (mut changes, mut seen) = (Vec::new(), Vec::new());
        for attribute in element.attributes() {
            let name = attribute.name();
            let Some(kind) = attributes::kind(&name, || element.tag_name()) else {
                continue;
            };
            // Of attributes of the same name only the first counts, and it is the one that would be set.
            if seen.contains(&name) || (kind == Kind::Refresh && !is_refresh(element)) {
                continue;
            }
            if let Some(value) = self.value(kind, &attribute.value()) {
                changes.push((name.clone(), value));
            }
            seen.push(name);
        }
        for (name, value) in changes {
            // It fails only for names that no page can hold.
            let _ = element.set_attribute(&name, &value);
        }
    }

    /// The new value of an attribute, both as the parser sees them: a character for each byte.
    fn value(&self, kind: Kind, seen: &str) -> Option<String> {
        if seen.is_ascii() {
            return self.rewrite(kind, seen).map(|new| self.encode(&new).unwrap_or(new));
        }
        let (bytes, _, _) = WINDOWS_1252.encode(seen);
        match self.charset.decode_without_bom_handling_and_without_replacement(&bytes) {
            Some(text) => self.rewrite(kind, &text).map(|new| self.encode(&new).unwrap_or(new)),
            // Not what the charset says: the part that is mapped is ASCII all the same.
            None => self.rewrite(kind, seen),
        }
    }

    /// Text in the charset of the page, as the parser sees it. `None` if it is the same.
    fn encode(&self, text: &str) -> Option<String> {
        if text.is_ascii() {
            return None;
        }
        let (bytes, _, _) = self.charset.encode(text);
        Some(WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned())
    }

    fn rewrite(&self, kind: Kind, raw: &str) -> Option<String> {
        let url = |raw: &str| entities::rewrite(raw, &|url| self.map.map(url));
        match kind {
            Kind::Url => url(raw),
            Kind::List => attributes::list(raw, &url),
            Kind::Srcset => attributes::srcset(raw, &url),
            Kind::Refresh => attributes::refresh(raw, &url),
            Kind::Style => css_urls(&entities::decode(raw), &self.map).map(|css| entities::escape(&css)),
        }
    }
}

fn is_refresh(element: &Element<'_, '_>) -> bool {
    element.get_attribute("http-equiv").is_some_and(|value| value.trim().eq_ignore_ascii_case("refresh"))
}

/// Maps the text of `<style>` elements, one after the other.
struct StyleSheet {
    map: Arc<dyn LinkMap>,
    adapter: Option<CssAdapter>,
}

impl StyleSheet {
    fn adapt(&mut self, text: &mut TextChunk<'_>) {
        let last = text.last_in_text_node();
        let adapter = self.adapter.get_or_insert_with(|| CssAdapter::new(Arc::clone(&self.map)));
        let (bytes, _, _) = WINDOWS_1252.encode(text.as_str());
        let mut out = Vec::with_capacity(bytes.len());
        adapter.feed(&bytes, last, &mut out);
        if out != *bytes {
            let (new, _) = WINDOWS_1252.decode_without_bom_handling(&out);
            text.replace(&new, ContentType::Html);
        }
        if last {
            self.adapter = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test stops at the first surprise")]
mod tests;
