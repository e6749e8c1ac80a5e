//! Every order of events within limits, for two machines with two routers each: deliveries, losses, late timers,
//! processes killed and started again, with the same process model as the simulation.
//!
//! # Coverage
//! A state consists of the state of the processes, the messages in transit, and the time. From each state the search
//! visits all possible next states:
//! * any frame in transit arrives, in any order, or is lost (up to [`Limits::losses`]);
//! * the oldest message from one process of a machine to another arrives;
//! * a process is woken at its deadline, or up to [`Limits::late`] later so that another one goes first;
//! * a process is killed (up to [`Limits::kills`]), or a killed one starts again.
//!
//! Time advances from deadline to deadline. No deadline passes while something is in transit for longer than
//! [`Limits::delay`]. So every order of deliveries and deadlines is covered that these delays allow; what arrives
//! between two deadlines arrives at the time of the first of them. Addresses are added and removed at once.
//!
//! # Properties
//! * In each state without messages in transit between processes of a machine, its group is whole.
//! * In each state more than [`Limits::bound`] after the last loss, kill or start, the state is correct: one machine is
//!   Master of everything, the other of nothing.

mod story;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use vrrpd_common::group::{Message, PeerId};
use vrrpd_common::{Advert, Duration, Instant};
use vrrpd_engine::ledger::{Journal, Order, Outcome};
use vrrpd_engine::router::Router;

use crate::daemon::{Begin, Daemon, Effect, Stimulus};
use crate::kernel::Kernel;
use crate::plan::{Grouping, Plan, others_address, router_config};
use crate::watch::format_time;
use story::{tell_effect, tell_step};

/// The limits of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of lost frames.
    pub losses: u32,
    /// Number of killed processes.
    pub kills: u32,
    /// Maximum time of a frame or message in transit.
    pub delay: Duration,
    /// Maximum lateness of a deadline, if another one goes first.
    pub late: Duration,
    /// Time limit for a correct state after the last loss, kill or start.
    pub bound: Duration,
    /// A path ends after the state was correct for this time.
    pub enough: Duration,
    /// Maximum number of states.
    pub states: usize,
}

/// Size of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// Number of different states.
    pub states: usize,
    /// Number of steps between them.
    pub steps: usize,
}

/// A message in transit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Parcel {
    Frame { lan: usize, host: usize, advert: Advert },
    Message { host: usize, from: usize, to: usize, said: Option<Message> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Arrives(Parcel),
    Lost(Parcel),
    Wakes(usize, usize),
    Killed(usize, usize),
    Starts(usize, usize),
}

#[derive(Clone, Debug)]
struct State {
    now: u64,
    /// The live processes of each machine.
    hosts: Vec<Vec<Option<Known>>>,
    /// With the latest time of arrival, in the order in which they were sent.
    parcels: Vec<(u64, Parcel)>,
    losses: u32,
    kills: u32,
    /// Time of the last loss, kill or start.
    disturbed_at: u64,
    well_since: Option<u64>,
    way: Option<Rc<Way>>,
}

/// A process with its fingerprint. Successive states share unchanged processes.
type Known = (Rc<Daemon>, u64);

/// How a state was reached.
#[derive(Debug)]
struct Way {
    at: u64,
    step: Step,
    effects: Vec<(usize, Effect)>,
    before: Option<Rc<Way>>,
}

/// Searches everything that can happen when the machines of a plan start together.
pub fn search(plan: &Plan, limits: &Limits) -> Result<Searched, String> {
    let mut seen = HashSet::new();
    let mut searched = Searched::default();
    let mut stack = vec![State::start(plan, limits)];
    while let Some(state) = stack.pop() {
        for step in state.steps(limits) {
            let next = state.after(plan, limits, step);
            searched.steps += 1;
            if !seen.insert(next.fingerprint()) {
                continue;
            }
            if let Err(what) = next.judge(plan, limits) {
                return Err(format!("{}{} {what}", next.story(), format_time(next.now)));
            }
            if seen.len() > limits.states {
                return Err(format!("there are more than {} states", limits.states));
            }
            if next.well_since.is_none_or(|since| next.now - since < limits.enough.as_nanos()) {
                stack.push(next);
            }
        }
    }
    searched.states = seen.len();
    Ok(searched)
}

impl State {
    fn start(plan: &Plan, limits: &Limits) -> Self {
        let processes = |machine: &crate::plan::Machine| match machine.grouping {
            Grouping::OneProcess => 1,
            Grouping::None | Grouping::Processes => plan.lans,
        };
        let mut state = Self {
            now: 1_000_000_000,
            hosts: plan.machines.iter().map(|machine| vec![None; processes(machine)]).collect(),
            parcels: Vec::new(),
            losses: 0,
            kills: 0,
            disturbed_at: 1_000_000_000,
            well_since: None,
            way: None,
        };
        for host in 0..state.hosts.len() {
            for slot in 0..state.hosts[host].len() {
                state = state.after(plan, limits, Step::Starts(host, slot));
            }
        }
        state
    }

    /// All possible next steps.
    fn steps(&self, limits: &Limits) -> Vec<Step> {
        let mut steps = Vec::new();
        for (place, (_, parcel)) in self.parcels.iter().enumerate() {
            match *parcel {
                Parcel::Frame { .. } => {
                    // Equal to one that was tried already.
                    if self.parcels[..place].iter().any(|(_, other)| other == parcel) {
                        continue;
                    }
                    steps.push(Step::Arrives(*parcel));
                    if self.losses < limits.losses {
                        steps.push(Step::Lost(*parcel));
                    }
                }
                Parcel::Message { host, from, to, .. } => {
                    let same_way = |other: &Parcel| matches!(other, Parcel::Message { host: h, from: f, to: t, .. } if (*h, *f, *t) == (host, from, to));
                    if !self.parcels[..place].iter().any(|(_, other)| same_way(other)) {
                        steps.push(Step::Arrives(*parcel));
                    }
                }
            }
        }
        let deadlines = || {
            let slots = self.hosts.iter().enumerate();
            slots.flat_map(|(host, slots)| {
                let process = |(slot, process): (usize, &Option<Known>)| {
                    Some((process.as_ref()?.0.deadline()?.as_nanos(), host, slot))
                };
                slots.iter().enumerate().filter_map(process).collect::<Vec<_>>()
            })
        };
        let first = deadlines().map(|(at, ..)| at).min();
        let arrival = self.parcels.iter().map(|(by, _)| *by).min();
        for (at, host, slot) in deadlines() {
            let last = first.map_or(at, |first| first.max(self.now) + limits.late.as_nanos());
            if at <= last && arrival.is_none_or(|by| at <= by) {
                steps.push(Step::Wakes(host, slot));
            }
        }
        for (host, slots) in self.hosts.iter().enumerate() {
            for (slot, process) in slots.iter().enumerate() {
                match process {
                    Some(_) if self.kills < limits.kills => steps.push(Step::Killed(host, slot)),
                    Some(_) => {}
                    None => steps.push(Step::Starts(host, slot)),
                }
            }
        }
        steps
    }

    fn after(&self, plan: &Plan, limits: &Limits, step: Step) -> Self {
        let mut next = self.clone();
        let mut effects = Vec::new();
        match step {
            Step::Arrives(parcel) => {
                next.take(&parcel);
                match parcel {
                    Parcel::Frame { lan, host, advert } => {
                        let slot = next.slot_of(host, lan);
                        let advert = Stimulus::Advert(lan, advert);
                        next.stimulate(limits, host, slot, Some(advert), &mut effects);
                    }
                    Parcel::Message { host, from, to, said } => {
                        let peer = PeerId(from);
                        let stimulus = said.map_or(Stimulus::Gone(peer), |said| Stimulus::Said(peer, said));
                        next.stimulate(limits, host, to, Some(stimulus), &mut effects);
                    }
                }
            }
            Step::Lost(parcel) => {
                next.take(&parcel);
                next.losses += 1;
                next.disturbed_at = next.now;
            }
            Step::Wakes(host, slot) => {
                let deadline = next.hosts[host][slot].as_ref().and_then(|(process, _)| process.deadline());
                next.now = next.now.max(deadline.map_or(0, Instant::as_nanos));
                next.stimulate(limits, host, slot, None, &mut effects);
            }
            Step::Killed(host, slot) => {
                next.kills += 1;
                next.disturbed_at = next.now;
                next.hosts[host][slot] = None;
                next.parcels.retain(|(_, parcel)| {
                    !matches!(parcel, Parcel::Message { host: h, to, .. } if (*h, *to) == (host, slot))
                });
                next.tell(limits, host, slot, None);
            }
            Step::Starts(host, slot) => next.start_process(plan, limits, host, slot, &mut effects),
        }
        next.note_well(plan);
        next.way = Some(Rc::new(Way { at: next.now, step, effects, before: self.way.clone() }));
        next
    }

    fn start_process(
        &mut self,
        plan: &Plan,
        limits: &Limits,
        host: usize,
        slot: usize,
        effects: &mut Vec<(usize, Effect)>,
    ) {
        self.disturbed_at = self.now;
        let machine = &plan.machines[host];
        let size = u8::try_from(plan.lans).expect("few LANs");
        let seed = machine.seed.wrapping_add(slot as u64);
        let group = (machine.grouping != Grouping::None).then_some((size, seed));
        let lans: Vec<usize> =
            if self.hosts[host].len() == 1 { (0..plan.lans).collect() } else { vec![slot] };
        let others: Vec<_> = (0..plan.lans).map(others_address).collect();
        let kernel = Kernel::new(&machine.addresses, &others, machine.marks);
        let begin = Begin {
            slot,
            routers: lans.iter().map(|lan| (*lan, router_config(machine, *lan))).collect(),
            group,
            interfaces: lans.iter().map(|lan| kernel.interface(*lan).clone()).collect(),
            marks: machine.marks,
            checks: Vec::new(),
            journal: Journal::default(),
            in_kernel: false,
        };
        let process = Daemon::begin(Instant::from_nanos(self.now), begin);
        self.hosts[host][slot] = Some((Rc::new(process), 0));
        // Existing processes send their standing.
        for other in 0..self.hosts[host].len() {
            let process = self.hosts[host][other].as_ref().filter(|_| other != slot);
            if let Some(greeting) = process.and_then(|(process, _)| process.greeting()) {
                self.post(limits, Parcel::Message { host, from: other, to: slot, said: Some(greeting) });
            }
        }
        self.stimulate(limits, host, slot, None, effects);
    }

    fn stimulate(
        &mut self,
        limits: &Limits,
        host: usize,
        slot: usize,
        stimulus: Option<Stimulus>,
        all: &mut Vec<(usize, Effect)>,
    ) {
        let now = Instant::from_nanos(self.now);
        let Some((process, fingerprint)) = &mut self.hosts[host][slot] else { return };
        let process = Rc::make_mut(process);
        if let Some(stimulus) = stimulus {
            process.take_in(now, stimulus);
        }
        let mut effects = process.finish(now);
        let mut place = 0;
        while let Some(effect) = effects.get(place) {
            place += 1;
            if let Effect::Ask(ticket, order) = effect {
                let results = match order {
                    Order::Take { resources, .. } | Order::Release(resources) => resources.len(),
                    Order::Prepare(_) | Order::Discard(_) => 1,
                };
                let outcome = Outcome { results: vec![Ok(()); results], ..Outcome::default() };
                let answer = Stimulus::Answered(*ticket, Box::new((order.clone(), outcome)));
                process.take_in(now, answer);
                effects.extend(process.finish(now));
            }
        }
        let mut hasher = DefaultHasher::new();
        process.essence().hash(&mut hasher);
        *fingerprint = hasher.finish();
        for effect in &effects {
            match effect {
                Effect::Send { lan, advert, is_withdrawn: false } => {
                    for to in (0..self.hosts.len()).filter(|to| *to != host) {
                        self.post(limits, Parcel::Frame { lan: *lan, host: to, advert: *advert });
                    }
                }
                Effect::Tell(message) => self.tell(limits, host, slot, Some(*message)),
                _ => {}
            }
        }
        all.extend(effects.into_iter().map(|effect| (host, effect)));
    }

    fn tell(&mut self, limits: &Limits, host: usize, slot: usize, said: Option<Message>) {
        for to in 0..self.hosts[host].len() {
            if to != slot && self.hosts[host][to].is_some() {
                self.post(limits, Parcel::Message { host, from: slot, to, said });
            }
        }
    }

    fn post(&mut self, limits: &Limits, parcel: Parcel) {
        self.parcels.push((self.now + limits.delay.as_nanos(), parcel));
    }

    fn take(&mut self, parcel: &Parcel) {
        if let Some(place) = self.parcels.iter().position(|(_, other)| other == parcel) {
            self.parcels.remove(place);
        }
    }

    fn slot_of(&self, host: usize, lan: usize) -> usize {
        if self.hosts[host].len() == 1 { 0 } else { lan }
    }

    fn is_master(&self, host: usize, lan: usize) -> bool {
        let process = self.hosts[host][self.slot_of(host, lan)].as_ref();
        process.and_then(|(process, _)| process.router(lan)).is_some_and(Router::is_master)
    }

    fn masters(&self, plan: &Plan, host: usize) -> usize {
        (0..plan.lans).filter(|lan| self.is_master(host, *lan)).count()
    }

    fn is_well(&self, plan: &Plan) -> bool {
        let masters = (0..self.hosts.len()).map(|host| self.masters(plan, host));
        let is_whole = |host: usize| self.hosts[host].iter().all(Option::is_some);
        let wanted = usize::from((0..self.hosts.len()).any(is_whole));
        masters.clone().all(|count| count == 0 || count == plan.lans)
            && masters.filter(|count| *count > 0).count() == wanted
    }

    fn note_well(&mut self, plan: &Plan) {
        if self.is_well(plan) {
            let since = self.well_since.unwrap_or(self.now);
            self.well_since = Some(since.max(self.disturbed_at));
        } else {
            self.well_since = None;
        }
    }

    fn judge(&self, plan: &Plan, limits: &Limits) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let talks = |parcel: &Parcel| matches!(parcel, Parcel::Message { host: h, .. } if *h == host);
            let masters = self.masters(plan, host);
            if masters > 0
                && masters < plan.lans
                && plan.machines[host].grouping != Grouping::None
                && !self.parcels.iter().any(|(_, parcel)| talks(parcel))
            {
                return Err(format!("the group of {host} is neither all Master nor all Backup"));
            }
        }
        if self.now - self.disturbed_at > limits.bound.as_nanos() && self.well_since.is_none() {
            return Err(format!("all is not well {} after the last fault", limits.bound));
        }
        Ok(())
    }

    /// Equal states have the same fingerprint; different ones differ except for collisions of a 64-bit hash.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.now, self.losses, self.kills, self.disturbed_at, self.well_since).hash(&mut hasher);
        for process in self.hosts.iter().flatten() {
            process.as_ref().map(|(_, fingerprint)| fingerprint).hash(&mut hasher);
        }
        // Frames overtake each other, so their order has no meaning; messages keep theirs.
        let mut frames = 0_u64;
        for (by, parcel) in &self.parcels {
            match parcel {
                Parcel::Frame { .. } => {
                    let mut frame = DefaultHasher::new();
                    (by, parcel).hash(&mut frame);
                    frames = frames.wrapping_add(frame.finish());
                }
                Parcel::Message { .. } => (by, parcel).hash(&mut hasher),
            }
        }
        frames.hash(&mut hasher);
        hasher.finish()
    }

    fn story(&self) -> String {
        let mut lines = Vec::new();
        let mut way = self.way.as_ref();
        while let Some(here) = way {
            let effects =
                here.effects.iter().map(|(host, effect)| format!("; {host}: {}", tell_effect(effect)));
            lines.push(format!(
                "{} {}{}\n",
                format_time(here.at),
                tell_step(&here.step),
                effects.collect::<String>()
            ));
            way = here.before.as_ref();
        }
        lines.into_iter().rev().collect()
    }
}
