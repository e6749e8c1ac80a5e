//! The engine: what happens to routers goes in with its time, what is to be done comes out, in order.
//!
//! There is one queue and no recursion. [`Engine::handle`] takes in what happened; [`Engine::next_output`] works on until there
//! is something to be done, and hands that out. What comes of it is the next input, before anything that still waits:
//! so an advert that the kernel has heard meanwhile is known to the router before its next action.
//!
//! Whoever drives it calls [`Engine::next_output`] until it returns `None`, after each input, and [`Engine::expire`] when
//! [`Engine::deadline`] has passed. Inputs that come too early, twice or for a router that has left are harmless.

mod agenda;
mod input;
mod output;

#[cfg(test)]
mod tests;

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, StateName};

use crate::ids::{RouterId, Slots};
use crate::router::{Router, TimeOfDay};
use agenda::{Agenda, Feeding, Work};

pub use input::Input;
pub use output::{Line, Output};

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By which everything is decided.
    pub at: Instant,
    /// By which people are told.
    pub time_of_day: TimeOfDay,
}

/// All routers of a process, and what they wait for.
#[derive(Debug, Default)]
pub struct Engine {
    routers: Slots<RouterId, Router>,
    agenda: Agenda,
}

impl Engine {
    /// Every router.
    pub const fn routers(&self) -> &Slots<RouterId, Router> {
        &self.routers
    }

    /// The router of this name; `None`: it has left.
    pub fn router(&self, id: RouterId) -> Option<&Router> {
        self.routers.get(id)
    }

    /// The same, to be changed.
    pub fn router_mut(&mut self, id: RouterId) -> Option<&mut Router> {
        self.routers.get_mut(id)
    }

    /// Every router, to be changed.
    pub fn routers_mut(&mut self) -> impl Iterator<Item = &mut Router> {
        self.routers.values_mut()
    }

    /// Takes in a router, under the name that [`Slots::next_id`] of the table has said.
    pub fn add(&mut self, router: Router) -> RouterId {
        self.routers.insert(router)
    }

    /// The router has left. Its name is not used again.
    pub fn remove(&mut self, id: RouterId) -> Option<Router> {
        self.agenda.forget(id);
        self.routers.remove(id)
    }

    /// Takes in what happened. [`Engine::next_output`] says what is to be done.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        let Self { routers, agenda } = self;
        match input {
            Input::Event(id, event @ Event::Advert(_), frame) if agenda.is_idle() => {
                self.event(now, (id, now.at), event, frame);
            }
            Input::Event(router, event, _) => {
                agenda.incoming.push_back(Work::Event { router, at: None, event, is_heard: false });
            }
            Input::Record(id, record, interface) => {
                agenda.asked_for.take_if(|asked| *asked == id);
                if let (Some(record), Some(router)) = (record, routers.get(id))
                    && router.kernel.has_news(record)
                {
                    let feeding = Feeding::new(router, record, interface, false);
                    agenda.incoming.push_front(Work::Feed(id, Box::new(feeding)));
                }
            }
            Input::LastRecord(id, record, interface) => {
                if let Some(router) = routers.get(id) {
                    let feeding = Feeding::new(router, record, interface, true);
                    agenda.incoming.push_back(Work::Feed(id, Box::new(feeding)));
                }
            }
            Input::Done(id) => {
                if let Some(router) = routers.get_mut(id) {
                    router.go_on();
                }
                agenda.incoming.push_back(Work::Act(id));
            }
            Input::Tried(id) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.tried(router, now, id);
                }
            }
            Input::CannotSend(id) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.cannot_send(router, now, id);
                }
            }
            Input::MaySendAgain(id) => {
                if agenda.ends_wait_to_send(id)
                    && let Some(router) = routers.get_mut(id)
                {
                    router.sending.try_again();
                }
            }
            Input::Announce(id, announced) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.announce(router, now, id, announced);
                }
            }
            Input::Act(id) => agenda.incoming.push_back(Work::Act(id)),
            Input::Hear(id) => agenda.incoming.push_back(Work::Hear(id)),
            Input::ListenAgain(id) => agenda.incoming.push_back(Work::ListenAgain(id)),
            Input::Tell(id) => agenda.incoming.push_back(Work::Tell(id, Event::Timer)),
            Input::Schedule(id) => agenda.incoming.push_back(Work::Schedule(id)),
            Input::Unschedule(id) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.file(router, id, None);
                }
            }
        }
    }

    /// Works on until something is to be done, and says what; `None`: nothing is left.
    pub fn next_output(&mut self, now: Now) -> Option<Output> {
        loop {
            if let Some(output) = self.agenda.outputs.pop_front() {
                return Some(output);
            }
            if self.agenda.asked_for.is_some() {
                return None;
            }
            let work = self.agenda.next_work()?;
            self.work_on(now, work);
        }
    }

    /// Does what is due at `now`, but for what [`Engine::due`] says.
    pub fn expire(&mut self, now: Now) {
        for id in self.agenda.due_to_catch_up(now.at) {
            if let Some(router) = self.routers.get_mut(id) {
                self.agenda.catch_up(router, now, id);
            }
        }
        for id in self.agenda.due_to_try_sending(now.at) {
            if let Some(router) = self.routers.get_mut(id) {
                router.sending.try_again();
                self.agenda.outputs.push_back(Output::CheckUsable(id));
            }
        }
    }

    /// The routers whose deadline has passed: before they get [`Event::Timer`], all that has arrived is to be heard.
    pub fn due(&self, now: Instant) -> Vec<RouterId> {
        self.agenda.due(now)
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.agenda.deadline()
    }

    fn work_on(&mut self, now: Now, work: Work) {
        let Self { routers, agenda } = self;
        match work {
            Work::Event { router, at, event, is_heard } => {
                if !is_heard && !matches!(event, Event::Advert(_) | Event::Timer) {
                    // The kernel has told nothing of a master that goes on as before.
                    agenda.work.push_front(Work::Event { router, at, event, is_heard: true });
                    agenda.work.push_front(Work::Hear(router));
                } else {
                    self.event(now, (router, at.unwrap_or(now.at)), event, None);
                }
            }
            Work::Hear(id) => {
                if routers.get(id).is_some() {
                    agenda.asked_for = Some(id);
                    agenda.outputs.push_back(Output::ReadRecord(id));
                }
            }
            Work::Feed(id, feeding) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.feed(router, id, feeding);
                }
            }
            Work::ListenAgain(id) => {
                // What has an Authentication Header was heard all the time.
                let listens = |router: &Router| {
                    router.machine.state().name() == StateName::Backup && !router.is_verified_by_us()
                };
                if routers.get(id).is_some_and(listens) {
                    let event = Event::StoodStill;
                    agenda.work.push_front(Work::Event { router: id, at: None, event, is_heard: false });
                }
            }
            Work::Tell(id, event) => agenda.outputs.push_back(Output::TellKernel(id, event)),
            Work::Schedule(id) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.schedule(router, id);
                }
            }
            Work::Act(id) => {
                if let Some(router) = routers.get_mut(id) {
                    agenda.act(router, now, id);
                }
            }
        }
    }

    /// Hands an event to a router; what comes of it is done before anything that waits.
    fn event(&mut self, now: Now, (id, at): (RouterId, Instant), event: Event, frame: Option<&[u8]>) {
        let Self { routers, agenda } = self;
        let Some(router) = routers.get_mut(id) else { return };
        let outputs = &mut agenda.outputs;
        if let Event::Advert(advert) = &event
            && let Some(warning) = router.compare_addresses(at, advert, frame)
        {
            outputs.push_back(Output::Log(id, Line::Mismatch(warning)));
        }
        router.handle(at, event, &mut |noticed| {
            let theirs = noticed.addresses(frame);
            outputs.push_back(Output::Log(id, Line::Notice(noticed, theirs)));
        });
        if router.group.is_some() {
            outputs.push_back(Output::Standing(id));
        }
        if router.in_kernel {
            agenda.work.push_front(Work::Act(id));
            agenda.work.push_front(Work::Schedule(id));
            agenda.work.push_front(Work::Tell(id, event));
        } else {
            agenda.schedule(router, id);
            agenda.act(router, now, id);
        }
    }
}
