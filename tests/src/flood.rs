//! The load generator: sends frames repeatedly, at a rate or as fast as possible, many in one system call.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Host, Injector, sys};

/// Maximum latency of ending a sender.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Frames that were due this long ago have been sent, unless something is wrong.
const LATE_FOR_SURE: Duration = Duration::from_millis(50);

/// Sends the same frames repeatedly on an interface of a machine, until dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    start: Instant,
    /// Intended frames per second; `None`: as many as possible.
    rate: Option<f64>,
}

/// Times of the frames.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// All together, once per interval.
    Together(Duration),
    /// Each once per interval, evenly spread.
    Spread(Duration),
    /// Continuously.
    WithoutPause,
}

impl Flood {
    /// Sends all frames at once, once per interval, however busy the machine is. Late frames are sent without a pause,
    /// so that their number is correct.
    pub fn every(interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::every_on("eth0", interval, from, frames)
    }

    /// The same on another interface.
    pub fn every_on(interface: &str, interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on_interface(from, interface), frames, Pace::Together(interval))
    }

    /// Sends each frame once per interval, evenly spread, as routers do that started at different times.
    pub fn spread_over(interval: Duration, from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on(from), frames, Pace::Spread(interval))
    }

    /// Sends frames continuously.
    pub fn without_pause(from: &Host, frames: Vec<Vec<u8>>) -> Self {
        Self::start(Injector::on(from), frames, Pace::WithoutPause)
    }

    fn start(injector: Injector, frames: Vec<Vec<u8>>, pace: Pace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (end, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let number = u32::try_from(frames.len()).expect("few frames");
        let rate = match pace {
            Pace::Together(interval) | Pace::Spread(interval) => {
                Some(f64::from(number) / interval.as_secs_f64())
            }
            Pace::WithoutPause => None,
        };
        let thread = thread::spawn(move || {
            let (burst, distance) = match pace {
                Pace::Together(interval) => (frames.len(), Some(interval)),
                Pace::Spread(interval) => (1, Some(interval / number)),
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
                let sent = injector.send_what_goes(burst);
                count.fetch_add(sent as u64, Ordering::Relaxed);
                if let Some(distance) = distance {
                    next += distance;
                    sleep_until(next, &end);
                }
            }
        });
        Self { stop, sent, thread: Some(thread), start: Instant::now(), rate }
    }

    /// Number of frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Fraction of the frames due [`LATE_FOR_SURE`] ago that has been sent by now; 1 or more is good. Without a rate,
    /// whether it is still sending.
    pub fn part_sent(&self) -> f64 {
        let due = self.start.elapsed().saturating_sub(LATE_FOR_SURE);
        let runs = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        match self.rate {
            None => f64::from(u8::from(runs)),
            #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 frames")]
            Some(rate) => self.sent() as f64 / (rate * due.as_secs_f64()).max(1.0),
        }
    }

    /// Ends sending before it returns. Returns the number of frames sent; panics with the reason if sending ended
    /// before.
    pub fn stop(mut self) -> u64 {
        if let Err(panic) = self.end() {
            panic::resume_unwind(panic);
        }
        self.sent()
    }

    fn end(&mut self) -> thread::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // A panic was reported; repeating it in a destructor would hide the test's message.
        drop(self.end());
    }
}

/// Sleeps until `next`, if that is in the future, or until `end` is set.
fn sleep_until(next: Instant, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        let rest = next.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return;
        }
        thread::sleep(rest.min(STOP_POLL));
    }
}
