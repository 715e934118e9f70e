//! `static`: answer with files of a folder.
//!
//! ```yaml
//! - name: site
//!   path: /site/**
//!   static: /srv/www
//! - name: assets
//!   path: /assets/**
//!   static:
//!     folder: /srv/assets
//!     precompressed: [br, gzip]        # app.js.br and app.js.gz beside app.js
//!     cache_control: public, max-age=31536000, immutable
//! - name: icon
//!   path: /favicon.ico
//!   static: { file: /srv/www/favicon.ico }
//! ```
//!
//! GET and HEAD alone. Ranges, conditions and `ETag` are those of RFC 9110. A path is decoded once; names that begin with a dot
//! or hold a slash, a backslash or a control character are not there. The folder is looked up anew for each request, so that
//! a link to it can be switched; below it, links count as long as they are relative and stay in it.

mod head;
mod open;
mod place;
mod range;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use rustix::buffer::spare_capacity;

use super::Mistake;
use super::compress::negotiate;
use super::headers::HeaderEdits;
use crate::config::{ContentCoding, StaticSpec};
use crate::route::template::{Values, Vocabulary};

pub use head::{Asked, Head, Segment};
use place::{Place, place, within};

/// Bytes that are read at once.
pub const PIECE: u64 = 128 * 1024;

/// The step, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    place: Place,
    index: Vec<String>,
    codings: Vec<ContentCoding>,
    cache_control: Option<HeaderValue>,
    not_found: Option<PathBuf>,
    fallback: Option<PathBuf>,
    hidden: Vec<String>,
    /// Changes of response headers.
    pub response_headers: HeaderEdits,
}

/// What a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The path below the folder; `None` where nothing of such a name is served.
    below: Option<PathBuf>,
    /// Whether it ends in a slash.
    folder: bool,
}

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(Box<Served>),
    /// A folder, of which the path lacks its slash.
    Folder,
    /// Nothing, with what stands in its place.
    Nothing(Option<Box<Served>>),
}

/// An open file.
#[derive(Debug)]
pub struct Served {
    /// The file, which is a regular one.
    pub file: File,
    /// Its size when it was opened, which is what the client is told.
    pub size: u64,
    /// When it was changed.
    pub modified: Option<SystemTime>,
    media_type: HeaderValue,
    coding: Option<ContentCoding>,
    /// Whether it stands in the place of another that is not there.
    instead: bool,
}

impl Files {
    /// Checks the step. `file` resolves paths that stand in a config file.
    ///
    /// # Errors
    /// All mistakes, below the key.
    pub fn compile(
        spec: &StaticSpec,
        vocabulary: &Vocabulary<'_>,
        file: &dyn Fn(&str) -> PathBuf,
        response_headers: HeaderEdits,
    ) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let place = place(spec, vocabulary, file).map_err(|mistake| mistakes.push(mistake)).ok();
        if spec.file.is_some() {
            let idle = [
                ("path", spec.path.is_some()),
                ("index", spec.index.is_some()),
                ("not_found", spec.not_found.is_some()),
                ("fallback", spec.fallback.is_some()),
                ("hidden", spec.hidden.iter().next().is_some()),
                ("precompressed", spec.precompressed.iter().next().is_some()),
            ];
            let idle = idle.iter().filter(|(_, set)| *set);
            mistakes.extend(idle.map(|(key, _)| Mistake::at(key, "it is about a folder; remove it, or `file`")));
        }
        if spec.not_found.is_some() && spec.fallback.is_some() {
            mistakes.push(Mistake::at("fallback", "`not_found` is there as well; keep one of them"));
        }
        let folder = match &place {
            Some(Place::Folder { folder, .. }) => Some(folder.as_path()),
            _ => None,
        };
        let mut named = |key: &'static str, name: Option<&String>| {
            let found = within(folder?, name?);
            found.map_err(|message| mistakes.push(Mistake::at(key, message))).ok()
        };
        let not_found = named("not_found", spec.not_found.as_ref());
        let fallback = named("fallback", spec.fallback.as_ref());
        let cache_control = spec.cache_control.as_ref().map(|text| HeaderValue::from_str(text));
        if let Some(Err(_)) = cache_control {
            mistakes.push(Mistake::at("cache_control", "it holds a character that a header cannot; remove it"));
        }
        let index = spec.index.as_ref().map_or_else(|| vec!["index.html".to_owned()], |index| index.to_vec());
        for (key, names) in [("index", &index), ("hidden", &spec.hidden.to_vec())] {
            let bad = names.iter().find(|name| name.is_empty() || name.contains('/') || *name == "." || *name == "..");
            mistakes.extend(bad.map(|name| Mistake::at(key, format!("`{name}` is not the name of a file; write one"))));
        }
        match place {
            Some(place) if mistakes.is_empty() => Ok(Self {
                place,
                index,
                codings: spec.precompressed.to_vec(),
                cache_control: cache_control.and_then(Result::ok),
                not_found,
                fallback,
                hidden: spec.hidden.to_vec(),
                response_headers,
            }),
            _ => Err(mistakes),
        }
    }

    /// What a request names.
    #[must_use]
    pub fn wanted(&self, values: &Values<'_>) -> Wanted {
        match &self.place {
            Place::File(_) => Wanted { below: Some(PathBuf::new()), folder: false },
            Place::Folder { below, .. } => {
                let mut path = String::with_capacity(values.path.len());
                below.render(values, &mut path);
                Wanted { below: self.decoded(&path), folder: path.ends_with('/') }
            }
        }
    }

    /// Where that is, for people.
    #[must_use]
    pub fn whereabouts(&self, wanted: &Wanted) -> Option<PathBuf> {
        let below = wanted.below.as_ref()?;
        Some(match &self.place {
            Place::File(file) => file.clone(),
            Place::Folder { folder, .. } => folder.join(below),
        })
    }

    /// The path that stands behind percent-encoding, name by name.
    fn decoded(&self, path: &str) -> Option<PathBuf> {
        let mut below = PathBuf::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let name: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
            let odd = |b: &u8| matches!(b, 0..=31 | 127 | b'/' | b'\\');
            let shown = !name.starts_with(b".") || self.hidden.iter().any(|one| one.as_bytes() == name);
            if !shown || name.iter().any(odd) {
                return None;
            }
            below.push(OsStr::from_bytes(&name));
        }
        Some(below)
    }

    /// The codings in which a client takes files, the best first.
    #[must_use]
    pub fn codings(&self, headers: &HeaderMap) -> Vec<ContentCoding> {
        let mut left = self.codings.clone();
        let mut taken = Vec::new();
        while let Some(best) = negotiate(&left, headers) {
            left.retain(|coding| *coding != best);
            taken.push(best);
        }
        taken
    }

    /// Opens what a request names. This waits for the disk.
    ///
    /// # Errors
    /// When something is there that cannot be read.
    pub fn find(&self, wanted: &Wanted, codings: &[ContentCoding]) -> io::Result<Found> {
        let folder = match &self.place {
            Place::File(path) => return Ok(found(served(open::plainly(path), path))?.unwrap_or(Found::Nothing(None))),
            Place::Folder { folder, .. } => open::folder(folder)?,
        };
        let open = |below: &Path| found(served(open::beneath(folder.as_fd(), below), below));
        let compressed = |below: &Path, plain: Found| {
            for coding in codings {
                let mut name = below.as_os_str().to_owned();
                name.push(suffix(*coding));
                if let (Ok(Some(Found::File(mut other))), Found::File(plain)) = (open(Path::new(&name)), &plain) {
                    (other.media_type, other.coding) = (plain.media_type.clone(), Some(*coding));
                    return Found::File(other);
                }
            }
            plain
        };
        if let Some(below) = &wanted.below {
            if wanted.folder {
                for index in &self.index {
                    let below = below.join(index);
                    if let Some(file @ Found::File(_)) = open(&below)? {
                        return Ok(compressed(&below, file));
                    }
                }
            } else if let Some(found) = open(below)? {
                return Ok(compressed(below, found));
            }
        }
        let Some(instead) = self.fallback.as_ref().or(self.not_found.as_ref()) else { return Ok(Found::Nothing(None)) };
        match open(instead)? {
            Some(Found::File(mut file)) => {
                file.instead = true;
                Ok(if self.fallback.is_some() { Found::File(file) } else { Found::Nothing(Some(file)) })
            }
            _ => Ok(Found::Nothing(None)),
        }
    }
}

impl Served {
    /// Reads a piece; a shorter one than asked for where the file ends before. This waits for the disk.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length.min(PIECE)).unwrap_or_default();
        let mut piece: Vec<u8> = Vec::with_capacity(length);
        while piece.len() < length {
            let at = start + piece.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut piece), at) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // An allocator may give more than was asked for.
        piece.truncate(length);
        Ok(piece.into())
    }
}

fn suffix(coding: ContentCoding) -> &'static str {
    match coding {
        ContentCoding::Br => ".br",
        ContentCoding::Zstd => ".zst",
        ContentCoding::Gzip => ".gz",
    }
}

/// What an opened path is; `None` where nothing is there that could be served.
fn served(opened: io::Result<File>, path: &Path) -> io::Result<Option<Found>> {
    let file = opened?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Ok(Some(Found::Folder));
    }
    if !about.is_file() {
        return Ok(None);
    }
    let (size, modified) = (about.len(), about.modified().ok());
    let served = Served { file, size, modified, media_type: media_type(path), coding: None, instead: false };
    Ok(Some(Found::File(Box::new(served))))
}

fn found(served: io::Result<Option<Found>>) -> io::Result<Option<Found>> {
    match served {
        Err(error) if open::is_missing(&error) => Ok(None),
        other => other,
    }
}

/// The media type that a name says.
pub(super) fn media_type(path: &Path) -> HeaderValue {
    let raw = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    if raw.starts_with("text/") {
        return HeaderValue::try_from(format!("{raw}; charset=utf-8")).unwrap_or(HeaderValue::from_static(raw));
    }
    HeaderValue::from_static(raw)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
