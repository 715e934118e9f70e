//! Where files are that a route serves.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Mistake, open};
use crate::config::StaticSpec;
use crate::route::template::{Template, Vocabulary};

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(PathBuf),
    Folder { folder: PathBuf, below: Template },
}

/// Checks where the files are.
pub(super) fn place(
    spec: &StaticSpec,
    vocabulary: &Vocabulary<'_>,
    file: &dyn Fn(&str) -> PathBuf,
) -> Result<Place, Mistake> {
    match (&spec.folder, &spec.file) {
        (Some(_), Some(_)) => Err(Mistake::at("file", "`folder` is there as well; keep one of them")),
        (None, None) => Err(Mistake::at("folder", "it is missing; write the path of a folder")),
        (_, Some(path)) => {
            let path = file(path);
            let is_file = open::plainly(&path).and_then(|file| file.metadata()).map(|about| about.is_file());
            match is_file {
                Ok(true) => Ok(Place::File(path)),
                Ok(false) => Err(Mistake::at("file", format!("`{}` is not a file; name one", path.display()))),
                Err(error) => {
                    let message = format!("`{}` cannot be read ({error}); name a file that can", path.display());
                    Err(Mistake::at("file", message))
                }
            }
        }
        (Some(path), None) => {
            let folder = file(path);
            if path.is_empty() {
                return Err(Mistake::at("folder", "it is empty; write the path of a folder"));
            }
            open::folder(&folder).map_err(|error| {
                let message =
                    format!("the folder `{}` cannot be opened ({error}); name one that can", folder.display());
                Mistake::at("folder", message)
            })?;
            // Files are decided on before it is known who asks.
            let vocabulary = &Vocabulary { asker: false, ..*vocabulary };
            let below = match &spec.path {
                Some(text) => Template::parse(text, vocabulary).map_err(|message| Mistake::at("path", message))?,
                None if vocabulary.rest => {
                    Template::parse("/{**}", vocabulary).map_err(|message| Mistake::at("path", message))?
                }
                None => {
                    let message = "the route's path has no rest that could name a file; end it with `/**`, or write `file` \
                                   in place of `folder`";
                    return Err(Mistake::at("folder", message));
                }
            };
            Ok(Place::Folder { folder, below })
        }
    }
}

/// A file below a folder that the step names.
pub(super) fn within(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let below = PathBuf::from(name.trim_start_matches('/'));
    let opened = open::folder(folder).and_then(|folder| open::beneath(folder.as_fd(), &below));
    match opened.and_then(|file| file.metadata()) {
        Ok(about) if about.is_file() => Ok(below),
        Ok(_) => Err(format!("`{name}` is not a file below the folder; name one")),
        Err(error) => Err(format!("`{name}` below the folder cannot be read ({error}); name a file that can")),
    }
}
