//! What ends a process: TERM lets requests finish, QUIT hands the sockets to a new process first, INT stops at once.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};

use super::recording::Recording;
use crate::lifecycle::Lifecycle;
use crate::listen::takeover;

/// Waits for the signal that ends the process.
pub(super) struct Signals {
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) recording: Recording,
    pub(super) grace: Duration,
    /// Where sockets are handed over.
    pub(super) upgrade_socket: Option<PathBuf>,
    /// The sockets.
    pub(super) sockets: Arc<Mutex<Vec<(SocketAddr, TcpListener)>>>,
}

impl Signals {
    /// Hands the sockets to the process that waits for them; whether it serves now.
    async fn hand_over(&self) -> bool {
        let Some(path) = self.upgrade_socket.clone() else {
            tracing::error!("QUIT hands the sockets over, but there is no `upgrade_socket`; going on");
            return false;
        };
        let sockets = Arc::clone(&self.sockets);
        let shown = path.display().to_string();
        let handed = tokio::task::spawn_blocking(move || {
            let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            takeover::hand_over(&path, &sockets)
        })
        .await;
        match handed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => {
                tracing::info!("the new process serves");
                self.lifecycle.hand_over();
                true
            }
            Err(error) => {
                tracing::error!(
                    path = shown,
                    %error,
                    "the sockets are not handed over; start the new process with --upgrade first; going on"
                );
                false
            }
        }
    }

    async fn finish(&self) {
        // What is not listened on any more refuses connections; it does not keep them waiting.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tracing::info!(grace = ?self.grace, "stopping when the requests under way have ended");
        match self.lifecycle.stop(self.grace).await {
            0 => tracing::info!("stopped"),
            left => tracing::warn!(left, "stopped; the requests that were left are cut"),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let of = |kind| signal(kind);
        let (Ok(mut term), Ok(mut interrupt), Ok(mut quit)) =
            (of(SignalKind::terminate()), of(SignalKind::interrupt()), of(SignalKind::quit()))
        else {
            return std::future::pending().await;
        };
        let finished = async {
            loop {
                tokio::select! {
                    _ = term.recv() => break,
                    _ = quit.recv() => if self.hand_over().await { break },
                }
            }
            self.finish().await;
        };
        tokio::select! {
            () = finished => {}
            _ = interrupt.recv() => tracing::info!("stopping at once"),
        }
        // All that was under way has ended. Pingora's own shutdown would now wait for its threads: the process ends here.
        self.recording.flush();
        std::process::exit(0)
    }
}
