//! Between Pingora's headers and our own narrow view of them.

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::step::Headers;

impl Headers for RequestHeader {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.insert_header(name, value);
    }

    fn append(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.append_header(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl Headers for ResponseHeader {
    fn map(&self) -> &HeaderMap {
        &self.headers
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.insert_header(name, value);
    }

    fn append(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.append_header(name, value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}
