//! A process of the daemon: the engine itself, with a model of what `vrrpd/src/daemon` does around it. It makes no
//! decisions.
//!
//! The owner of a [`Daemon`] hands in inputs with [`Daemon::take_in`], ends each turn of the loop with
//! [`Daemon::finish`], and executes the returned effects.

mod life;
mod moving;
mod perform;
mod program;

use std::collections::{BTreeSet, VecDeque};
use std::mem::Discriminant;

use vrrpd_common::abi::EventKind;
use vrrpd_common::group::{Message, PeerId};
use vrrpd_common::router::{Config, Event, Notice, State, StateName, Transition, VirtualRouter, Waiting};
use vrrpd_common::{Advert, Duration, Instant, Priority};
use vrrpd_engine::config::{GroupConfig, RouterConfig};
use vrrpd_engine::leaving::Patience;
use vrrpd_engine::ledger::{Order, Outcome, PlacedAddress};
use vrrpd_engine::reload::Reload;
use vrrpd_engine::router::{Done, Router, TimeOfDay};
use vrrpd_engine::track::Finding;
use vrrpd_engine::{Engine, Input, Now, RouterId, Ticket};

use crate::kernel::{Cache, Notification, Report};
use crate::plan;
use moving::{Larger, Path};

pub use life::Begin;

/// An input of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stimulus {
    /// An advert for the router on this LAN.
    Advert(usize, Advert),
    /// An operator's event for the router on this LAN.
    Operate(usize, Event),
    /// An event of the program in the kernel for the router on this LAN.
    Reported(usize, EventKind),
    /// The process is told to reload, with more routers on this LAN than its object in the kernel has room for.
    Grow(usize),
    /// A larger object was loaded for this LAN.
    Loaded(usize),
    /// The program of this LAN was moved to the larger object.
    Moved(usize),
    /// The process is told to reload; the router on this LAN has this new configuration.
    Reload(usize, Box<RouterConfig>),
    /// A notification of the kernel.
    Notified(Notification),
    /// The kernel's answer to a request.
    Answered(Ticket, Box<(Order, Outcome)>),
    /// A message from another process of this machine.
    Said(PeerId, Message),
    /// Another process of this machine has ended.
    Gone(PeerId),
    /// Result of the check of the router on this LAN: whether it holds.
    Found(usize, bool),
    /// The `prepare` script with this number of the router on this LAN has ended.
    Prepared(usize, u64),
    /// The machine was suspended.
    Slept,
    /// The process is told to leave.
    Leave,
}

/// An effect of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends an advert.
    Send {
        /// Its LAN.
        lan: usize,
        /// This one.
        advert: Advert,
        /// It was dropped before it was sent.
        is_withdrawn: bool,
    },
    /// Announces the addresses on this LAN.
    Announce {
        /// The LAN.
        lan: usize,
        /// The announcement was dropped before it was sent.
        is_withdrawn: bool,
    },
    /// Sends the kernel a request.
    Ask(Ticket, Order),
    /// Sends a message to the other processes of the machine.
    Tell(Message),
    /// The router on this LAN starts.
    Begins {
        /// The LAN.
        lan: usize,
        /// Configuration of its state machine.
        config: Box<Config>,
        /// It skips its start delay.
        skips_start_delay: bool,
    },
    /// The router on this LAN has changed its state, with its addresses.
    Changed(usize, Transition),
    /// The state machine of the router on this LAN has become Backup; its addresses may follow later.
    StandsBy(usize),
    /// The state machine of the router on this LAN has become Master; its addresses may follow later.
    TakesOver(usize),
    /// The router on this LAN was told to resume or given a higher priority, so earlier take-overs do not count.
    Forgets {
        /// That LAN.
        lan: usize,
        /// It was told to resume, which also ends its start delay.
        is_resumed: bool,
    },
    /// Loads a larger object for this LAN.
    Loads(usize),
    /// Moves the program of this LAN to the larger object, while packet sockets listen.
    Moves(usize),
    /// Starts the `prepare` script of the router on this LAN, with this number.
    Prepares(usize, u64),
    /// That script has ended or was ended; whether the router may go on.
    Prepared(usize, bool),
    /// Logs a line of this kind about the router on this LAN; lines have a rate limit.
    Log(usize, LineKind),
    /// Writes the journal, synchronously or in another thread.
    Journal {
        /// The text of the file.
        text: String,
        /// Before anything else happens.
        at_once: bool,
    },
    /// Sends the guardian its instructions for the router on this LAN in case the process dies.
    Guard(usize, Option<Mastery>),
    /// The process has ended. Nothing is held any more if `is_clean`.
    Ends {
        /// Everything has been given back.
        is_clean: bool,
    },
}

/// Kinds of log lines that outsiders could cause in large numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A notice of the state machine.
    Notice(Discriminant<Notice>),
    /// An address was removed by others.
    AddressLost,
    /// A transition.
    Transition,
}

/// What a guardian does for a Master whose process dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mastery {
    /// The advert that it sends.
    pub resignation: Option<Advert>,
    /// The addresses that it removes.
    pub holds: Vec<PlacedAddress>,
}

impl Effect {
    /// The LAN of the router; `None` if it concerns the whole process.
    pub(crate) const fn router(&self) -> Option<usize> {
        match *self {
            Self::Send { lan, .. }
            | Self::Announce { lan, .. }
            | Self::Begins { lan, .. }
            | Self::Changed(lan, _)
            | Self::TakesOver(lan)
            | Self::StandsBy(lan)
            | Self::Forgets { lan, .. }
            | Self::Loads(lan)
            | Self::Moves(lan)
            | Self::Prepares(lan, _)
            | Self::Prepared(lan, _)
            | Self::Log(lan, _)
            | Self::Guard(lan, _) => Some(lan),
            Self::Ask(..) | Self::Tell(_) | Self::Journal { .. } | Self::Ends { .. } => None,
        }
    }
}

/// A process.
#[derive(Clone, Debug)]
pub struct Daemon {
    engine: Engine,
    /// Index of the process in its machine.
    slot: usize,
    places: Vec<Place>,
    /// Adverts are handled by programs in the kernel.
    in_kernel: bool,
    group: Option<GroupConfig>,
    /// Seed of the next group.
    seed: u64,
    cache: Cache,
    stage: Stage,
    /// Stage of a reload; new routers have their places.
    reload: Reload<Vec<RouterConfig>, Vec<(usize, RouterConfig)>>,
    /// The last journal.
    journal: String,
    /// Routers for which the guardian must be told the role.
    untold: BTreeSet<usize>,
    effects: Vec<Effect>,
    /// Number of effects already sent.
    flushed: usize,
}

/// The place of a router.
#[derive(Clone, Debug)]
struct Place {
    lan: usize,
    /// `None`: it has left, and comes back.
    id: Option<RouterId>,
    /// From the configuration file.
    config: RouterConfig,
    /// What receives its adverts.
    path: Path,
    /// The larger object that a reload needs.
    larger: Larger,
    /// Number of `prepare` scripts started, and whether the last one is running.
    preparations: (u64, bool),
    /// The last observed state of its state machine.
    seen: Option<(State, Priority)>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Waits for this many answers about leftovers of an earlier daemon.
    Starting {
        nobody_s: usize,
        early: VecDeque<Stimulus>,
    },
    Serving,
    /// Waiting for the kernel.
    Leaving(Patience),
}

impl Daemon {
    /// Takes an input at `now`, by the machine's clock.
    pub fn take_in(&mut self, now: Instant, stimulus: Stimulus) {
        if let Stage::Starting { early, .. } = &mut self.stage
            && matches!(
                stimulus,
                Stimulus::Advert(..)
                    | Stimulus::Reported(..)
                    | Stimulus::Grow(_)
                    | Stimulus::Operate(..)
                    | Stimulus::Reload(..)
                    | Stimulus::Found(..)
                    | Stimulus::Slept
                    | Stimulus::Leave
            )
        {
            early.push_back(stimulus);
            return;
        }
        match stimulus {
            Stimulus::Advert(lan, advert) => self.event(now, lan, Event::Advert(advert)),
            Stimulus::Operate(lan, event) => {
                if matches!(event, Event::Resume(_)) {
                    self.effects.push(Effect::Forgets { lan, is_resumed: true });
                }
                self.event(now, lan, event);
            }
            Stimulus::Reported(lan, kind) => self.reported(now, lan, kind),
            Stimulus::Grow(lan) => self.grow(lan),
            Stimulus::Loaded(lan) => self.loaded(lan),
            Stimulus::Moved(lan) => self.moved(now, lan),
            Stimulus::Reload(lan, config) => self.read(lan, *config),
            Stimulus::Notified(notification) => {
                let report = self.cache.notified(self.slot, &notification);
                self.report(now, report);
            }
            Stimulus::Answered(ticket, done) => {
                let (order, outcome) = *done;
                let reports = self.cache.answered(&order, &outcome);
                self.answered(now, ticket, outcome);
                for report in reports {
                    self.report(now, Some(report));
                }
            }
            Stimulus::Said(peer, message) => self.input(now, Input::GroupPeerSaid(peer, message)),
            Stimulus::Gone(peer) => self.input(now, Input::GroupPeerGone(peer)),
            Stimulus::Found(lan, holds) => self.found(now, lan, holds),
            Stimulus::Prepared(lan, number) => {
                let mut places = self.places.iter_mut();
                if let Some(place) =
                    places.find(|place| place.lan == lan && place.preparations == (number, true))
                {
                    place.preparations.1 = false;
                    self.effects.push(Effect::Prepared(lan, true));
                    self.event(now, lan, Event::Prepared);
                }
            }
            Stimulus::Slept => {
                for lan in self.places.iter().map(|place| place.lan).collect::<Vec<_>>() {
                    self.event(now, lan, Event::StoodStill);
                }
            }
            Stimulus::Leave => self.leave(now),
        }
    }

    /// Ends a turn: handles deadlines and the group, and returns the effects.
    pub fn finish(&mut self, now: Instant) -> Vec<Effect> {
        if let Stage::Starting { .. } = self.stage {
            self.serve_if_ready(now);
        }
        if !matches!(self.stage, Stage::Starting { .. }) {
            self.expire(now);
            self.settle_groups(now);
            self.flush(now);
            self.settle(now);
            self.settle_groups(now);
            self.flush(now);
            self.tell_guardian();
            self.end_if_done(now);
        }
        self.flushed = 0;
        std::mem::take(&mut self.effects)
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Instant> {
        let leaving = match self.stage {
            Stage::Starting { .. } => return None,
            Stage::Serving => None,
            Stage::Leaving(patience) => Some(patience.until()),
        };
        self.engine.deadline().into_iter().chain(leaving).min()
    }

    /// The router on a LAN; `None` while it does not exist.
    pub fn router(&self, lan: usize) -> Option<&Router> {
        self.engine.router(self.place(lan)?.id?)
    }

    /// The state machine of the router on a LAN.
    pub fn machine(&self, lan: usize) -> Option<&VirtualRouter> {
        self.router(lan).map(|router| &router.machine)
    }

    /// Counters of the router on a LAN.
    pub fn done(&self, lan: usize) -> Option<Done> {
        self.router(lan).map(|router| router.done)
    }

    /// Whether it is serving: leftovers of an earlier daemon are gone.
    pub fn is_serving(&self) -> bool {
        !matches!(self.stage, Stage::Starting { .. })
    }

    /// Whether it was told to leave.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_))
    }

    /// The message for another process of its group that has just connected.
    pub fn greeting(&self) -> Option<Message> {
        self.engine.groups().get(0).filter(|_| self.is_serving())?.greeting()
    }

    /// Everything that decisions depend on while no request is pending; without counters, rate limits of announcements,
    /// and histories.
    pub(crate) fn essence(&self) -> impl std::hash::Hash {
        let routers = self.places.iter().map(|place| {
            let router = self.router(place.lan);
            router.map(|router| {
                debug_assert!(!router.is_busy(), "the kernel answers at once");
                (router.machine, router.state_told(), router.ledger.addresses().count())
            })
        });
        let group = self.engine.groups().get(0).map(|formed| *formed.group());
        (routers.collect::<Vec<_>>(), group, self.deadline())
    }

    fn place(&self, lan: usize) -> Option<&Place> {
        self.places.iter().find(|place| place.lan == lan)
    }

    fn lan_of(&self, id: RouterId) -> usize {
        let place = self.places.iter().find(|place| place.id == Some(id));
        place.expect("every router has a place").lan
    }

    fn event(&mut self, now: Instant, lan: usize, event: Event) {
        if let Some(id) = self.place(lan).and_then(|place| place.id) {
            self.input(now, Input::Event(id, event, None));
        }
    }

    fn expire(&mut self, now: Instant) {
        for id in self.engine.due(now) {
            self.input(now, Input::Due(id));
        }
        self.engine.expire(moment(now));
        self.drain(now);
    }

    fn answered(&mut self, now: Instant, ticket: Ticket, outcome: Outcome) {
        match &mut self.stage {
            Stage::Starting { nobody_s, .. } if ticket == life::NOBODY_S => *nobody_s -= 1,
            Stage::Starting { .. } | Stage::Serving | Stage::Leaving(_) => {}
        }
        self.input(now, Input::Answered(ticket, outcome));
    }

    fn found(&mut self, now: Instant, lan: usize, holds: bool) {
        if let Some(check) = self.engine.checks().id(&plan::check(lan).name) {
            let finding = if holds { Finding::Holds } else { Finding::Fails };
            self.input(now, Input::Found { check, finding, detail: "".into() });
        }
    }

    fn report(&mut self, now: Instant, report: Option<Report>) {
        let Some(report) = report else { return };
        let interface = match &report {
            Report::Changed(interface) | Report::Lost(interface, ..) => interface.clone(),
        };
        let Some(link) = self.engine.link_named(&interface.name) else { return };
        if self.engine.interface(link) != Some(&interface) {
            self.input(now, Input::LinkIs(link, Box::new(interface)));
        }
        if let Report::Lost(_, address, remover) = report {
            for id in self.engine.routers_on(link) {
                self.input(now, Input::AddressLost(id, address, remover));
            }
        }
    }

    /// Hands an input to the engine, and executes the outputs.
    fn input(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(moment(now), input);
        self.drain(now);
    }

    /// Reports changes of state machines since the last look.
    fn look(&mut self) {
        for place in &mut self.places {
            let Some(router) = place.id.and_then(|id| self.engine.router(id)) else { continue };
            let (state, priority) = (*router.machine.state(), router.machine.priority());
            let Some((before, priority_before)) = place.seen.replace((state, priority)) else { continue };
            if priority > priority_before {
                self.effects.push(Effect::Forgets { lan: place.lan, is_resumed: false });
            }
            if state.name() == StateName::Backup && before.name() != StateName::Backup {
                self.effects.push(Effect::StandsBy(place.lan));
            }
            if takes_over(&before, &state) {
                self.effects.push(Effect::TakesOver(place.lan));
            }
        }
    }
}

/// Whether a router takes over; an owner that starts only passes through Backup.
fn takes_over(before: &State, now: &State) -> bool {
    let (State::Backup(backup), State::Master(_)) = (before, now) else { return false };
    match backup.waiting {
        Waiting::ForGroup(reason) | Waiting::ForScript(reason) => !reason.is_beginning(),
        Waiting::ForSilence | Waiting::AfterGap | Waiting::AfterResignation | Waiting::ToPreempt => true,
    }
}

/// The time of day is the machine's clock; no decision uses it.
fn moment(now: Instant) -> Now {
    Now { at: now, time_of_day: TimeOfDay(Duration::from_nanos(now.as_nanos())) }
}
