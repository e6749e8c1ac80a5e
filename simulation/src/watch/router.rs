//! The state of a router for the checks.

use vrrpd_common::Priority;
use vrrpd_common::router::{Config, Reason, StateName, Transition};
use vrrpd_engine::router::Done;

use super::damping::TakeOvers;
use super::limits::Limits;
use super::{ADVERTS_AT_ONCE, BILLION};

#[derive(Clone, Debug, Default)]
pub(super) struct RouterWatch {
    /// A program in the kernel hears its adverts.
    pub(super) in_kernel: bool,
    /// Adverts that it may send at once, in billionths.
    pub(super) credit: u64,
    pub(super) credit_at: u64,
    pub(super) interval: u64,
    pub(super) priority: Option<Priority>,
    pub(super) promotion: Promotion,
    pub(super) take_overs: TakeOvers,
    pub(super) limits: Limits,
    /// It is Master and has not announced its addresses yet.
    pub(super) owes_announcement: bool,
    pub(super) preemption: Preemption,
    /// By the clock of its machine.
    pub(super) listens_until: u64,
    /// Since when it is Backup, by the clock of its machine.
    pub(super) backup_since: u64,
    /// Its `prepare` script has ended, and it may take over.
    pub(super) script_has_ended: bool,
    /// Its last counters.
    pub(super) done: Done,
}

/// What a router may preempt, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Preemption {
    pub(super) is_on: bool,
    pub(super) below: Option<Priority>,
    pub(super) delay: u64,
    pub(super) start_delay: u64,
    /// It has a `prepare` script.
    pub(super) prepares: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Promotion {
    /// It is not Master and has not reported so.
    #[default]
    None,
    /// It has sent its first advert.
    Advertised,
    /// It has announced its addresses.
    Announced,
    /// It has reported that it is Master.
    Told,
}

impl Preemption {
    pub(super) const fn of(config: &Config) -> Self {
        Self {
            is_on: config.preempt_mode,
            below: config.preempt_below,
            delay: config.preempt_delay.as_nanos(),
            start_delay: config.start_delay.as_nanos(),
            prepares: config.prepares,
        }
    }
}

impl RouterWatch {
    /// Its state has changed, at `clock` of its machine.
    pub(super) fn check_delays(&mut self, clock: u64, transition: &Transition) -> Result<(), &'static str> {
        if transition.to != StateName::Master {
            return Ok(());
        }
        if clock < self.listens_until {
            return Err("is Master before its start delay has passed");
        }
        if transition.reason != Reason::Preempted || self.priority == Some(Priority::OWNER) {
            return Ok(());
        }
        let Preemption { is_on, below, delay, .. } = self.preemption;
        let theirs = transition.cause.map(|cause| cause.priority);
        match theirs {
            _ if clock - self.backup_since < delay => Err("preempts before its delay has passed"),
            Some(theirs) if !is_on && below.is_none_or(|below| theirs >= below) => {
                Err("preempts a master that it has to leave alone")
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn refill(&mut self, now: u64) {
        // Two per interval.
        let earned = (now - self.credit_at).saturating_mul(2 * BILLION / (self.interval / 1_000)) / 1_000;
        self.credit = (self.credit + earned).min(2 * ADVERTS_AT_ONCE * BILLION);
        self.credit_at = now;
    }

    pub(super) fn allow(&mut self, now: u64, adverts: u64) {
        self.refill(now);
        self.credit += adverts * BILLION;
    }

    pub(super) fn spend(&mut self, now: u64) -> Result<(), ()> {
        self.refill(now);
        self.credit = self.credit.checked_sub(BILLION).ok_or(())?;
        Ok(())
    }
}
