//! What a route does, in words: for `explain`, the admin port and the records of requests.

use super::{Action, Forward, Route};

impl Route {
    /// The steps that it has switched on, in the order in which they run; none where it does not forward.
    #[must_use]
    pub fn steps(&self) -> Vec<&'static str> {
        match &self.action {
            Action::Forward(forward) => forward.steps(),
            Action::Answer(_) | Action::Redirect(_) => Vec::new(),
        }
    }
}

impl Forward {
    fn steps(&self) -> Vec<&'static str> {
        let all = [
            (true, "forwarded headers"),
            (self.rewrite.is_some(), "rewrite"),
            (self.raw_target, "raw target"),
            (!self.request_headers.is_empty(), "request headers"),
            (!self.response_headers.is_empty(), "response headers"),
            (self.adapt.location, "adapt location"),
            (self.adapt.cookies, "adapt cookies"),
            (self.adapt.html, "adapt html"),
            (self.substitute.is_some(), "substitute"),
            (self.etag.is_some(), "etag"),
            (self.compress.is_some(), "compress"),
            (self.grpc_web, "grpc-web"),
        ];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }
}
