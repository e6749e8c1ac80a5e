//! Frames sent again and again, at a pace or as fast as they can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Host, Injector, sys};

/// Sends the same frames in turn out of the `eth0` of a machine until it is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends all of the frames at once, and again after each interval, however busy the machine is. What is late all the
    /// same is sent without a pause, so that the number is right in the end.
    pub fn every(interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(from, frames, Some(interval))
    }

    /// Sends one frame after the other without a pause.
    pub fn without_pause(from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(from, frames, None)
    }

    fn start(from: &Host, frames: Vec<Vec<u8>>, interval: Option<Duration>) -> Self {
        let injector = Injector::on(from);
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (end, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            if interval.is_some() {
                sys::run_before_others().expect("root may be first");
            }
            let mut next = Instant::now();
            while !end.load(Ordering::Relaxed) {
                for frame in &frames {
                    injector.send(frame);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(interval) = interval {
                    next += interval;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// Frames sent up to now.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it: nothing is sent after this returns. Gives back how many frames were sent.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.sent()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked; saying so from a destructor would hide what the test says.
            drop(thread.join());
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}
