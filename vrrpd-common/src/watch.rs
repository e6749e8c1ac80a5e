//! The kernel's part in a virtual router: it notes adverts, times the master's silence, and reports what changes
//! something. Roles are decided by [`crate::router`] in the daemon, never here.
//!
//! Pure: the program in the kernel calls these functions with the router's lock held, tests call them on the host.
//! Start reading at [`RouterRecord::take`].
//!
//! # The timer
//! An advert only writes down a later deadline. The timer goes off at the old one, finds the new one and sets itself to
//! it: one timer operation per Master_Down_Interval, however many adverts come. Only a deadline before
//! [`RouterRecord::timer_at`] moves the timer.
//!
//! # Races, and who wins
//! * *Advert between expiry and role change.* The daemon becomes Master, commands it, and reads the record once more:
//!   [`RouterRecord::followed`], [`RouterRecord::resigned`] and [`RouterRecord::heard`] newer than what it knew go
//!   through its state machine, which yields to them if it has to. An advert after the command is reported to it as to
//!   any Master.
//! * *Resignation beside other adverts.* It has a place of its own in the record, so that no lower advert hides from the
//!   daemon why the deadline has come forward, and a report of its own to a Backup.
//! * *An event in user space while the master lives.* The kernel has reported nothing of that, so the daemon reads the
//!   record before its state machine handles anything that is not itself an advert or the timer.
//! * *Expiry event older than the last advert.* Before it acts on an expiry, the daemon feeds its state machine with
//!   the record's adverts. Their deadline is then in the future, and the state machine takes no notice of the timer.
//! * *KernelRole change while adverts arrive.* A [`KernelCommand`] is carried out under the lock that each advert takes. What the
//!   daemon had not heard of when it gave the command ([`KernelCommand::known_until`]) is gone through again under the new
//!   configuration, so that no advert is lost and the daemon's deadline does not overwrite a newer one.
//! * *Half an old configuration.* What an advert has to look like is read without the lock, what it does under it.
//!   [`KernelConfig::generation`] is read before it and compared under the lock; if it has changed meanwhile, the advert
//!   is passed on instead of counted. A command writes it behind everything else. It need not change with the role.
//! * *Ring full.* Adverts are in the record anyway. An expiry comes again shortly ([`RouterRecord::ring_is_full`]).
//!   An expiry that was delivered comes again after [`EXPIRY_REPEAT`] unless the deadline or the role changes, so that
//!   one which the daemon did not act upon is not the last.
//! * *Readers without a lock.* They go by [`RouterRecord::sequence`].

use crate::abi::{
    EventKind, KernelAdvert, KernelCommand, KernelConfig, KernelRole, RouterRecord, address, family_of,
};
use crate::election::{BackupVerdict, MasterVerdict, backup_verdict, master_verdict};
use crate::params::{Family, Interval, Priority};
use crate::time::{Duration, Instant};
use crate::timers::{learned_interval, master_down_interval, skew_time};

/// An expiry comes again after this long if nothing changes.
pub const EXPIRY_REPEAT: Duration = Duration::from_secs(1);
/// An expiry that found the ring full comes again after this long, doubled each time in a row.
pub const RING_RETRY: Duration = Duration::from_millis(1);
/// How often it is doubled: to 128 ms, so that a daemon that stands still costs next to nothing.
const RING_RETRY_DOUBLINGS: u8 = 7;

/// What an advert or a command leaves to be done once the lock is released: nothing under it may call the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Deferred {
    /// Set the timer to [`RouterRecord::timer_at`].
    pub arm: bool,
    /// Put [`RouterRecord::event`] into the ring.
    pub report: bool,
}

/// What the timer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: there is no deadline any more.
    Nothing,
    /// Look again at [`RouterRecord::timer_at`]: the master was heard.
    Later,
    /// Report the expiry, and look again at [`RouterRecord::timer_at`].
    Expired,
}

impl RouterRecord {
    /// An advert that passed every check.
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

    /// The daemon's command.
    #[inline(always)]
    pub fn obey(&mut self, command: &KernelCommand) -> Deferred {
        let (config, family) = (&command.config, family_of(command.slot));
        if !self.is_of(command.interface, command.slot) {
            self.begin(command.interface, command.slot);
        }
        if self.role != config.role {
            self.role = config.role;
            self.report_after = 0;
            self.urgent_after = 0;
            // A delay of preemption begins with the next advert of a lower master, also where that is the one heard last.
            self.unreported = config.lowest_followed ^ config.priority;
            self.ring_full_in_a_row = 0;
        }
        self.abi = command.abi;
        self.generation = config.generation;
        self.master_interval = command.master_interval;
        match config.role() {
            KernelRole::None => {
                self.deadline = 0;
                // Whoever has this number next starts with nothing.
                self.followed = KernelAdvert::default();
                self.resigned = KernelAdvert::default();
                self.heard = KernelAdvert::default();
            }
            KernelRole::Init | KernelRole::Master => self.deadline = 0,
            KernelRole::Backup => {
                self.deadline = command.deadline;
                // What came in meanwhile was judged as it had to be then; now it counts for a Backup. A master that was
                // heard puts the deadline off, never forward: only one that leaves does that.
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

    /// The timer ran at `now`.
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

    /// The ring has room for the event.
    #[inline(always)]
    pub fn ring_takes_it(&mut self) {
        self.events += 1;
        self.ring_full_in_a_row = 0;
    }

    /// The ring has no room for the event found at `now`. An advert is in the record all the same, and the next one is
    /// reported; for an expiry the timer looks again soon.
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
            // The interval of the master that leaves is still the one to reckon with. Said again, it does not put off
            // what it announced the first time.
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

    /// Whether the timer has to be moved; sets [`RouterRecord::timer_at`] if so.
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

    /// What makes a Master act, or a Backup soon, has a spacing of its own, so that no flood of lower adverts can hide it.
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
