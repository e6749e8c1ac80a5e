//! The kernel's part of a virtual router: records adverts, runs the master-down timer, and reports changes. Roles are
//! decided by [`crate::router`] in the daemon only.
//!
//! Pure: the program in the kernel calls these functions while holding the router's lock, tests call them on the host.
//! Start reading at [`RouterRecord::take`].
//!
//! # The timer
//! An advert only stores a later deadline. The timer fires at the old deadline, finds the new one and arms itself
//! again: one timer operation per Master_Down_Interval for any number of adverts. Only a deadline before
//! [`RouterRecord::timer_at`] moves the timer.
//!
//! # Races and their outcome
//! * *Advert between expiry and role change.* The daemon becomes Master, sends the command, and reads the record once
//!   more: [`RouterRecord::followed`], [`RouterRecord::resigned`] and [`RouterRecord::heard`] that are newer than its
//!   last read go through its state machine, which yields to them if necessary. An advert after the command is reported
//!   as to any Master.
//! * *Resignation beside other adverts.* It has its own field in the record, so that a lower advert does not hide why
//!   the deadline was brought forward, and its own report to a Backup.
//! * *An event in user space while the master lives.* The kernel has not reported the master's adverts, so the daemon
//!   reads the record before its state machine handles any event other than an advert or the timer.
//! * *Expiry event older than the last advert.* Before it acts on an expiry, the daemon hands the record's adverts to
//!   its state machine. Their deadline is in the future then, and the timer event has no effect.
//! * *Role change while adverts arrive.* A [`KernelCommand`] is executed under the lock that each advert takes. Adverts
//!   unknown to the daemon when it sent the command ([`KernelCommand::known_until`]) are judged again under the new
//!   configuration, so that no advert is lost and the daemon's deadline does not overwrite a newer one.
//! * *Half an old configuration.* The checks of an advert are read without the lock, its effect under it.
//!   [`KernelConfig::generation`] is read before and compared under the lock; if it has changed, the advert is passed
//!   on instead of counted. A command writes it last. It need not change with the role.
//! * *Ring buffer full.* Adverts are in the record anyway. An expiry is retried shortly
//!   ([`RouterRecord::ring_is_full`]). A delivered expiry is repeated after [`EXPIRY_REPEAT`] unless the deadline or
//!   the role changes, in case the daemon did not act on it.
//! * *Readers without a lock.* They use [`RouterRecord::sequence`] (seqlock).

use crate::abi::{
    EventKind, KernelAdvert, KernelCommand, KernelConfig, KernelRole, RouterRecord, address, family_of,
};
use crate::election::{BackupVerdict, MasterVerdict, backup_verdict, master_verdict};
use crate::params::{Family, Interval, Priority};
use crate::time::{Duration, Instant};
use crate::timers::{learned_interval, master_down_interval, skew_time};

/// Time after which an expiry is repeated if nothing changes.
pub const EXPIRY_REPEAT: Duration = Duration::from_secs(1);
/// Time after which an expiry is retried when the ring buffer is full, doubled each time in a row.
pub const RING_RETRY: Duration = Duration::from_millis(1);
/// Maximum number of doublings: to 128 ms, so that a stopped daemon costs almost nothing.
const RING_RETRY_DOUBLINGS: u8 = 7;

/// Work left after an advert or a command, once the lock is released: no helper may be called under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deferred {
    /// Arm the timer for [`RouterRecord::timer_at`].
    pub arm: bool,
    /// Write [`RouterRecord::event`] to the ring buffer.
    pub report: bool,
}

/// What the timer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: there is no deadline any more.
    Nothing,
    /// Fire again at [`RouterRecord::timer_at`]: the master was heard.
    Later,
    /// Report the expiry, and fire again at [`RouterRecord::timer_at`].
    Expired,
}

impl RouterRecord {
    /// Handles a valid advert.
    #[inline(always)]
    pub fn take(&mut self, config: &KernelConfig, family: Family, heard: KernelAdvert) -> Deferred {
        self.adverts += 1;
        let news = !heard.says_the_same_as(&self.heard);
        self.heard = heard;
        let report = match config.role() {
            KernelRole::None | KernelRole::Init => {
                if heard.priority == Priority::RESIGN.0 {
                    self.resigned = heard;
                }
                false
            }
            KernelRole::Backup => {
                if self.judge_as_backup(config, family, heard) {
                    self.may_report_urgently(heard.at, config.report_spacing)
                } else {
                    (news || self.unreported != 0) && self.may_report(heard.at, config.report_spacing)
                }
            }
            KernelRole::Master => match verdict_of_master(config, family, &heard) {
                MasterVerdict::YieldToPriority | MasterVerdict::YieldToAddress => {
                    self.followed = heard;
                    self.may_report_urgently(heard.at, config.report_spacing)
                }
                MasterVerdict::Resigned => {
                    self.resigned = heard;
                    self.may_report_urgently(heard.at, config.report_spacing)
                }
                MasterVerdict::Assert => self.may_report(heard.at, config.report_spacing),
            },
        };
        Deferred { arm: self.timer_is_too_late(), report }
    }

    /// Executes a command of the daemon.
    #[inline(always)]
    pub fn obey(&mut self, command: &KernelCommand) -> Deferred {
        let (config, family) = (&command.config, family_of(command.slot));
        if !self.is_of(command.interface, command.slot) || config.role() == KernelRole::None {
            self.begin(command.interface, command.slot);
        }
        if self.role != config.role {
            self.role = config.role;
            self.report_after = 0;
            self.urgent_after = 0;
            // A preemption delay starts with the next advert of a lower master, even if it equals the last one.
            self.unreported = config.lowest_followed ^ config.priority;
            self.ring_full_in_a_row = 0;
        }
        self.abi = command.abi;
        self.generation = config.generation;
        self.master_interval = command.master_interval;
        match config.role() {
            KernelRole::None | KernelRole::Init | KernelRole::Master => self.deadline = 0,
            KernelRole::Backup => {
                self.deadline = command.deadline;
                // Adverts in between were judged under the old role; now they count for a Backup. A heard master
                // postpones the deadline; only a resignation brings it forward.
                let (followed, resigned, heard) = (self.followed, self.resigned, self.heard);
                let mut known_until = command.known_until;
                if followed.at > known_until {
                    self.judge_as_backup(config, family, followed);
                    self.deadline = self.deadline.max(command.deadline);
                    known_until = followed.at;
                }
                if resigned.at > known_until {
                    self.judge_as_backup(config, family, resigned);
                    known_until = resigned.at;
                }
                if heard.at > known_until {
                    let before = self.deadline;
                    self.judge_as_backup(config, family, heard);
                    if heard.priority != Priority::RESIGN.0 {
                        self.deadline = self.deadline.max(before);
                    }
                }
            }
        }
        Deferred { arm: self.timer_is_too_late(), report: false }
    }

    /// Handles the timer at `now`.
    #[inline(always)]
    pub fn look_at_deadline(&mut self, now: Instant) -> Due {
        self.timer_runs += 1;
        if self.deadline == 0 {
            self.timer_at = 0;
            return Due::Nothing;
        }
        if now.as_nanos() < self.deadline {
            self.timer_at = self.deadline;
            return Due::Later;
        }
        self.expiries += 1;
        self.timer_at = (now + EXPIRY_REPEAT).as_nanos();
        Due::Expired
    }

    /// Notes that the event was written to the ring buffer.
    #[inline(always)]
    pub fn ring_takes_it(&mut self) {
        self.events += 1;
        self.ring_full_in_a_row = 0;
    }

    /// Notes that the ring buffer was full for the event found at `now`. An advert is in the record anyway, and the
    /// next one is reported; for an expiry the timer fires again soon.
    #[inline(always)]
    pub fn ring_is_full(&mut self, kind: EventKind, now: Instant) {
        self.events_lost += 1;
        self.unreported = 1;
        if matches!(kind, EventKind::Advert) {
            return;
        }
        let retry = now.as_nanos() + (RING_RETRY.as_nanos() << (self.ring_full_in_a_row & 7));
        if self.ring_full_in_a_row < RING_RETRY_DOUBLINGS {
            self.ring_full_in_a_row += 1;
        }
        if self.timer_at == 0 || self.timer_at > retry {
            self.timer_at = retry;
        }
    }

    /// RFC 9568 §6.4.2, receipt of an advertisement; returns whether it is a resignation that counts.
    #[inline(always)]
    fn judge_as_backup(&mut self, config: &KernelConfig, family: Family, heard: KernelAdvert) -> bool {
        let verdict = backup_verdict(Priority(heard.priority), Priority(config.lowest_followed));
        let (own, version) = (Priority(config.priority), config.version(family));
        match verdict {
            BackupVerdict::Discard => false,
            BackupVerdict::Follow => {
                self.followed = heard;
                let stored = |centis| Interval::from_stored(centis).unwrap_or(Interval::DEFAULT);
                let (ours, theirs) = (stored(config.interval), stored(heard.interval));
                self.master_interval =
                    learned_interval(version, ours, theirs, config.max_learned_interval()).as_centis();
                let wait = master_down_interval(version, own, self.master_interval(), config.down_multiplier);
                self.deadline = heard.at.saturating_add(wait.as_nanos());
                false
            }
            // The interval of the resigning master stays in use. A repeated resignation does not postpone the
            // take-over.
            BackupVerdict::Resigned => {
                let wait = skew_time(version, own, self.master_interval());
                let deadline = heard.at.saturating_add(wait.as_nanos());
                let counts = deadline < self.deadline || self.resigned.at <= self.followed.at;
                self.deadline = self.deadline.min(deadline);
                if counts {
                    self.resigned = heard;
                }
                counts
            }
        }
    }

    #[inline(always)]
    fn master_interval(&self) -> Interval {
        Interval::from_stored(self.master_interval).unwrap_or(Interval::DEFAULT)
    }

    /// Whether the timer has to be brought forward; sets [`RouterRecord::timer_at`] if so.
    #[inline(always)]
    fn timer_is_too_late(&mut self) -> bool {
        let too_late = self.deadline != 0 && (self.timer_at == 0 || self.deadline < self.timer_at);
        if too_late {
            self.timer_at = self.deadline;
        }
        too_late
    }

    #[inline(always)]
    fn may_report(&mut self, at: u64, spacing: u64) -> bool {
        if at < self.report_after {
            self.events_withheld += 1;
            self.unreported = 1;
            return false;
        }
        self.report_after = at.saturating_add(spacing);
        self.unreported = 0;
        true
    }

    /// Urgent events, on which a Master or soon a Backup acts, have separate spacing, so that a flood of lower adverts
    /// cannot hide them.
    #[inline(always)]
    fn may_report_urgently(&mut self, at: u64, spacing: u64) -> bool {
        if at < self.urgent_after {
            self.events_withheld += 1;
            self.unreported = 1;
            return false;
        }
        self.urgent_after = at.saturating_add(spacing);
        true
    }
}

#[inline(always)]
fn verdict_of_master(config: &KernelConfig, family: Family, heard: &KernelAdvert) -> MasterVerdict {
    master_verdict(
        Priority(heard.priority),
        address(family, heard.source),
        Priority(config.priority),
        address(family, config.source),
    )
}

#[cfg(test)]
mod tests;
