//! Waiting for a condition, with a deadline: never for a fixed time.

use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(3);

/// Waits until `condition` holds and returns how long that took; panics with `what` when it does not in `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_for(limit, what, || condition().then_some(()));
    start.elapsed()
}

/// Waits until `find` finds something; panics with `what` when it does not in `limit`.
#[track_caller]
pub fn wait_for<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        // Looked at before the clock: a condition that holds at last is not lost to a slow machine.
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}
