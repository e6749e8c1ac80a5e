//! The state Backup (RFC 9568 §6.4.2): follows a master, and takes over when it is silent, resigns or is to be
//! preempted.

use super::{
    Action, Backup, Cause, Config, Event, HeardAdvert, Notice, Reason, State, VirtualRouter, Waiting,
};
use crate::advert::Advert;
use crate::election::{BackupVerdict, MasterVerdict, backup_verdict, master_verdict};
use crate::params::Interval;
use crate::time::{Duration, Instant};
use crate::timers::{master_down_interval, skew_time};

impl VirtualRouter {
    /// RFC 9568 §6.4.2
    pub(super) fn in_backup(
        &mut self,
        now: Instant,
        backup: Backup,
        event: Event,
        emit: &mut dyn FnMut(Action),
    ) {
        match event {
            Event::Shutdown => self.enter(State::Initialize, Reason::Shutdown, None, emit),
            Event::Timer => {
                self.preemption = self.preemption.at(now);
                if now >= backup.master_down_at && !self.has_won() {
                    self.master_down(now, backup, emit);
                }
            }
            Event::Advert(advert) => self.advert_to_backup(now, backup, advert, emit),
            Event::InterfaceUp(source) => self.interface = Ok(source),
            Event::InterfaceDown(faults) => {
                self.interface = Err(faults);
                self.enter(State::Fault(faults), faults.reason(), None, emit);
            }
            Event::StandBack(_) => {
                self.forced_backup = true;
                // A lower master that was to be preempted may have to be followed now.
                self.reconsider(now, backup);
            }
            Event::Resume(origin) => {
                self.resume();
                if backup.held && now >= backup.master_down_at {
                    self.may_be_master(now, origin.reason(), emit);
                } else if let (Some(HeardAdvert { advert, .. }), Ok(own)) = (backup.master, self.interface)
                    && master_verdict(advert.priority, advert.source, self.priority, own)
                        == MasterVerdict::Assert
                {
                    self.may_be_master(now, origin.reason(), emit);
                }
            }
            Event::Priority(priority) => {
                self.set_priority(priority);
                if let Some(heard) = backup.master {
                    self.delay_preemption(now, heard.advert.priority);
                }
                if self.has_won() {
                    self.reconsider(now, backup);
                    return;
                }
                // Skew_Time depends on the priority; the time waited already counts.
                let wait = self.wait(backup.waiting, backup.master_adver_interval);
                self.state = State::Backup(Backup { master_down_at: backup.armed_at + wait, ..backup });
                // A lower master that was to be preempted may be a higher one now.
                self.reconsider(now, backup);
            }
            Event::GroupReady { hold } => {
                if let Waiting::ForGroup(reason) = backup.waiting {
                    self.become_master(now, reason, hold, emit);
                }
            }
            Event::StoodStill => {
                let next = self.listening_again(now, backup);
                let master_down_at = next.master_down_at.max(backup.master_down_at);
                self.state = State::Backup(Backup { master_down_at, ..next });
            }
            Event::Prepared => {
                if let Waiting::ForScript(reason) = backup.waiting {
                    self.go_on(now, reason, emit);
                }
            }
            Event::Startup | Event::AddressesRefused | Event::AddressesLost | Event::GroupYields => {}
        }
    }

    /// The Master_Down timer fired (RFC 9568 §6.4.2).
    fn master_down(&mut self, now: Instant, backup: Backup, emit: &mut dyn FnMut(Action)) {
        if self.may_have_missed_adverts(now, backup) {
            let late = now.saturating_since(self.takes_over_at(&backup));
            emit(Action::Notice(Notice::ClockGap(late)));
            self.state = State::Backup(self.listening_again(now, backup));
            return;
        }
        let earliest = self.earliest();
        if now < earliest {
            if !backup.held {
                if !self.is_in_start_delay() {
                    emit(Action::Notice(Notice::TakeOverHeld(earliest.saturating_since(now))));
                }
                self.state = State::Backup(Backup { held: true, ..backup });
            }
            return;
        }
        let reason = match backup.waiting {
            Waiting::ForSilence | Waiting::AfterGap => Reason::MasterDownTimer,
            Waiting::AfterResignation => Reason::MasterResigned,
            Waiting::ToPreempt => Reason::Preempted,
            Waiting::ForGroup(reason) | Waiting::ForScript(reason) => reason,
        };
        self.may_be_master(now, reason, emit);
    }

    /// RFC 9568 §6.4.2, receipt of an advertisement.
    fn advert_to_backup(
        &mut self,
        now: Instant,
        backup: Backup,
        advert: Advert,
        emit: &mut dyn FnMut(Action),
    ) {
        self.notice_differences(backup.master.map(|heard| heard.advert), &advert, emit);
        let heard = HeardAdvert { advert, at: now };
        self.delay_preemption(now, advert.priority);
        let next = match backup_verdict(advert.priority, self.lowest_followed_by(self.preemption)) {
            BackupVerdict::Follow => self.following(heard),
            BackupVerdict::Resigned if self.has_won() => Backup { master: None, ..backup },
            // The interval of the resigning master stays in use. A repeated resignation does not postpone the
            // take-over.
            BackupVerdict::Resigned => Backup {
                armed_at: now,
                master_down_at: (now + self.wait(Waiting::AfterResignation, backup.master_adver_interval))
                    .min(backup.master_down_at),
                waiting: Waiting::AfterResignation,
                master: None,
                cause: Some(Cause::from(&advert)),
                ..backup
            },
            BackupVerdict::Discard => match backup.waiting {
                // A router that has resigned already may be followed by one that we preempt: the shorter wait counts.
                Waiting::AfterResignation | Waiting::ForGroup(_) | Waiting::ForScript(_) => {
                    Backup { master: Some(heard), ..backup }
                }
                Waiting::ForSilence | Waiting::AfterGap | Waiting::ToPreempt => Backup {
                    waiting: Waiting::ToPreempt,
                    master: Some(heard),
                    cause: Some(Cause::from(&advert)),
                    ..backup
                },
            },
        };
        self.state = State::Backup(next);
    }

    /// A Backup that was about to take over, or is willing to, follows the master that it hears if its advert would
    /// have that effect now.
    fn reconsider(&mut self, now: Instant, backup: Backup) {
        let Some(heard) = backup.master else { return };
        let next = self.following(heard);
        let verdict = backup_verdict(heard.advert.priority, self.lowest_followed_by(self.preemption));
        let lives = match backup.waiting {
            // Heard within the present wait.
            Waiting::ToPreempt | Waiting::AfterResignation => true,
            // It may have been silent for long.
            Waiting::ForGroup(_) | Waiting::ForScript(_) => now < next.master_down_at,
            // Followed already.
            Waiting::ForSilence | Waiting::AfterGap => false,
        };
        if lives && verdict == BackupVerdict::Follow {
            self.state = State::Backup(next);
        }
    }

    /// Becomes Backup and waits for a master to fall silent. The interval is that of the advert that displaced us (RFC
    /// 9568 §6.4.3), or our own.
    pub(super) fn become_backup(
        &mut self,
        now: Instant,
        reason: Reason,
        master: Option<HeardAdvert>,
        emit: &mut dyn FnMut(Action),
    ) {
        let next = match master {
            Some(heard) => self.following(heard),
            None => self.waiting_for_silence(now, self.config.interval, None),
        };
        let cause = master.map(|heard| Cause::from(&heard.advert));
        self.preemption = self.first_preemption();
        self.enter(State::Backup(next), reason, cause, emit);
    }

    /// A Backup whose master was heard just now.
    fn following(&self, heard: HeardAdvert) -> Backup {
        self.waiting_for_silence(heard.at, self.learned_from(&heard.advert), Some(heard))
    }

    fn waiting_for_silence(&self, from: Instant, interval: Interval, master: Option<HeardAdvert>) -> Backup {
        Backup {
            armed_at: from,
            master_down_at: from + self.wait(Waiting::ForSilence, interval),
            waiting: Waiting::ForSilence,
            master_adver_interval: interval,
            master,
            cause: master.map(|heard| Cause::from(&heard.advert)),
            held: false,
        }
    }

    /// A Backup that may have missed adverts listens once more before it acts.
    fn listening_again(&self, now: Instant, backup: Backup) -> Backup {
        let next = self.waiting_for_silence(now, backup.master_adver_interval, backup.master);
        Backup { waiting: Waiting::AfterGap, cause: backup.cause, ..next }
    }

    pub(super) fn wait(&self, waiting: Waiting, interval: Interval) -> Duration {
        match waiting {
            Waiting::ForSilence
            | Waiting::AfterGap
            | Waiting::ToPreempt
            | Waiting::ForGroup(_)
            | Waiting::ForScript(_) => {
                let Config { version, down_multiplier, .. } = self.config;
                master_down_interval(version, self.priority, interval, down_multiplier)
            }
            Waiting::AfterResignation => skew_time(self.config.version, self.priority, interval),
        }
    }

    /// When a Backup takes over without further events.
    pub(super) fn takes_over_at(&self, backup: &Backup) -> Instant {
        if backup.held { backup.master_down_at.max(self.earliest()) } else { backup.master_down_at }
    }
}
