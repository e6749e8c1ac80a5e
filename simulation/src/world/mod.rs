//! Machines, LANs and virtual time. All randomness comes from one seed, so that a run can be repeated.
//!
//! Start reading at [`World::run_until`]: it takes the next event from a queue and hands it to a process, whose effects
//! become events again. `turns` delivers inputs to processes, `life` starts and ends them, `network` carries frames,
//! `kernel_path` is what programs in the kernel receive, `faults` breaks things, `judge` reports the state.

mod faults;
mod judge;
mod kernel_path;
mod life;
mod network;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use vrrpd_common::{Advert, Duration};
use vrrpd_engine::Ticket;
use vrrpd_engine::config::RouterConfig;
use vrrpd_engine::ledger::Order;
use vrrpd_engine::router::Router;

use crate::daemon::{Daemon, Mastery, Stimulus};
use crate::fault::{Fault, Weather};
use crate::kernel::Kernel;
use crate::plan::{Grouping, Plan, others_address, router_config};
use crate::random::Random;
use crate::watch::Watch;

/// The simulated world.
#[derive(Debug)]
pub struct World {
    /// Nanoseconds since the start.
    pub now: u64,
    /// The machines.
    pub hosts: Vec<Host>,
    /// What was planned.
    pub plan: Plan,
    /// The checks and counters.
    pub watch: Watch,
    random: Random,
    weather: Weather,
    queue: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    /// An advert with an interval of 40.95 s was forged since the last repair.
    pub slow_was_forged: bool,
    /// By LAN, sender and receiver.
    blocked: Vec<bool>,
    /// When a Backup last heard an advert that it follows, by its machine's clock; by machine and LAN.
    heard: BTreeMap<(usize, usize), u64>,
    /// When a program last heard an advert for a process that is stopped, likewise.
    unhandled: BTreeMap<(usize, usize), u64>,
}

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// Its processes.
    pub slots: Vec<Slot>,
    /// By LAN.
    pub link: Vec<bool>,
    /// Its interfaces.
    pub kernel: Kernel,
    /// The configuration by LAN.
    pub(crate) configs: Vec<RouterConfig>,
    /// By LAN: whether the router's check holds.
    pub(crate) checks: Vec<bool>,
    frozen: Option<Frozen>,
    clock: u64,
}

#[derive(Debug)]
struct Frozen {
    since: u64,
    clock: bool,
    /// Processes notice it.
    is_suspension: bool,
}

/// The slot of a process.
#[derive(Debug)]
pub struct Slot {
    /// The live process.
    pub process: Option<Daemon>,
    /// It is stopped.
    pub paused: bool,
    lans: Vec<usize>,
    incarnation: u32,
    inbox: VecDeque<Item>,
    /// Its machine was suspended since it last ran.
    has_slept: bool,
    /// Its next deadline.
    wake: Option<u64>,
    /// When a timer of its programs in the kernel fires next, by the clock of its machine, and when it does so.
    kernel_wake: Option<(u64, u64)>,
    /// Time of the last delivery from each source, for in-order delivery.
    last: [u64; SOURCES],
    /// Requests that the kernel has not executed.
    orders: VecDeque<(Ticket, Order)>,
    /// The journal file; `None`: it does not exist.
    journal: Option<String>,
    /// Instructions of the guardian.
    masteries: BTreeMap<usize, Mastery>,
    /// The process has died, and its guardian cleans up.
    guardian: Option<Guardian>,
    /// The next process waits for that.
    is_to_start: bool,
    /// Adverts sent since the router started, by LAN.
    adverts: BTreeMap<usize, u64>,
}

/// A guardian whose process has died.
#[derive(Debug)]
struct Guardian {
    /// Its instructions, until they are executed.
    masteries: Option<BTreeMap<usize, Mastery>>,
    /// The request that the kernel is still executing.
    in_flight: Option<Order>,
}

/// Sources with in-order delivery.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Notifications of the kernel.
    Kernel,
    /// Orders to the kernel.
    Orders,
    /// Its answers.
    Answers,
    /// Other processes.
    Processes,
    /// Checks.
    Checks,
    /// The disk.
    Disk,
    /// Programs in the kernel.
    Programs,
    /// Threads that load and move programs.
    Lane,
}

const SOURCES: usize = From::Lane as usize + 1;

/// An input in transit to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Stimulus(Stimulus),
    /// Another process of the machine has opened a connection.
    Hello(usize),
}

#[derive(Debug)]
struct Entry {
    at: u64,
    number: u64,
    happening: Happening,
}

#[derive(Clone, Debug)]
enum Happening {
    Frame {
        lan: usize,
        host: usize,
        advert: Advert,
    },
    Item {
        host: usize,
        slot: usize,
        incarnation: u32,
        item: Item,
    },
    /// The kernel executes the next request of a process.
    Performs {
        host: usize,
        slot: usize,
        incarnation: u32,
    },
    /// A journal is written.
    Written {
        host: usize,
        slot: usize,
        incarnation: u32,
        text: String,
    },
    /// A guardian continues.
    Guards {
        host: usize,
        slot: usize,
    },
    Wake {
        host: usize,
        slot: usize,
    },
    /// A timer of the programs of a process fires.
    KernelTimer {
        host: usize,
        slot: usize,
    },
    Fault(Fault),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

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
    /// A world without started processes.
    pub fn new(plan: Plan, random: Random, transcript: bool) -> Self {
        let lans = plan.lans;
        let hosts = plan.machines.iter().map(|machine| {
            let places: Vec<Vec<usize>> = match machine.grouping {
                Grouping::OneProcess => vec![(0..lans).collect()],
                Grouping::None | Grouping::Processes => (0..lans).map(|lan| vec![lan]).collect(),
            };
            let others: Vec<_> = (0..lans).map(others_address).collect();
            Host {
                slots: places.into_iter().map(Slot::new).collect(),
                link: vec![true; lans],
                kernel: Kernel::new(&machine.addresses, &others, machine.marks),
                configs: (0..lans).map(|lan| router_config(machine, lan)).collect(),
                checks: vec![true; lans],
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
            heard: BTreeMap::new(),
            unhandled: BTreeMap::new(),
            plan,
        }
    }

    /// Number of processes of each machine.
    pub fn processes(&self) -> Vec<usize> {
        self.hosts.iter().map(|host| host.slots.len()).collect()
    }

    /// Schedules a fault.
    pub fn schedule(&mut self, after: Duration, fault: Fault) {
        self.push(self.now + after.as_nanos(), Happening::Fault(fault));
    }

    /// The router of a machine on a LAN; `None` without a live process.
    pub fn router(&self, host: usize, lan: usize) -> Option<&Router> {
        self.hosts[host].slots[self.slot_of(host, lan)].process.as_ref()?.router(lan)
    }

    /// Whether it is Master.
    pub fn is_master(&self, host: usize, lan: usize) -> bool {
        self.router(host, lan).is_some_and(Router::is_master)
    }

    /// Whether the process of a router runs.
    pub fn lan_runs(&self, host: usize, lan: usize) -> bool {
        self.is_running(host, self.slot_of(host, lan))
    }

    /// Whether everything of a machine runs.
    pub fn runs(&self, host: usize) -> bool {
        self.hosts[host].is_awake() && self.hosts[host].slots.iter().all(|slot| !slot.paused)
    }

    /// Whether a running router waits only for the end of a hold by damping.
    pub fn is_held(&self, host: usize, lan: usize) -> bool {
        let damped = self.router(host, lan).filter(|router| !router.machine.is_in_start_delay());
        let held_until = damped.and_then(|router| router.machine.held_until());
        held_until.is_some_and(|until| until.as_nanos() > self.clock(host)) && self.lan_runs(host, lan)
    }

    /// Advances time.
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
            if let Some((lan, address)) = self.hosts[host].kernel.wronged {
                return Err(format!("{host}/{lan}: {address} is another's, and was removed"));
            }
            let is_grouped = self.plan.machines[host].grouping != Grouping::None;
            let mut masters = 0;
            for lan in 0..self.plan.lans {
                self.has_heard_all(host, lan)?;
                let view = self.view(host, lan);
                self.watch.router(host, lan, self.clock(host), view)?;
                masters += usize::from(view.is_running_master);
            }
            let is_whole = !is_grouped || masters == 0 || masters == self.plan.lans;
            self.watch.group(host, self.now, is_whole);
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        let is_over = |world: &Self, host: usize, slot: usize, incarnation| {
            world.hosts[host].slots[slot].incarnation != incarnation
        };
        match happening {
            Happening::Frame { lan, host, advert } => {
                if !self.hosts[host].link[lan] {
                    return Ok(());
                }
                let slot = self.slot_of(host, lan);
                self.note_heard(host, lan, &advert);
                if self.kernel_hears(host, slot, lan, &advert) {
                    return Ok(());
                }
                self.arrive(host, slot, Item::Stimulus(Stimulus::Advert(lan, advert)))
            }
            Happening::Item { host, slot, incarnation, .. }
            | Happening::Performs { host, slot, incarnation }
            | Happening::Written { host, slot, incarnation, .. }
                if is_over(self, host, slot, incarnation) =>
            {
                Ok(())
            }
            Happening::Item { host, slot, item, .. } => self.arrive(host, slot, item),
            Happening::Performs { host, slot, .. } => {
                self.perform_order(host, slot);
                Ok(())
            }
            Happening::Written { host, slot, text, .. } => {
                self.hosts[host].slots[slot].journal = Some(text);
                Ok(())
            }
            Happening::Guards { host, slot } => self.guard(host, slot),
            Happening::Wake { host, slot } => {
                let place = &mut self.hosts[host].slots[slot];
                if place.wake != Some(self.now) {
                    return Ok(());
                }
                place.wake = None;
                if self.is_running(host, slot) { self.turn(host, slot, None) } else { Ok(()) }
            }
            Happening::KernelTimer { host, slot } => {
                self.fire_kernel_timers(host, slot);
                Ok(())
            }
            Happening::Fault(fault) => self.fault(fault),
        }
    }

    fn is_running(&self, host: usize, slot: usize) -> bool {
        self.hosts[host].is_awake() && !self.hosts[host].slots[slot].paused
    }

    /// The process of a LAN's router.
    fn slot_of(&self, host: usize, lan: usize) -> usize {
        if self.hosts[host].slots.len() == 1 { 0 } else { lan }
    }

    /// The clock of a machine.
    pub(crate) fn clock(&self, host: usize) -> u64 {
        self.now + self.hosts[host].clock
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
            has_slept: false,
            wake: None,
            kernel_wake: None,
            last: [0; SOURCES],
            orders: VecDeque::new(),
            journal: None,
            masteries: BTreeMap::new(),
            guardian: None,
            is_to_start: false,
            adverts: BTreeMap::new(),
        }
    }
}
