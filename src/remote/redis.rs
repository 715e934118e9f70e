//! A Redis server that requests ask in passing: connections that many share and that come back by themselves, a deadline on
//! every question, and no question at all while nobody answers.
//!
//! A few connections are kept by tasks in the background, which connect again, more and more seldom, when one breaks. A
//! question goes over any of them and waits for the deadline at most. After some deadlines in a row have passed, or without
//! a connection, the server counts as silent: questions fail at once, and only the tasks go on asking until it answers
//! within the deadline again. What changes is logged once, and told by a gauge.

mod line;
mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{ErrorKind, ServerErrorKind, Value};
use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use tokio::sync::Notify;

use crate::config::RedisSpec;
use crate::config::value::{Count, Span};
use crate::observe::StoreMetrics;
use script::evaluate;

pub use script::Script;

/// How long a question waits where the configuration does not say.
const DEADLINE: Duration = Duration::from_millis(5);
/// Connections where the configuration does not say.
const CONNECTIONS: u32 = 2;
/// Deadlines in a row after which nobody waits any more.
const MISSES: u32 = 3;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// There is no connection, or the server is silent: it was not asked.
    #[error("the Redis server does not answer")]
    Away,
    /// Not in time.
    #[error("the Redis server did not answer within {0:?}")]
    Late(Duration),
    /// What is kept under that key is of another type: this says nothing of the server.
    #[error("the Redis server has something else under this key")]
    OtherType,
    /// It answered with an error.
    #[error("the Redis server refuses: {0}")]
    Refused(String),
}

/// How the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// Nobody knows yet.
    Starting,
    /// It answers.
    Up,
    /// It does not, or not in time.
    Silent,
    /// It answers with errors.
    Refusing,
}

impl State {
    const ALL: [Self; 4] = [Self::Starting, Self::Up, Self::Silent, Self::Refusing];

    fn of(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Starting)
    }
}

/// A server, and the connections to it.
pub struct Redis {
    address: String,
    host: (String, u16),
    settings: ::redis::RedisConnectionInfo,
    tls: Option<Arc<ClientConfig>>,
    deadline: Duration,
    lines: Box<[ArcSwapOption<MultiplexedConnection>]>,
    state: AtomicU8,
    /// Deadlines in a row that have passed.
    misses: AtomicU32,
    /// Rings when a connection is there.
    connected: Notify,
    metrics: StoreMetrics,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Redis {
    /// The address of a server, as metrics and logs name it.
    #[must_use]
    pub fn address_of(spec: &RedisSpec) -> String {
        let database = database_of(spec);
        format!("{}:{}/{database}", spec.url.host, spec.url.port)
    }

    /// Checks the settings; nothing is connected before [`Redis::start`].
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn new(
        spec: &RedisSpec,
        file: &dyn Fn(&str) -> std::path::PathBuf,
        metrics: StoreMetrics,
    ) -> Result<Self, (&'static str, String)> {
        let deadline = spec.deadline.map_or(DEADLINE, Span::duration);
        if deadline.is_zero() || deadline > Duration::from_secs(10) {
            return Err(("deadline", "this is not from 1ms to 10s; write one such as 5ms".to_owned()));
        }
        let connections = spec.connections.map_or(CONNECTIONS, Count::get);
        if !(1..=64).contains(&connections) {
            return Err(("connections", format!("{connections} is not from 1 to 64; write 2 or so")));
        }
        if spec.ca.is_some() && !spec.url.tls {
            return Err(("ca", "`url` is one without TLS; write `rediss://`, or remove `ca`".to_owned()));
        }
        let tls = if spec.url.tls {
            let authorities = spec.ca.as_deref().map(file);
            Some(Arc::new(super::http::tls_config(authorities.as_deref()).map_err(|message| ("ca", message))?))
        } else {
            None
        };
        let mut settings = ::redis::RedisConnectionInfo::default()
            .set_db(i64::from(database_of(spec)))
            .set_lib_name("pylon", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &spec.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &spec.password {
            settings = settings.set_password(password.expose());
        }
        Ok(Self {
            address: Self::address_of(spec),
            host: (spec.url.host.clone(), spec.url.port),
            settings,
            tls,
            deadline,
            lines: (0..connections).map(|_| ArcSwapOption::empty()).collect(),
            state: AtomicU8::new(State::Starting as u8),
            misses: AtomicU32::new(0),
            connected: Notify::new(),
            metrics,
        })
    }

    /// Keeps the connections, in tasks that end when nobody else holds this any more.
    pub fn start(self: Arc<Self>) {
        for index in 0..self.lines.len() {
            tokio::spawn(line::keep(Arc::downgrade(&self), index));
        }
    }

    /// Runs a script that answers with numbers, within the deadline.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn numbers(&self, script: &Script, keys: &[&[u8]], arguments: &[&[u8]]) -> Result<Vec<i64>, RedisError> {
        self.numbers_within(self.deadline, script, keys, arguments).await
    }

    /// The same, where nobody waits for the answer: within a time of its own.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn numbers_within(
        &self,
        within: Duration,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Vec<i64>, RedisError> {
        let asked = self.asking(within, async |mut connection: MultiplexedConnection| {
            let by_hash = evaluate("EVALSHA", &script.hash, keys, arguments);
            match connection.send_packed_command(&by_hash).await.and_then(Value::extract_error) {
                // It has forgotten the script, as after a restart.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let by_text = evaluate("EVAL", script.text, keys, arguments);
                    connection.send_packed_command(&by_text).await.and_then(Value::extract_error)
                }
                answer => answer,
            }
        });
        let Value::Array(items) = asked.await? else { return Err(odd()) };
        let number = |item: Value| if let Value::Int(number) = item { Ok(number) } else { Err(odd()) };
        items.into_iter().map(number).collect()
    }

    /// Fields of a hash, within the deadline; `None` for those that are not there.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn fields(&self, key: &[u8], names: &[&str]) -> Result<Vec<Option<String>>, RedisError> {
        let mut command = ::redis::cmd("HMGET");
        command.arg(key).arg(names);
        let asked = self.asking(self.deadline, async |mut connection: MultiplexedConnection| {
            connection.send_packed_command(&command).await.and_then(Value::extract_error)
        });
        let Value::Array(items) = asked.await? else { return Err(odd()) };
        let text = |item: Value| match item {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| odd()),
            _ => Err(odd()),
        };
        items.into_iter().map(text).collect()
    }

    /// Asks something, and notes how it went.
    async fn asking<F>(
        &self,
        within: Duration,
        ask: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<Value, RedisError>
    where
        F: Future<Output = ::redis::RedisResult<Value>>,
    {
        let answer = tokio::time::timeout(within, async {
            let connection = self.connection().await.ok_or(RedisError::Away)?;
            ask(connection).await.map_err(|error| {
                let lost = error.is_unrecoverable_error() || error.is_io_error();
                match error.code() {
                    _ if lost => RedisError::Away,
                    Some("WRONGTYPE") => RedisError::OtherType,
                    _ => RedisError::Refused(error.to_string()),
                }
            })
        });
        let answer = answer.await.unwrap_or(Err(RedisError::Late(within)));
        match &answer {
            Ok(_) => self.answered(),
            Err(error) => {
                self.metrics.fail();
                self.failed(error);
            }
        }
        answer
    }

    /// A connection, unless the server is silent; at the start the first one is waited for.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        loop {
            let ringing = self.connected.notified();
            let state = self.state();
            if state == State::Silent {
                return None;
            }
            let first = fastrand::usize(..self.lines.len());
            let found = (0..self.lines.len()).find_map(|n| self.lines[(first + n) % self.lines.len()].load_full());
            if let Some(connection) = found {
                return Some((*connection).clone());
            }
            if state != State::Starting {
                return None;
            }
            ringing.await;
        }
    }

    fn state(&self) -> State {
        State::of(self.state.load(Ordering::Relaxed))
    }

    fn answered(&self) {
        if self.misses.load(Ordering::Relaxed) != 0 {
            self.misses.store(0, Ordering::Relaxed);
        }
        if self.state() != State::Up {
            self.turn(State::Up, "");
        }
    }

    fn failed(&self, error: &RedisError) {
        match error {
            RedisError::Late(_) => {
                let in_a_row = self.misses.fetch_add(1, Ordering::Relaxed) + 1;
                if in_a_row >= MISSES && self.state() != State::Silent {
                    self.turn(State::Silent, &format!("{in_a_row} answers in a row did not come within the deadline"));
                }
            }
            RedisError::Refused(reason) => {
                self.misses.store(0, Ordering::Relaxed);
                if self.state() == State::Up {
                    self.turn(State::Refusing, reason);
                }
            }
            RedisError::Away | RedisError::OtherType => {}
        }
    }

    /// Notes how the server does; told once for each change.
    fn turn(&self, to: State, reason: &str) {
        let before = State::of(self.state.swap(to as u8, Ordering::Relaxed));
        self.metrics.set_answers(to == State::Up);
        if before == to {
            return;
        }
        self.connected.notify_waiters();
        let server = self.address.as_str();
        match to {
            State::Starting => {}
            State::Up => tracing::info!(server, "the Redis server answers"),
            State::Silent => {
                tracing::warn!(server, reason, "the Redis server does not answer; it is asked again and again");
            }
            State::Refusing => tracing::warn!(server, reason, "the Redis server answers with errors"),
        }
    }
}

fn database_of(spec: &RedisSpec) -> u32 {
    spec.database.map(Count::get).or(spec.url.database).unwrap_or(0)
}

fn odd() -> RedisError {
    RedisError::Refused("the answer has an odd form".to_owned())
}
