//! The engine: what happens to routers goes in with its time, what is to be done comes out, in order.
//!
//! There is one queue and no recursion. [`Engine::handle`] takes in what happened; [`Engine::next_output`] works on until there
//! is something to be done, and hands that out. What comes of it is the next input, before anything that still waits:
//! so an advert that the kernel has heard meanwhile is known to the router before its next action.
//!
//! Whoever drives it calls [`Engine::next_output`] until it returns `None`, after each input, and [`Engine::expire`] when
//! [`Engine::deadline`] has passed. Inputs that come too early, twice or for a router that has left are harmless.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use vrrpd_common::abi::RouterRecord;
use vrrpd_common::router::{Action, Event, Reason, StateName};
use vrrpd_common::{Duration, Instant, Priority};

use crate::ids::{RouterId, Slots};
use crate::interface::Interface;
use crate::kernel::is_on_link;
use crate::mismatch::Warning;
use crate::pace::{Announced, CaughtUp};
use crate::router::{Noticed, Past, Router, TimeOfDay};

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By which everything is decided.
    pub at: Instant,
    /// By which people are told.
    pub time_of_day: TimeOfDay,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Something for the state machine of a router, now. Adverts come with their frame, if it is at hand.
    Event(RouterId, Event, Option<&'a [u8]>),
    /// The answer to [`Output::ReadRecord`]: what the kernel knows of the router; `None`: its adverts do not come by the kernel.
    /// The interface is the one that the router runs on.
    Record(RouterId, Option<&'a RouterRecord>, Option<&'a Interface>),
    /// What the kernel heard of a router until its program was given up.
    LastRecord(RouterId, &'a RouterRecord, Option<&'a Interface>),
    /// The system has done what the router's next action waited for.
    Done(RouterId),
    /// The answer to [`Output::TrySending`]: the advert went out, or did not.
    Tried(RouterId),
    /// Adverts of a router cannot be sent.
    CannotSend(RouterId),
    /// What may have kept a router from sending has changed.
    MaySendAgain(RouterId),
    /// Hosts are to be told where addresses of a router are.
    Announce(RouterId, Announced),
    /// The router's actions were added to.
    Act(RouterId),
    /// Read what the kernel has heard of a router since.
    Hear(RouterId),
    /// Somewhere a router's adverts were not heard for a time that is not known: a Backup hears who is there before it acts.
    ListenAgain(RouterId),
    /// The kernel may have to know something else of a router than it was told.
    Tell(RouterId),
    /// The kernel watches the deadline of a router, or does not any more.
    Schedule(RouterId),
    /// The router has left.
    Left(RouterId),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read what the kernel knows of a router; the answer is [`Input::Record`].
    ReadRecord(RouterId),
    /// The router has handled this event, of which the kernel may have to know: [`crate::kernel::KernelSide::tell`] says.
    TellKernel(RouterId, Event),
    /// The kernel reckons with another deadline of a Backup than this router, which has handled all that is in this record.
    CorrectKernel(RouterId, Box<RouterRecord>),
    /// An advert that counts comes from this address, which is not in a subnet of the interface: the program may hear adverts
    /// of a VLAN.
    HearsOtherSubnet(RouterId, IpAddr),
    /// A member of a group may stand in another way.
    Standing(RouterId),
    /// Put the virtual MAC address and the addresses in force; [`Input::Done`] follows.
    Take(RouterId),
    /// Take them away; [`Input::Done`] follows.
    Release(RouterId),
    /// Send an advert with this priority with the next ones.
    SendAdvert(RouterId, Priority),
    /// Send what waits now: it shows whether the router can be Master. The answer is [`Input::Tried`].
    TrySending(RouterId),
    /// Tell hosts where addresses are.
    Announce(RouterId, Announced),
    /// The router's state has changed, for all to be told.
    Transition {
        /// The router.
        router: RouterId,
        /// The change.
        past: Past,
        /// It has a line in the log.
        is_logged: bool,
    },
    /// Whether the router's interface can be used is to be looked at anew.
    CheckUsable(RouterId),
    /// Write to the log.
    Log(RouterId, Line),
}

/// A line of the log about a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The state machine noticed something. With it, the addresses that an advert announces, if they are at hand.
    Notice(Noticed, Vec<IpAddr>),
    /// The sender of an advert is set up in another way.
    Mismatch(Warning),
    /// So many transitions had no line of their own; now the router is in this state for this reason.
    MoreTransitions(u64, StateName, Reason),
    /// Adverts cannot be sent; that is tried again after this time.
    CannotSend(Duration),
}

/// Something that still has to be done, for a router.
#[derive(Debug)]
enum Work {
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
struct Feeding {
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

/// All routers of a process, beside what they are: what they wait for.
#[derive(Debug, Default)]
pub struct Engine {
    /// What still has to be done; what comes of the first is done before the second.
    work: VecDeque<Work>,
    /// What has come of an output, or happened: it is done before what waits.
    incoming: VecDeque<Work>,
    outputs: VecDeque<Output>,
    /// Nothing is done before the record of this router is there.
    asked_for: Option<RouterId>,
    deadlines: BTreeSet<(Instant, RouterId)>,
    /// When routers do what was put off, since they do it too often.
    put_off: BTreeMap<RouterId, Instant>,
    /// When routers that gave up, since their adverts did not go out, try again.
    to_try_sending: BTreeMap<RouterId, Instant>,
}

impl Engine {
    /// Takes in what happened. [`Engine::next_output`] says what is to be done.
    pub fn handle<R: AsMut<Router>>(&mut self, routers: &mut Slots<RouterId, R>, now: Now, input: Input<'_>) {
        match input {
            Input::Event(id, event @ Event::Advert(_), frame) if self.is_idle() => {
                self.event(routers, now, (id, now.at), event, frame);
            }
            Input::Event(router, event, _) => {
                self.incoming.push_back(Work::Event { router, at: None, event, is_heard: false });
            }
            Input::Record(id, record, interface) => self.record(routers, id, record, interface),
            Input::LastRecord(id, record, interface) => {
                if let Some(router) = routers.get_mut(id).map(AsMut::as_mut) {
                    let feeding = Feeding::new(router, record, interface, true);
                    self.incoming.push_back(Work::Feed(id, Box::new(feeding)));
                }
            }
            Input::Done(id) => {
                if let Some(router) = routers.get_mut(id) {
                    router.as_mut().go_on();
                }
                self.incoming.push_back(Work::Act(id));
            }
            Input::Tried(id) => self.tried(routers, now, id),
            Input::CannotSend(id) => self.cannot_send(routers, now, id),
            Input::MaySendAgain(id) => {
                if self.to_try_sending.remove(&id).is_some()
                    && let Some(router) = routers.get_mut(id)
                {
                    router.as_mut().sending.try_again();
                }
            }
            Input::Announce(id, announced) => {
                if let Some(router) = routers.get_mut(id) {
                    self.announce(router.as_mut(), now, id, announced);
                }
            }
            Input::Act(id) => self.incoming.push_back(Work::Act(id)),
            Input::Hear(id) => self.incoming.push_back(Work::Hear(id)),
            Input::ListenAgain(id) => self.incoming.push_back(Work::ListenAgain(id)),
            Input::Tell(id) => self.incoming.push_back(Work::Tell(id, Event::Timer)),
            Input::Schedule(id) => self.incoming.push_back(Work::Schedule(id)),
            Input::Left(id) => {
                self.deadlines.retain(|(_, of)| *of != id);
                self.put_off.remove(&id);
                self.to_try_sending.remove(&id);
            }
        }
    }

    /// Whether nothing is left to be done.
    fn is_idle(&self) -> bool {
        self.work.is_empty() && self.incoming.is_empty() && self.outputs.is_empty()
    }

    /// Works on until something is to be done, and says what; `None`: nothing is left.
    pub fn next_output<R: AsMut<Router>>(
        &mut self,
        routers: &mut Slots<RouterId, R>,
        now: Now,
    ) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if self.asked_for.is_some() {
                return None;
            }
            while let Some(work) = self.incoming.pop_back() {
                self.work.push_front(work);
            }
            let work = self.work.pop_front()?;
            self.work_on(routers, now, work);
        }
    }

    /// Does what is due at `now`, but for what [`Engine::due`] says.
    pub fn expire<R: AsMut<Router>>(&mut self, routers: &mut Slots<RouterId, R>, now: Now) {
        let due: Vec<_> = self.put_off.extract_if(.., |_, at| *at <= now.at).map(|(id, _)| id).collect();
        for id in due {
            if let Some(router) = routers.get_mut(id) {
                self.catch_up(router.as_mut(), now, id);
            }
        }
        let due: Vec<_> =
            self.to_try_sending.extract_if(.., |_, at| *at <= now.at).map(|(id, _)| id).collect();
        for id in due {
            if let Some(router) = routers.get_mut(id) {
                router.as_mut().sending.try_again();
                self.outputs.push_back(Output::CheckUsable(id));
            }
        }
    }

    /// The routers whose deadline has passed: before they get [`Event::Timer`], all that has arrived is to be heard.
    pub fn due(&self, now: Instant) -> Vec<RouterId> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// When something is due.
    pub fn deadline(&self) -> Option<Instant> {
        let of_routers = self.deadlines.first().map(|(at, _)| *at);
        let others = self.put_off.values().chain(self.to_try_sending.values()).min().copied();
        of_routers.into_iter().chain(others).min()
    }

    /// Files no deadline of this router until it is scheduled again.
    pub fn unschedule(&mut self, router: &mut Router, id: RouterId) {
        if let Some(at) = router.scheduled.take() {
            self.deadlines.remove(&(at, id));
        }
    }

    fn work_on<R: AsMut<Router>>(&mut self, routers: &mut Slots<RouterId, R>, now: Now, work: Work) {
        match work {
            Work::Event { router, at, event, is_heard } => {
                if !is_heard && !matches!(event, Event::Advert(_) | Event::Timer) {
                    // The kernel has told nothing of a master that goes on as before.
                    self.work.push_front(Work::Event { router, at, event, is_heard: true });
                    self.work.push_front(Work::Hear(router));
                } else {
                    self.event(routers, now, (router, at.unwrap_or(now.at)), event, None);
                }
            }
            Work::Hear(id) => {
                if routers.get(id).is_some() {
                    self.asked_for = Some(id);
                    self.outputs.push_back(Output::ReadRecord(id));
                }
            }
            Work::Feed(id, feeding) => {
                if let Some(router) = routers.get_mut(id) {
                    self.feed(router.as_mut(), id, feeding);
                }
            }
            Work::ListenAgain(id) => {
                // What has an Authentication Header was heard all the time.
                let listens = |router: &mut R| {
                    let router = router.as_mut();
                    router.machine.state().name() == StateName::Backup && !router.is_verified_by_us()
                };
                if routers.get_mut(id).is_some_and(listens) {
                    let event = Event::StoodStill;
                    self.work.push_front(Work::Event { router: id, at: None, event, is_heard: false });
                }
            }
            Work::Tell(id, event) => self.outputs.push_back(Output::TellKernel(id, event)),
            Work::Schedule(id) => {
                if let Some(router) = routers.get_mut(id) {
                    self.schedule(router.as_mut(), id);
                }
            }
            Work::Act(id) => {
                if let Some(router) = routers.get_mut(id) {
                    self.act(router.as_mut(), now, id);
                }
            }
        }
    }

    /// Hands an event to a router; what comes of it is done before anything that waits.
    fn event<R: AsMut<Router>>(
        &mut self,
        routers: &mut Slots<RouterId, R>,
        now: Now,
        (id, at): (RouterId, Instant),
        event: Event,
        frame: Option<&[u8]>,
    ) {
        let Some(router) = routers.get_mut(id).map(AsMut::as_mut) else { return };
        let outputs = &mut self.outputs;
        if let Event::Advert(advert) = &event
            && let Some(warning) = router.compare_addresses(at, advert, frame)
        {
            outputs.push_back(Output::Log(id, Line::Mismatch(warning)));
        }
        router.handle(at, event, &mut |noticed| {
            let theirs = noticed.addresses(frame);
            outputs.push_back(Output::Log(id, Line::Notice(noticed, theirs)));
        });
        if router.is_grouped {
            outputs.push_back(Output::Standing(id));
        }
        if router.in_kernel {
            self.work.push_front(Work::Act(id));
            self.work.push_front(Work::Schedule(id));
            self.work.push_front(Work::Tell(id, event));
        } else {
            self.schedule(router, id);
            self.act(router, now, id);
        }
    }

    /// Files the router under its deadline, unless the kernel watches that; it knows nothing of a take-over that is held.
    fn schedule(&mut self, router: &mut Router, id: RouterId) {
        let is_held = router.machine.held_until().is_some();
        let is_watched = router.is_watched_by_kernel();
        let deadline = if is_watched && !is_held { None } else { router.machine.deadline() };
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
    fn act(&mut self, router: &mut Router, now: Now, id: RouterId) {
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
    fn announce(&mut self, router: &mut Router, now: Now, id: RouterId, announced: Announced) {
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
    fn catch_up(&mut self, router: &mut Router, now: Now, id: RouterId) {
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
    fn tried<R: AsMut<Router>>(&mut self, routers: &mut Slots<RouterId, R>, now: Now, id: RouterId) {
        let Some(router) = routers.get_mut(id).map(AsMut::as_mut) else { return };
        router.go_on();
        let failed = router.sending.is_on_trial();
        if failed {
            router.drop_promotion();
        }
        self.work.push_front(Work::Act(id));
        if failed {
            self.cannot_send(routers, now, id);
        }
    }

    fn cannot_send<R: AsMut<Router>>(&mut self, routers: &mut Slots<RouterId, R>, now: Now, id: RouterId) {
        let Some(router) = routers.get_mut(id).map(AsMut::as_mut) else { return };
        let pause = router.sending.give_up();
        self.to_try_sending.insert(id, now.at + pause);
        self.outputs.push_back(Output::Log(id, Line::CannotSend(pause)));
        self.outputs.push_back(Output::CheckUsable(id));
    }

    /// What the kernel knows of a router.
    fn record<R: AsMut<Router>>(
        &mut self,
        routers: &mut Slots<RouterId, R>,
        id: RouterId,
        record: Option<&RouterRecord>,
        interface: Option<&Interface>,
    ) {
        self.asked_for.take_if(|asked| *asked == id);
        if let (Some(record), Some(router)) = (record, routers.get_mut(id).map(AsMut::as_mut))
            && router.kernel.has_news(record)
        {
            let feeding = Feeding::new(router, record, interface, false);
            self.incoming.push_front(Work::Feed(id, Box::new(feeding)));
        }
    }

    /// Feeds the state machine with the next thing that a record holds.
    fn feed(&mut self, router: &mut Router, id: RouterId, mut feeding: Box<Feeding>) {
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
    fn new(router: &Router, record: &RouterRecord, interface: Option<&Interface>, is_last: bool) -> Self {
        let sources = router.kernel.unheard(&router.config, record).map(|heard| heard.advert.source);
        let elsewhere = sources.filter(|source| !is_on_link(interface, &router.config, *source)).collect();
        Self { record: *record, elsewhere, has_fed: false, other_subnet: None, is_last }
    }
}
