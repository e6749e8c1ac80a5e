//! Rate limits for what can be caused from outside: a burst, then one at a time.

use serde::{Deserialize, Serialize};
use vrrpd_common::{Duration, Instant};

/// A token bucket, stored as the time at which it is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Burst size.
    at_once: u64,
    /// Time until one more token.
    every: Duration,
    full_at: Instant,
}

impl Budget {
    /// A full bucket.
    pub const fn new(at_once: u64, every: Duration) -> Self {
        Self { at_once, every, full_at: Instant::ZERO }
    }

    /// Takes a token at `now`, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        if now < self.next_at() {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.every;
        true
    }

    /// When the next token is available.
    pub fn next_at(&self) -> Instant {
        let others = self.every.saturating_mul(self.at_once.saturating_sub(1));
        Instant::from_nanos(self.full_at.as_nanos().saturating_sub(others.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_had_at_once_and_then_one_every_so_often_and_time_fills_it_again() {
        let at = |millis| Instant::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis);
        let mut budget = Budget::new(3, Duration::from_millis(100));
        let mut taken = Vec::new();
        for millis in 0..1000 {
            // `next_at` agrees with `take`.
            assert_eq!(at(millis) >= budget.next_at(), budget.clone().take(at(millis)));
            if budget.take(at(millis)) {
                taken.push(millis);
            }
        }
        assert_eq!(taken, [0, 1, 2, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        for (millis, there) in [(5000, true), (5000, true), (5000, true), (5000, false), (5099, false)] {
            assert_eq!(budget.take(at(millis)), there, "{millis}");
        }
    }
}
