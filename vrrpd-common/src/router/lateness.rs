//! Late deadlines: adverts may have been missed, so a router listens before it acts.

use super::{Backup, VirtualRouter, Waiting};
use crate::time::{Duration, Instant};

/// A deadline missed by more than this (and more than a Master_Down_Interval) means that the whole machine was stopped.
const CLOCK_GAP: Duration = Duration::from_secs(1);
/// A Backup that is late by more than this (and more than a Master_Down_Interval) may have missed adverts: they are
/// lost if the machine was stopped; if only the process was, they were read before the timer. So it listens once more,
/// but only once, so that a machine that is always late still takes over.
const LATE: Duration = Duration::from_millis(100);

impl VirtualRouter {
    /// Whether a Master has not advertised for so long that another router may be Master by now.
    pub(super) fn slept_through(&self, now: Instant, deadline: Instant) -> bool {
        self.is_late_by(now, deadline, CLOCK_GAP)
    }

    /// Whether a Backup with an expired timer was so late that adverts may have been lost.
    pub(super) fn may_have_missed_adverts(&self, now: Instant, backup: Backup) -> bool {
        let tolerance = match backup.waiting {
            Waiting::AfterGap => CLOCK_GAP,
            Waiting::ForSilence
            | Waiting::AfterResignation
            | Waiting::ToPreempt
            | Waiting::ForGroup(_)
            | Waiting::ForScript(_) => LATE,
        };
        self.is_late_by(now, self.takes_over_at(&backup), tolerance)
    }

    fn is_late_by(&self, now: Instant, deadline: Instant, tolerance: Duration) -> bool {
        let late = now.saturating_since(deadline);
        late > tolerance && late > self.wait(Waiting::ForSilence, self.master_adver_interval())
    }
}
