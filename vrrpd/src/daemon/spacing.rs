//! What others could ask for without end: lines of the log, at most one a second of each kind, and what is put back that
//! they take away, at once at first and then less and less often.

use vrrpd_common::{Duration, Instant};

/// When which kind was said last. There are few kinds.
#[derive(Debug)]
pub(super) struct Spacing<K> {
    spacing: Duration,
    last: Vec<Last<K>>,
}

#[derive(Debug)]
struct Last<K> {
    kind: K,
    at: Instant,
    untold: u64,
}

/// When what somebody takes away is put back.
#[derive(Debug, Default)]
pub(super) struct Patience {
    last: Option<Instant>,
    wait: Duration,
}

impl Patience {
    /// The wait after the first time, doubled each time up to the longest.
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);
    /// Who leaves it alone for so long begins anew.
    const FORGOTTEN: Duration = Duration::from_secs(5);

    /// When to put it back that was taken away at `now`.
    pub(super) fn again_at(&mut self, now: Instant) -> Instant {
        let at = match self.last {
            Some(last) if now.saturating_since(last) < Self::FORGOTTEN => {
                self.wait = self.wait.saturating_mul(2).clamp(Self::SHORTEST, Self::LONGEST);
                now.max(last + self.wait)
            }
            Some(_) | None => {
                self.wait = Duration::ZERO;
                now
            }
        };
        self.last = Some(at);
        at
    }
}

impl<K> Default for Spacing<K> {
    /// Once a second.
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl<K> Spacing<K> {
    /// Each kind at most once in this span.
    pub(super) const fn every(spacing: Duration) -> Self {
        Self { spacing, last: Vec::new() }
    }
}

impl<K: PartialEq> Spacing<K> {
    /// Whether it is to be said now, and how many of its kind were not said since the last one.
    pub(super) fn admit(&mut self, now: Instant, kind: K) -> Option<u64> {
        let spacing = self.spacing;
        match self.last.iter_mut().find(|last| last.kind == kind) {
            Some(last) if now.saturating_since(last.at) < spacing => {
                last.untold += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.untold))
            }
            None => {
                self.last.push(Last { kind, at: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_is_put_back_at_once_and_then_less_and_less_often() {
        let mut patience = Patience::default();
        let start = Instant::ZERO + Duration::from_secs(1);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let at = patience.again_at(now);
            waits.push(at.saturating_since(now).as_millis());
            now = at;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(patience.again_at(now + Duration::from_secs(5)), now + Duration::from_secs(5));
    }

    #[test]
    fn a_kind_is_said_once_a_second_with_the_count_of_what_was_not_said() {
        let mut spacing = Spacing::default();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        assert_eq!(spacing.admit(at(0), "a"), Some(0));
        assert_eq!(spacing.admit(at(1), "b"), Some(0));
        for millis in 1..1000 {
            assert_eq!(spacing.admit(at(millis), "a"), None);
        }
        assert_eq!(spacing.admit(at(1000), "a"), Some(999));
        assert_eq!(spacing.admit(at(2000), "a"), Some(0));
    }
}
