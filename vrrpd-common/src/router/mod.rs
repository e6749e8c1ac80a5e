//! The state machine of one virtual router (RFC 9568 §6.4, RFC 3768 §6.4): events with their time in, actions out.
//!
//! It reads no clock, opens no socket and allocates nothing. Whoever drives it calls [`VirtualRouter::handle`] for
//! each event, carries out the actions in their order, and calls again with [`Event::Timer`] when
//! [`VirtualRouter::deadline`] has passed. Timers that come too early or twice are harmless.
//!
//! RFC 9568 says Active where this project says Master, as its users do.
//!
//! Beyond the RFC, take-overs are [damped](damping), and the interval that is learned from a master has a
//! [limit](learned_interval).
//!
//! Start reading at [`VirtualRouter::handle`]; there is a function for each state, and in it an arm for each event.

pub mod damping;
mod event;
mod fault;
mod reason;
mod state;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

pub use event::{Action, Cause, Event, Notice, Origin, Transition};
pub use fault::{Fault, Faults};
pub use reason::Reason;
pub use state::{Backup, HeardAdvert, Master, Rival, State, StateName, Waiting};

use crate::advert::{AddressDigest, Advert};
use crate::election::{BackupVerdict, MasterVerdict, backup_verdict, master_verdict};
use crate::params::{Interval, Priority, Version, Vrid};
use crate::time::{Duration, Instant};
use crate::timers::{learned_interval, master_down_interval, skew_time};
use damping::Damping;
use state::Preemption;

/// What does not change while the router lives, but for the group and the limit of what is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// The virtual router.
    pub vrid: Vrid,
    /// Protocol version.
    pub version: Version,
    /// The priority to start with.
    pub priority: Priority,
    /// Preempt_Mode (RFC 9568 §6.1): take over from a master of lower priority.
    pub preempt_mode: bool,
    /// Without `preempt_mode`: take over all the same from a master that advertises less than this.
    pub preempt_below: Option<Priority>,
    /// With `preempt_mode`: follow a lower master for this long, from its first advert on, before it is preempted.
    pub preempt_delay: Duration,
    /// Listen for this long after [`Event::Startup`] before becoming Master, an owner too.
    pub start_delay: Duration,
    /// Our own advertisement interval.
    pub interval: Interval,
    /// The longest Master_Adver_Interval to reckon with, whatever a master advertises; version 3.
    pub max_learned_interval: Interval,
    /// The virtual addresses, to notice that a peer announces others.
    pub addresses: AddressDigest,
    /// When gratuitous ARP or unsolicited neighbour advertisements are repeated.
    pub announce: AnnounceTimes,
    /// It is a member of a [group](crate::group): Master only when that says so.
    pub grouped: bool,
    /// A script is run before it takes the addresses.
    pub prepares: bool,
}

/// When a new master repeats the announcement of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AnnounceTimes {
    /// The second announcement comes this long after the first; `None`: there is no second.
    pub again_after: Option<Duration>,
    /// Further ones come at this interval; `None`: there are no further ones.
    pub then_every: Option<Duration>,
}

/// One virtual router on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VirtualRouter {
    config: Config,
    priority: Priority,
    forced_backup: bool,
    /// The primary address to send from, or why the router cannot serve.
    interface: Result<IpAddr, Faults>,
    damping: Damping,
    /// When the start delay ends.
    listens_until: Instant,
    /// As a Backup: whether a lower master is preempted yet.
    preemption: Preemption,
    state: State,
}

/// A master says again at most this often that its addresses are here, while others claim them.
const ANNOUNCE_SPACING: Duration = Duration::from_secs(1);
/// How long a router at least stays Backup after the system refused it the addresses.
const REFUSED_HOLD: Duration = Duration::from_secs(1);
/// A deadline missed by more than this (and more than a Master_Down_Interval) was missed by the whole machine.
const CLOCK_GAP: Duration = Duration::from_secs(1);
/// One that a Backup misses by more than this (and more than a Master_Down_Interval) may have been: what was sent
/// meanwhile is lost if the machine stood still, and was read before the timer is handled if only the process did. So it
/// listens once more, once: on a machine that is always late it takes over all the same.
const LATE: Duration = Duration::from_millis(100);

impl VirtualRouter {
    /// A router that waits for [`Event::Startup`], on an interface that is not usable until
    /// [`Event::InterfaceUp`].
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            priority: config.priority,
            forced_backup: false,
            interface: Err(Faults::of(Fault::NoAddress)),
            damping: Damping::FRESH,
            listens_until: Instant::ZERO,
            preemption: Preemption::Ready,
            state: State::Initialize,
        }
    }

    /// What does not change by itself.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The state with its deadlines.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The priority in force.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Whether an operator told this router to stand back.
    pub const fn forced_backup(&self) -> bool {
        self.forced_backup
    }

    /// The primary address that adverts are sent from; `None` while the interface cannot be used.
    pub fn source(&self) -> Option<IpAddr> {
        self.interface.ok()
    }

    /// The primary address, or why the router cannot serve.
    pub const fn interface(&self) -> Result<IpAddr, Faults> {
        self.interface
    }

    /// A member of a group that would be Master if its group were ready. It listens and says nothing.
    pub const fn is_willing(&self) -> bool {
        matches!(self.state, State::Backup(Backup { waiting: Waiting::ForGroup(_), .. }))
    }

    /// It has won its election, and a script prepares it for being Master. It listens and says nothing.
    pub const fn is_preparing(&self) -> bool {
        matches!(self.state, State::Backup(Backup { waiting: Waiting::ForScript(_), .. }))
    }

    /// A Backup that has won its election and waits for its script or its group. It has no deadline, and every advert
    /// counts.
    pub const fn has_won(&self) -> bool {
        self.is_preparing() || self.is_willing()
    }

    /// When [damping](damping) or the start delay lets it take over; `None` unless that is what it waits for.
    pub fn held_until(&self) -> Option<Instant> {
        match &self.state {
            State::Backup(backup) if backup.held => Some(self.takes_over_at(backup)),
            State::Initialize | State::Fault(_) | State::Backup(_) | State::Master(_) => None,
        }
    }

    /// Whether the start delay is what puts a take-over off the longest.
    pub fn is_in_start_delay(&self) -> bool {
        self.listens_until > self.damping.earliest()
    }

    /// When the delay of preemption under way ends; `None`: there is none.
    pub const fn preempts_at(&self) -> Option<Instant> {
        match (&self.state, self.preemption) {
            (State::Backup(_), Preemption::DelayedUntil(until)) => Some(until),
            (State::Initialize | State::Fault(_) | State::Backup(_) | State::Master(_), _) => None,
        }
    }

    /// The lowest priority of a master that it follows as a Backup.
    pub fn lowest_followed(&self) -> Priority {
        match &self.state {
            State::Backup(_) => self.lowest_followed_by(self.preemption),
            State::Initialize | State::Fault(_) | State::Master(_) => {
                self.lowest_followed_by(self.first_preemption())
            }
        }
    }

    /// Master_Adver_Interval (RFC 9568 §6.1): what the master advertises, up to the limit, or our own.
    pub fn master_adver_interval(&self) -> Interval {
        match &self.state {
            State::Backup(backup) => backup.master_adver_interval,
            State::Initialize | State::Fault(_) | State::Master(_) => self.config.interval,
        }
    }

    /// It is a member of a group from now on, or not any more. A Master stays Master. One that waits for a group which it
    /// leaves is to be given [`Event::GroupReady`], for nobody else will do so.
    pub const fn set_grouped(&mut self, grouped: bool) {
        self.config.grouped = grouped;
    }

    /// It is started in a daemon that already runs, to which the start delay does not apply.
    pub const fn skip_start_delay(&mut self) {
        self.config.start_delay = Duration::ZERO;
    }

    /// A script prepares it from the next take-over on, or does not any more.
    pub const fn set_prepares(&mut self, prepares: bool) {
        self.config.prepares = prepares;
    }

    /// What is learned from now on has this limit.
    pub const fn set_max_learned_interval(&mut self, limit: Interval) {
        self.config.max_learned_interval = limit;
    }

    /// When [`Event::Timer`] is due; `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Initialize
            | State::Fault(_)
            | State::Backup(Backup { waiting: Waiting::ForGroup(_) | Waiting::ForScript(_), .. }) => None,
            State::Backup(backup) => {
                let takes_over_at = self.takes_over_at(backup);
                Some(self.preempts_at().map_or(takes_over_at, |at| at.min(takes_over_at)))
            }
            State::Master(master) => {
                Some(master.announce_at.map_or(master.advert_at, |at| at.min(master.advert_at)))
            }
        }
    }

    /// Takes in an event that happened at `now` and says through `emit` what is to be done, in this order.
    pub fn handle(&mut self, now: Instant, event: Event, emit: &mut dyn FnMut(Action)) {
        // A machine that stood still believes what was true before. Nobody heard its adverts since, so another one
        // may be Master now: listen before acting.
        if let (State::Master(master), Event::Timer | Event::Advert(_)) = (&self.state, &event)
            && self.slept_through(now, master.advert_at)
        {
            emit(Action::GiveUpAddresses);
            self.become_backup(now, Reason::ClockGap, None, emit);
        }

        let may_end_preparation = self.is_preparing() && event != Event::Prepared;
        match self.state {
            State::Initialize => self.in_initialize(now, event, emit),
            State::Fault(faults) => self.in_fault(now, faults, event, emit),
            State::Backup(backup) => self.in_backup(now, backup, event, emit),
            State::Master(master) => self.in_master(now, master, event, emit),
        }
        if may_end_preparation && !self.is_preparing() {
            emit(Action::EndPreparation);
        }
    }

    /// RFC 9568 §6.4.1
    fn in_initialize(&mut self, now: Instant, event: Event, emit: &mut dyn FnMut(Action)) {
        match event {
            Event::Startup => {
                let delay = self.config.start_delay;
                if delay != Duration::ZERO {
                    self.listens_until = now + delay;
                    emit(Action::Notice(Notice::StartDelay(delay)));
                }
                match self.interface {
                    Ok(_) => self.begin(now, Reason::StartUp, emit),
                    Err(faults) => self.enter(State::Fault(faults), faults.reason(), None, emit),
                }
            }
            Event::InterfaceUp(source) => self.interface = Ok(source),
            Event::InterfaceDown(faults) => self.interface = Err(faults),
            Event::StandBack(_) => self.forced_backup = true,
            Event::Resume(_) => self.resume(),
            Event::Priority(priority) => self.set_priority(priority),
            Event::Shutdown
            | Event::Timer
            | Event::Advert(_)
            | Event::AddressesRefused
            | Event::AddressesLost
            | Event::StoodStill
            | Event::GroupReady { .. }
            | Event::GroupYields
            | Event::Prepared => {}
        }
    }

    /// The interface cannot be used: Initialize, until it can. RFC 9568 knows no links.
    fn in_fault(&mut self, now: Instant, faults: Faults, event: Event, emit: &mut dyn FnMut(Action)) {
        match event {
            Event::InterfaceUp(source) => {
                self.interface = Ok(source);
                let only_tracked = faults == Faults::of(Fault::TrackFailed);
                let reason = if only_tracked { Reason::TrackRecovered } else { Reason::LinkUp };
                self.begin(now, reason, emit);
            }
            Event::InterfaceDown(faults) => {
                self.interface = Err(faults);
                self.state = State::Fault(faults);
            }
            Event::Shutdown => self.enter(State::Initialize, Reason::Shutdown, None, emit),
            Event::StandBack(_) => self.forced_backup = true,
            Event::Resume(_) => self.resume(),
            Event::Priority(priority) => self.set_priority(priority),
            Event::Startup
            | Event::Timer
            | Event::Advert(_)
            | Event::AddressesRefused
            | Event::AddressesLost
            | Event::StoodStill
            | Event::GroupReady { .. }
            | Event::GroupYields
            | Event::Prepared => {}
        }
    }

    /// RFC 9568 §6.4.2
    fn in_backup(&mut self, now: Instant, backup: Backup, event: Event, emit: &mut dyn FnMut(Action)) {
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
                // A lower master that was to be preempted is one to be followed now.
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
                // Skew_Time follows the priority; what was waited already counts.
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

    /// RFC 9568 §6.4.3
    fn in_master(&mut self, now: Instant, mut master: Master, event: Event, emit: &mut dyn FnMut(Action)) {
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
                if master.announce_at.is_some_and(|at| now >= at) {
                    emit(Action::AnnounceAddresses);
                    master.announce_at = self.config.announce.then_every.map(|every| now + every);
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
            // No advert has gone out yet, so there is nothing to resign from.
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
            // Nobody heard its adverts meanwhile.
            Event::StoodStill => {
                emit(Action::GiveUpAddresses);
                self.become_backup(now, Reason::ClockGap, None, emit);
            }
            Event::Startup | Event::GroupReady { .. } | Event::Prepared => {}
        }
    }

    /// Others have their turn before the system is asked for the addresses again.
    fn do_without_addresses(&mut self, now: Instant, emit: &mut dyn FnMut(Action)) {
        emit(Action::GiveUpAddresses);
        self.become_backup(now, Reason::AddressRefused, None, emit);
        if let State::Backup(backup) = &mut self.state {
            backup.armed_at += REFUSED_HOLD;
            backup.master_down_at += REFUSED_HOLD;
        }
    }

    /// RFC 9568 §6.4.1, on a usable interface. During the start delay an owner begins as Backup.
    fn begin(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
        if self.priority == Priority::OWNER && !self.forced_backup && now >= self.listens_until {
            self.may_be_master(now, reason, emit);
        } else {
            self.become_backup(now, reason, None, emit);
        }
    }

    /// Takes part in elections again, and what it did before is forgotten.
    const fn resume(&mut self) {
        self.forced_backup = false;
        self.damping = Damping::FRESH;
        self.listens_until = Instant::ZERO;
    }

    /// Who gives a router a higher priority wants it to take over.
    fn set_priority(&mut self, priority: Priority) {
        if priority > self.priority {
            self.damping = Damping::FRESH;
        }
        self.priority = priority;
    }

    /// When a Backup takes over if nothing happens.
    fn takes_over_at(&self, backup: &Backup) -> Instant {
        if backup.held { backup.master_down_at.max(self.earliest()) } else { backup.master_down_at }
    }

    /// When damping and the start delay allow a take-over.
    fn earliest(&self) -> Instant {
        self.damping.earliest().max(self.listens_until)
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
            // The interval of the master that leaves is still the one to reckon with. Said again, it does not put off
            // what it announced the first time.
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
                // Another router, already resigned, may be followed by one that we preempt: the shorter wait counts.
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
                    emit(Action::AnnounceAddresses);
                    master.announce_after = now + ANNOUNCE_SPACING;
                    master.announce_at = Some(now + ANNOUNCE_SPACING);
                }
                self.state = State::Master(master);
                return;
            }
            MasterVerdict::YieldToPriority | MasterVerdict::YieldToAddress
                if master.holds_on(now, self.learned_from(&advert)) =>
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

    /// Advertises at once, since another router may hold the addresses or others wait to take over; at most once an
    /// interval, since what is answered may be a flood.
    fn answer(&self, now: Instant, master: &mut Master, emit: &mut dyn FnMut(Action)) {
        if now >= master.assert_after {
            emit(Action::SendAdvert(self.priority));
            master.advert_at = self.next_advert(now);
            master.assert_after = master.advert_at;
        }
    }

    /// Says once per change that a master does not advertise what we would.
    fn notice_differences(&self, before: Option<Advert>, advert: &Advert, emit: &mut dyn FnMut(Action)) {
        if advert.interval != self.config.interval && before.map(|b| b.interval) != Some(advert.interval) {
            let limit = self.config.max_learned_interval;
            emit(Action::Notice(match self.config.version {
                Version::V3 if advert.interval > limit => {
                    Notice::IntervalExceedsLimit { advert: *advert, limit }
                }
                Version::V2 | Version::V3 => Notice::IntervalDiffers(*advert),
            }));
        }
        if advert.addresses != self.config.addresses && before.map(|b| b.addresses) != Some(advert.addresses)
        {
            emit(Action::Notice(Notice::AddressesDiffer(*advert)));
        }
    }

    /// The election is won. A script may have to prepare for what follows, while the router listens on.
    fn may_be_master(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
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

    /// Nothing is in the way any more but the group: a member waits until all the others have won their elections.
    fn go_on(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
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

    /// The addresses first, and nobody is told before they are there (RFC 9568 §8.1.2).
    fn become_master(&mut self, now: Instant, reason: Reason, hold: Duration, emit: &mut dyn FnMut(Action)) {
        let cause = match &self.state {
            State::Backup(backup) => {
                // An owner in a group, or with a script that prepares it, only passes Backup.
                if !reason.is_beginning() {
                    self.damping.took_over(now, self.interface.ok());
                }
                backup.cause.filter(|_| reason.is_another_router())
            }
            State::Initialize | State::Fault(_) | State::Master(_) => None,
        };
        emit(Action::TakeAddresses);
        emit(Action::SendAdvert(self.priority));
        emit(Action::AnnounceAddresses);
        let next = Master {
            advert_at: self.next_advert(now),
            announce_at: self.config.announce.again_after.map(|after| now + after),
            assert_after: now,
            announce_after: now + ANNOUNCE_SPACING,
            hold,
            rival: None,
        };
        self.enter(State::Master(next), reason, cause, emit);
    }

    /// Waits for a master to fall silent. Which interval that goes by is learned from the advert that made us Backup
    /// (RFC 9568 §6.4.3), or our own.
    fn become_backup(
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

    /// A Backup that was about to take over, or is willing to, follows the master that it hears if that is what its
    /// advert would make it do now.
    fn reconsider(&mut self, now: Instant, backup: Backup) {
        let Some(heard) = backup.master else { return };
        let next = self.following(heard);
        let verdict = backup_verdict(heard.advert.priority, self.lowest_followed_by(self.preemption));
        let lives = match backup.waiting {
            // Heard within the wait that is under way.
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

    fn enter(&mut self, next: State, reason: Reason, cause: Option<Cause>, emit: &mut dyn FnMut(Action)) {
        let from = self.state.name();
        self.state = next;
        emit(Action::Transition(Transition { from, to: next.name(), reason, cause }));
    }

    /// A Backup whose master was heard just now.
    fn following(&self, heard: HeardAdvert) -> Backup {
        self.waiting_for_silence(heard.at, self.learned_from(&heard.advert), Some(heard))
    }

    /// Master_Adver_Interval of a master that advertises this.
    fn learned_from(&self, advert: &Advert) -> Interval {
        let Config { version, interval, max_learned_interval, .. } = self.config;
        learned_interval(version, interval, advert.interval, max_learned_interval)
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

    /// A Backup that may have missed adverts hears what there is to hear before it acts.
    fn listening_again(&self, now: Instant, backup: Backup) -> Backup {
        let next = self.waiting_for_silence(now, backup.master_adver_interval, backup.master);
        Backup { waiting: Waiting::AfterGap, cause: backup.cause, ..next }
    }

    fn wait(&self, waiting: Waiting, interval: Interval) -> Duration {
        match waiting {
            Waiting::ForSilence
            | Waiting::AfterGap
            | Waiting::ToPreempt
            | Waiting::ForGroup(_)
            | Waiting::ForScript(_) => master_down_interval(self.config.version, self.priority, interval),
            Waiting::AfterResignation => skew_time(self.config.version, self.priority, interval),
        }
    }

    fn next_advert(&self, now: Instant) -> Instant {
        now + self.config.interval.as_duration()
    }

    fn lowest_followed_by(&self, preemption: Preemption) -> Priority {
        const ANY: Priority = Priority(1);
        let Config { preempt_mode, preempt_below, .. } = self.config;
        match preemption {
            Preemption::Idle | Preemption::DelayedUntil(_) => ANY,
            Preemption::Ready if self.forced_backup => ANY,
            Preemption::Ready if preempt_mode => self.priority,
            Preemption::Ready => preempt_below.unwrap_or(ANY).min(self.priority),
        }
    }

    /// Where the delay of preemption is before a lower master is heard. An owner does not wait.
    fn first_preemption(&self) -> Preemption {
        if self.config.preempt_delay == Duration::ZERO || self.priority == Priority::OWNER {
            Preemption::Ready
        } else {
            Preemption::Idle
        }
    }

    /// A master of this priority is heard at `now`: a lower one begins the delay of preemption, one that is not lower
    /// resets it.
    fn delay_preemption(&mut self, now: Instant, master: Priority) {
        if self.config.preempt_delay == Duration::ZERO {
            return;
        }
        self.preemption = match self.preemption {
            preemption if master == Priority::RESIGN => preemption.at(now),
            _ if master >= self.priority => self.first_preemption(),
            Preemption::Idle => Preemption::DelayedUntil(now + self.config.preempt_delay),
            preemption @ (Preemption::DelayedUntil(_) | Preemption::Ready) => preemption.at(now),
        };
    }

    fn slept_through(&self, now: Instant, deadline: Instant) -> bool {
        self.is_late_by(now, deadline, CLOCK_GAP)
    }

    fn may_have_missed_adverts(&self, now: Instant, backup: Backup) -> bool {
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
        let patience = self.wait(Waiting::ForSilence, self.master_adver_interval());
        now.saturating_since(deadline) > tolerance.max(patience)
    }
}
