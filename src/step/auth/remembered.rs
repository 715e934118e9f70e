//! Answers to questions about a user name and a password, remembered for a while: browsers send both with each request, and
//! each check of them costs much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use ring::hmac;
use ring::rand::SystemRandom;

use super::user_password::UserPassword;
use crate::step::identity::Identity;

/// How many answers are remembered.
const MOST: usize = 10_000;

/// Whom a user name and a password prove; `None` where they are not good.
pub(super) type Answer = Option<Arc<Identity>>;

/// Answers by a keyed hash of the question. The key is of this process alone, so that nobody can tell passwords from what is
/// kept.
pub(super) struct Remembered {
    known: Cache<[u8; 32], Known>,
    key: hmac::Key,
}

#[derive(Clone)]
struct Known {
    answer: Answer,
    /// What the answer depends on.
    version: (u64, u64),
    until: Instant,
}

impl Remembered {
    /// Nothing yet; `None` where the system has no random numbers.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        Some(Self { known: Cache::new(MOST), key })
    }

    /// The answer that is known, or the one that `ask` gives, once for all that wait for the same. A good one is kept for the
    /// first of the times, a bad one for the second.
    ///
    /// # Errors
    /// That of `ask`, which is not kept.
    pub(super) async fn or_ask(
        &self,
        about: &UserPassword,
        version: (u64, u64),
        times: (Duration, Duration),
        ask: impl Future<Output = Result<Answer, String>> + Send,
    ) -> Result<Answer, String> {
        if times.0.is_zero() && times.1.is_zero() {
            return ask.await;
        }
        let key = self.digest(about);
        let guard = loop {
            match self.known.get_value_or_guard_async(&key).await {
                Ok(known) if known.version == version && Instant::now() < known.until => return Ok(known.answer),
                Ok(old) => {
                    self.known.remove_if(&key, |known| known.version == old.version && known.until == old.until);
                }
                Err(guard) => break guard,
            }
        };
        let answer = ask.await?;
        let time = if answer.is_some() { times.0 } else { times.1 };
        if !time.is_zero() {
            let known = Known { answer: answer.clone(), version, until: Instant::now() + time };
            drop(guard.insert(known));
        }
        Ok(answer)
    }

    fn digest(&self, about: &UserPassword) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&about.user.len().to_be_bytes());
        context.update(about.user.as_bytes());
        context.update(about.password.as_bytes());
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn about(user: &str, password: &str) -> UserPassword {
        UserPassword { user: user.to_owned(), password: password.to_owned() }
    }

    #[allow(clippy::unnecessary_wraps, reason = "the form of answers")]
    fn ann() -> Answer {
        Some(Arc::new(Identity::of("ann", "basic")))
    }

    #[tokio::test]
    async fn an_answer_is_asked_for_once_for_each_question_and_version() {
        let (remembered, asked) = (Remembered::new().unwrap(), AtomicU32::new(0));
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(ann())
        };
        let questions = (0..20).map(|_| async {
            remembered.or_ask(&about("ann", "x"), (0, 0), (LONG, LONG), ask()).await.unwrap().unwrap().user.clone()
        });
        assert!(futures_util::future::join_all(questions).await.iter().all(|user| user == "ann"));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        for (question, version, expected) in [
            (about("ann", "y"), (0, 0), 2),
            (about("annx", ""), (0, 0), 3),
            (about("ann", "x"), (1, 0), 4),
            (about("ann", "x"), (1, 0), 4),
            (about("ann", "x"), (1, 1), 5),
        ] {
            remembered.or_ask(&question, version, (LONG, LONG), ask()).await.unwrap();
            assert_eq!(asked.load(Ordering::Relaxed), expected);
        }
    }

    #[tokio::test]
    async fn answers_have_their_own_times_and_failures_none() {
        let (remembered, asked) = (Remembered::new().unwrap(), AtomicU32::new(0));
        let ask = async |answer: Result<Answer, String>, times| {
            let ask = async {
                asked.fetch_add(1, Ordering::Relaxed);
                answer
            };
            (remembered.or_ask(&about("ann", "x"), (0, 0), times, ask).await, asked.load(Ordering::Relaxed))
        };
        let zero = Duration::ZERO;
        assert_eq!(ask(Err("away".to_owned()), (LONG, LONG)).await, (Err("away".to_owned()), 1));
        assert_eq!(ask(Ok(None), (LONG, zero)).await, (Ok(None), 2));
        assert_eq!(ask(Ok(None), (LONG, LONG)).await, (Ok(None), 3));
        assert_eq!(ask(Ok(ann()), (LONG, LONG)).await, (Ok(None), 3), "the bad one is still known");
        let other = Remembered::new().unwrap();
        let short = Duration::from_millis(1);
        other.or_ask(&about("a", "b"), (0, 0), (short, short), async { Ok(ann()) }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(other.or_ask(&about("a", "b"), (0, 0), (LONG, LONG), async { Ok(None) }).await, Ok(None));
    }
}
