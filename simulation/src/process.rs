//! A process of the daemon without its system: routers, their group, and the queue of actions that wait for the kernel,
//! in which it does what `vrrpd/src/daemon` does.

use std::collections::VecDeque;

use vrrpd_common::group::{Group, Input, Key, Member, Message, Output, PeerId, Standing};
use vrrpd_common::router::{Action, Config, Event, StateName, Transition, VirtualRouter};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Advert, Duration, Family, Instant, MacAddr, Priority};

/// What the kernel is asked to do with a router's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Put them on the interface.
    Add,
    /// Remove them.
    Remove,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stimulus {
    /// Something for the router on this LAN.
    Router(usize, Event),
    /// The kernel has answered the router on this LAN.
    Answer {
        /// The LAN.
        lan: usize,
        /// Whether the addresses were refused.
        refused: bool,
    },
    /// Another process of this machine said this.
    Said(PeerId, Message),
    /// Another process of this machine has gone.
    Gone(PeerId),
    /// Deadlines may have passed.
    Timer,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Sends an advert.
    Send {
        /// Into this LAN.
        lan: usize,
        /// This one.
        advert: Advert,
    },
    /// Announces the addresses on this LAN.
    Announce(usize),
    /// Asks the kernel, on this LAN.
    Ask(usize, Operation),
    /// Tells it to the other processes of the machine.
    Tell(Message),
    /// The router on this LAN has changed its state, and its addresses have followed.
    Changed(usize, Transition),
    /// The router on this LAN takes over: its state machine is Master, whatever follows.
    TakesOver(usize),
    /// The router on this LAN was told to resume, or has a higher priority: what it did before does not count.
    Forgets {
        /// That LAN.
        lan: usize,
        /// It was told to resume: its start delay is over too.
        is_resumed: bool,
    },
}

impl Effect {
    /// The LAN of the router that it is of; `None`: it is of the whole process.
    pub(crate) const fn router(&self) -> Option<usize> {
        match *self {
            Self::Send { lan, .. }
            | Self::Announce(lan)
            | Self::Ask(lan, _)
            | Self::Changed(lan, _)
            | Self::TakesOver(lan)
            | Self::Forgets { lan, .. } => Some(lan),
            Self::Tell(_) => None,
        }
    }
}

/// A router of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Router {
    /// The LAN it is on.
    pub lan: usize,
    /// Its state machine.
    pub machine: VirtualRouter,
    /// Its addresses are on the interface.
    pub held: bool,
    /// The kernel works on this.
    pub waiting: Option<Operation>,
    queue: VecDeque<Action>,
    member: Option<Member>,
    told: StateName,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its routers.
    pub routers: Vec<Router>,
    /// The group that they are all members of.
    pub group: Option<Group>,
}

impl Process {
    /// A process with routers on these LANs. It does nothing before its routers get [`Event::Startup`].
    pub fn new(routers: impl IntoIterator<Item = (usize, Config)>, group: Option<Group>) -> Self {
        let mut process = Self { routers: Vec::new(), group };
        for (lan, config) in routers {
            let key = Key { family: Family::Ipv4, vrid: config.vrid, addresses: config.addresses.to_bits() };
            let wait = master_down_interval(config.version, config.priority, config.interval);
            let member = process.group.as_mut().map(|group| group.add(key, wait).expect("there is room"));
            process.routers.push(Router {
                lan,
                machine: VirtualRouter::new(config),
                held: false,
                waiting: None,
                queue: VecDeque::new(),
                member,
                told: StateName::Init,
            });
        }
        process
    }

    /// The router on a LAN.
    pub fn router(&self, lan: usize) -> Option<&Router> {
        self.routers.iter().find(|router| router.lan == lan)
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<Instant> {
        let routers = self.routers.iter().filter_map(|router| router.machine.deadline());
        routers.chain(self.group.as_ref().and_then(Group::deadline)).min()
    }

    /// Something happens at `now` by the machine's clock.
    pub fn handle(&mut self, now: Instant, stimulus: Stimulus, effects: &mut Vec<Effect>) {
        match stimulus {
            Stimulus::Router(lan, event) => {
                if let Some(place) = self.routers.iter().position(|router| router.lan == lan) {
                    self.event(now, place, event, effects);
                }
            }
            Stimulus::Answer { lan, refused } => self.answered(now, lan, refused, effects),
            Stimulus::Said(peer, message) => self.tell_group(now, Input::Message(peer, message), effects),
            Stimulus::Gone(peer) => self.tell_group(now, Input::Gone(peer), effects),
            Stimulus::Timer => self.expire(now, effects),
        }
    }

    fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for place in 0..self.routers.len() {
            if self.routers[place].machine.deadline().is_some_and(|at| at <= now) {
                self.event(now, place, Event::Timer, effects);
            }
        }
        if self.group.as_ref().and_then(Group::deadline).is_some_and(|at| at <= now) {
            self.tell_group(now, Input::Timer, effects);
        }
    }

    /// A router handles an event; then its group is told how it stands.
    fn event(&mut self, now: Instant, place: usize, event: Event, effects: &mut Vec<Effect>) {
        if let Some(input) = self.step(now, place, event, effects) {
            self.tell_group(now, input, effects);
        }
        let router = &self.routers[place];
        if let (Event::Priority(priority), Some(member)) = (event, router.member) {
            let config = router.machine.config();
            let wait = master_down_interval(config.version, priority, config.interval);
            self.tell_group(now, Input::MasterDownInterval(member, wait), effects);
        }
    }

    fn step(&mut self, now: Instant, place: usize, event: Event, effects: &mut Vec<Effect>) -> Option<Input> {
        let router = &mut self.routers[place];
        let mut actions = Vec::new();
        let forgets = match event {
            Event::Resume(_) => true,
            Event::Priority(priority) => priority > router.machine.priority(),
            _ => false,
        };
        router.machine.handle(now, event, &mut |action| actions.push(action));
        if forgets {
            let is_resumed = matches!(event, Event::Resume(_));
            effects.push(Effect::Forgets { lan: router.lan, is_resumed });
        }
        for action in actions {
            if is_take_over(&action) {
                effects.push(Effect::TakesOver(router.lan));
            }
            router.enqueue(action);
        }
        router.act(effects);
        Some(Input::Member(router.member?, Standing::of(&router.machine)))
    }

    /// All that comes of one input is carried out before the next one is handed in.
    fn tell_group(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let mut inputs = VecDeque::from([input]);
        let mut outputs = Vec::new();
        while let (Some(input), Some(group)) = (inputs.pop_front(), &mut self.group) {
            group.handle(now, input, &mut |output| outputs.push(output));
            for output in outputs.drain(..) {
                match output {
                    Output::Event(member, event) => {
                        let place = self.routers.iter().position(|router| router.member == Some(member));
                        let place = place.expect("every member is a router");
                        inputs.extend(self.step(now, place, event, effects));
                    }
                    Output::Tell(message) => effects.push(Effect::Tell(message)),
                }
            }
        }
    }

    fn answered(&mut self, now: Instant, lan: usize, refused: bool, effects: &mut Vec<Effect>) {
        let Some(place) = self.routers.iter().position(|router| router.lan == lan) else { return };
        let router = &mut self.routers[place];
        match router.waiting.take() {
            Some(Operation::Add) if refused => {
                router.drop_promotion();
                self.event(now, place, Event::AddressesRefused, effects);
            }
            Some(Operation::Add) => router.held = true,
            Some(Operation::Remove) => router.held = false,
            None => {}
        }
        self.routers[place].act(effects);
    }
}

impl Router {
    /// Whether nothing waits for the kernel.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.queue.is_empty()
    }

    fn enqueue(&mut self, action: Action) {
        match action {
            Action::GiveUpAddresses => self.queue.retain(|waiting| match waiting {
                Action::SendAdvert(priority) => *priority == Priority::RESIGN,
                Action::AnnounceAddresses => false,
                Action::Transition(transition) => transition.to != StateName::Master,
                Action::Prepare
                | Action::EndPreparation
                | Action::TakeAddresses
                | Action::GiveUpAddresses
                | Action::Notice(_) => true,
            }),
            Action::SendAdvert(_) | Action::AnnounceAddresses if self.queue.contains(&action) => return,
            Action::Notice(_) => return,
            Action::Prepare
            | Action::EndPreparation
            | Action::TakeAddresses
            | Action::SendAdvert(_)
            | Action::AnnounceAddresses
            | Action::Transition(_) => {}
        }
        self.queue.push_back(action);
    }

    fn drop_promotion(&mut self) {
        let is_promotion =
            |action: &Action| matches!(action, Action::Transition(Transition { to: StateName::Master, .. }));
        if let Some(end) = self.queue.iter().position(is_promotion) {
            self.queue.drain(..=end);
        }
    }

    fn act(&mut self, effects: &mut Vec<Effect>) {
        while self.waiting.is_none()
            && let Some(action) = self.queue.pop_front()
        {
            match action {
                Action::TakeAddresses if !self.held => self.ask(Operation::Add, effects),
                Action::GiveUpAddresses if self.held => self.ask(Operation::Remove, effects),
                // No router of the simulation has a script.
                Action::Prepare
                | Action::EndPreparation
                | Action::TakeAddresses
                | Action::GiveUpAddresses
                | Action::Notice(_) => {}
                Action::SendAdvert(priority) => effects.extend(self.advert(priority)),
                Action::AnnounceAddresses => effects.push(Effect::Announce(self.lan)),
                Action::Transition(transition) => {
                    let transition = Transition { from: self.told, ..transition };
                    if transition.from != transition.to {
                        self.told = transition.to;
                        effects.push(Effect::Changed(self.lan, transition));
                    }
                }
            }
        }
    }

    fn ask(&mut self, operation: Operation, effects: &mut Vec<Effect>) {
        self.waiting = Some(operation);
        effects.push(Effect::Ask(self.lan, operation));
    }

    /// What the guardian of its process says when that is killed; `None` unless it was Master.
    pub fn resignation(&self) -> Option<Advert> {
        let was_master = self.told == StateName::Master && self.held;
        was_master.then(|| self.message(Priority::RESIGN)).flatten()
    }

    fn advert(&self, priority: Priority) -> Option<Effect> {
        self.message(priority).map(|advert| Effect::Send { lan: self.lan, advert })
    }

    fn message(&self, priority: Priority) -> Option<Advert> {
        let config = self.machine.config();
        Some(Advert {
            vrid: config.vrid,
            priority,
            interval: config.interval,
            source: self.machine.source()?,
            mac: MacAddr::virtual_router(Family::Ipv4, config.vrid),
            address_count: 1,
            addresses: config.addresses,
        })
    }
}

/// Whether a router takes over; an owner whose link comes and that is in a group only passes Backup on its way.
fn is_take_over(action: &Action) -> bool {
    let Action::Transition(Transition { from, to, reason, .. }) = action else { return false };
    let starts = reason.is_beginning();
    (*from, *to) == (StateName::Backup, StateName::Master) && !starts
}

/// The longest time that a router of this configuration, of whatever priority, waits for a silent master.
pub fn longest_wait(config: &Config) -> Duration {
    master_down_interval(config.version, Priority::LOWEST, config.interval)
}
