//! A response as the client got it, and what a test expects of it.

use std::fmt;
use std::io::Read as _;

use super::wire::{End, Headers, latin1};

/// A response as the client got it.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) informational: Vec<u16>,
    /// Without its framing, otherwise as it came.
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = latin1(&self.body).chars().take(500).collect();
        let lines = self.headers.0.iter().map(|(name, value)| format!("{name}: {value}\n"));
        write!(f, "\n{} {} ({:?})\n{}\n{body}\n", self.version, self.status, self.end, lines.collect::<String>())
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("no Location in {self:?}"))
    }

    /// The body as text, unzipped when it says that it is zipped.
    pub(crate) fn text(&self) -> String {
        if self.body.is_empty() {
            return String::new();
        }
        match self.header("content-encoding") {
            None | Some("identity") => latin1(&self.body),
            Some("gzip") => {
                let mut text = String::new();
                flate2::read::MultiGzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
                text
            }
            Some(other) => panic!("a client that can only gzip got {other}"),
        }
    }

    /// Fails unless this is the whole response, of this status and body.
    pub(crate) fn expect(&self, status: u16, body: &str) {
        self.expect_status(status);
        let text = self.text();
        let same = text.bytes().zip(body.bytes()).take_while(|(got, wanted)| got == wanted).count();
        let from = |text: &str| latin1(text.as_bytes().get(same.saturating_sub(60)..).unwrap_or_default());
        let shown = |text: &str| from(text).chars().take(300).collect::<String>();
        assert!(text == body, "they part at byte {same}\n   got: …{}\nwanted: …{}", shown(&text), shown(body));
    }

    /// Fails unless this is a whole response of this status.
    pub(crate) fn expect_status(&self, status: u16) -> &Response {
        assert_eq!((self.status, self.end), (status, End::Complete), "{self:?}");
        self
    }

    /// Fails unless this redirects, with this status, to exactly this Location.
    pub(crate) fn expect_redirect(&self, status: u16, location: &str) {
        self.expect_status(status);
        assert_eq!(self.location(), location);
    }
}
