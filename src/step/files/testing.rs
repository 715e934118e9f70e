//! What tests of the step have in common.

use super::*;

/// A file of this size that was changed then, and a step that serves it.
pub(super) fn served(size: u64, modified: SystemTime) -> (Files, Served) {
    let files = Files {
        place: Place::File(PathBuf::new()),
        index: Vec::new(),
        codings: Vec::new(),
        cache_control: None,
        not_found: None,
        fallback: None,
        hidden: Vec::new(),
        response_headers: HeaderEdits::default(),
    };
    let file = tempfile::tempfile().unwrap();
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    (files, Served { file, size, modified: Some(modified), media_type, coding: None, instead: false })
}
