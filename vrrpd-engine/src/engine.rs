//! The engine: timed inputs go in, outputs come out, in order.
//!
//! There is one queue and no recursion. [`Engine::handle`] takes an input. [`Engine::next_output`] works until there is
//! an output, and returns it. Inputs that follow from an output are handled before older work, so a router knows the
//! adverts that the kernel has heard before it takes its next action.
//!
//! The driver calls [`Engine::next_output`] after each input until it returns `None`, and [`Engine::expire`] when
//! [`Engine::deadline`] has passed. Inputs that come early, twice, or for a router that has left are harmless.

mod acting;
mod agenda;
mod asking;
mod beginning;
mod deadlines;
mod feeding;
mod grouping;
mod hearing;
pub(crate) mod input;
mod interfaces;
mod output;
mod putting_right;
mod recorder;
mod restoring;
mod returning;
mod sent;
pub(crate) mod snapshot;
mod speaking;
mod telling;
mod tickets;
mod tracking;
mod turn;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use vrrpd_common::Instant;
use vrrpd_common::abi::RouterRecord;
use vrrpd_common::router::{Event, StateName};

use crate::absence::Absence;
use crate::group::Groups;
use crate::ids::{LinkId, RouterId, Slots, Ticket};
use crate::interface::Interface;
use crate::kernel::KernelSide;
use crate::ledger::Journal;
use crate::link::Link;
use crate::recording::Recording;
use crate::router::Router;
use crate::track::Checks;
use agenda::{Agenda, Task, Work};
use feeding::Feeding;
use turn::Turn;

pub use beginning::Inadmissible;
pub use input::{Input, NotSent, Now};
pub use interfaces::Concerned;
pub use output::{CheckChanged, Line, Output};
pub use snapshot::Snapshot;
pub use speaking::{AnnouncedOn, Announcement, LastActs};

/// All routers and interfaces of a process, with their pending work and deadlines.
#[derive(Clone, Debug)]
pub struct Engine {
    routers: Slots<RouterId, Router>,
    links: Slots<LinkId, Link>,
    checks: Checks,
    groups: Groups,
    agenda: Agenda,
    marks: bool,
    /// Time of the last input; everything that follows from it happens at this time.
    now: Now,
    /// Recordings of what happened to each router around its last transitions.
    recordings: Slots<RouterId, Box<Recording>>,
    /// The router whose kernel record is being read, and the time of that read.
    looked_at: Option<(RouterId, Now)>,
}

impl Engine {
    /// An engine without routers. `marks`: whether the system stores our mark with addresses; if so, an address without
    /// it is not ours.
    pub fn new(marks: bool) -> Self {
        Self {
            routers: Slots::default(),
            links: Slots::default(),
            checks: Checks::default(),
            groups: Groups::default(),
            agenda: Agenda::default(),
            marks,
            now: Now::default(),
            recordings: Slots::default(),
            looked_at: None,
        }
    }

    /// Whether the system stores our mark with addresses.
    pub const fn marks(&self) -> bool {
        self.marks
    }

    /// All routers.
    pub const fn routers(&self) -> &Slots<RouterId, Router> {
        &self.routers
    }

    /// The router with this identifier; `None` after it has left.
    pub fn router(&self, id: RouterId) -> Option<&Router> {
        self.routers.get(id)
    }

    /// Adds a router under the identifier that [`Slots::next_id`] of the table returned. Its events before that are
    /// kept.
    pub fn add(&mut self, mut router: Router) -> RouterId {
        let link = router.link;
        let key = (router.config.family, router.config.vrid);
        let before = self.links.get(link).and_then(|link| link.left.get(&key));
        router.done = before.copied().unwrap_or_default();
        let id = self.routers.insert(router);
        if let Some(link) = self.links.get_mut(link) {
            link.routers.push(id);
        }
        id
    }

    /// Removes a router that has left. Its identifier is not used again.
    pub fn remove(&mut self, id: RouterId) -> Option<Router> {
        self.agenda.forget(id);
        self.recordings.remove(id);
        let router = self.routers.remove(id)?;
        if let Some(link) = self.links.get_mut(router.link) {
            link.routers.retain(|other| *other != id);
            if link.routers.is_empty() {
                link.absence = Absence::default();
            }
            link.left.insert((router.config.family, router.config.vrid), router.done);
        }
        Some(router)
    }

    /// All interfaces.
    pub const fn links(&self) -> &Slots<LinkId, Link> {
        &self.links
    }

    /// The interface with this identifier.
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(id)
    }

    /// The identifier of the interface with this name.
    pub fn link_named(&self, name: &str) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(id, _)| id)
    }

    /// Adds an interface.
    pub fn add_link(&mut self, link: Link) -> LinkId {
        self.links.insert(link)
    }

    /// State of an interface; `None` while it does not exist.
    pub fn interface(&self, id: LinkId) -> Option<&Interface> {
        self.links.get(id)?.interface.as_ref()
    }

    /// Routers that are leaving and still hold something or have something to send.
    pub fn leaving(&self) -> Vec<RouterId> {
        self.routers.iter().filter(|(_, router)| router.is_leaving()).map(|(id, _)| id).collect()
    }

    /// The routers on an interface.
    pub fn routers_on(&self, id: LinkId) -> Vec<RouterId> {
        self.links.get(id).map(|link| link.routers.clone()).unwrap_or_default()
    }

    /// The journal: what the routers have taken from the system or are about to take.
    pub fn journal(&self) -> Journal {
        self.routers.values().flat_map(|router| router.records(self.interface(router.link))).collect()
    }

    /// Takes an input. Call [`Engine::next_output`] afterwards. Frames that were read in one batch have the time of the
    /// first one, or of a later input if one came in between.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        let now = Now { at: now.at.max(self.now.at), ..now };
        self.now = now;
        let input = match input {
            Input::Due(id) if !self.is_watched_by_kernel(id) => Input::Event(id, Event::Timer, None),
            other => other,
        };
        self.keep(&input);
        let (id, task) = match input {
            Input::Event(id, event @ Event::Advert(_), frame) if self.agenda.is_idle() => {
                if let Some(mut turn) = self.turn(id) {
                    turn.event(now.at, event, frame.as_deref());
                }
                return;
            }
            Input::Record(id, record) => return self.record(now.at, id, record.as_deref()),
            Input::Counted(id, record) => return self.discarded(now.at, id, &record),
            Input::LastRecord(id, record) => {
                let Some(feeding) = self.feeding(id, &record, true) else { return };
                (id, Task::Feed(Box::new(feeding)))
            }
            Input::Answered(ticket, outcome) => {
                return self.agenda.incoming.push_back(Work::Answered(ticket, Box::new(outcome)));
            }
            Input::Sent(id) => return self.sent(id),
            Input::NotSent(id, failure) => return self.not_sent(now.at, id, failure),
            Input::NotSentToPeer { router, peer, error } => {
                return self.not_sent_to(now.at, router, peer, error);
            }
            Input::Rejected { link, router, why } => return self.rejected(now.at, link, router, why),
            Input::FormGroups { groups, seed } => {
                self.agenda.incoming.push_back(Work::SettleGroups);
                return self.agenda.incoming.push_back(Work::FormGroups(groups, seed));
            }
            Input::GroupPeerSaid(peer, message) => return self.groups.peer_said(peer, message),
            Input::GroupPeerGone(peer) => return self.groups.peer_gone(peer),
            Input::SettleGroups => return self.agenda.incoming.push_back(Work::SettleGroups),
            Input::SkipStartDelay(id) => return self.skip_start_delay(id),
            Input::LinkIs(link, interface) => return self.link_is(link, *interface),
            Input::LinkGone(link, index) => return self.link_gone(link, index),
            Input::MacvlanIs(id, interface) => (id, Task::MacvlanIs(interface)),
            Input::MacvlanGone(id) => (id, Task::MacvlanGone),
            Input::InKernel { link, in_kernel, sees_tags } => {
                return self.in_kernel(link, in_kernel, sees_tags);
            }
            Input::KernelForgot(link) => return self.kernel_forgot(link),
            Input::ReturnLater(link) => return self.return_later(now.at, link),
            Input::Returned(link) => return self.returned(now.at, link),
            Input::NotReturned(link, reason) => return self.not_returned(now.at, link, reason),
            Input::RoutingLost => return self.routing_lost(),
            Input::Event(id, event, _) => (id, Task::event(event)),
            Input::Tried(id) => (id, Task::Tried),
            Input::CannotSend(id) => (id, Task::CannotSend),
            Input::Hear(id) => (id, Task::Hear),
            Input::TellKernel(id) => (id, Task::TellAll),
            Input::ListenAgain(id) => (id, Task::ListenAgain),
            Input::Schedule(id) => (id, Task::Schedule),
            Input::Due(id) => return self.hold_is_over(id),
            Input::KernelExpired(id) => return self.kernel_expired(id),
            Input::AddressLost(id, address, remover) => (id, Task::AddressLost(address, remover)),
            Input::OtherInterface(id, name, interface) => (id, Task::OtherInterface(name, interface)),
            Input::Prepare(id) => (id, Task::Prepare),
            Input::Discard(id) => (id, Task::Discard),
            Input::Exchange(id, config) => {
                let tracked = self.tracked(&config);
                (id, Task::Exchange(config, tracked))
            }
            Input::Track(id) => {
                let tracked = self.router(id).map(|router| self.tracked(&router.config));
                (id, Task::Track(tracked.unwrap_or_default()))
            }
            Input::StartUp(id) => (id, Task::StartUp),
            Input::Found { check, finding, detail } => return self.found(now.at, check, finding, &detail),
            Input::Step(id, step) => (id, Task::Step(step)),
            Input::Leave(id) => (id, Task::Leave),
            Input::SeeOff { router, is_spoken } => (router, Task::SeeOff { is_spoken }),
        };
        self.agenda.incoming.push_back(Work::Task(id, task));
    }

    /// Works until there is an output, and returns it; `None` when nothing is left. All of it happens at the time of
    /// the last input.
    pub fn next_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.agenda.outputs.pop_front() {
                self.keep_output(&output);
                return Some(output);
            }
            if self.agenda.asked_for.is_some() {
                return None;
            }
            match self.agenda.next_work()? {
                Work::Task(id, task) => {
                    if let Some(mut turn) = self.turn(id) {
                        turn.work_on(task);
                    }
                }
                Work::CheckUsable(id) => self.check_usable(id),
                Work::FormGroups(groups, seed) => self.form_groups(&groups, seed),
                Work::SettleGroups => self.settle_groups(),
                Work::FollowGroup(id, reason) => self.follow_group(id, reason),
                Work::Answered(ticket, outcome) => {
                    if let Some(id) = self.agenda.tickets.redeem(ticket)
                        && let Some(mut turn) = self.turn(id)
                    {
                        turn.answered(ticket, *outcome);
                    }
                }
            }
        }
    }

    /// Handles every deadline that has passed, except those of [`Engine::due`]. Messages of other processes of the
    /// group must be handed over before; groups handle their deadlines in [`Input::SettleGroups`].
    pub fn expire(&mut self, now: Now) {
        self.now = now;
        self.keep_expired();
        self.expire_checks(now.at);
        self.groups.expire(now.at);
        self.end_absences(now.at);
        self.agenda.expire(now.at);
    }

    /// Routers whose deadline has passed. [`Input::Due`] follows for each, after all frames that have arrived on the
    /// interfaces of [`Engine::hears_before`].
    pub fn due(&self, now: Instant) -> Vec<RouterId> {
        self.agenda.due(now)
    }

    /// Interfaces whose received frames are handled before the deadlines of these routers: a process that could not run must
    /// not declare a live master dead.
    pub fn hears_before(&self, due: &[RouterId]) -> BTreeSet<LinkId> {
        let due = due.iter().filter_map(|id| self.router(*id));
        let backups = due.filter(|router| router.machine.state().name() == StateName::Backup);
        backups.map(|router| router.link).collect()
    }

    /// Time of the last input.
    pub(crate) const fn now(&self) -> Now {
        self.now
    }

    /// Whether an [`Output::ReadRecord`] is unanswered.
    pub(crate) const fn awaits_record(&self) -> bool {
        self.agenda.asked_for.is_some()
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<Instant> {
        let others = [self.checks.deadline(), self.groups.deadline(), self.absence_ends_at()];
        self.agenda.deadline().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The router that waits for the answer to this request.
    pub fn waits_for(&self, ticket: Ticket) -> Option<&Router> {
        self.router(self.agenda.tickets.holder(ticket)?)
    }

    /// Number of requests that the system has answered.
    pub fn answers(&self) -> u64 {
        self.agenda.tickets.answered()
    }

    fn turn(&mut self, id: RouterId) -> Option<Turn<'_>> {
        let Self { routers, links, groups, agenda, marks, now, .. } = self;
        let router = routers.get_mut(id)?;
        let link = links.get_mut(router.link)?;
        Some(Turn { id, router, link, groups, agenda, marks: *marks, now: *now })
    }

    /// Switches the adverts of an interface to the kernel data path or back.
    fn in_kernel(&mut self, link: LinkId, in_kernel: bool, sees_tags: bool) {
        for id in self.routers_on(link) {
            if let Some(router) = self.routers.get_mut(id) {
                router.in_kernel = in_kernel && router.config.is_for_program();
                router.sees_tags = sees_tags;
            }
        }
    }

    /// Skips the start delay, since the machine was not just booted.
    fn skip_start_delay(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(id) {
            router.machine.skip_start_delay();
        }
    }

    /// The kernel lost the commands for the routers of an interface.
    fn kernel_forgot(&mut self, link: LinkId) {
        for id in self.routers_on(link) {
            if let Some(router) = self.routers.get_mut(id) {
                router.kernel = KernelSide::default();
            }
        }
    }

    /// Handles the kernel's record of a router.
    fn record(&mut self, now: Instant, id: RouterId, record: Option<&RouterRecord>) {
        self.agenda.asked_for.take_if(|asked| *asked == id);
        if let Some(record) = record {
            if let Some(router) = self.routers.get_mut(id) {
                router.kernel.read(now);
            }
            // The newest advert may be later than `now`, since it may have arrived while the record was read.
            let newest = record.in_order().into_iter().map(|heard| Instant::from_nanos(heard.at)).max();
            self.now.at = newest.map_or(now, |newest| newest.max(now));
            self.discarded(now, id, record);
        }
        let has_news = |record: &&RouterRecord| {
            self.routers.get(id).is_some_and(|router| router.kernel.has_news(record))
        };
        if let Some(record) = record.filter(has_news)
            && let Some(feeding) = self.feeding(id, record, false)
        {
            self.agenda.incoming.push_front(Work::Task(id, Task::Feed(Box::new(feeding))));
        }
    }

    fn feeding(&self, id: RouterId, record: &RouterRecord, is_last: bool) -> Option<Feeding> {
        let router = self.routers.get(id)?;
        Some(Feeding::new(router, record, self.interface(router.link), is_last))
    }
}
