//! The one clock: `CLOCK_MONOTONIC` in nanoseconds, the same as the kernel's `bpf_ktime_get_ns`, and the one timer
//! that wakes the daemon for whatever is due next.

use std::io;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use vrrpd_common::Instant;

use crate::sys::watch::{self, Watched};

/// Now.
pub fn now() -> Instant {
    // The kernel has this clock since 2.6; the call cannot fail with a constant and a place on the stack.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Instant::ZERO, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
        Instant::from_nanos(seconds * 1_000_000_000 + nanos)
    })
}

/// The time of day in seconds since 1970, which may go back; 0 before that, and no more than 32 bits hold.
pub fn time_of_day() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// One timer, armed for one point in time with the precision of the kernel's high resolution timers (the runtime's
/// own timers count in milliseconds).
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Watched<TimerFd>>,
    armed: Option<Instant>,
}

impl Alarm {
    /// A timer that is not armed.
    pub fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { timer: watch::timer(timer)?, armed: None })
    }

    /// Wakes at `at`, or never. Costs a system call only when that changes.
    pub fn arm(&mut self, at: Option<Instant>) -> io::Result<()> {
        if self.armed == at {
            return Ok(());
        }
        let timer = &self.timer.get_ref().0;
        match at {
            // Zero would disarm; a time long past fires at once.
            Some(at) => {
                let span = TimeSpec::from_duration(std::time::Duration::from_nanos(at.as_nanos().max(1)));
                timer.set(Expiration::OneShot(span), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => timer.unset()?,
        }
        self.armed = at;
        Ok(())
    }

    /// Returns when the timer has fired; it is not armed then.
    pub async fn fired(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            match ready.get_inner().0.wait() {
                Ok(()) => {
                    // It is empty now, and tells anew when it fires again.
                    ready.clear_ready();
                    self.armed = None;
                    return Ok(());
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
