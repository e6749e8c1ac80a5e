//! A process of the daemon: the engine itself, and around it what `vrrpd/src/daemon` does of what the engine says. There is
//! nothing to decide here.
//!
//! The owner of a [`Daemon`] hands in what arrives by [`Daemon::take_in`], ends each turn of the loop by
//! [`Daemon::finish`], and carries out what that returns.

mod life;
mod perform;

use std::collections::{BTreeSet, VecDeque};
use std::mem::Discriminant;

use vrrpd_common::group::{Message, PeerId};
use vrrpd_common::router::{Config, Event, Notice, State, StateName, Transition, VirtualRouter, Waiting};
use vrrpd_common::{Advert, Duration, Instant, Priority};
use vrrpd_engine::config::{GroupConfig, RouterConfig};
use vrrpd_engine::ledger::{Order, Outcome, PlacedAddress};
use vrrpd_engine::router::{Done, Router, TimeOfDay};
use vrrpd_engine::track::Finding;
use vrrpd_engine::{Engine, Input, Now, RouterId, Ticket};

use crate::kernel::{Cache, Notification, Report};
use crate::plan;

pub use life::Begin;

/// What happens to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stimulus {
    /// An advert for the router on this LAN.
    Advert(usize, Advert),
    /// An operator tells the router on this LAN something.
    Operate(usize, Event),
    /// The configuration of the router on this LAN is another one now, and the process is told to read it.
    Reload(usize, Box<RouterConfig>),
    /// The kernel tells of a change.
    Notified(Notification),
    /// The kernel has done what it was asked for, or refused it.
    Answered(Ticket, Box<(Order, Outcome)>),
    /// Another process of this machine said this.
    Said(PeerId, Message),
    /// Another process of this machine has gone.
    Gone(PeerId),
    /// The check that the router on this LAN tracks was looked at: whether it holds.
    Found(usize, bool),
    /// The script of this number that prepares the router on this LAN has ended.
    Prepared(usize, u64),
    /// The machine was suspended.
    Slept,
    /// The process is told to leave.
    Leave,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sends an advert.
    Send {
        /// Into this LAN.
        lan: usize,
        /// This one.
        advert: Advert,
        /// It was withdrawn before it went out.
        is_withdrawn: bool,
    },
    /// Announces the addresses on this LAN.
    Announce {
        /// The LAN.
        lan: usize,
        /// That was withdrawn before it went out.
        is_withdrawn: bool,
    },
    /// Asks the kernel.
    Ask(Ticket, Order),
    /// Tells it to the other processes of the machine.
    Tell(Message),
    /// The router on this LAN has begun.
    Begins {
        /// The LAN.
        lan: usize,
        /// What its state machine has.
        config: Box<Config>,
        /// It does not wait as after the start of the machine.
        skips_start_delay: bool,
    },
    /// The router on this LAN has changed its state, and its addresses have followed.
    Changed(usize, Transition),
    /// The state machine of the router on this LAN has become Backup; the addresses may follow later.
    StandsBy(usize),
    /// The state machine of the router on this LAN has become Master; the addresses may follow later.
    TakesOver(usize),
    /// The router on this LAN was told to resume, or has a higher priority: what it did before does not count.
    Forgets {
        /// That LAN.
        lan: usize,
        /// It was told to resume: its start delay is over too.
        is_resumed: bool,
    },
    /// Runs the script of this number that prepares the router on this LAN.
    Prepares(usize, u64),
    /// That script has ended, or was ended: whether the router may go on.
    Prepared(usize, bool),
    /// Writes a line of this kind about the router on this LAN to the log; there is a limit on it.
    Log(usize, LineKind),
    /// Writes the journal: at once, or in a thread for that.
    Journal {
        /// The text of the file.
        text: String,
        /// Before anything else happens.
        at_once: bool,
    },
    /// Tells the guardian what it has to do for the router on this LAN if the process dies.
    Guard(usize, Option<Mastery>),
    /// Has left. Nothing is held any more if it is clean.
    Ends {
        /// Everything has been given back.
        is_clean: bool,
    },
}

/// A line of the log of which outsiders could cause many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// What the state machine noticed.
    Notice(Discriminant<Notice>),
    /// Others have taken an address away.
    AddressLost,
    /// A change of state.
    Transition,
}

/// What a guardian does for a Master whose process dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mastery {
    /// What it sends.
    pub resignation: Option<Advert>,
    /// What it takes off interfaces.
    pub holds: Vec<PlacedAddress>,
}

impl Effect {
    /// The LAN of the router that it is of; `None`: it is of the whole process.
    pub(crate) const fn router(&self) -> Option<usize> {
        match *self {
            Self::Send { lan, .. }
            | Self::Announce { lan, .. }
            | Self::Begins { lan, .. }
            | Self::Changed(lan, _)
            | Self::TakesOver(lan)
            | Self::StandsBy(lan)
            | Self::Forgets { lan, .. }
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
    /// Its number among the processes of its machine.
    slot: usize,
    places: Vec<Place>,
    group: Option<GroupConfig>,
    /// What the next group makes pseudo-random numbers of.
    seed: u64,
    cache: Cache,
    stage: Stage,
    /// Routers that are to be begun when none leaves any more.
    arriving: Vec<usize>,
    /// The file was to be read again meanwhile.
    reads_again: bool,
    /// What was written last.
    journal: String,
    /// Of these the guardian has to be told.
    untold: BTreeSet<usize>,
    effects: Vec<Effect>,
    /// So many of these have been done already.
    flushed: usize,
}

/// The place of a router.
#[derive(Clone, Debug)]
struct Place {
    lan: usize,
    /// `None`: it has left, and comes back.
    id: Option<RouterId>,
    /// As the file has it.
    config: RouterConfig,
    /// How many scripts that prepare it have been started, and whether the last one runs.
    preparations: (u64, bool),
    /// What its state machine was when that was looked at last.
    seen: Option<(State, Priority)>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// It waits for so many answers about what an earlier daemon has left.
    Starting {
        nobody_s: usize,
        early: VecDeque<Stimulus>,
    },
    Serving,
    /// Until then the kernel may take.
    Leaving(Instant),
}

impl Daemon {
    /// Something happens at `now` by the machine's clock.
    pub fn take_in(&mut self, now: Instant, stimulus: Stimulus) {
        if let Stage::Starting { early, .. } = &mut self.stage
            && matches!(
                stimulus,
                Stimulus::Advert(..)
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

    /// The end of a turn: what is due, what comes of it for the group, and what has to be done outside.
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

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<Instant> {
        let leaving = match self.stage {
            Stage::Starting { .. } => return None,
            Stage::Serving => None,
            Stage::Leaving(until) => Some(until),
        };
        self.engine.deadline().into_iter().chain(leaving).min()
    }

    /// The router on a LAN; `None` while it is not there.
    pub fn router(&self, lan: usize) -> Option<&Router> {
        self.engine.router(self.place(lan)?.id?)
    }

    /// The state machine of the router on a LAN.
    pub fn machine(&self, lan: usize) -> Option<&VirtualRouter> {
        self.router(lan).map(|router| &router.machine)
    }

    /// What the router on a LAN has done.
    pub fn done(&self, lan: usize) -> Option<Done> {
        self.router(lan).map(|router| router.done)
    }

    /// Whether it takes part: not before what an earlier daemon left is gone.
    pub fn is_serving(&self) -> bool {
        !matches!(self.stage, Stage::Starting { .. })
    }

    /// Whether it was told to leave.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_))
    }

    /// What another process of its group that has just come has to know.
    pub fn greeting(&self) -> Option<Message> {
        self.engine.groups().get(0).filter(|_| self.is_serving())?.greeting()
    }

    /// All that decisions depend on while nothing waits for the kernel: counters, limits of announcements and the history of
    /// routers do not count.
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
            self.input(now, Input::Event(id, Event::Timer, None));
        }
        self.engine.expire(moment(now));
        self.drain(now);
    }

    fn answered(&mut self, now: Instant, ticket: Ticket, outcome: Outcome) {
        match &mut self.stage {
            Stage::Starting { nobody_s, .. } if ticket == life::NOBODY_S => *nobody_s -= 1,
            Stage::Leaving(until) => *until = now + life::PATIENCE,
            Stage::Starting { .. } | Stage::Serving => {}
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

    /// Tells the engine what happened, and does what it says.
    fn input(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle(moment(now), input);
        self.drain(now);
    }

    /// What state machines have done since that was looked at last.
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

/// Whether a router takes over; an owner that begins only passes Backup on its way.
fn takes_over(before: &State, now: &State) -> bool {
    let (State::Backup(backup), State::Master(_)) = (before, now) else { return false };
    match backup.waiting {
        Waiting::ForGroup(reason) | Waiting::ForScript(reason) => !reason.is_beginning(),
        Waiting::ForSilence | Waiting::AfterGap | Waiting::AfterResignation | Waiting::ToPreempt => true,
    }
}

/// The time of day is the machine's clock: nothing is decided by it.
fn moment(now: Instant) -> Now {
    Now { at: now, time_of_day: TimeOfDay(Duration::from_nanos(now.as_nanos())) }
}
