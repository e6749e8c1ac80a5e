//! The clock, `CLOCK_MONOTONIC` in nanoseconds as the kernel's `bpf_ktime_get_ns`, and the timer that wakes the daemon
//! for the next deadline.

use std::io;
use std::time::SystemTime;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::Now;
use vrrpd_engine::router::TimeOfDay;

use crate::datapath::readiness::{Readiness, Source};

/// A shorter difference is taken for a delay between the two readings.
const MIN_SUSPENSION: Duration = Duration::from_millis(100);
/// Number of readings of both clocks; the one with the least delay in between counts.
const READINGS: usize = 3;

/// The current monotonic and wall-clock time.
pub fn moment() -> Now {
    Now { at: now(), time_of_day: time_of_day_now() }
}

/// Wall-clock time for the engine.
pub fn time_of_day_now() -> TimeOfDay {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimeOfDay(Duration::from_nanos(u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)))
}

/// Wall-clock time for output.
pub fn system_time(TimeOfDay(since_1970): TimeOfDay) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from(since_1970)
}

/// The current monotonic time.
pub fn now() -> Instant {
    // The kernel has had this clock since 2.6.
    read(nix::time::ClockId::CLOCK_MONOTONIC)
}

/// The call cannot fail with these arguments.
fn read(clock: nix::time::ClockId) -> Instant {
    nix::time::clock_gettime(clock).map_or(Instant::ZERO, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
        Instant::from_nanos(seconds * 1_000_000_000 + nanos)
    })
}

/// Detects that the machine was suspended: `CLOCK_BOOTTIME` continues then, and [`now`] does not.
#[derive(Debug)]
pub struct Suspension {
    /// Difference of the clocks.
    ahead: Duration,
}

impl Suspension {
    /// Starts detection.
    pub fn watch() -> Self {
        Self { ahead: ahead() }
    }

    /// How long the machine was suspended since the last call; `None`: it was not. `now` was read shortly before.
    pub fn end(&mut self, now: Instant) -> Option<Duration> {
        // A delay between the two readings makes the difference too large.
        if self.slept(ahead_of(now)) < MIN_SUSPENSION {
            return None;
        }
        for _ in 1..READINGS {
            if self.slept(ahead()) < MIN_SUSPENSION {
                return None;
            }
        }
        self.end_with(ahead())
    }

    fn end_with(&mut self, ahead: Duration) -> Option<Duration> {
        let slept = self.slept(ahead);
        if slept < MIN_SUSPENSION {
            return None;
        }
        self.ahead = ahead;
        Some(slept)
    }

    fn slept(&self, ahead: Duration) -> Duration {
        Duration::from_nanos(ahead.as_nanos().saturating_sub(self.ahead.as_nanos()))
    }
}

/// Difference between `CLOCK_BOOTTIME` and [`now`].
fn ahead() -> Duration {
    ahead_of(now())
}

/// The same, with [`now`] read shortly before.
fn ahead_of(now: Instant) -> Duration {
    read(nix::time::ClockId::CLOCK_BOOTTIME).saturating_since(now)
}

/// Wall-clock time in seconds since 1970, which may go back; 0 before 1970, at most `u32::MAX`.
pub fn time_of_day() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// A one-shot timer with the precision of the kernel's high-resolution timers (the runtime's own timers count
/// milliseconds).
#[derive(Debug)]
pub struct Alarm {
    timer: Source<TimerFd>,
    armed: Option<Instant>,
}

impl Alarm {
    /// A timer that is not armed. Once it has fired, this number is ready; then [`Alarm::fired`] is to be called.
    pub fn new(readiness: &Readiness, number: u64) -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { timer: readiness.watch(timer, number)?, armed: None })
    }

    /// Arms the timer for `at` or earlier: the deadline of a backup moves with each advert, and a system call for each
    /// would cost more than the advert. Without `at`, it may still fire once.
    pub fn arm(&mut self, now: Instant, at: Option<Instant>) -> io::Result<()> {
        let Some(at) = at.filter(|at| !self.armed.is_some_and(|armed| is_soon_enough(now, armed, *at)))
        else {
            return Ok(());
        };
        // Zero would disarm; a time in the past fires at once.
        let span = TimeSpec::from_duration(std::time::Duration::from_nanos(at.as_nanos().max(1)));
        self.timer.set(Expiration::OneShot(span), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.armed = Some(at);
        Ok(())
    }

    /// When it fires.
    pub const fn at(&self) -> Option<Instant> {
        self.armed
    }

    /// Notes that the timer has fired: it is not armed any more.
    pub fn fired(&mut self) {
        // No read is needed: arming the timer again resets it.
        self.timer.was_read(true);
        self.armed = None;
    }
}

/// Whether a timer armed for `armed` may stay so although the deadline is `at`. Moving it rarely saves system calls. A
/// third of the remaining time is longer than the advertisement interval, since a backup waits for three intervals; so
/// the timer does not fire while adverts arrive.
fn is_soon_enough(now: Instant, armed: Instant, at: Instant) -> bool {
    let (left, wanted) = (armed.saturating_since(now), at.saturating_since(now));
    armed == at || (armed < at && left.as_nanos() >= wanted.as_nanos() / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_of_a_backup_is_moved_with_every_third_advert_and_does_not_fire() {
        let (interval, wait) = (Duration::from_millis(10), Duration::from_millis(36));
        let start = Instant::from_nanos(1);
        let (mut armed, mut moves) = (start + wait, 0);
        for advert in 1..=30 {
            let now = start + Duration::from_nanos(interval.as_nanos() * advert);
            assert!(armed > now, "it does not fire");
            if !is_soon_enough(now, armed, now + wait) {
                (armed, moves) = (now + wait, moves + 1);
            }
        }
        assert_eq!(moves, 10);
        assert!(
            !is_soon_enough(start, start + wait, start + interval),
            "an earlier deadline moves it at once"
        );
    }

    #[test]
    fn a_suspension_is_detected_once() {
        let seconds = Duration::from_secs;
        let mut suspension = Suspension { ahead: seconds(10) };
        assert_eq!(suspension.end_with(seconds(10) + Duration::from_millis(99)), None, "read late");
        assert_eq!(suspension.end_with(seconds(10)), None);
        assert_eq!(suspension.end_with(seconds(3610)), Some(seconds(3600)));
        assert_eq!(suspension.end_with(seconds(3610)), None);
    }

    #[test]
    fn a_machine_that_runs_is_not_suspended() {
        let mut suspension = Suspension::watch();
        assert_eq!(suspension.end(now()), None);
    }
}
