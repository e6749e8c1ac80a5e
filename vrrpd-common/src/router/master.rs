//! The state Master (RFC 9568 §6.4.3), and becoming Master.

use super::state::{NEVER, after};
use super::{Action, Event, HeardAdvert, Master, Notice, Occasion, Reason, State, VirtualRouter, Waiting};
use crate::advert::Advert;
use crate::election::{MasterVerdict, master_verdict};
use crate::params::Priority;
use crate::time::{Duration, Instant};

/// Minimum interval of announcements upon lower-priority adverts.
const ANNOUNCE_SPACING: Duration = Duration::from_secs(1);
/// Minimum time as Backup after the system refused the addresses.
const REFUSED_HOLD: Duration = Duration::from_secs(1);

impl VirtualRouter {
    /// RFC 9568 §6.4.3
    pub(super) fn in_master(
        &mut self,
        now: Instant,
        mut master: Master,
        event: Event,
        emit: &mut dyn FnMut(Action),
    ) {
        match event {
            Event::Shutdown => {
                emit(Action::SendAdvert(Priority::RESIGN));
                emit(Action::GiveUpAddresses);
                self.enter(State::Initialize, Reason::Shutdown, None, emit);
            }
            Event::Timer => {
                if now >= master.advert_at {
                    emit(Action::SendAdvert(self.priority));
                    master.advert_sent(now, self.config.interval);
                }
                if let Some(occasion) = master.announces(now, &self.config.announce) {
                    emit(Action::AnnounceAddresses(occasion));
                }
                self.state = State::Master(master);
            }
            Event::Advert(advert) => self.advert_to_master(now, master, advert, emit),
            Event::InterfaceUp(source) => self.interface = Ok(source),
            Event::InterfaceDown(faults) => {
                self.interface = Err(faults);
                if faults.allow_resignation() {
                    emit(Action::SendAdvert(Priority::RESIGN));
                }
                emit(Action::GiveUpAddresses);
                self.enter(State::Fault(faults), faults.reason(), None, emit);
            }
            Event::StandBack(origin) => {
                self.forced_backup = true;
                emit(Action::SendAdvert(Priority::RESIGN));
                emit(Action::GiveUpAddresses);
                self.become_backup(now, origin.reason(), None, emit);
            }
            Event::Resume(_) => self.resume(),
            Event::Priority(priority) => {
                if self.priority != priority {
                    self.set_priority(priority);
                    emit(Action::SendAdvert(priority));
                    self.state = State::Master(Master { advert_at: self.next_advert(now), ..master });
                }
            }
            // No advert was sent yet, so there is nothing to resign from.
            Event::AddressesRefused => self.do_without_addresses(now, emit),
            Event::AddressesLost => {
                emit(Action::SendAdvert(Priority::RESIGN));
                self.do_without_addresses(now, emit);
            }
            Event::GroupYields => {
                emit(Action::SendAdvert(Priority::RESIGN));
                emit(Action::GiveUpAddresses);
                self.become_backup(now, Reason::Group, None, emit);
            }
            // It sent no adverts meanwhile.
            Event::StoodStill => {
                emit(Action::GiveUpAddresses);
                self.become_backup(now, Reason::ClockGap, None, emit);
            }
            Event::Startup | Event::GroupReady { .. } | Event::Prepared => {}
        }
    }

    /// RFC 9568 §6.4.3, receipt of an advertisement.
    fn advert_to_master(
        &mut self,
        now: Instant,
        mut master: Master,
        advert: Advert,
        emit: &mut dyn FnMut(Action),
    ) {
        let Ok(own) = self.interface else { return };
        let reason = match master_verdict(advert.priority, advert.source, self.priority, own) {
            MasterVerdict::Resigned => {
                self.answer(now, &mut master, emit);
                self.state = State::Master(master);
                return;
            }
            MasterVerdict::Assert => {
                self.answer(now, &mut master, emit);
                if now >= master.announce_after {
                    emit(Action::Notice(Notice::LowerMaster(advert)));
                    emit(Action::AnnounceAddresses(Occasion::LowerMaster));
                    master.announce_after = now + ANNOUNCE_SPACING;
                    master.after_lower_at = after(now, self.config.announce.after_lower);
                }
                self.state = State::Master(master);
                return;
            }
            MasterVerdict::YieldToPriority | MasterVerdict::YieldToAddress
                if master.holds_on(now, self.learned_from(&advert), self.config.down_multiplier) =>
            {
                self.state = State::Master(master);
                return;
            }
            MasterVerdict::YieldToPriority => Reason::HigherPriorityAdvert,
            MasterVerdict::YieldToAddress => Reason::EqualPriorityHigherAddress,
        };
        self.notice_differences(None, &advert, emit);
        emit(Action::GiveUpAddresses);
        self.become_backup(now, reason, Some(HeardAdvert { advert, at: now }), emit);
    }

    /// Advertises at once, since another router may have the addresses or others wait to take over; at most once per
    /// interval, since the adverts may be a flood.
    fn answer(&self, now: Instant, master: &mut Master, emit: &mut dyn FnMut(Action)) {
        if now >= master.assert_after {
            emit(Action::SendAdvert(self.priority));
            master.advert_at = self.next_advert(now);
            master.assert_after = master.advert_at;
        }
    }

    /// Handles a won election. If a `prepare` script has to run first, the router listens meanwhile.
    pub(super) fn may_be_master(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
        if !self.config.prepares {
            return self.go_on(now, reason, emit);
        }
        if !matches!(self.state, State::Backup(_)) {
            self.become_backup(now, reason, None, emit);
        }
        if let State::Backup(backup) = &mut self.state
            && !matches!(backup.waiting, Waiting::ForScript(_) | Waiting::ForGroup(_))
        {
            backup.waiting = Waiting::ForScript(reason);
            backup.held = false;
            emit(Action::Prepare);
        }
    }

    /// Only the group is left to wait for: a member waits until all others have won their elections.
    pub(super) fn go_on(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
        if !self.config.grouped {
            self.become_master(now, reason, Duration::ZERO, emit);
            return;
        }
        if !matches!(self.state, State::Backup(_)) {
            self.become_backup(now, reason, None, emit);
        }
        if let State::Backup(backup) = &mut self.state
            && !matches!(backup.waiting, Waiting::ForGroup(_))
        {
            backup.waiting = Waiting::ForGroup(reason);
            backup.held = false;
        }
    }

    /// Takes the addresses, and advertises only once they are held (RFC 9568 §8.1.2).
    pub(super) fn become_master(
        &mut self,
        now: Instant,
        reason: Reason,
        hold: Duration,
        emit: &mut dyn FnMut(Action),
    ) {
        let cause = match &self.state {
            State::Backup(backup) => {
                // An owner in a group, or with a `prepare` script, only passes through Backup.
                if !reason.is_beginning() {
                    self.damping.took_over(now, self.interface.ok());
                }
                backup.cause.filter(|_| reason.is_another_router())
            }
            State::Initialize | State::Fault(_) | State::Master(_) => None,
        };
        emit(Action::TakeAddresses);
        emit(Action::SendAdvert(self.priority));
        emit(Action::AnnounceAddresses(Occasion::TakeOver));
        let announce = &self.config.announce;
        let next = Master {
            advert_at: self.next_advert(now),
            announce_again_at: after(now, announce.again_after),
            refresh_at: after(now, announce.refresh_every),
            elsewhere_at: after(now, announce.elsewhere_every),
            after_lower_at: NEVER,
            assert_after: now,
            announce_after: now + ANNOUNCE_SPACING,
            hold,
            rival: None,
        };
        self.enter(State::Master(next), reason, cause, emit);
    }

    fn next_advert(&self, now: Instant) -> Instant {
        now + self.config.interval.as_duration()
    }

    /// Other routers get their turn before the addresses are requested again.
    fn do_without_addresses(&mut self, now: Instant, emit: &mut dyn FnMut(Action)) {
        emit(Action::GiveUpAddresses);
        self.become_backup(now, Reason::AddressRefused, None, emit);
        if let State::Backup(backup) = &mut self.state {
            backup.armed_at += REFUSED_HOLD;
            backup.master_down_at += REFUSED_HOLD;
        }
    }
}
