//! The load generator: frames sent again and again, at a pace or as fast as they can be, many in one system call.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Host, Injector, sys};

/// How long a sender sleeps at most before it looks whether it is to end.
const STOP_POLL: Duration = Duration::from_millis(20);

/// What was to be sent so long ago has been sent, unless something is wrong.
const LATE_FOR_SURE: Duration = Duration::from_millis(50);

/// Sends the same frames in turn out of an interface of a machine until it is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    start: Instant,
    /// Frames a second that are to be sent, unless that is as many as can be.
    rate: Option<f64>,
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

    /// Frames sent up to now.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What part of the frames that were due [`LATE_FOR_SURE`] ago has been sent by now, 1 or more if all is well. Without a
    /// pace, whether it still sends.
    pub fn part_sent(&self) -> f64 {
        let due = self.start.elapsed().saturating_sub(LATE_FOR_SURE);
        let runs = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        match self.rate {
            None => f64::from(u8::from(runs)),
            #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^52 frames")]
            Some(rate) => self.sent() as f64 / (rate * due.as_secs_f64()).max(1.0),
        }
    }

    /// Ends it: nothing is sent after this returns. Gives back how many frames were sent; panics if it ended before, saying
    /// why.
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
        // If it has panicked, it has said so; saying it from a destructor would hide what the test says.
        drop(self.end());
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
