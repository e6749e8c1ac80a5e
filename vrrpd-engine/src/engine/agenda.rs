//! What the routers of an engine wait for: what still has to be done, in order, and when something is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, Reason};

use super::Output;
use super::hearing::Feeding;
use super::tickets::Tickets;
use super::tracking::CheckChanged;
use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{RouterId, Ticket};
use crate::interface::{Interface, Remover};
use crate::ledger::Outcome;
use crate::priority::Step;
use crate::router::{Router, TrackedOutcome};

/// What still has to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// What comes of the first is done before the second.
    pub(super) work: VecDeque<Work>,
    /// What has come of an output, or happened: it is done before what waits.
    pub(super) incoming: VecDeque<Work>,
    pub(super) outputs: VecDeque<Output>,
    /// What the system was asked for.
    pub(super) tickets: Tickets,
    /// Nothing is done before the record of this router is there.
    pub(super) asked_for: Option<RouterId>,
    deadlines: BTreeSet<(Instant, RouterId)>,
    /// When routers do what was put off, since they do it too often.
    pub(super) put_off: BTreeMap<RouterId, Instant>,
    /// When routers put back what others have taken away.
    pub(super) to_put_back: BTreeMap<RouterId, Instant>,
    /// Routers that take part as soon as there are first results of what they track.
    pub(super) to_start: BTreeSet<RouterId>,
    /// When routers that gave up, since their adverts did not go out, try again.
    pub(super) to_try_sending: BTreeMap<RouterId, Instant>,
}

/// Something that still has to be done.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// For a router.
    Task(RouterId, Task),
    /// Look whether a router's interface can be used.
    CheckUsable(RouterId),
    /// Form the groups anew.
    FormGroups(Vec<GroupConfig>, u64),
    /// Tell groups what was noted of their members and heard of other processes.
    SettleGroups,
    /// Look whether the group of a router that has changed its state has done so, too.
    FollowGroup(RouterId, Reason),
    /// Take in an answer of the system.
    Answered(Ticket, Box<Outcome>),
}

/// Something that still has to be done for a router.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Hand an event that happened at this time, if not now, to the state machine.
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
    /// Hand this event, which happens now, to the state machine.
    pub(super) const fn event(event: Event) -> Self {
        Self::Event { at: None, event, is_heard: false }
    }
}

impl Agenda {
    /// Whether nothing is left to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.incoming.is_empty() && self.outputs.is_empty()
    }

    /// Whether nothing is left to be done for this router.
    pub(super) fn has_nothing_of(&self, id: RouterId) -> bool {
        let is_of = |work: &Work| match work {
            Work::Task(of, _) | Work::CheckUsable(of) => *of == id,
            Work::Answered(ticket, _) => self.tickets.holder(*ticket) == Some(id),
            Work::FollowGroup(..) | Work::FormGroups(..) | Work::SettleGroups => false,
        };
        !self.work.iter().chain(&self.incoming).any(is_of)
            && !self.outputs.iter().any(|output| output.router() == Some(id))
    }

    /// The routers for which something that was put off is due.
    pub(super) fn put_off_until(&self, now: Instant) -> Vec<RouterId> {
        let times = [&self.put_off, &self.to_put_back, &self.to_try_sending];
        let due = times.into_iter().flatten().filter(|(_, at)| **at <= now);
        due.map(|(id, _)| *id).collect()
    }

    /// What is to be done next.
    pub(super) fn next_work(&mut self) -> Option<Work> {
        while let Some(work) = self.incoming.pop_back() {
            self.work.push_front(work);
        }
        self.work.pop_front()
    }

    /// The routers whose deadline has passed.
    pub(super) fn due(&self, now: Instant) -> Vec<RouterId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of_routers = self.deadlines.first().map(|(at, _)| *at);
        let others = [&self.put_off, &self.to_put_back, &self.to_try_sending];
        let others = others.into_iter().flat_map(BTreeMap::values).min().copied();
        of_routers.into_iter().chain(others).min()
    }

    /// Has done what is due, but for what [`Agenda::due`] says: what others have taken away is put back first.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = |times: &mut BTreeMap<RouterId, Instant>| -> Vec<_> {
            times.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect()
        };
        self.incoming.extend(due(&mut self.to_put_back).into_iter().map(|id| Work::Task(id, Task::TakeNow)));
        self.incoming.extend(due(&mut self.put_off).into_iter().map(|id| Work::Task(id, Task::CatchUp)));
        self.incoming
            .extend(due(&mut self.to_try_sending).into_iter().map(|id| Work::Task(id, Task::TryToSend)));
    }

    /// The router has left.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.deadlines.retain(|(_, of)| *of != id);
        self.to_start.remove(&id);
        self.put_off.remove(&id);
        self.to_put_back.remove(&id);
        self.to_try_sending.remove(&id);
    }

    /// Files the router under its deadline, unless the kernel watches that; it knows nothing of a take-over that is held.
    pub(super) fn schedule(&mut self, router: &mut Router, id: RouterId) {
        let is_held = router.machine.held_until().is_some();
        let is_watched = router.is_watched_by_kernel();
        let deadline =
            if is_watched && !is_held { router.machine.preempts_at() } else { router.machine.deadline() };
        self.file(router, id, deadline);
    }

    /// Files the router under this deadline.
    pub(super) fn file(&mut self, router: &mut Router, id: RouterId, deadline: Option<Instant>) {
        if deadline == router.scheduled {
            return;
        }
        if let Some(before) = router.scheduled {
            self.deadlines.remove(&(before, id));
        }
        if let Some(next) = deadline {
            self.deadlines.insert((next, id));
        }
        router.scheduled = deadline;
    }
}
