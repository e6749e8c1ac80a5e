//! Waiting for a condition with a deadline, never for a fixed time.

use std::any::Any;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, thread};

/// Factor by which this machine is slower than the machines that tests are written for; default 1.
const VARIABLE: &str = "VRRPD_LAB_PATIENCE";
const POLL: Duration = Duration::from_millis(3);

/// A deadline or tolerance, scaled for this machine. The functions here scale their limits themselves.
pub fn stretched(span: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| match env::var(VARIABLE) {
        Err(_) => 1,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is {text:?}; a number is wanted")),
    });
    span * *factor
}

/// Waits until `condition` holds and returns how long that took; panics with `what` after `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    wait_for(limit, what, || condition().then_some(()));
    start.elapsed()
}

/// Waits until `find` returns a value; panics with `what` after `limit`.
#[track_caller]
pub fn wait_for<T>(limit: Duration, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let (start, limit) = (Instant::now(), stretched(limit));
    loop {
        // Checked before the clock, so that a condition that holds at last counts on a slow machine.
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// The message of a panic in the laboratory.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("ended without a reason")
}
