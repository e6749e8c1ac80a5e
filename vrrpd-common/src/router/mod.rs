//! The state machine of one virtual router (RFC 9568 §6.4, RFC 3768 §6.4): timed events in, actions out.
//!
//! It reads no clock, opens no socket and allocates nothing. The caller passes each event to [`VirtualRouter::handle`],
//! executes the actions in order, and sends [`Event::Timer`] when [`VirtualRouter::deadline`] has passed. An early or
//! repeated timer event is harmless.
//!
//! RFC 9568 says Active where this project says Master, as its users do.
//!
//! Beyond the RFC, take-overs are [damped](damping), and the learned interval has a [limit](learned_interval).
//!
//! Start reading at [`VirtualRouter::handle`]; each state has a function with an arm for each event, those of Backup
//! and Master in separate files.

mod backup;
mod config;
pub mod damping;
mod event;
mod fault;
mod lateness;
mod master;
mod preemption;
mod reason;
mod state;
mod state_name;
mod steady;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

pub use config::{AnnounceTimes, Config};
pub use event::{Action, Cause, Event, Notice, Occasion, Origin, Transition};
pub use fault::{Fault, Faults};
pub use reason::Reason;
pub use state::{Backup, HeardAdvert, Master, NEVER, Rival, State, Waiting};
pub use state_name::StateName;

use crate::advert::Advert;
use crate::params::{Interval, Priority, Version};
use crate::time::{Duration, Instant};
use crate::timers::learned_interval;
use damping::Damping;
use state::Preemption;

/// One virtual router on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VirtualRouter {
    config: Config,
    priority: Priority,
    forced_backup: bool,
    /// The source address, or why the router cannot serve.
    interface: Result<IpAddr, Faults>,
    damping: Damping,
    /// End of the start delay.
    listens_until: Instant,
    /// As a Backup: the state of the preemption delay.
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

    /// The effective priority.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Whether an operator told this router to stay Backup.
    pub const fn forced_backup(&self) -> bool {
        self.forced_backup
    }

    /// Source address of adverts; `None` while the interface is not usable.
    pub fn source(&self) -> Option<IpAddr> {
        self.interface.ok()
    }

    /// The source address, or why the router cannot serve.
    pub const fn interface(&self) -> Result<IpAddr, Faults> {
        self.interface
    }

    /// A member of a group that would be Master if its group were ready. It listens and sends nothing.
    pub const fn is_willing(&self) -> bool {
        matches!(self.state, State::Backup(Backup { waiting: Waiting::ForGroup(_), .. }))
    }

    /// It has won its election, and its `prepare` script runs. It listens and sends nothing.
    pub const fn is_preparing(&self) -> bool {
        matches!(self.state, State::Backup(Backup { waiting: Waiting::ForScript(_), .. }))
    }

    /// A Backup that has won its election and waits for its script or its group. It has no deadline, and every advert
    /// counts.
    pub const fn has_won(&self) -> bool {
        self.is_preparing() || self.is_willing()
    }

    /// When [damping](damping) or the start delay allows the take-over; `None` unless it waits for that.
    pub fn held_until(&self) -> Option<Instant> {
        match &self.state {
            State::Backup(backup) if backup.held => Some(self.takes_over_at(backup)),
            State::Initialize | State::Fault(_) | State::Backup(_) | State::Master(_) => None,
        }
    }

    /// Whether the start delay is the longest delay of a take-over.
    pub fn is_in_start_delay(&self) -> bool {
        self.listens_until > self.damping.earliest()
    }

    /// When the current preemption delay ends; `None`: no delay is running.
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

    /// Sets whether it is a member of a group. A Master stays Master. A router that leaves the group it waits for must
    /// be given [`Event::GroupReady`] by the caller.
    pub const fn set_grouped(&mut self, grouped: bool) {
        self.config.grouped = grouped;
    }

    /// Skips the start delay, for a router added to a running daemon.
    pub const fn skip_start_delay(&mut self) {
        self.config.start_delay = Duration::ZERO;
    }

    /// Sets whether a `prepare` script runs before the next take-over.
    pub const fn set_prepares(&mut self, prepares: bool) {
        self.config.prepares = prepares;
    }

    /// Sets the limit of intervals learned from now on.
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

    /// Handles an event at `now`, and passes the actions to `emit` in order.
    pub fn handle(&mut self, now: Instant, event: Event, emit: &mut dyn FnMut(Action)) {
        // The machine was suspended. It sent no adverts meanwhile, so another router may be Master: listen before
        // acting.
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

    /// The interface is not usable: Initialize, until it is. RFC 9568 does not consider links.
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

    /// RFC 9568 §6.4.1, on a usable interface. During the start delay an owner starts as Backup.
    fn begin(&mut self, now: Instant, reason: Reason, emit: &mut dyn FnMut(Action)) {
        if self.priority == Priority::OWNER && !self.forced_backup && now >= self.listens_until {
            self.may_be_master(now, reason, emit);
        } else {
            self.become_backup(now, reason, None, emit);
        }
    }

    /// Ends a forced Backup, and resets damping and delays.
    const fn resume(&mut self) {
        self.forced_backup = false;
        self.damping = Damping::FRESH;
        self.listens_until = Instant::ZERO;
    }

    /// A higher priority is meant to cause a take-over.
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

    /// Reports a difference of the master's advert from our configuration, once per change.
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

    /// Master_Adver_Interval for a master with this advert.
    fn learned_from(&self, advert: &Advert) -> Interval {
        let Config { version, interval, max_learned_interval, .. } = self.config;
        learned_interval(version, interval, advert.interval, max_learned_interval)
    }
}
