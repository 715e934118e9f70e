//! A log channel: lines to one target, from a thread of its own, so that a target that does not take them stalls nobody.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;

use super::queue::Queue;

/// How many bytes of them, for all threads.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// So many bytes are written at a time.
const PIECE: usize = 64 * 1024;

/// After a write that failed, lines are dropped for this long before the next try.
const REST: Duration = Duration::from_millis(500);

/// When a target takes nothing and does not wait, it is tried again after this.
const AGAIN: Duration = Duration::from_millis(10);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is appended to, and opened anew on request.
    File(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A channel of items that become lines, of which `N` may wait for each thread that writes some.
#[derive(Debug)]
pub(super) struct Channel<T, const N: usize> {
    queue: Arc<Queue<(T, usize), N>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Target,
    reopen: AtomicBool,
    lines: AtomicU64,
    /// Lines that could not be written.
    lost: AtomicU64,
    errors: AtomicU64,
    /// Bytes of the lines that wait.
    waiting: AtomicUsize,
}

/// What became of a channel's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Lines {
    /// Lines that were written.
    pub lines: u64,
    /// Lines that were dropped: the target did not take them, in time or at all.
    pub dropped: u64,
    /// Writes that failed.
    pub errors: u64,
}

impl<T: Send + 'static, const N: usize> Channel<T, N> {
    /// Opens the target and starts the thread; `format` makes a line, with its end, of an item.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn start(
        name: &str,
        target: Target,
        format: impl Fn(&mut Vec<u8>, T) + Send + 'static,
    ) -> io::Result<Self> {
        let mut sink = Sink::open(&target)?;
        let shared = Arc::new(Shared {
            target,
            reopen: AtomicBool::new(false),
            lines: AtomicU64::default(),
            lost: AtomicU64::default(),
            errors: AtomicU64::default(),
            waiting: AtomicUsize::default(),
        });
        let queue = Arc::<Queue<(T, usize), N>>::default();
        let (reader, of_thread) = (Arc::clone(&queue), Arc::clone(&shared));
        std::thread::Builder::new().name(format!("log-{name}")).spawn(move || {
            let buffer = std::cell::RefCell::new(Vec::with_capacity(PIECE + 4096));
            let sink = std::cell::RefCell::new(&mut sink);
            let flush = |buffer: &mut Vec<u8>| {
                if of_thread.reopen.swap(false, Ordering::Relaxed) {
                    sink.borrow_mut().reopen(&of_thread);
                }
                if !buffer.is_empty() {
                    sink.borrow_mut().write(buffer, &of_thread);
                    buffer.clear();
                }
            };
            reader.read(
                |(item, size)| {
                    of_thread.waiting.fetch_sub(size, Ordering::Relaxed);
                    if sink.borrow().rests() {
                        of_thread.lost.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let mut buffer = buffer.borrow_mut();
                    format(&mut buffer, item);
                    if buffer.len() >= PIECE {
                        flush(&mut buffer);
                    }
                },
                || flush(&mut buffer.borrow_mut()),
            );
        })?;
        Ok(Self { queue, shared })
    }

    /// Hands an item of so many bytes over, or drops it.
    pub(super) fn push(&self, item: T, size: usize) {
        let waiting = self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting > MOST_BYTES {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        if waiting > MOST_BYTES || !self.queue.push((item, size)) {
            self.shared.waiting.fetch_sub(size, Ordering::Relaxed);
        }
    }

    /// Opens a file anew, as it was moved away; what is written from now on goes to the new one.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Waits, for a while at most, until all lines are written.
    pub(super) fn flush(&self) {
        self.queue.sync(Duration::from_millis(500));
    }

    /// Where the lines go.
    #[must_use]
    pub(super) fn target(&self) -> &Target {
        &self.shared.target
    }

    /// What became of the lines.
    #[must_use]
    pub(super) fn lines(&self) -> Lines {
        Lines {
            lines: self.shared.lines.load(Ordering::Relaxed),
            dropped: self.queue.dropped() + self.shared.lost.load(Ordering::Relaxed),
            errors: self.shared.errors.load(Ordering::Relaxed),
        }
    }
}

/// An open target.
struct Sink {
    file: File,
    /// Whether the last write ended within a line.
    torn: bool,
    /// Until when nothing is written, as the last write failed.
    rests_until: Option<Instant>,
    /// Held while lines are written: other channels may write to the same pipe, which takes a part at a time.
    turn: Arc<Mutex<()>>,
}

impl Sink {
    fn open(target: &Target) -> io::Result<Self> {
        // Not through the buffers of the standard library, which would hide what was written and what was not.
        let file = match target {
            Target::File(path) => open(path)?,
            Target::Stdout => io::stdout().as_fd().try_clone_to_owned()?.into(),
            Target::Stderr => io::stderr().as_fd().try_clone_to_owned()?.into(),
        };
        let turn = turn(&file);
        Ok(Self { file, torn: false, rests_until: None, turn })
    }

    fn reopen(&mut self, shared: &Shared) {
        let Target::File(path) = &shared.target else { return };
        match open(path) {
            Ok(file) => {
                self.turn = turn(&file);
                self.file = file;
                (self.torn, self.rests_until) = (false, None);
            }
            Err(error) => {
                shared.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(path = %path.display(), %error, "the log cannot be opened anew; the old file is kept");
            }
        }
    }

    /// Whether lines are not worth making.
    fn rests(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// Writes whole lines, as many as the target takes.
    fn write(&mut self, lines: &[u8], shared: &Shared) {
        let turn = Arc::clone(&self.turn);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = lines;
        if self.torn && self.file.write_all(b"\n").is_ok() {
            self.torn = false;
        }
        while !self.torn && !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => break,
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe that somebody has set not to wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
                Err(_) => break,
            }
        }
        let lost = memchr::memchr_iter(b'\n', left).count();
        let all = memchr::memchr_iter(b'\n', lines).count();
        self.rests_until = (lost > 0).then(|| Instant::now() + REST);
        if lost > 0 {
            shared.errors.fetch_add(1, Ordering::Relaxed);
            let written = &lines[..lines.len() - left.len()];
            self.torn = self.torn || written.last().is_some_and(|last| *last != b'\n');
        }
        shared.lost.fetch_add(lost as u64, Ordering::Relaxed);
        shared.lines.fetch_add((all - lost) as u64, Ordering::Relaxed);
    }
}

/// The lock of a file, the same for all who have it open.
fn turn(file: &File) -> Arc<Mutex<()>> {
    type Turns = Mutex<HashMap<(u64, u64), Weak<Mutex<()>>>>;
    static TURNS: Lazy<Turns> = Lazy::new(Mutex::default);
    let Ok(known) = file.metadata() else { return Arc::default() };
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    let turn = turns.entry((known.dev(), known.ino())).or_default();
    turn.upgrade().unwrap_or_else(|| {
        let new = Arc::default();
        *turn = Arc::downgrade(&new);
        new
    })
}

fn open(path: &PathBuf) -> io::Result<File> {
    // A pipe that nobody reads would not open before somebody does; so it is an error.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().create(true).append(true).mode(0o640).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(channel: &Channel<String, 64>, path: &PathBuf) -> String {
        assert!(channel.queue.sync(Duration::from_secs(60)));
        std::fs::read_to_string(path).unwrap()
    }

    fn start(path: &std::path::Path) -> Channel<String, 64> {
        let format = |buffer: &mut Vec<u8>, line: String| buffer.extend_from_slice(format!("{line}\n").as_bytes());
        Channel::start("test", Target::File(path.to_owned()), format).unwrap()
    }

    #[test]
    fn a_file_is_appended_to_and_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        std::fs::write(&path, "before\n").unwrap();
        let channel = start(&path);
        channel.push("one".to_owned(), 3);
        assert_eq!(lines(&channel, &path), "before\none\n");
        std::fs::rename(&path, &moved).unwrap();
        channel.reopen();
        channel.push("two".to_owned(), 3);
        assert_eq!(lines(&channel, &path), "two\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\none\n");
        assert_eq!(channel.lines(), Lines { lines: 2, dropped: 0, errors: 0 });
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let channel = start(std::path::Path::new("/dev/full"));
        (0..3).for_each(|_| channel.push("line".to_owned(), 4));
        assert!(channel.queue.sync(Duration::from_secs(60)));
        let told = channel.lines();
        assert_eq!((told.lines, told.dropped), (0, 3));
        assert!(told.errors >= 1);
    }
}
