//! Executes the actions of routers, and delays those that are rate-limited.

use vrrpd_common::Priority;
use vrrpd_common::router::{Action, Occasion};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Line, Output};
use crate::pace::{Announced, CaughtUp};

impl Turn<'_> {
    /// Starts the router's next action, unless one is still in progress.
    pub(super) fn act(&mut self) {
        if self.router.is_stopped() {
            return;
        }
        let Some(action) = self.router.next_action() else { return };
        if self.router.has_actions() {
            self.next(Task::Act);
        }
        let id = self.id;
        match action {
            Action::Prepare => self.put_out(Output::StartPreparation(id)),
            Action::EndPreparation => self.put_out(Output::EndPreparation(id)),
            Action::TakeAddresses => self.take(),
            Action::GiveUpAddresses => self.release(),
            Action::SendAdvert(priority) => {
                self.put_out(Output::SendAdvert(id, priority));
                if priority != Priority::RESIGN && self.router.sending.is_on_trial() {
                    self.router.stop();
                    self.put_out(Output::TrySending(id));
                }
            }
            Action::AnnounceAddresses(occasion) => {
                if self.router.config.announce.count_on(occasion) > 0 {
                    self.announce(Announced::All(occasion));
                }
            }
            Action::Transition(transition) => {
                if let Some(past) = self.router.record(self.now.time_of_day, transition) {
                    let is_logged = self.router.pace.say_transition(self.now.at);
                    self.put_out(Output::Transition { router: id, past, is_logged });
                    if self.router.config.grouped {
                        self.agenda.work.push_front(Work::FollowGroup(id, past.transition.reason));
                    }
                    self.check_presence();
                    self.put_off();
                }
            }
            // Reported when it was queued.
            Action::Notice(_) => {}
        }
    }

    /// Announces the addresses of the router, now or as soon as the rate limit allows.
    pub(super) fn announce(&mut self, announced: Announced) {
        if self.router.pace.announce(self.now.at, announced.occasion()) {
            self.put_out(Output::Announce(self.id, announced));
        }
        self.put_off();
    }

    fn put_off(&mut self) {
        if let Some(at) = self.router.pace.due_at() {
            self.agenda.put_off.insert(self.id, at);
        }
    }

    /// Executes delayed work that is due.
    pub(super) fn catch_up(&mut self) {
        let CaughtUp { unsaid, announces } = self.router.pace.catch_up(self.now.at);
        if unsaid > 0 {
            let (state, reason) = (self.router.state_told(), self.router.reason_now());
            self.log(Line::MoreTransitions(unsaid, state, reason));
        }
        // A router in transition to or from Master announces afterwards anyway.
        let announced = match announces.filter(|_| !self.router.is_busy()) {
            Some(occasion) if self.router.is_master() => Some(Announced::All(occasion)),
            // The delayed announcement was for addresses that the router has given back.
            Some(Occasion::Elsewhere) | None => None,
            Some(_) => Some(Announced::Own),
        };
        self.agenda.outputs.extend(announced.map(|announced| Output::Announce(self.id, announced)));
        self.put_off();
    }

    /// Handles the result of the advert that probes whether the router can send as Master.
    pub(super) fn tried(&mut self) {
        self.router.go_on();
        let failed = self.router.sending.is_on_trial();
        if failed {
            self.router.drop_promotion();
        }
        self.next(Task::Act);
        if failed {
            self.cannot_send();
        }
    }

    /// Handles that adverts of the router cannot be sent.
    pub(super) fn cannot_send(&mut self) {
        let pause = self.router.sending.give_up();
        self.agenda.to_try_sending.insert(self.id, self.now.at + pause);
        self.log(Line::CannotSend(pause));
        self.agenda.work.push_front(Work::CheckUsable(self.id));
    }
}
