//! Runs many seeds on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::run::{Failure, Outcome, run};

/// Runs `count` seeds starting with `first`; stops at the first that fails.
pub fn seeds(first: u64, count: u64, threads: usize) -> Result<Outcome, Box<Failure>> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let result = Mutex::new(Ok(Outcome::default()));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut total = Outcome::default();
                let mut failure = None;
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    match run(first.wrapping_add(number)) {
                        Ok(outcome) => total.merge(&outcome),
                        Err(failed) => {
                            stop.store(true, Ordering::Relaxed);
                            failure = Some(failed);
                        }
                    }
                }
                let mut result = result.lock().expect("no thread panics while it holds this");
                match (&mut *result, failure) {
                    (_, Some(failed)) => *result = Err(failed),
                    (Ok(sum), None) => sum.merge(&total),
                    (Err(_), None) => {}
                }
            });
        }
    });
    result.into_inner().expect("all threads have ended")
}
