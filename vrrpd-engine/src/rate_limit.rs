//! Rate limits for what others can cause: log lines, at most one of each kind per interval; and restoring what others
//! remove, at once at first, then with backoff.

use serde::{Deserialize, Serialize};
use vrrpd_common::{Duration, Instant};

/// Admits each kind once per interval, for a small number of kinds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RateLimit<K> {
    interval: Duration,
    last: Vec<Last<K>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Last<K> {
    kind: K,
    at: Instant,
    withheld: u64,
}

/// Backoff for restoring what another process removes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackOff {
    last: Option<Instant>,
    wait: Duration,
}

impl BackOff {
    /// The delay after the first loss, doubled each time up to `MAX_WAIT`.
    const MIN_WAIT: Duration = Duration::from_millis(10);
    const MAX_WAIT: Duration = Duration::from_secs(1);
    /// The backoff is reset after this time without a loss.
    const FORGOTTEN: Duration = Duration::from_secs(5);

    /// When to restore what was removed at `now`.
    pub fn again_at(&mut self, now: Instant) -> Instant {
        let at = match self.last {
            Some(last) if now.saturating_since(last) < Self::FORGOTTEN => {
                self.wait = self.wait.saturating_mul(2).clamp(Self::MIN_WAIT, Self::MAX_WAIT);
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

impl<K> Default for RateLimit<K> {
    /// Once a second.
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

impl<K> RateLimit<K> {
    /// Admits each kind at most once per interval.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, last: Vec::new() }
    }
}

impl<K: PartialEq> RateLimit<K> {
    /// Whether this kind is admitted now; if so, the number of rejected ones since the last.
    pub fn admit(&mut self, now: Instant, kind: K) -> Option<u64> {
        let interval = self.interval;
        match self.last.iter_mut().find(|last| last.kind == kind) {
            Some(last) if now.saturating_since(last.at) < interval => {
                last.withheld += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.withheld))
            }
            None => {
                self.last.push(Last { kind, at: now, withheld: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_resources_are_restored_at_once_and_then_with_backoff() {
        let mut back_off = BackOff::default();
        let start = Instant::ZERO + Duration::from_secs(1);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let at = back_off.again_at(now);
            waits.push(at.saturating_since(now).as_millis());
            now = at;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(back_off.again_at(now + Duration::from_secs(5)), now + Duration::from_secs(5));
    }

    #[test]
    fn each_kind_is_admitted_once_a_second_with_the_count_of_those_withheld() {
        let mut limit = RateLimit::default();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        assert_eq!(limit.admit(at(0), "a"), Some(0));
        assert_eq!(limit.admit(at(1), "b"), Some(0));
        for millis in 1..1000 {
            assert_eq!(limit.admit(at(millis), "a"), None);
        }
        assert_eq!(limit.admit(at(1000), "a"), Some(999));
        assert_eq!(limit.admit(at(2000), "a"), Some(0));
    }
}
