//! Waiting for a condition, with a deadline: never for a fixed time.

use std::any::Any;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, thread};

/// How many times slower than the machines that tests are written for this one may be: 1 unless it is set.
const VARIABLE: &str = "VRRPD_LAB_PATIENCE";
const POLL: Duration = Duration::from_millis(3);

/// A deadline or a tolerance, as long as this machine needs it. The limits of what waits here are stretched already.
pub fn stretched(span: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| match env::var(VARIABLE) {
        Err(_) => 1,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is {text:?}; a number is wanted")),
    });
    span * *factor
}

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
    let (start, limit) = (Instant::now(), stretched(limit));
    loop {
        // Looked at before the clock: a condition that holds at last is not lost to a slow machine.
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// The message of a panic of the laboratory.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("ended without a reason")
}
