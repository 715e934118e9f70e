//! Windows, buckets and the tables that keep them, beside models of them.

use proptest::prelude::*;

use super::*;

/// A rolling window as anybody would write it down.
#[derive(Default)]
struct Model(Vec<u64>);

impl Model {
    fn passes(&mut self, rule: &WindowRule, now: u64) -> bool {
        self.0.retain(|at| at + rule.window > now);
        let passes = self.0.len() < rule.requests as usize;
        if passes || rule.counts_rejected {
            self.0.push(now);
        }
        passes
    }
}

fn window(requests: u32, window: u64, counts_rejected: bool) -> WindowRule {
    WindowRule { requests, window, counts_rejected }
}

proptest! {
    #[test]
    fn a_small_window_is_exact(
        requests in 1_u32..20,
        length in 1000_u64..3000,
        pauses in prop::collection::vec(prop_oneof![Just(0), 1_u64..30, 30_u64..900, Just(1000)], 1..300),
    ) {
        let rule = window(requests, length, false);
        let (mut ours, mut model, mut now) = (Window::default(), Model::default(), 5_000_000);
        for pause in pauses {
            now += pause;
            let looked = ours.decide(&rule, now * MILLI, Mode::Look);
            let verdict = ours.decide(&rule, now * MILLI, Mode::Take);
            prop_assert_eq!(verdict.passes, model.passes(&rule, now));
            prop_assert_eq!(looked.passes, verdict.passes);
            prop_assert_eq!(looked.remaining, verdict.remaining);
            if verdict.passes {
                prop_assert_eq!(verdict.remaining as usize, requests as usize - model.0.len());
            } else {
                // It says when the next may pass: then, and not a moment before.
                let wait = u64::try_from(verdict.wait.as_millis()).unwrap();
                prop_assert!(!ours.clone().decide(&rule, (now + wait - 1) * MILLI, Mode::Look).passes);
                prop_assert!(ours.clone().decide(&rule, (now + wait) * MILLI, Mode::Look).passes);
            }
        }
    }

    /// Never more than the limit in any window, and never less than what a window that is a part longer lets pass.
    #[test]
    fn a_large_window_errs_on_one_side(
        requests in 129_u32..400,
        counts_rejected: bool,
        pauses in prop::collection::vec(prop_oneof![Just(0), 0_u64..12, 100_u64..900], 500..1500),
    ) {
        let length = 6400;
        let rule = window(requests, length, counts_rejected);
        let mut ours = Window::default();
        let (mut passed, mut all, mut now) = (Vec::new(), Vec::new(), 5_000_000_u64);
        for pause in pauses {
            now += pause;
            let within = |times: &[u64], length: u64| times.iter().filter(|at| **at + length > now).count();
            let longer = within(if counts_rejected { &all } else { &passed }, length + length / 128);
            let verdict = ours.decide(&rule, now * MILLI, Mode::Take);
            if verdict.passes {
                passed.push(now);
                prop_assert!(within(&passed, length) <= requests as usize);
            } else {
                prop_assert!(longer >= requests as usize, "{} of {}", longer, requests);
            }
            all.push(now);
        }
    }

    #[test]
    fn a_bucket_is_as_its_model(
        each in 1_u64..50,
        burst in 1_u32..20,
        pauses in prop::collection::vec(prop_oneof![Just(0), 0_u64..60, 60_u64..2000], 1..300),
    ) {
        let rule = BucketRule { each: each * MILLI, burst };
        let (mut ours, mut now) = (Bucket::default(), 7_000_u64);
        // Tokens in parts of `each`.
        let (mut tokens, mut then) = (u64::from(burst) * each, now);
        for pause in pauses {
            now += pause;
            tokens = (tokens + (now - then)).min(u64::from(burst) * each);
            then = now;
            let passes = tokens >= each;
            if passes {
                tokens -= each;
            }
            let looked = ours.decide(&rule, now * MILLI, Mode::Look);
            let verdict = ours.decide(&rule, now * MILLI, Mode::Take);
            prop_assert_eq!((verdict.passes, looked.passes, looked.remaining), (passes, passes, verdict.remaining));
            prop_assert_eq!(u64::from(verdict.remaining), if passes { tokens / each } else { 0 });
            let missing = if passes { u64::from(burst) * each - tokens } else { each - tokens };
            prop_assert_eq!(verdict.wait, Duration::from_millis(missing));
        }
    }
}

#[test]
fn a_request_leaves_the_window_when_it_is_as_old_as_that() {
    let rule = window(2, 900_000, true);
    let mut ours = Window::default();
    let mut at = |ms: u64| ours.decide(&rule, (1_000_000 + ms) * MILLI, Mode::Take).passes;
    assert!(at(0) && at(10_000));
    assert!(!at(899_999), "both are in the window");
    // The first two are gone, the refused one is not.
    assert!(at(910_000));
    assert!(!at(910_001));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (rule, mut bucket) = (BucketRule { each: MILLI, burst: 2 }, Bucket::default());
    let take = |bucket: &mut Bucket| bucket.decide(&rule, 1 << 40, Mode::Take).passes;
    assert!(take(&mut bucket) && take(&mut bucket) && !take(&mut bucket));
    bucket.give_back(&rule);
    assert!(take(&mut bucket) && !take(&mut bucket));
    let (rule, mut kept) = (window(2, 1000, false), Window::default());
    let take = |kept: &mut Window| kept.decide(&rule, 1 << 40, Mode::Take).passes;
    assert!(take(&mut kept) && take(&mut kept) && !take(&mut kept));
    kept.give_back();
    assert!(take(&mut kept) && !take(&mut kept));
}

#[test]
fn strangers_take_no_more_room_than_there_is() {
    let local = Local::<Window>::new(1000);
    let rule = window(5, 60_000, false);
    let take = |text: &str, now: u64| {
        let key = local.hashing.hash(3, text.as_bytes());
        local.decide(key, &rule, now * MILLI, Mode::Take, |window| window.decide(&rule, now * MILLI, Mode::Take))
    };
    let start = 1_000_000;
    for n in 0..20_000 {
        take(&format!("stranger {n}"), start + n / 100);
        if n % 50 == 0 {
            // Who comes again and again is hardly ever forgotten.
            for regular in 0..20 {
                take(&format!("regular {regular}"), start + n / 100);
            }
        }
    }
    assert!(local.table.len() <= 1600, "{} keys", local.table.len());
    let known = (0..20).filter(|regular| !take(&format!("regular {regular}"), start + 200).passes).count();
    assert!(known >= 10, "{known} of 20 are known");
    // Who only looks leaves nothing.
    let before = local.table.len();
    let key = local.hashing.hash(3, b"nobody");
    local.decide(key, &rule, 1, Mode::Look, |window| window.decide(&rule, 1, Mode::Look));
    assert_eq!(local.table.len(), before);
}

#[test]
fn idle_keys_go_before_others() {
    let local = Local::<Bucket>::new(64);
    let rule = BucketRule { each: MILLI, burst: 1000 };
    let take = |n: u64, now: u64| {
        let key = local.hashing.hash(0, &n.to_be_bytes());
        local.decide(key, &rule, now, Mode::Take, |bucket| bucket.decide(&rule, now, Mode::Take)).remaining
    };
    let now = 1 << 40;
    for _ in 0..900 {
        take(0, now);
    }
    for n in 1..5000 {
        // Each of these is full again before the next comes.
        take(n, now + n * 2 * MILLI / 100);
    }
    assert!(take(0, now + 100 * MILLI) < 300, "the busy key was forgotten");
}
