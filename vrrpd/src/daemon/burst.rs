//! Bursts of adverts: a wake-up of the loop costs as much as twenty adverts, so adverts that follow each other closely are
//! read together.

use vrrpd_common::{Duration, Instant};

/// Adverts with less time in between are a burst.
const CLOSE: Duration = Duration::from_micros(100);
/// How long the loop lets the adverts of a burst gather. Nothing that is due is delayed by that.
const PAUSE: Duration = Duration::from_micros(400);
/// Time before a deadline at which the loop has to wait for it: the kernel ends a pause up to 50 µs late.
const MARGIN: Duration = Duration::from_micros(200);

/// The adverts of late.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// When frames were read last.
    last: Instant,
    /// Frames of this turn followed earlier ones closely.
    is_on: bool,
}

impl Burst {
    /// Notes that frames are read now.
    pub(super) fn note(&mut self, now: Instant) {
        self.is_on |= now.saturating_since(self.last) < CLOSE;
        self.last = now;
    }

    /// Notes that frames were left: the next turn reads them at once.
    pub(super) const fn note_rest(&mut self) {
        self.is_on = false;
    }

    /// How long to pause at the end of a turn, with a deadline at `due`; `None`: not at all.
    pub(super) fn pause(&mut self, now: Instant, due: Option<Instant>) -> Option<Duration> {
        let is_free = due.is_none_or(|due| due >= now + PAUSE + MARGIN);
        (std::mem::take(&mut self.is_on) && is_free).then_some(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    #[test]
    fn loop_pauses_after_frames_that_follow_each_other_closely_and_only_then() {
        let mut burst = Burst::default();
        burst.note(micros(1000));
        assert_eq!(burst.pause(micros(1010), None), None, "one after a long time");
        burst.note(micros(1099));
        assert_eq!(burst.pause(micros(1110), None), Some(PAUSE));
        assert_eq!(burst.pause(micros(1520), None), None, "a turn without frames");
        burst.note(micros(1530));
        assert_eq!(burst.pause(micros(1540), None), None, "what has gathered in the pause");
        burst.note(micros(1629));
        burst.note_rest();
        assert_eq!(burst.pause(micros(1640), None), None, "more is waiting");
    }

    #[test]
    fn loop_does_not_pause_before_a_deadline() {
        for (due, pauses) in [(1100, false), (1699, false), (1700, true), (0, false)] {
            let mut burst = Burst::default();
            burst.note(micros(1000));
            burst.note(micros(1050));
            assert_eq!(burst.pause(micros(1100), Some(micros(due))).is_some(), pauses, "{due}");
        }
    }
}
