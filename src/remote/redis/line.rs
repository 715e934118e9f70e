//! One connection to a Redis server, kept in the background.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ::redis::AsyncConnectionConfig;
use ::redis::aio::MultiplexedConnection;
use futures_util::future::BoxFuture;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Redis, State};

/// How long it takes at most to connect and sign in.
const CONNECT: Duration = Duration::from_secs(2);
/// The pause before the second attempt to connect; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How often a server that answers is asked whether it does.
const PULSE: Duration = Duration::from_millis(250);
/// How often one that is silent is asked.
const QUICK_PULSE: Duration = Duration::from_millis(100);
/// How long that answer is waited for.
const PULSE_WITHIN: Duration = Duration::from_secs(1);
/// Such answers in a row that did not come, after which the connection is given up.
const LOST_PULSES: u32 = 3;

/// What carries the bytes of a connection.
type Driver = BoxFuture<'static, ()>;

/// Ends a task that is not needed any more.
struct Ending(tokio::task::JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the connection of this index for as long as somebody needs it.
pub(super) async fn keep(redis: Weak<Redis>, index: usize) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(server) = redis.upgrade() else { return };
        let made = tokio::time::timeout(CONNECT, connect(&server));
        match made.await.unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}"))) {
            Ok((connection, driver)) => {
                server.lines[index].store(Some(Arc::new(connection.clone())));
                drop(server);
                let began = Instant::now();
                let reason = watch(&redis, connection, driver).await;
                let Some(server) = redis.upgrade() else { return };
                server.lines[index].store(None);
                lost(&server, &reason);
                if began.elapsed() > LAST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(reason) => lost(&server, &reason),
        }
        tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// A connection is not there: without any other, the server is silent.
fn lost(server: &Redis, reason: &str) {
    if server.lines.iter().all(|line| line.load().is_none()) && server.state() != State::Silent {
        server.turn(State::Silent, reason);
    }
}

/// Watches a connection until it breaks, and says how it did.
async fn watch(redis: &Weak<Redis>, mut connection: MultiplexedConnection, driver: Driver) -> String {
    let mut driver = Ending(tokio::spawn(driver));
    let (mut missed, mut reason) = (0, "the connection broke".to_owned());
    while missed < LOST_PULSES {
        let asked = Instant::now();
        let answer = tokio::select! {
            _ = &mut driver.0 => return reason,
            answer = tokio::time::timeout(PULSE_WITHIN, pulse(&mut connection)) => answer,
        };
        let Some(server) = redis.upgrade() else { return reason };
        match answer {
            Ok(Ok(())) => {
                missed = 0;
                alive(&server, asked.elapsed());
            }
            Ok(Err(message)) => reason = message,
            Err(_) => {
                missed += 1;
                reason = format!("no answer within {PULSE_WITHIN:?}");
                if server.state() != State::Silent {
                    server.turn(State::Silent, &reason);
                }
            }
        }
        let pause = if server.state() == State::Silent { QUICK_PULSE } else { PULSE };
        drop(server);
        tokio::select! {
            _ = &mut driver.0 => return reason,
            () = tokio::time::sleep(pause) => {}
        }
    }
    reason
}

/// The server answered a pulse: one that was silent is asked again, if the answer was quick enough for requests.
fn alive(server: &Redis, took: Duration) {
    match server.state() {
        State::Silent if took <= server.deadline => {}
        State::Starting => {}
        State::Silent | State::Up | State::Refusing => return,
    }
    server.misses.store(0, Ordering::Relaxed);
    server.turn(State::Up, "");
}

async fn pulse(connection: &mut MultiplexedConnection) -> Result<(), String> {
    let answer = connection.send_packed_command(&::redis::cmd("PING")).await.and_then(::redis::Value::extract_error);
    answer.map(|_| ()).map_err(|error| error.to_string())
}

/// Connects and signs in.
async fn connect(server: &Redis) -> Result<(MultiplexedConnection, Driver), String> {
    let (host, port) = (server.host.0.as_str(), server.host.1);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("no connection: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("no connection: {error}"))?;
    match &server.tls {
        None => sign_in(server, stream).await,
        Some(config) => {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("no TLS: {error}"))?;
            let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
            sign_in(server, secured.map_err(|error| format!("no TLS: {error}"))?).await
        }
    }
}

async fn sign_in<S>(server: &Redis, stream: S) -> Result<(MultiplexedConnection, Driver), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let made = MultiplexedConnection::new_with_config(&server.settings, stream, config.set_pipeline_buffer_size(1024));
    let (connection, driver) = made.await.map_err(|error| error.to_string())?;
    Ok((connection, Box::pin(driver)))
}
