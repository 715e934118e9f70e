//! Work that takes time on a core: one piece at a time, off the threads that keep watch.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::answer::Refusal;

/// Where such work is done.
#[derive(Debug)]
pub(super) struct Bench(Arc<Semaphore>);

impl Default for Bench {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Bench {
    /// Does it when its turn has come.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let failed = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be worked out");
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(|_| failed())?;
        // The turn is over with the work, even where nobody waits for that any more.
        let work = move || {
            let answer = work();
            drop(turn);
            answer
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "an answer of the admin port could not be worked out");
                Err(failed())
            }
        }
    }
}
