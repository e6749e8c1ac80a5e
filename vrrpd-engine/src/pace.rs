//! How often a router announces its addresses and has its transitions in the log: limits that hold for any cause.
//!
//! What is put off comes when there is room again: hosts are always told in the end, and the log says how many
//! transitions it has no lines for. Take-overs are damped by the state machine, scripts have a limit of their own.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::Occasion;
use vrrpd_common::{Duration, Instant};

use crate::budget::Budget;
use crate::config::RouterConfig;

/// Transitions with a line each, at once.
const LINES: u64 = 10;
/// Announcements of all addresses at once.
const ANNOUNCEMENTS: u64 = 5;
/// Then one of each comes this often.
const EVERY: Duration = Duration::from_secs(1);

/// The limits of a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pace {
    lines: Budget,
    /// Transitions that have no line.
    unsaid: u64,
    announcements: Budget,
    /// The most urgent one that was put off.
    owed: Option<Occasion>,
}

/// Of which addresses hosts are told where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The virtual ones, and the interface's own where they share a MAC address. [`Occasion::Elsewhere`]: the virtual ones on
    /// other interfaces alone.
    All(Occasion),
    /// The interface's own: its MAC address is back.
    Own,
}

impl Announced {
    /// The occasion, by which it is decided how often and how soon they are told.
    pub const fn occasion(self) -> Occasion {
        match self {
            Self::All(occasion) => occasion,
            Self::Own => Occasion::TakeOver,
        }
    }
}

/// What was put off and is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// So many transitions are summed up in a line; 0: no line.
    pub unsaid: u64,
    /// The addresses are announced, on this occasion.
    pub announces: Option<Occasion>,
}

impl Pace {
    /// Nothing has been said yet.
    pub fn new(config: &RouterConfig) -> Self {
        // What the user asked for is not held back.
        let times = &config.announce.times;
        let asked_for = [times.refresh_every, times.elsewhere_every, times.after_lower];
        let asked_for = asked_for.into_iter().flatten().min().unwrap_or(EVERY);
        Self {
            lines: Budget::new(LINES, EVERY),
            unsaid: 0,
            announcements: Budget::new(ANNOUNCEMENTS, EVERY.min(asked_for)),
            owed: None,
        }
    }

    /// Whether the addresses may be announced now; otherwise that is put off.
    pub fn announce(&mut self, now: Instant, occasion: Occasion) -> bool {
        let may = self.owed.is_none() && self.announcements.take(now);
        if !may {
            self.owed = self.owed.max(Some(occasion));
        }
        may
    }

    /// Whether a transition has a line in the log now; otherwise it is counted.
    pub fn say_transition(&mut self, now: Instant) -> bool {
        let may = self.unsaid == 0 && self.lines.take(now);
        self.unsaid += u64::from(!may);
        may
    }

    /// When something that was put off is due.
    pub fn due_at(&self) -> Option<Instant> {
        let line = (self.unsaid > 0).then(|| self.lines.next_at());
        line.into_iter().chain(self.owed.map(|_| self.announcements.next_at())).min()
    }

    /// What of that is done now.
    pub fn catch_up(&mut self, now: Instant) -> CaughtUp {
        let says = self.unsaid > 0 && self.lines.take(now);
        let Self { owed, announcements, .. } = self;
        let announces = owed.take_if(|_| announcements.take(now));
        CaughtUp { unsaid: if says { std::mem::take(&mut self.unsaid) } else { 0 }, announces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::router;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis)
    }

    #[test]
    fn announcements_beyond_the_limit_are_put_off_and_come_as_one_of_the_most_urgent() {
        let mut pace = Pace::new(&router("192.0.2.100"));
        let mut occasions =
            [Occasion::LowerMaster, Occasion::TakeOver, Occasion::Refresh].into_iter().cycle();
        let announced: Vec<_> =
            occasions.by_ref().take(8).map(|occasion| pace.announce(at(0), occasion)).collect();
        assert_eq!(announced, [true, true, true, true, true, false, false, false]);
        assert_eq!(pace.due_at(), Some(at(1000)));
        assert_eq!(pace.catch_up(at(999)), CaughtUp { unsaid: 0, announces: None });
        assert_eq!(pace.catch_up(at(1000)), CaughtUp { unsaid: 0, announces: Some(Occasion::TakeOver) });
        assert_eq!(pace.due_at(), None);
    }

    #[test]
    fn transitions_beyond_the_limit_are_summed_up_in_one_line() {
        let mut pace = Pace::new(&router("192.0.2.100"));
        let said = (0..100).filter(|_| pace.say_transition(at(0))).count();
        assert_eq!(said, 10);
        assert!(!pace.say_transition(at(1500)), "those that were not said come first");
        assert_eq!(pace.catch_up(at(1500)), CaughtUp { unsaid: 91, announces: None });
        assert!(pace.say_transition(at(2500)));
    }
}
