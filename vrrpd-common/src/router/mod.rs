//! The state machine of one virtual router (RFC 9568 §6.4, RFC 3768 §6.4): events with their time in, actions out.
//!
//! It reads no clock, opens no socket and allocates nothing. The caller passes each event to [`VirtualRouter::handle`],
//! carries out the actions in order, and sends [`Event::Timer`] when [`VirtualRouter::deadline`] has passed. A timer event
//! that comes too early or twice is harmless.
//!
//! RFC 9568 says Active where this project says Master, as its users do.
//!
//! Beyond the RFC, take-overs are [damped](damping), and the interval that is learned from a master has a
//! [limit](learned_interval).
//!
//! Start reading at [`VirtualRouter::handle`]; there is a function for each state, those of a Backup and a Master in files of
//! their own, and in it an arm for each event.

mod backup;
pub mod damping;
mod event;
mod fault;
mod lateness;
mod master;
mod preemption;
mod reason;
mod state;
mod steady;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

pub use event::{Action, Cause, Event, Notice, Occasion, Origin, Transition};
pub use fault::{Fault, Faults};
pub use reason::Reason;
pub use state::{Backup, HeardAdvert, Master, NEVER, Rival, State, StateName, Waiting};

use crate::advert::{AddressDigest, Advert};
use crate::params::{Interval, Priority, Version, Vrid};
use crate::time::{Duration, Instant};
use crate::timers::learned_interval;
use damping::Damping;
use preemption::Preemption;

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
    /// Upper limit of the Master_Adver_Interval that is learned from a master; version 3.
    pub max_learned_interval: Interval,
    /// How many intervals of silence make a master lost, besides Skew_Time; 1 to 100, RFC 9568 §6.1 has 3.
    pub down_multiplier: u8,
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
    /// From the first one on, further ones come at this interval; `None`: there are no further ones.
    pub refresh_every: Option<Duration>,
    /// From the first one on, those on other interfaces come at this interval as well; `None`: they do not.
    pub elsewhere_every: Option<Duration>,
    /// After an announcement upon an advert of lower priority, another one comes after this time; `None`: there is no other.
    pub after_lower: Option<Duration>,
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

    /// When the current preemption delay ends; `None`: no delay runs.
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
    /// leaves must be given [`Event::GroupReady`] by the caller.
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
            State::Master(master) => Some(master.advert_at.min(master.announce_at())),
        }
    }

    /// Takes in an event that happened at `now` and says through `emit` what is to be done, in this order.
    pub fn handle(&mut self, now: Instant, event: Event, emit: &mut dyn FnMut(Action)) {
        // The machine was suspended. Its adverts were missing meanwhile, so another router may be Master now: listen
        // before acting.
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

    /// When damping and the start delay allow a take-over.
    fn earliest(&self) -> Instant {
        self.damping.earliest().max(self.listens_until)
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

    fn enter(&mut self, next: State, reason: Reason, cause: Option<Cause>, emit: &mut dyn FnMut(Action)) {
        let from = self.state.name();
        self.state = next;
        emit(Action::Transition(Transition { from, to: next.name(), reason, cause }));
    }

    /// Master_Adver_Interval of a master that advertises this.
    fn learned_from(&self, advert: &Advert) -> Interval {
        let Config { version, interval, max_learned_interval, .. } = self.config;
        learned_interval(version, interval, advert.interval, max_learned_interval)
    }
}
