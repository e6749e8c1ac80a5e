//! What the routers of an engine wait for: what still has to be done, in order, and when something is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrpd_common::abi::RouterRecord;
use vrrpd_common::router::{Action, Event};
use vrrpd_common::{Instant, Priority};

use super::{Line, Now, Output};
use crate::ids::RouterId;
use crate::interface::Interface;
use crate::kernel::is_on_link;
use crate::pace::{Announced, CaughtUp};
use crate::router::Router;

/// What still has to be done.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// What comes of the first is done before the second.
    pub(super) work: VecDeque<Work>,
    /// What has come of an output, or happened: it is done before what waits.
    pub(super) incoming: VecDeque<Work>,
    pub(super) outputs: VecDeque<Output>,
    /// Nothing is done before the record of this router is there.
    pub(super) asked_for: Option<RouterId>,
    deadlines: BTreeSet<(Instant, RouterId)>,
    /// When routers do what was put off, since they do it too often.
    put_off: BTreeMap<RouterId, Instant>,
    /// When routers that gave up, since their adverts did not go out, try again.
    to_try_sending: BTreeMap<RouterId, Instant>,
}

/// Something that still has to be done, for a router.
#[derive(Debug)]
pub(super) enum Work {
    /// Hand an event that happened at this time, if not now, to the state machine.
    Event {
        router: RouterId,
        at: Option<Instant>,
        event: Event,
        is_heard: bool,
    },
    Hear(RouterId),
    Feed(RouterId, Box<Feeding>),
    Tell(RouterId, Event),
    ListenAgain(RouterId),
    Schedule(RouterId),
    Act(RouterId),
}

/// A record that the state machine is fed with.
#[derive(Debug)]
pub(super) struct Feeding {
    record: RouterRecord,
    /// Sources in it that are in no subnet of the interface.
    elsewhere: Vec<IpAddr>,
    /// The machine was told of something.
    has_fed: bool,
    /// One of those sources counts.
    other_subnet: Option<IpAddr>,
    /// The program has been given up.
    is_last: bool,
}

impl Agenda {
    /// Whether nothing is left to be done.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty() && self.incoming.is_empty() && self.outputs.is_empty()
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
        let others = self.put_off.values().chain(self.to_try_sending.values()).min().copied();
        of_routers.into_iter().chain(others).min()
    }

    /// The routers that may do what was put off.
    pub(super) fn due_to_catch_up(&mut self, now: Instant) -> Vec<RouterId> {
        self.put_off.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect()
    }

    /// The routers that may try to send again.
    pub(super) fn due_to_try_sending(&mut self, now: Instant) -> Vec<RouterId> {
        self.to_try_sending.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect()
    }

    /// The router does not wait any more until it may try to send again; `false`: it did not.
    pub(super) fn ends_wait_to_send(&mut self, id: RouterId) -> bool {
        self.to_try_sending.remove(&id).is_some()
    }

    /// The router has left.
    pub(super) fn forget(&mut self, id: RouterId) {
        self.deadlines.retain(|(_, of)| *of != id);
        self.put_off.remove(&id);
        self.to_try_sending.remove(&id);
    }

    /// Files the router under its deadline, unless the kernel watches that; it knows nothing of a take-over that is held.
    pub(super) fn schedule(&mut self, router: &mut Router, id: RouterId) {
        let is_held = router.machine.held_until().is_some();
        let is_watched = router.is_watched_by_kernel();
        let deadline = if is_watched && !is_held { None } else { router.machine.deadline() };
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

    /// Begins the router's next action, unless the one before is not done.
    pub(super) fn act(&mut self, router: &mut Router, now: Now, id: RouterId) {
        if router.is_stopped() {
            return;
        }
        let Some(action) = router.next_action() else { return };
        if router.has_actions() {
            self.work.push_front(Work::Act(id));
        }
        match action {
            Action::TakeAddresses => {
                router.stop();
                self.outputs.push_back(Output::Take(id));
            }
            Action::GiveUpAddresses => {
                router.stop();
                self.outputs.push_back(Output::Release(id));
            }
            Action::SendAdvert(priority) => {
                self.outputs.push_back(Output::SendAdvert(id, priority));
                if priority != Priority::RESIGN && router.sending.is_on_trial() {
                    router.stop();
                    self.outputs.push_back(Output::TrySending(id));
                }
            }
            Action::AnnounceAddresses => self.announce(router, now, id, Announced::All),
            Action::Transition(transition) => {
                if let Some(past) = router.record(now.time_of_day, transition) {
                    let is_logged = router.pace.say_transition(now.at);
                    self.outputs.push_back(Output::Transition { router: id, past, is_logged });
                    self.put_off(router, id);
                }
            }
            // Said as soon as it is known.
            Action::Notice(_) => {}
        }
    }

    /// Tells hosts where the addresses of a router are: now, or as soon as it may be.
    pub(super) fn announce(&mut self, router: &mut Router, now: Now, id: RouterId, announced: Announced) {
        if router.pace.announce(now.at) {
            self.outputs.push_back(Output::Announce(id, announced));
        }
        self.put_off(router, id);
    }

    fn put_off(&mut self, router: &Router, id: RouterId) {
        if let Some(at) = router.pace.due_at() {
            self.put_off.insert(id, at);
        }
    }

    /// Does what was put off and is due.
    pub(super) fn catch_up(&mut self, router: &mut Router, now: Now, id: RouterId) {
        let CaughtUp { unsaid, announces } = router.pace.catch_up(now.at);
        if unsaid > 0 {
            let line = Line::MoreTransitions(unsaid, router.state_told(), router.reason_now());
            self.outputs.push_back(Output::Log(id, line));
        }
        // Of one that becomes Master or ceases to be it, the announcement follows anyway.
        if announces && !router.is_busy() {
            let announced = if router.is_master() { Announced::All } else { Announced::Own };
            self.outputs.push_back(Output::Announce(id, announced));
        }
        self.put_off(router, id);
    }

    /// The advert that shows whether the router can be Master went out, or did not.
    pub(super) fn tried(&mut self, router: &mut Router, now: Now, id: RouterId) {
        router.go_on();
        let failed = router.sending.is_on_trial();
        if failed {
            router.drop_promotion();
        }
        self.work.push_front(Work::Act(id));
        if failed {
            self.cannot_send(router, now, id);
        }
    }

    /// Adverts of the router cannot be sent.
    pub(super) fn cannot_send(&mut self, router: &mut Router, now: Now, id: RouterId) {
        let pause = router.sending.give_up();
        self.to_try_sending.insert(id, now.at + pause);
        self.outputs.push_back(Output::Log(id, Line::CannotSend(pause)));
        self.outputs.push_back(Output::CheckUsable(id));
    }

    /// Feeds the state machine with the next thing that a record holds.
    pub(super) fn feed(&mut self, router: &mut Router, id: RouterId, mut feeding: Box<Feeding>) {
        let Some(heard) = router.kernel.next_advert(&router.config, &feeding.record) else {
            let Feeding { record, has_fed, other_subnet, is_last, .. } = *feeding;
            match other_subnet {
                // Who else was heard meanwhile cannot be told.
                Some(_) if is_last => self.work.push_front(Work::ListenAgain(id)),
                Some(source) => self.outputs.push_back(Output::HearsOtherSubnet(id, source)),
                None if has_fed && !is_last => {
                    self.outputs.push_back(Output::CorrectKernel(id, Box::new(record)));
                }
                None => {}
            }
            return;
        };
        if feeding.elsewhere.contains(&heard.advert.source) {
            // One that neither puts a deadline off nor makes a Master yield does no harm where it does not belong.
            if heard.counts {
                feeding.other_subnet = Some(heard.advert.source);
            }
            return self.work.push_front(Work::Feed(id, feeding));
        }
        feeding.has_fed = true;
        self.work.push_front(Work::Feed(id, feeding));
        let event = Event::Advert(heard.advert);
        self.work.push_front(Work::Event { router: id, at: Some(heard.at), event, is_heard: true });
    }
}

impl Feeding {
    pub(super) fn new(
        router: &Router,
        record: &RouterRecord,
        interface: Option<&Interface>,
        is_last: bool,
    ) -> Self {
        let sources = router.kernel.unheard(&router.config, record).map(|heard| heard.advert.source);
        let elsewhere = sources.filter(|source| !is_on_link(interface, &router.config, *source)).collect();
        Self { record: *record, elsewhere, has_fed: false, other_subnet: None, is_last }
    }
}
