//! Damping: limits how often a router takes over.
//!
//! RFC 9568 has no such limit. In version 3 two forged adverts, one of a higher priority that advertises every 10 ms and
//! its resignation, make a Master Backup and, Skew_Time of 10 ms later, Master again: hundreds of times a second, each with
//! addresses, scripts and gratuitous ARP. So the way from Backup to Master is damped:
//!
//! * The first three take-overs come at once, as in the RFC.
//! * Each further one comes no sooner than a *hold* after the one before. The hold is a third of a second at first. A
//!   take-over that comes within two holds of the one before doubles it, up to eight seconds. Up to a quarter is added
//!   each time, so that machines which took over at the same moment and all gave way do not repeat that in step. So
//!   routers that fail over every second are never held, and a flood gets seven take-overs in the first ten seconds and
//!   then one in eight to ten.
//! * 60 s without a take-over reset the damping. So does an operator who tells the router to resume or raises its
//!   priority.
//!
//! Nothing else is held. A Master yields at once: ignoring a higher advert would be a split brain. The hold counts from
//! the last take-over, so the router takes over at most ten seconds after that if no other router serves the addresses. A
//! Master whose link goes down and up is not held either, unless it becomes Backup in between.

use core::net::IpAddr;

use crate::advert::{AddressDigest, mix};
use crate::time::{Duration, Instant};

/// Number of take-overs without a hold.
const FREE: u8 = 3;
/// The first hold: three take-overs a second.
const MIN_SPACING: Duration = Duration::from_nanos(1_000_000_000_u64.div_ceil(3));
/// The maximum hold, without the random addition.
const MAX_SPACING: Duration = Duration::from_secs(8);
/// Up to 1 / `ADDED` of the hold is added.
const ADDED: u64 = 4;
/// Maximum time between a take-over and the next one that is held.
pub const MAX_HOLD: Duration = Duration::from_secs(10);
/// Time without a take-over that resets the damping.
const FORGOTTEN: Duration = Duration::from_secs(60);

const _: () = assert!(MAX_SPACING.as_nanos() + MAX_SPACING.as_nanos() / ADDED <= MAX_HOLD.as_nanos());

/// The take-overs of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Damping {
    /// Time of the last one.
    last: Instant,
    /// Number of take-overs left without a hold.
    free: u8,
    /// The hold, without the random addition.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "hold"))]
    hold: Duration,
    earliest: Instant,
}

impl Damping {
    /// Without take-overs.
    pub(super) const FRESH: Self =
        Self { last: Instant::ZERO, free: FREE, hold: MIN_SPACING, earliest: Instant::ZERO };

    /// When the router may take over next.
    pub(super) const fn earliest(&self) -> Instant {
        self.earliest
    }

    /// Notes that the router, which sends from `source`, takes over at `now`.
    pub(super) fn took_over(&mut self, now: Instant, source: Option<IpAddr>) {
        let since = now.saturating_since(self.last);
        if since >= FORGOTTEN {
            *self = Self::FRESH;
        }
        if self.free > 0 {
            self.free -= 1;
        } else if since < self.hold.saturating_mul(2) {
            self.hold = self.hold.saturating_mul(2).min(MAX_SPACING);
        }
        self.last = now;
        if self.free == 0 {
            // Different each time and on each machine.
            let number = mix(now.as_nanos() ^ AddressDigest::of(source).to_bits());
            let added = Duration::from_nanos(number % (self.hold.as_nanos() / ADDED));
            self.earliest = now + self.hold + added;
        }
    }
}

/// A deserialized hold, at least the minimum.
#[cfg(feature = "serde")]
fn hold<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let hold: Duration = serde::Deserialize::deserialize(from)?;
    Ok(hold.clamp(MIN_SPACING, MAX_SPACING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Times of take-overs, in milliseconds, of a router that is provoked every `every` for `during`.
    fn take_overs(damping: &mut Damping, start: Instant, every: Duration, during: Duration) -> Vec<u64> {
        let (mut all, mut now) = (Vec::new(), start);
        while now < start + during {
            if now >= damping.earliest() {
                damping.took_over(now, None);
                all.push(now.saturating_since(start).as_millis());
            }
            now += every;
        }
        all
    }

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    #[test]
    fn a_flood_gets_three_take_overs_at_once_and_then_fewer_and_fewer() {
        let mut damping = Damping::FRESH;
        let (every, during) = (Duration::from_millis(1), Duration::from_secs(40));
        let all = take_overs(&mut damping, START, every, during);
        assert_eq!(all[..3], [0, 1, 2]);
        let waits: Vec<_> = all.windows(2).skip(2).map(|pair| pair[1] - pair[0]).collect();
        for (wait, hold) in waits.iter().zip([333, 666, 1333, 2666, 5333, 8000, 8000, 8000]) {
            assert!((hold..=hold + hold / 4 + 2).contains(wait), "{waits:?}");
        }
        assert!(waits.len() >= 7, "{waits:?}");
    }

    #[test]
    fn at_any_pace_take_overs_are_at_most_three_a_second_and_seventeen_in_ten_seconds() {
        for pace in 1..1200 {
            let mut damping = Damping::FRESH;
            let (every, during) = (Duration::from_millis(pace), Duration::from_secs(60));
            let all = take_overs(&mut damping, START, every, during);
            for (place, at) in all.iter().enumerate().skip(usize::from(FREE)) {
                assert!(at - all[place - 1] >= 333, "{pace} ms: {all:?}");
            }
            let within = |from: u64| all.iter().filter(|at| (from..from + 10_000).contains(*at)).count();
            assert!(all.iter().all(|at| within(*at) <= 17), "{pace} ms: {all:?}");
        }
    }

    #[test]
    fn routers_that_fail_over_every_second_are_never_held() {
        let mut damping = Damping::FRESH;
        let all = take_overs(&mut damping, START, Duration::from_secs(1), Duration::from_secs(100));
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn a_flood_is_forgotten_after_a_minute_without_a_take_over_and_no_sooner() {
        for (quiet, free) in [(59_999, 0), (60_000, 2)] {
            let mut damping = Damping::FRESH;
            take_overs(&mut damping, START, Duration::from_millis(1), Duration::from_secs(12));
            damping.took_over(damping.last + Duration::from_millis(quiet), None);
            assert_eq!(damping.free, free);
        }
    }

    #[test]
    fn machines_that_took_over_in_the_same_moment_do_not_do_so_again() {
        let [mut one, mut other] = [Damping::FRESH; 2];
        for _ in 0..3 {
            one.took_over(START, Some(IpAddr::from([10, 0, 0, 1])));
            other.took_over(START, Some(IpAddr::from([10, 0, 0, 2])));
        }
        let [first, last] = [one.earliest.min(other.earliest), one.earliest.max(other.earliest)];
        assert!(last.saturating_since(first) > Duration::from_millis(5));
    }
}
