//! Repeating events without a change.

use super::{Backup, Event, State, VirtualRouter, Waiting};
use crate::params::Priority;
use crate::time::Instant;

impl VirtualRouter {
    /// Whether this event at `now` changes only deadlines and the known state of the master: an unchanged advert of the
    /// master that a Backup follows, or the advert timer of a Master.
    pub fn is_steady(&self, now: Instant, event: &Event) -> bool {
        match (&self.state, event) {
            (State::Backup(backup), Event::Advert(advert)) => {
                let Backup { waiting, master, .. } = backup;
                let is_said_again = master.is_none_or(|heard| heard.advert == *advert);
                let is_followed = advert.priority != Priority::RESIGN
                    && advert.priority >= self.lowest_followed_by(self.preemption);
                is_said_again
                    && is_followed
                    && matches!(waiting, Waiting::ForSilence | Waiting::AfterGap)
                    && self.preemption.at(now) == self.preemption
            }
            (State::Backup(backup), Event::Timer) => {
                now < backup.master_down_at && self.preemption.at(now) == self.preemption
            }
            (State::Master(master), Event::Timer) => !self.slept_through(now, master.advert_at),
            (State::Initialize | State::Fault(_) | State::Backup(_) | State::Master(_), _) => false,
        }
    }
}
