//! The pending work of an engine's routers, in order, and their deadlines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, Reason};

use super::deadlines::Deadlines;
use super::feeding::Feeding;
use super::output::{CheckChanged, Output};
use super::tickets::Tickets;
use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{RouterId, Ticket};
use crate::interface::{Interface, Remover};
use crate::ledger::Outcome;
use crate::priority::Step;
use crate::router::{Router, TrackedOutcome};

/// Pending work and deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// Work in order; each item's consequences are handled before the next item.
    pub(super) work: VecDeque<Work>,
    /// Consequences and new inputs, handled before `work`.
    pub(super) incoming: VecDeque<Work>,
    pub(super) outputs: VecDeque<Output>,
    /// Unanswered requests to the system.
    pub(super) tickets: Tickets,
    /// The router whose record is awaited; no other work is done until it arrives.
    pub(super) asked_for: Option<RouterId>,
    deadlines: Deadlines,
    /// When rate-limited actions of routers may be executed.
    pub(super) put_off: BTreeMap<RouterId, Instant>,
    /// When routers restore what other programs removed.
    pub(super) to_put_back: BTreeMap<RouterId, Instant>,
    /// Routers that start as soon as their checks have first results.
    pub(super) to_start: BTreeSet<RouterId>,
    /// When routers that gave up because of unsendable adverts try again.
    pub(super) to_try_sending: BTreeMap<RouterId, Instant>,
}

/// A unit of pending work.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// For one router.
    Task(RouterId, Task),
    /// Check whether a router's interface is usable.
    CheckUsable(RouterId),
    /// Form the groups again, from this configuration and seed.
    FormGroups(Vec<GroupConfig>, u64),
    /// Hand to groups the changes of their members and the messages of other processes.
    SettleGroups,
    /// Check whether the group of a router changed its state with the router.
    FollowGroup(RouterId, Reason),
    /// Handle an answer of the system.
    Answered(Ticket, Box<Outcome>),
}

/// A unit of pending work of one router.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Hand an event to the state machine, with its time if that is not now.
    Event {
        at: Option<Instant>,
        event: Event,
        is_heard: bool,
    },
    Hear,
    Feed(Box<Feeding>),
    ListenAgain,
    Tell {
        was_reported: bool,
    },
    TellAll,
    Schedule,
    Unschedule,
    CheckProgram,
    Act,
    Tried,
    CannotSend,
    MaySendAgain,
    TryToSend,
    CatchUp,
    Prepare,
    Discard,
    DiscardStranded,
    AddressLost(IpAddr, Remover),
    OtherInterface(String, Option<Box<Interface>>),
    TakeAgain,
    TakeNow,
    MacvlanIs(Box<Interface>),
    MacvlanGone,
    CheckMac,
    TellOfOtherMac,
    EnforceSettings,
    CheckPresence,
    Exchange(Box<RouterConfig>, Vec<TrackedOutcome>),
    Exchanged {
        has_other_priority: bool,
    },
    Track(Vec<TrackedOutcome>),
    ApplyPriority,
    StartUp,
    Observed,
    Judged,
    TellOfCheck(Box<CheckChanged>),
    Step(Step),
    Leave,
    SeeOff {
        is_spoken: bool,
    },
}

impl Task {
    /// Hand this event to the state machine, with the current time.
    pub(super) const fn event(event: Event) -> Self {
        Self::Event { at: None, event, is_heard: false }
    }
}

impl Agenda {
    /// Whether no work is pending.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.incoming.is_empty() && self.outputs.is_empty()
    }

    /// Whether no work is pending for this router.
    pub(super) fn has_nothing_of(&self, id: RouterId) -> bool {
        let is_of = |work: &Work| match work {
            Work::Task(of, _) | Work::CheckUsable(of) => *of == id,
            Work::Answered(ticket, _) => self.tickets.holder(*ticket) == Some(id),
            Work::FollowGroup(..) | Work::FormGroups(..) | Work::SettleGroups => false,
        };
        !self.work.iter().chain(&self.incoming).any(is_of)
            && !self.outputs.iter().any(|output| output.router() == Some(id))
    }

    /// Removes and returns the routers whose delayed action is due.
    pub(super) fn put_off_until(&self, now: Instant) -> Vec<RouterId> {
        let times = [&self.put_off, &self.to_put_back, &self.to_try_sending];
        let due = times.into_iter().flatten().filter(|(_, at)| **at <= now);
        due.map(|(id, _)| *id).collect()
    }

    /// The next unit of work.
    pub(super) fn next_work(&mut self) -> Option<Work> {
        while let Some(work) = self.incoming.pop_back() {
            self.work.push_front(work);
        }
        self.work.pop_front()
    }

    /// The routers whose deadline has passed.
    pub(super) fn due(&self, now: Instant) -> Vec<RouterId> {
        self.deadlines.due(now)
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let others = [&self.put_off, &self.to_put_back, &self.to_try_sending];
        let others = others.into_iter().flat_map(BTreeMap::values).min().copied();
        self.deadlines.first().into_iter().chain(others).min()
    }

    /// Handles what is due, except [`Agenda::due`]. What other programs removed is restored first.
    pub(super) fn expire(&mut self, now: Instant) {
        if [&self.put_off, &self.to_put_back, &self.to_try_sending].iter().all(|times| times.is_empty()) {
            return;
        }
        let due = |times: &mut BTreeMap<RouterId, Instant>| -> Vec<_> {
            times.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect()
        };
        self.incoming.extend(due(&mut self.to_put_back).into_iter().map(|id| Work::Task(id, Task::TakeNow)));
        self.incoming.extend(due(&mut self.put_off).into_iter().map(|id| Work::Task(id, Task::CatchUp)));
        self.incoming
            .extend(due(&mut self.to_try_sending).into_iter().map(|id| Work::Task(id, Task::TryToSend)));
    }

    /// Forgets a router that has left.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.deadlines.forget(id);
        self.to_start.remove(&id);
        self.put_off.remove(&id);
        self.to_put_back.remove(&id);
        self.to_try_sending.remove(&id);
    }

    /// Sets the router's deadline, unless the kernel monitors it. The kernel does not know of a held take-over.
    pub(super) fn schedule(&mut self, router: &mut Router, id: RouterId) {
        let is_held = router.machine.held_until().is_some();
        let is_watched = router.is_watched_by_kernel();
        let deadline =
            if is_watched && !is_held { router.machine.preempts_at() } else { router.machine.deadline() };
        self.file(router, id, deadline);
    }

    /// Sets this deadline of the router.
    pub(super) fn file(&mut self, router: &mut Router, id: RouterId, deadline: Option<Instant>) {
        if deadline != router.scheduled {
            self.deadlines.set(id, deadline);
            router.scheduled = deadline;
        }
    }
}
