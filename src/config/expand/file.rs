//! The contents of `${file:/path}`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes to read.
const MAX_FILE: u64 = 1024 * 1024;

/// The contents of a regular file, without its last line end; or what is wrong with it, never its contents.
pub(super) fn read(path: &str) -> Result<String, String> {
    if !Path::new(path).is_absolute() {
        return Err(format!("`{path}` is not a full path; write one that starts with `/`"));
    }
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the file {path} does not exist; create it, or correct the path")
        }
        io::ErrorKind::PermissionDenied => {
            format!("the file {path} may not be read; let the user that runs Pylon read it")
        }
        _ => format!("the file {path} can't be read: {error}; check it"),
    };
    // Opening a pipe would wait for its other end, so look first.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{path} is not a file; name a regular file"));
    }
    let mut text = String::new();
    let length =
        File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::InvalidData => format!("the file {path} is not UTF-8 text; convert it"),
            _ => failed(error),
        })?;
    if length as u64 > MAX_FILE {
        return Err(format!("the file {path} is larger than 1 MiB; name a smaller one"));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
