//! The load generator: frames sent again and again, at a pace or as fast as they can be, many in one system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Host, Injector, sys};

/// How long a sender sleeps at most before it looks whether it is to end.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Sends the same frames in turn out of an interface of a machine until it is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// When frames are sent.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// All together, again after each interval.
    Together(Duration),
    /// Each once in the interval, as far from each other as that allows.
    Spread(Duration),
    /// All together, again at once.
    WithoutPause,
}

impl Flood {
    /// Sends all of the frames at once, and again after each interval, however busy the machine is. What is late all the
    /// same is sent without a pause, so that the number is right in the end.
    pub fn every(interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::every_on("eth0", interval, from, frames)
    }

    /// The same out of another interface.
    pub fn every_on(interface: &str, interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on_interface(from, interface), frames, Pace::Together(interval))
    }

    /// Sends each frame once in every interval, one after the other at the same distance, as routers do that started at
    /// different times.
    pub fn spread_over(interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on(from), frames, Pace::Spread(interval))
    }

    /// Sends one frame after the other without a pause.
    pub fn without_pause(from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on(from), frames, Pace::WithoutPause)
    }

    fn start(injector: Injector, frames: Vec<Vec<u8>>, pace: Pace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (end, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            let (burst, distance) = match pace {
                Pace::Together(interval) => (frames.len(), Some(interval)),
                Pace::Spread(interval) => {
                    (1, Some(interval / u32::try_from(frames.len()).expect("few frames")))
                }
                Pace::WithoutPause => (frames.len(), None),
            };
            if distance.is_some() {
                sys::run_before_others().expect("root may be first");
            }
            let mut next = Instant::now();
            for burst in frames.chunks(burst.max(1)).cycle() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                injector.send_all(burst);
                count.fetch_add(burst.len() as u64, Ordering::Relaxed);
                if let Some(distance) = distance {
                    next += distance;
                    sleep_until(next, &end);
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

/// Sleeps, if it is not that late already, or until `end` says so.
fn sleep_until(next: Instant, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let rest = next.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        thread::sleep(rest.min(STOP_POLL));
    }
}
