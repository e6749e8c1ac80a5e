//! Machines, LANs and time. What is random about them comes out of one seed, so that a run can be repeated.
//!
//! Start reading at [`World::run_until`]: the next happening is taken from a queue, given to a process, and what the
//! process does becomes happenings again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use vrrpd_common::group::{Group, PeerId};
use vrrpd_common::router::{Event, Fault as Unusable, StateName};
use vrrpd_common::{Advert, Duration, Instant, Interval, MacAddr, Priority};

use crate::fault::{Fault, Weather};
use crate::plan::{Grouping, OUTSIDER, Plan, address};
use crate::process::{Effect, Operation, Process, Router, Stimulus};
use crate::random::Random;
use crate::watch::{RouterView, Watch};

/// Frames that wait for a process that does not run.
const SOCKET: usize = 200;
/// Frames that wait for a machine that does not run.
const RING: usize = 16;
/// How long a message between two processes of a machine takes at most.
const LOCAL: u64 = 1_000_000;
/// How long a process that leaves is there.
const LEAVING: u64 = 20_000_000;

/// Everything there is.
#[derive(Debug)]
pub struct World {
    /// Nanoseconds since the start.
    pub now: u64,
    /// The machines.
    pub hosts: Vec<Host>,
    /// What was planned.
    pub plan: Plan,
    /// What is watched and counted.
    pub watch: Watch,
    random: Random,
    weather: Weather,
    queue: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    /// An advert of 40.95 s was forged since everything was whole.
    pub slow_was_forged: bool,
    /// For each LAN, sender and receiver.
    blocked: Vec<bool>,
}

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// Its processes.
    pub slots: Vec<Slot>,
    /// For each LAN.
    pub link: Vec<bool>,
    refuses: Vec<bool>,
    frozen: Option<Frozen>,
    clock: u64,
}

#[derive(Debug)]
struct Frozen {
    since: u64,
    clock: bool,
}

/// The place of a process.
#[derive(Debug)]
pub struct Slot {
    /// It lives.
    pub process: Option<Process>,
    /// It is stopped.
    pub paused: bool,
    lans: Vec<usize>,
    incarnation: u32,
    inbox: VecDeque<Item>,
    /// When it is to be woken.
    wake: Option<u64>,
    /// What the kernel says arrives in order, and so does what other processes say.
    last_of_kernel: u64,
    last_of_processes: u64,
}

/// What arrives at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Stimulus(Stimulus),
    /// Another process of the machine has opened a connection.
    Hello(usize),
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    number: u64,
    happening: Happening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Frame { lan: usize, host: usize, advert: Advert },
    Item { host: usize, slot: usize, incarnation: u32, item: Item },
    Wake { host: usize, slot: usize },
    Fault(Fault),
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl World {
    /// A world in which nothing has been started yet.
    pub fn new(plan: Plan, random: Random, transcript: bool) -> Self {
        let lans = plan.lans;
        let hosts = plan.machines.iter().map(|machine| {
            let places: Vec<Vec<usize>> = match machine.grouping {
                Grouping::OneProcess => vec![(0..lans).collect()],
                Grouping::None | Grouping::Processes => (0..lans).map(|lan| vec![lan]).collect(),
            };
            Host {
                slots: places.into_iter().map(Slot::new).collect(),
                link: vec![true; lans],
                refuses: vec![false; lans],
                frozen: None,
                clock: machine.clock,
            }
        });
        Self {
            now: 0,
            hosts: hosts.collect(),
            watch: Watch::new(&plan, transcript),
            random,
            weather: Weather::FAIR,
            queue: BinaryHeap::new(),
            entries: 0,
            slow_was_forged: false,
            blocked: vec![false; lans * plan.machines.len() * plan.machines.len()],
            plan,
        }
    }

    /// How many processes each machine has.
    pub fn processes(&self) -> Vec<usize> {
        self.hosts.iter().map(|host| host.slots.len()).collect()
    }

    /// Lets a fault happen after a while.
    pub fn schedule(&mut self, after: Duration, fault: Fault) {
        self.push(self.now + after.as_nanos(), Happening::Fault(fault));
    }

    /// The router of a machine on a LAN; `None` while its process does not live.
    pub fn router(&self, host: usize, lan: usize) -> Option<&Router> {
        self.hosts[host].slots.iter().find_map(|slot| slot.process.as_ref()?.router(lan))
    }

    /// Whether it is Master.
    pub fn is_master(&self, host: usize, lan: usize) -> bool {
        self.router(host, lan).is_some_and(|router| router.machine.state().name() == StateName::Master)
    }

    /// Whether the process of a router runs.
    pub fn lan_runs(&self, host: usize, lan: usize) -> bool {
        let slot = self.hosts[host].slots.iter().position(|slot| slot.lans.contains(&lan));
        slot.is_some_and(|slot| self.is_running(host, slot))
    }

    /// Whether everything of a machine runs.
    pub fn runs(&self, host: usize) -> bool {
        self.hosts[host].frozen.is_none() && self.hosts[host].slots.iter().all(|slot| !slot.paused)
    }

    /// Lets time pass.
    pub fn run_until(&mut self, end: u64) -> Result<(), String> {
        while let Some(Reverse(next)) = self.queue.peek()
            && next.at <= end
        {
            let Some(Reverse(Entry { at, happening, .. })) = self.queue.pop() else { break };
            self.pass(at)?;
            self.happen(happening)?;
            self.look()?;
        }
        self.pass(end)
    }

    /// Makes everything whole again: what is broken, stopped or dead. What operators said stays.
    pub fn heal(&mut self) -> Result<(), String> {
        self.watch.say(self.now, || "everything is made whole".to_owned());
        self.queue.retain(|Reverse(entry)| !matches!(entry.happening, Happening::Fault(_)));
        self.weather = Weather::FAIR;
        self.blocked.fill(false);
        for host in 0..self.hosts.len() {
            self.fault(Fault::Thaw(host))?;
            for lan in 0..self.plan.lans {
                self.hosts[host].refuses[lan] = false;
                self.fault(Fault::Link { host, lan, up: true })?;
            }
            for slot in 0..self.hosts[host].slots.len() {
                self.fault(Fault::Continue(host, slot))?;
                if self.hosts[host].slots[slot].has_left() {
                    self.fault(Fault::Kill(host, slot))?;
                }
                self.fault(Fault::Start(host, slot))?;
            }
        }
        self.look()
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.entries += 1;
        self.queue.push(Reverse(Entry { at, number: self.entries, happening }));
    }

    fn pass(&mut self, to: u64) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let (runs, is_awake) = (self.runs(host), self.hosts[host].is_awake());
            self.watch.before(host, self.now..to, runs, is_awake)?;
        }
        self.watch.figures.time += to - self.now;
        self.now = to;
        Ok(())
    }

    fn look(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let is_grouped = self.plan.machines[host].grouping != Grouping::None;
            let mut masters = 0;
            for lan in 0..self.plan.lans {
                let view = self.view(host, lan);
                self.watch.router(host, lan, self.clock(host), view)?;
                masters += usize::from(view.is_running_master);
            }
            let is_whole = !is_grouped || masters == 0 || masters == self.plan.lans;
            self.watch.group(host, self.now, is_whole);
        }
        Ok(())
    }

    /// What the watch is to see of a router.
    fn view(&self, host: usize, lan: usize) -> RouterView {
        let settled = self.router(host, lan).filter(|router| router.is_idle());
        RouterView {
            settled: settled.map(|router| (router.machine.state().name(), router.held)),
            is_running_master: self.is_master(host, lan) && self.lan_runs(host, lan),
            is_held: self.is_held(host, lan),
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Frame { lan, host, advert } => {
                if !self.hosts[host].link[lan] {
                    return Ok(());
                }
                let slot = self.hosts[host].slots.iter().position(|slot| slot.lans.contains(&lan));
                let slot = slot.expect("every LAN has a process");
                self.arrive(host, slot, Item::Stimulus(Stimulus::Router(lan, Event::Advert(advert))))
            }
            Happening::Item { host, slot, incarnation, item } => {
                if self.hosts[host].slots[slot].incarnation != incarnation {
                    return Ok(());
                }
                self.arrive(host, slot, item)
            }
            Happening::Wake { host, slot } => {
                let place = &mut self.hosts[host].slots[slot];
                if place.wake != Some(self.now) {
                    return Ok(());
                }
                place.wake = None;
                if self.is_running(host, slot) { self.turn(host, slot, None) } else { Ok(()) }
            }
            Happening::Fault(fault) => self.fault(fault),
        }
    }

    fn is_running(&self, host: usize, slot: usize) -> bool {
        self.hosts[host].frozen.is_none() && !self.hosts[host].slots[slot].paused
    }

    fn arrive(&mut self, host: usize, slot: usize, item: Item) -> Result<(), String> {
        if self.is_running(host, slot) {
            return self.turn(host, slot, Some(item));
        }
        let room = if self.hosts[host].frozen.is_some() { RING } else { SOCKET };
        let inbox = &mut self.hosts[host].slots[slot].inbox;
        if !item.is_frame() || inbox.iter().filter(|item| item.is_frame()).count() < room {
            inbox.push_back(item);
        }
        Ok(())
    }

    /// A turn of a process's loop: something that has arrived, then what is due.
    fn turn(&mut self, host: usize, slot: usize, item: Option<Item>) -> Result<(), String> {
        let now = Instant::from_nanos(self.clock(host));
        let mut effects = Vec::new();
        let Some(process) = self.hosts[host].slots[slot].process.as_mut() else { return Ok(()) };
        match item {
            Some(Item::Stimulus(stimulus)) => process.handle(now, stimulus, &mut effects),
            Some(Item::Hello(other)) => self.greet(host, slot, other),
            None => {}
        }
        if let Some(process) = self.hosts[host].slots[slot].process.as_mut() {
            process.handle(now, Stimulus::Timer, &mut effects);
        }
        self.carry_out(host, slot, effects)?;
        self.set_alarm(host, slot);
        Ok(())
    }

    /// A process that did not run handles what has arrived meanwhile: deadlines first or last, but what other processes
    /// have said, and adverts that a Backup with a deadline waits for, always before that.
    fn catch_up(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let items: Vec<Item> = self.hosts[host].slots[slot].inbox.drain(..).collect();
        let now = Instant::from_nanos(self.clock(host));
        let Some(process) = &self.hosts[host].slots[slot].process else { return Ok(()) };
        let due_backup = |lan: usize| {
            process.router(lan).is_some_and(|router| {
                router.machine.state().name() == StateName::Backup
                    && router.machine.deadline().is_some_and(|at| at <= now)
            })
        };
        let before_timers = |item: &Item| match item {
            Item::Stimulus(Stimulus::Router(lan, Event::Advert(_))) => due_backup(*lan),
            Item::Stimulus(Stimulus::Said(..) | Stimulus::Gone(_)) => true,
            Item::Stimulus(_) | Item::Hello(_) => false,
        };
        let (mut first, mut rest) = (items, Vec::new());
        if self.random.percent(50) {
            (first, rest) = first.into_iter().partition(before_timers);
        }
        let mut effects = Vec::new();
        for item in first {
            match item {
                Item::Stimulus(stimulus) => {
                    if let Some(process) = self.hosts[host].slots[slot].process.as_mut() {
                        process.handle(now, stimulus, &mut effects);
                    }
                }
                Item::Hello(other) => self.greet(host, slot, other),
            }
        }
        self.carry_out(host, slot, effects)?;
        self.turn(host, slot, None)?;
        for item in rest {
            self.turn(host, slot, Some(item))?;
        }
        Ok(())
    }

    fn carry_out(&mut self, host: usize, slot: usize, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            let lan = effect.router();
            let has_addresses = lan.and_then(|lan| self.router(host, lan)).is_some_and(|router| router.held);
            let (now, clock) = (self.now, self.clock(host));
            self.watch.effect((now, clock), (host, slot), has_addresses, &effect)?;
            match effect {
                Effect::Send { lan, advert } => self.send(host, lan, advert),
                Effect::Announce(_) | Effect::Changed(..) | Effect::TakesOver(_) | Effect::Forgets { .. } => {
                }
                Effect::Ask(lan, operation) => {
                    let refused = operation == Operation::Add && self.hosts[host].refuses[lan];
                    let takes = self.random.between(10_000, self.weather.kernel.as_nanos());
                    self.post(host, slot, takes, Item::Stimulus(Stimulus::Answer { lan, refused }));
                }
                Effect::Tell(message) => {
                    for other in 0..self.hosts[host].slots.len() {
                        if other != slot && self.hosts[host].slots[other].process.is_some() {
                            let takes = self.random.between(10_000, LOCAL);
                            let item = Item::Stimulus(Stimulus::Said(PeerId(slot), message));
                            self.post(host, other, takes, item);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn greet(&mut self, host: usize, slot: usize, other: usize) {
        let place = &self.hosts[host].slots[slot];
        let group = place.process.as_ref().and_then(|process| process.group.as_ref());
        if let Some(greeting) = group.and_then(Group::greeting) {
            self.post(host, other, 20_000, Item::Stimulus(Stimulus::Said(PeerId(slot), greeting)));
        }
    }

    /// What is not a frame is never lost.
    fn post(&mut self, host: usize, slot: usize, takes: u64, item: Item) {
        let place = &mut self.hosts[host].slots[slot];
        let last = match item {
            Item::Stimulus(Stimulus::Said(..) | Stimulus::Gone(_)) | Item::Hello(_) => {
                &mut place.last_of_processes
            }
            Item::Stimulus(_) => &mut place.last_of_kernel,
        };
        let at = (self.now + takes).max(*last + 1);
        *last = at;
        let incarnation = place.incarnation;
        self.push(at, Happening::Item { host, slot, incarnation, item });
    }

    fn send(&mut self, from: usize, lan: usize, advert: Advert) {
        if !self.hosts[from].link[lan] {
            return;
        }
        for host in 0..self.hosts.len() {
            if host == from || self.blocked[self.path(lan, from, host)] {
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.weather.duplicates));
            for _ in 0..copies {
                if !self.random.percent(self.weather.loss) {
                    let takes = self.random.between(1_000, self.weather.delay.as_nanos());
                    self.push(self.now + takes, Happening::Frame { lan, host, advert });
                }
            }
        }
    }

    /// An outsider's advert reaches everybody on the LAN.
    fn forge(&mut self, lan: usize, priority: Priority, interval: Interval) {
        let advert = Advert {
            vrid: self.plan.machines[0].routers[lan].vrid,
            priority,
            interval,
            source: address(lan, OUTSIDER),
            mac: MacAddr([2, 0, 0, 0, 0, 0xfa]),
            address_count: 1,
            addresses: self.plan.machines[0].routers[lan].addresses,
        };
        for host in 0..self.hosts.len() {
            let takes = self.random.between(1_000, self.weather.delay.as_nanos());
            self.push(self.now + takes, Happening::Frame { lan, host, advert });
        }
    }

    /// Whether a router that runs waits for nothing but the end of a hold by damping.
    pub fn is_held(&self, host: usize, lan: usize) -> bool {
        let damped = self.router(host, lan).filter(|router| !router.machine.is_in_start_delay());
        let held_until = damped.and_then(|router| router.machine.held_until());
        held_until.is_some_and(|until| until.as_nanos() > self.clock(host)) && self.lan_runs(host, lan)
    }

    fn path(&self, lan: usize, from: usize, to: usize) -> usize {
        let count = self.hosts.len();
        (lan * count + from) * count + to
    }

    /// What the clock of a machine shows now.
    pub(crate) fn clock(&self, host: usize) -> u64 {
        self.now + self.hosts[host].clock
    }

    fn set_alarm(&mut self, host: usize, slot: usize) {
        let clock = self.hosts[host].clock;
        let lateness = self.random.between(1_000, self.weather.lateness.as_nanos());
        let place = &mut self.hosts[host].slots[slot];
        let deadline = place.process.as_ref().and_then(Process::deadline);
        place.wake = deadline.map(|at| (at.as_nanos().saturating_sub(clock)).max(self.now) + lateness);
        if let Some(at) = place.wake {
            self.push(at, Happening::Wake { host, slot });
        }
    }

    /// Something goes wrong, or right again.
    pub fn fault(&mut self, fault: Fault) -> Result<(), String> {
        if !self.changes_something(&fault) {
            return Ok(());
        }
        self.watch.fault(self.now, &fault);
        match fault {
            Fault::Weather(weather) => self.weather = weather,
            Fault::Block { lan, from, to, on } => {
                let path = self.path(lan, from, to);
                self.blocked[path] = on;
            }
            Fault::Link { host, lan, up } => {
                self.hosts[host].link[lan] = up;
                let usable = self.usable(host, lan);
                if let Some(slot) = self.hosts[host].slots.iter().position(|slot| slot.lans.contains(&lan)) {
                    let takes = self.random.between(10_000, 2_000_000);
                    self.post(host, slot, takes, Item::Stimulus(Stimulus::Router(lan, usable)));
                }
            }
            Fault::Start(host, slot) => self.start(host, slot)?,
            Fault::Kill(host, slot) => self.kill(host, slot),
            Fault::Leave(host, slot) => {
                for lan in self.hosts[host].slots[slot].lans.clone() {
                    self.arrive(host, slot, Item::Stimulus(Stimulus::Router(lan, Event::Shutdown)))?;
                }
                self.push(self.now + LEAVING, Happening::Fault(Fault::Kill(host, slot)));
            }
            Fault::Pause(host, slot) => self.hosts[host].slots[slot].paused = true,
            Fault::Continue(host, slot) => {
                self.hosts[host].slots[slot].paused = false;
                if self.is_running(host, slot) {
                    self.catch_up(host, slot)?;
                }
            }
            Fault::Freeze { host, clock } => {
                self.hosts[host].frozen = Some(Frozen { since: self.now, clock });
            }
            Fault::Thaw(host) => {
                if let Some(Frozen { since, clock: true }) = self.hosts[host].frozen.take() {
                    self.hosts[host].clock -= self.now - since;
                }
                for slot in 0..self.hosts[host].slots.len() {
                    if self.is_running(host, slot) {
                        self.catch_up(host, slot)?;
                    }
                }
            }
            Fault::Refuse { host, lan, on } => self.hosts[host].refuses[lan] = on,
            Fault::Flap { lan, every, more } => {
                for priority in [Priority::HIGHEST, Priority::RESIGN] {
                    self.forge(lan, priority, Interval::MIN);
                }
                if more > 0 {
                    self.schedule(every, Fault::Flap { lan, every, more: more - 1 });
                }
            }
            Fault::Slow { lan } => {
                self.slow_was_forged = true;
                self.forge(lan, Priority::HIGHEST, Interval::from_centis(4095).expect("is legal"));
            }
            Fault::Operate(host, lan, event) => {
                if let Some(slot) = self.hosts[host].slots.iter().position(|slot| slot.lans.contains(&lan)) {
                    self.arrive(host, slot, Item::Stimulus(Stimulus::Router(lan, event)))?;
                }
            }
        }
        self.look()
    }

    fn changes_something(&self, fault: &Fault) -> bool {
        let lives = |host: usize, slot: usize| self.hosts[host].slots[slot].process.is_some();
        match *fault {
            Fault::Weather(weather) => self.weather != weather,
            Fault::Block { lan, from, to, on } => self.blocked[self.path(lan, from, to)] != on,
            Fault::Link { host, lan, up } => self.hosts[host].link[lan] != up,
            Fault::Start(host, slot) => !lives(host, slot),
            Fault::Kill(host, slot) | Fault::Leave(host, slot) => lives(host, slot),
            Fault::Pause(host, slot) => !self.hosts[host].slots[slot].paused,
            Fault::Continue(host, slot) => self.hosts[host].slots[slot].paused,
            Fault::Freeze { host, .. } => self.hosts[host].frozen.is_none(),
            Fault::Thaw(host) => self.hosts[host].frozen.is_some(),
            Fault::Refuse { host, lan, on } => self.hosts[host].refuses[lan] != on,
            Fault::Flap { .. } | Fault::Slow { .. } | Fault::Operate(..) => true,
        }
    }

    fn usable(&self, host: usize, lan: usize) -> Event {
        if self.hosts[host].link[lan] {
            Event::InterfaceUp(self.plan.machines[host].addresses[lan])
        } else {
            Event::InterfaceDown(Unusable::LinkDown.into())
        }
    }

    fn start(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let machine = &self.plan.machines[host];
        let size = u8::try_from(self.plan.lans).expect("few LANs");
        let seed = machine.seed.wrapping_add(slot as u64);
        let group = (machine.grouping != Grouping::None).then(|| Group::new(size, seed));
        let lans = self.hosts[host].slots[slot].lans.clone();
        let routers = lans.iter().map(|lan| (*lan, machine.routers[*lan]));
        let process = Process::new(routers, group);
        let place = &mut self.hosts[host].slots[slot];
        place.process = Some(process);
        place.incarnation += 1;
        place.paused = false;
        place.inbox.clear();
        if self.plan.machines[host].grouping == Grouping::Processes {
            for other in 0..self.hosts[host].slots.len() {
                if other != slot && self.hosts[host].slots[other].process.is_some() {
                    self.post(host, other, 20_000, Item::Hello(slot));
                    self.greet(host, slot, other);
                }
            }
        }
        for lan in lans {
            self.watch.started(self.now, host, lan);
            let usable = self.usable(host, lan);
            self.arrive(host, slot, Item::Stimulus(Stimulus::Router(lan, usable)))?;
            self.arrive(host, slot, Item::Stimulus(Stimulus::Router(lan, Event::Startup)))?;
        }
        Ok(())
    }

    /// Its guardian resigns in its place, or is killed with it.
    fn kill(&mut self, host: usize, slot: usize) {
        if self.hosts[host].is_awake() && self.random.percent(50) {
            let routers = self.hosts[host].slots[slot].process.iter().flat_map(|process| &process.routers);
            let last_words: Vec<_> =
                routers.filter_map(|router| Some((router.lan, router.resignation()?))).collect();
            for (lan, advert) in last_words {
                self.send(host, lan, advert);
            }
        }
        let place = &mut self.hosts[host].slots[slot];
        place.process = None;
        place.inbox.clear();
        place.wake = None;
        place.incarnation += 1;
        place.paused = false;
        if self.plan.machines[host].grouping != Grouping::Processes {
            return;
        }
        for other in 0..self.hosts[host].slots.len() {
            if other != slot && self.hosts[host].slots[other].process.is_some() {
                self.post(host, other, 20_000, Item::Stimulus(Stimulus::Gone(PeerId(slot))));
            }
        }
    }
}

impl Host {
    /// Whether it is not frozen.
    pub(crate) const fn is_awake(&self) -> bool {
        self.frozen.is_none()
    }
}

impl Slot {
    fn new(lans: Vec<usize>) -> Self {
        Self {
            process: None,
            paused: false,
            lans,
            incarnation: 0,
            inbox: VecDeque::new(),
            wake: None,
            last_of_kernel: 0,
            last_of_processes: 0,
        }
    }
}

impl Slot {
    fn has_left(&self) -> bool {
        let left = |router: &Router| router.machine.state().name() == StateName::Init;
        self.process.as_ref().is_some_and(|process| process.routers.iter().all(left))
    }
}

impl Item {
    const fn is_frame(&self) -> bool {
        matches!(self, Self::Stimulus(Stimulus::Router(_, Event::Advert(_))))
    }
}
