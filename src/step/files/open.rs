//! Opens what stands below a folder, and nothing else: the kernel resolves the path beneath a handle of the folder, so that
//! neither a link nor one that is put in place meanwhile leads out of it.
//!
//! Relative links that stay within the folder are followed. Where the kernel cannot do that (before Linux 5.6, or where it is
//! forbidden), links are refused.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How often a path is resolved again that something moved away from under it.
const TRIES: usize = 32;

/// To read, and not to wait for the other end of a pipe.
fn to_read() -> OFlags {
    OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// A folder.
pub(super) fn folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A file or folder by its own path, which an operator wrote.
pub(super) fn plainly(path: &Path) -> io::Result<File> {
    Ok(openat(CWD, path, to_read(), Mode::empty())?.into())
}

/// A file or folder below a folder; the folder itself where the path is empty.
pub(super) fn beneath(folder: BorrowedFd<'_>, below: &Path) -> io::Result<File> {
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(folder, below, to_read(), Mode::empty(), within) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return without_links(folder, below),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

/// The same, one name of the path after the other, and none of them a link.
fn without_links(folder: BorrowedFd<'_>, below: &Path) -> io::Result<File> {
    let mut names = below.iter().peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if name == ".." || name == "/" {
            return Err(Errno::XDEV.into());
        }
        let from = at.as_ref().map_or(folder, AsFd::as_fd);
        if names.peek().is_none() {
            return Ok(openat(from, name, to_read() | OFlags::NOFOLLOW, Mode::empty())?.into());
        }
        let on_the_way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = Some(openat(from, name, on_the_way, Mode::empty())?);
    }
    Err(Errno::NOENT.into())
}

/// Whether an error says that nothing is there that could be served.
pub(super) fn is_missing(error: &io::Error) -> bool {
    let known = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::XDEV,
        Errno::NAMETOOLONG,
        Errno::INVAL,
        Errno::NXIO,
        Errno::NODEV,
    ];
    Errno::from_io_error(error).is_some_and(|error| known.contains(&error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_opened_by_either_way() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("www");
        fs::create_dir_all(inside.join("a")).unwrap();
        fs::write(inside.join("a/in"), "in").unwrap();
        fs::write(root.path().join("out"), "out").unwrap();
        symlink("a/in", inside.join("within")).unwrap();
        symlink("../out", inside.join("up")).unwrap();
        symlink(root.path().join("out"), inside.join("absolute")).unwrap();
        symlink("/proc/self/cwd", inside.join("magic")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("..", inside.join("parent")).unwrap();
        let handle = folder(&inside).unwrap();
        let text = |file: File| io::read_to_string(file).unwrap();
        assert_eq!(text(beneath(handle.as_fd(), Path::new("a/in")).unwrap()), "in");
        assert_eq!(text(beneath(handle.as_fd(), Path::new("within")).unwrap()), "in");
        assert_eq!(text(without_links(handle.as_fd(), Path::new("a/in")).unwrap()), "in");
        assert!(without_links(handle.as_fd(), Path::new("within")).is_err());
        for bad in
            ["../out", "/etc/passwd", "up", "absolute", "magic", "loop", "parent/out", "a/../../out", "in", "a/in/x"]
        {
            for open in [beneath, without_links] {
                let error = open(handle.as_fd(), Path::new(bad)).unwrap_err();
                assert!(is_missing(&error), "{bad}: {error}");
            }
        }
    }

    #[test]
    fn a_pipe_does_not_hold_up() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let handle = folder(root.path()).unwrap();
        for open in [beneath, without_links] {
            assert!(!open(handle.as_fd(), Path::new("pipe")).unwrap().metadata().unwrap().is_file());
        }
    }
}
