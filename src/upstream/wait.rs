//! Waiting for servers that do not take connections yet. All that wait for one address share one probe, which ends with the
//! last of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Mistake;
use crate::config::WaitSpec;
use crate::config::value::{Count, Span};
use crate::step::shared::Keep;

/// How long a connection may take. A host that is not there yet drops what comes: it is seen the sooner, the sooner it is
/// asked anew.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take in the first two tries; in each two that follow as much more, up to the most.
const TRY: Duration = Duration::from_secs(1);
const MOST_TRY: Duration = Duration::from_secs(10);
/// The first pause between tries; each next one is half as long again, up to the most.
const PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// So many open servers are remembered.
const REMEMBERED: usize = 4096;
/// The begin of an answer: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// How long a request waits for its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    time: Duration,
    tries: u32,
    path: Option<Arc<str>>,
    remember: Duration,
}

impl Patience {
    /// Checks a spec.
    ///
    /// # Errors
    /// All mistakes, below `wait_for`.
    pub fn compile(spec: &WaitSpec) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let time = spec.time.map_or(Duration::from_secs(90), Span::duration);
        if time.is_zero() {
            mistakes.push(Mistake::new(&["time"], "nobody waits for no time; write one such as 90s"));
        }
        let tries = spec.tries.map_or(u32::MAX, Count::get);
        if tries == 0 {
            mistakes.push(Mistake::new(&["tries"], "without a try nothing is known; write 1 or more"));
        }
        let is_path = |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
        if let Some(path) = spec.http.as_deref().filter(|path| !is_path(path)) {
            mistakes.push(Mistake::new(&["http"], format!("`{path}` is not a path; write one such as `/`")));
        }
        let remember = spec.remember.map_or(Duration::from_secs(120), Span::duration);
        let patience = Self { time, tries, path: spec.http.as_deref().map(Into::into), remember };
        if mistakes.is_empty() { Ok(patience) } else { Err(mistakes) }
    }
}

/// Whom is waited for, and until when it counts as open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    /// Until it answers HTTP on this path; else until it takes a connection.
    path: Option<Arc<str>>,
}

/// What is known of servers that were waited for.
pub struct Waits {
    open: Cache<Key, Instant>,
    probes: Mutex<HashMap<Key, Weak<Probe>>>,
}

impl Default for Waits {
    fn default() -> Self {
        Self { open: Cache::new(REMEMBERED), probes: Mutex::default() }
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waits").finish_non_exhaustive()
    }
}

impl Keep for Waits {}

/// Tries one server again and again, for as long as somebody has this.
struct Probe {
    key: Key,
    waits: Weak<Waits>,
    seen: watch::Sender<Seen>,
    task: OnceLock<AbortHandle>,
}

/// What a probe has seen.
#[derive(Debug, Default)]
struct Seen {
    tries: u32,
    open: bool,
    why: String,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
        if let Some(waits) = self.waits.upgrade() {
            let mut probes = waits.probes.lock().unwrap_or_else(PoisonError::into_inner);
            // Another one may have been begun meanwhile.
            if probes.get(&self.key).is_some_and(|probe| probe.strong_count() == 0) {
                probes.remove(&self.key);
            }
        }
    }
}

impl Waits {
    /// Whether a server need not be waited for, as it was open a short while ago.
    #[must_use]
    pub fn is_open(&self, address: SocketAddr, https: bool, patience: &Patience) -> bool {
        let since = self.open.get(&key(address, https, patience));
        since.is_some_and(|since| since.elapsed() < patience.remember)
    }

    /// A server that was open could not be reached.
    pub fn forget(&self, address: SocketAddr, https: bool, patience: &Patience) {
        self.open.remove(&key(address, https, patience));
    }

    /// Waits until a server is open. The wait ends when it is dropped.
    ///
    /// # Errors
    /// What the server did until the time was over.
    pub async fn wait(self: &Arc<Self>, address: SocketAddr, https: bool, patience: &Patience) -> Result<(), String> {
        let probe = self.join(key(address, https, patience));
        let mut seen = probe.seen.subscribe();
        let end = seen.borrow().tries.saturating_add(patience.tries);
        let until = |seen: &Seen| seen.open || seen.tries >= end;
        match tokio::time::timeout(patience.time, seen.wait_for(until)).await {
            Ok(Ok(seen)) if seen.open => return Ok(()),
            _ => {}
        }
        let seen = probe.seen.borrow();
        if seen.why.is_empty() { Err("it keeps silent".to_owned()) } else { Err(seen.why.clone()) }
    }

    /// The probe of a server, with others that wait for it, or a new one.
    fn join(self: &Arc<Self>, key: Key) -> Arc<Probe> {
        // With the last who has a probe goes its place in the map: not while that is locked here.
        let known;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        known = probes.get(&key).and_then(Weak::upgrade);
        if let Some(probe) = known.as_ref().filter(|probe| !probe.seen.borrow().open) {
            return Arc::clone(probe);
        }
        let probe = Arc::new(Probe {
            key: key.clone(),
            waits: Arc::downgrade(self),
            seen: watch::channel(Seen::default()).0,
            task: OnceLock::new(),
        });
        probes.insert(key.clone(), Arc::downgrade(&probe));
        drop(probes);
        let task = tokio::spawn(look_until_open(Arc::downgrade(&probe), key));
        let _ = probe.task.set(task.abort_handle());
        probe
    }

    /// How many servers are waited for.
    #[cfg(test)]
    fn waited_for(&self) -> usize {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn key(address: SocketAddr, https: bool, patience: &Patience) -> Key {
    Key { address, path: patience.path.clone().filter(|_| !https) }
}

async fn look_until_open(probe: Weak<Probe>, key: Key) {
    let mut pause = PAUSE;
    for tries in 0.. {
        // A server that is slow to answer is open as well: it gets more and more time.
        let time = TRY.saturating_mul(1 + tries / 2).min(MOST_TRY);
        let looked = look(&key, time).await;
        let Some(probe) = probe.upgrade() else { return };
        match looked {
            Ok(()) => {
                if let Some(waits) = probe.waits.upgrade() {
                    waits.open.insert(key, Instant::now());
                }
                probe.seen.send_modify(|seen| seen.open = true);
                return;
            }
            Err(why) => probe.seen.send_modify(|seen| {
                seen.tries = seen.tries.saturating_add(1);
                seen.why = why;
            }),
        }
        drop(probe);
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(MOST_PAUSE);
    }
}

/// One try, with so much time for an answer.
async fn look(key: &Key, time: Duration) -> Result<(), String> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(key.address)).await;
    let connected = connecting.map_err(|_| format!("no connection within {CONNECT:?}"))?;
    let stream = connected.map_err(|error| error.to_string())?;
    let Some(path) = &key.path else { return Ok(()) };
    let asking = tokio::time::timeout(time, ask(stream, key.address, path)).await;
    asking.map_err(|_| format!("no answer within {time:?}"))?
}

/// Whether a server answers in HTTP, and as one that is there.
async fn ask(mut stream: TcpStream, address: SocketAddr, path: &str) -> Result<(), String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await.map_err(|_| "it takes a connection, and closes it".to_owned())?;
    match (&line[..5], &line[9..]) {
        (b"HTTP/", status @ (b"502" | b"503" | b"504")) => {
            Err(format!("it answers {}", String::from_utf8_lossy(status)))
        }
        (b"HTTP/", _) => Ok(()),
        _ => Err("it does not answer in HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn patience(text: &str) -> Patience {
        Patience::compile(&serde_yaml::from_str(text).unwrap()).unwrap()
    }

    /// A port that nothing listens on, and that nobody else gets as long as the socket is there.
    fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[tokio::test]
    async fn many_wait_with_one_probe_which_ends_with_the_last() {
        let (waits, (_socket, address)) = (Arc::new(Waits::default()), closed());
        let patience = patience("{ time: 60s }");
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (waits, patience) = (Arc::clone(&waits), patience.clone());
                tokio::spawn(async move { waits.wait(address, false, &patience).await })
            })
            .collect();
        while waits.waited_for() == 0 {
            tokio::task::yield_now().await;
        }
        let probe = waits.probes.lock().unwrap().values().next().unwrap().clone();
        while probe.strong_count() < 50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(waits.waited_for(), 1);
        for one in &waiting {
            one.abort();
        }
        futures_util::future::join_all(waiting).await;
        while probe.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(waits.waited_for(), 0);
    }

    #[tokio::test]
    async fn a_server_that_opens_is_remembered_until_it_is_forgotten() {
        let (waits, (socket, address)) = (Arc::new(Waits::default()), closed());
        let patience = patience("{ time: 60s }");
        let waiting = {
            let (waits, patience) = (Arc::clone(&waits), patience.clone());
            tokio::spawn(async move { waits.wait(address, false, &patience).await })
        };
        while waits.waited_for() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waits.is_open(address, false, &patience));
        let _listener = socket.listen(8).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert!(waits.is_open(address, false, &patience));
        let short = Patience { remember: Duration::ZERO, ..patience.clone() };
        assert!(!waits.is_open(address, false, &short));
        waits.forget(address, false, &patience);
        assert!(!waits.is_open(address, false, &patience));
    }

    #[test]
    fn the_last_of_a_probe_may_go_while_somebody_comes() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (waits, key) = (Arc::new(Waits::default()), Key { address: "127.0.0.1:1".parse().unwrap(), path: None });
        let (done, over) = std::sync::mpsc::channel();
        let _within = runtime.enter();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            let _within = handle.enter();
            for _ in 0..20_000 {
                let probe = waits.join(key.clone());
                probe.seen.send_modify(|seen| seen.open = true);
                let goes = std::thread::spawn(move || drop(probe));
                drop(waits.join(key.clone()));
                goes.join().unwrap();
                done.send(()).unwrap();
            }
        });
        for _ in 0..20_000 {
            over.recv_timeout(Duration::from_secs(60)).expect("nobody waits for a lock that is its own");
        }
    }

    #[tokio::test]
    async fn so_many_tries_or_so_much_time() {
        let (waits, (_socket, address)) = (Arc::new(Waits::default()), closed());
        let why = waits.wait(address, false, &patience("{ time: 60s, tries: 2 }")).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
        let short = patience("{ time: 150ms }");
        // Another has waited for it long enough for a try.
        let probe = waits.join(key(address, false, &short));
        let mut seen = probe.seen.subscribe();
        drop(seen.wait_for(|seen| seen.tries > 0).await.unwrap());
        let why = waits.wait(address, false, &short).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
        drop(probe);
        assert_eq!(waits.waited_for(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_is_not_taken_is_soon_tried_anew() {
        let (socket, address) = closed();
        let listener = socket.listen(0).unwrap();
        // Once there is no room, what comes is dropped.
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(900), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        for path in [None, Some("/".into())] {
            let key = Key { address, path };
            let soon = tokio::time::timeout(MOST_TRY / 2, look(&key, MOST_TRY)).await;
            assert_eq!(soon, Ok(Err("no connection within 1s".to_owned())));
        }
        drop(listener);
    }

    #[tokio::test]
    async fn an_answer_in_http_is_more_than_a_connection() {
        const BUSY: &str = "HTTP/1.1 503 Busy\r\n\r\n";
        const NO: &str = "HTTP/1.1 404 No\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async |answer: &str| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).await.unwrap();
            assert!(asked[..length].starts_with(b"GET /up HTTP/1.1\r\n"));
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        let key = Key { address, path: Some("/up".into()) };
        for (answer, expected) in [
            ("", Err("it takes a connection, and closes it")),
            ("SSH-2.0-OpenSSH_9.6\r\n", Err("it does not answer in HTTP")),
            (BUSY, Err("it answers 503")),
            (NO, Ok(())),
        ] {
            let (looked, ()) = tokio::join!(look(&key, Duration::from_secs(60)), serve(answer));
            assert_eq!(looked, expected.map_err(str::to_owned));
        }
        // Who waits goes on until the server is there.
        let (waits, patience) = (Arc::new(Waits::default()), patience("{ time: 60s, http: /up }"));
        let serving = async {
            serve(BUSY).await;
            loop {
                serve(NO).await;
            }
        };
        tokio::select! {
            opened = waits.wait(address, false, &patience) => assert_eq!(opened, Ok(())),
            () = serving => {}
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, key) in [("{ time: 0s }", "time"), ("{ tries: 0 }", "tries"), ("{ http: up }", "http")] {
            let mistakes = Patience::compile(&serde_yaml::from_str(text).unwrap()).unwrap_err();
            assert_eq!(mistakes[0].keys, [key]);
        }
    }
}
