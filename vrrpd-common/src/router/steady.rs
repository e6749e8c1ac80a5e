//! What happens again and again while nothing changes.

use super::{Backup, Event, State, VirtualRouter, Waiting};
use crate::params::Priority;
use crate::time::Instant;

impl VirtualRouter {
    /// Whether nothing but deadlines and what is known of the master follows from this event at `now`: the adverts of the master
    /// that a Backup follows, as it sent them before, and the timer of a Master that goes on advertising.
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
