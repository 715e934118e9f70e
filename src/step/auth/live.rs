//! Files that are read again when they change, without a reload: of users, groups and keys. Once used, what a file held
//! stays until a newer one is sound.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use sha2::{Digest as _, Sha256};

/// How often files are looked at. One is taken over when it looks the same twice: nobody writes it any more.
const PACE: Duration = Duration::from_millis(500);
/// The most bytes of a file.
const MOST: u64 = 16 << 20;

/// What tells that a file was changed; `None` where there is none, or none that may be read.
type Stamp = Option<(u64, u64, u64, i64, i64, i64)>;

/// A file, and what it holds.
pub(super) struct Live<T> {
    path: PathBuf,
    /// Whether it holds secrets, which are not for everybody.
    is_secret: bool,
    parse: fn(&str) -> Result<T, String>,
    current: ArcSwap<Version<T>>,
    watch: Mutex<Watch>,
}

/// What a file held at some time.
pub(super) struct Version<T> {
    /// What it held.
    pub(super) value: T,
    /// Counts what was taken over, from 0.
    pub(super) number: u64,
}

struct Watch {
    /// How the file looked when it was last read; `None` when that says nothing.
    read: Option<Stamp>,
    /// How it looked the last time.
    seen: Option<Stamp>,
    digest: [u8; 32],
}

impl<T> Live<T> {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and the cure; never what it holds.
    pub(super) fn open(path: PathBuf, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        Self::new(path, false, parse)
    }

    /// Reads a file of secrets: others than its owner and group may neither read nor change it.
    ///
    /// # Errors
    /// As for [`Live::open`].
    pub(super) fn open_secret(path: PathBuf, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        Self::new(path, true, parse)
    }

    fn new(path: PathBuf, is_secret: bool, parse: fn(&str) -> Result<T, String>) -> Result<Self, String> {
        let text = read(&path, is_secret)?;
        let value = parse(&text).map_err(|why| format!("the file {}, {why}", path.display()))?;
        let watch = Mutex::new(Watch { read: None, seen: None, digest: digest(&text) });
        Ok(Self { path, is_secret, parse, current: ArcSwap::from_pointee(Version { value, number: 0 }), watch })
    }

    /// What it holds.
    pub(super) fn get(&self) -> Guard<Arc<Version<T>>> {
        self.current.load()
    }

    /// Looks whether it was changed, and takes over what it holds.
    pub(super) fn refresh(&self) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        let is_settled = watch.seen.replace(stamp) == Some(stamp);
        if watch.read == Some(stamp) || !is_settled {
            return;
        }
        watch.read = Some(stamp);
        let shown = self.path.display();
        let parsed = read(&self.path, self.is_secret).and_then(|text| {
            let digest = digest(&text);
            if digest == watch.digest {
                return Ok(None);
            }
            (self.parse)(&text).map(|value| Some((digest, value))).map_err(|why| format!("the file {shown}, {why}"))
        });
        match parsed {
            Ok(None) => {}
            Ok(Some((digest, value))) => {
                watch.digest = digest;
                let number = self.current.load().number + 1;
                self.current.store(Arc::new(Version { value, number }));
                tracing::info!(file = %shown, "a file was changed, and taken over");
            }
            Err(why) => tracing::error!(file = %shown, "a file was changed, but not taken over: {why}"),
        }
    }
}

/// Keeps looking at files as long as somebody holds what they belong to.
pub(super) fn watch<T: Send + Sync + 'static>(of: &Arc<T>, refresh: fn(&T)) {
    let of = Arc::downgrade(of);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PACE).await;
            let Some(kept) = Weak::upgrade(&of) else { return };
            if tokio::task::spawn_blocking(move || refresh(&kept)).await.is_err() {
                return;
            }
        }
    });
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn stamp(path: &Path) -> Stamp {
    let of = |found: Metadata| {
        (found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime_nsec())
    };
    std::fs::metadata(path).ok().map(of)
}

fn read(path: &Path, is_secret: bool) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("the file {shown} does not exist; create it, or correct the path"),
        io::ErrorKind::PermissionDenied => {
            format!("the file {shown} may not be read; let the user that runs Pylon read it")
        }
        io::ErrorKind::InvalidData => format!("the file {shown} is not UTF-8 text; convert it"),
        _ => format!("the file {shown} cannot be read: {error}; check it"),
    };
    // Opening a pipe would wait for its other end, so look first.
    let about = std::fs::metadata(path).map_err(failed)?;
    if !about.is_file() {
        return Err(format!("{shown} is not a file; name a regular file"));
    }
    if is_secret && about.mode() & 0o007 != 0 {
        return Err(format!(
            "everybody can read or change the file {shown}, which has secrets; run `chmod o-rwx` on it"
        ));
    }
    let mut text = String::new();
    let length = File::open(path).map_err(failed)?.take(MOST + 1).read_to_string(&mut text).map_err(failed)?;
    if length as u64 > MOST {
        return Err(format!("the file {shown} is larger than 16 MiB; name a smaller one"));
    }
    Ok(text)
}

/// The lines of a file that say something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<String>, String> {
        if text.contains('!') { Err("line 1: a mistake".to_owned()) } else { Ok(vec![text.trim().to_owned()]) }
    }

    #[test]
    fn a_changed_file_is_taken_over_when_it_is_whole_and_sound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words");
        std::fs::write(&path, "a\n").unwrap();
        let live = Live::open(path.clone(), words).unwrap();
        let now = || (live.get().value[0].clone(), live.get().number);
        let settle = || (0..2).for_each(|_| live.refresh());
        settle();
        assert_eq!(now(), ("a".to_owned(), 0), "what did not change is no other version");
        std::fs::write(&path, "bb\n").unwrap();
        live.refresh();
        assert_eq!(now(), ("a".to_owned(), 0), "it may still be written");
        live.refresh();
        assert_eq!(now(), ("bb".to_owned(), 1));
        std::fs::write(&path, "broken!\n").unwrap();
        settle();
        std::fs::remove_file(&path).unwrap();
        settle();
        assert_eq!(now(), ("bb".to_owned(), 1), "the last good one stays");
        std::fs::write(folder.path().join("other"), "cc\n").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        settle();
        assert_eq!(now(), ("cc".to_owned(), 2));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let why = |name: &str| Live::open(folder.path().join(name), words).err().unwrap();
        std::fs::write(folder.path().join("latin"), b"\xe9").unwrap();
        std::fs::write(folder.path().join("bad"), "!").unwrap();
        assert!(why("none").contains("does not exist"));
        assert!(why(".").contains("is not a file"));
        assert!(why("latin").contains("not UTF-8"));
        assert!(why("bad").ends_with("bad, line 1: a mistake"));
    }
}
