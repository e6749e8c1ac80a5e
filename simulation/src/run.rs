//! A run of a seed: faults, then peace, repeatedly.
//!
//! # Properties after the last fault
//! Everything is repaired, except what stays broken: links without carrier, dead processes. Within [`bound`], and from
//! then on:
//! * every router has the priority that results from its configuration and checks, and every Master its addresses,
//! * a machine with a group is Master of everything or of nothing; of everything only if all of its links and processes
//!   work,
//! * if at least one machine works completely, there is exactly one Master on each LAN, and all of them are on one
//!   machine if all machines have groups,
//! * no state changes.
//!
//! At the end all processes are told to leave: they leave nothing on an interface, and no journal.
//!
//! # The bound
//! W is the longest Master_Down_Interval of any router (lowest priority, longest interval):
//!
//! | time | for |
//! |---|---|
//! | 1 s | the lease of a stopped process's messages; a retry of refused addresses |
//! | 1 s | a jump of the clock, noticed after that |
//! | W | until no advert was heard |
//! | W + interval | two machines Master at once, and the loser misses an advert |
//! | 10 W | the longest pause of a failed group, twice |
//! | W | to preempt |
//! | as configured | the delays of preemption and of the start |
//! | ≤ 10 W | after a forged advert of 40.95 s: at most ten intervals are learned |
//!
//! Together 2 s + 14 W and the delays, since an interval is shorter than W. After a single fault in peace (a link
//! failure, a killed process) it is [`takeover_bound`]: W, the delays, and latencies. If several machines can take
//! over, they may do it at the same moment, all give way and pause; after the fourth time in a row that is 8 W more.

use std::fmt::Write as _;

use vrrpd_common::Duration;

use crate::fault::Fault;
use crate::plan::{Grouping, Plan};
use crate::random::Random;
use crate::watch::Figures;
use crate::world::World;

/// The time limit after any faults.
pub fn bound(plan: &Plan) -> Duration {
    Duration::from_secs(2) + plan.longest_wait().saturating_mul(14) + plan.longest_delay()
}

/// The time limit after a single fault in peace.
pub fn takeover_bound(plan: &Plan, machines_left: usize) -> Duration {
    let collision = if machines_left > 1 { plan.longest_wait().saturating_mul(8) } else { Duration::ZERO };
    plan.longest_wait() + plan.longest_delay() + Duration::from_millis(20) + collision
}

/// How long damping may hold take-overs in total until the state is correct: as often as groups collide, and twice
/// more.
const HELD_IN_ALL: Duration = Duration::from_secs(60);

/// How long processes may take to start, and then to give everything back.
const BEGIN: u64 = 20_000_000;
const END: Duration = Duration::from_millis(100);

/// A duration and its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worst {
    /// Nanoseconds.
    pub took: u64,
    /// Nanoseconds.
    pub bound: u64,
}

/// The durations closest to their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nearest {
    /// Until the state was correct.
    pub took: Worst,
    /// A LAN without a Master.
    pub no_master: Worst,
    /// A LAN with two Masters.
    pub two_masters: Worst,
}

/// The result of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Counters.
    pub figures: Figures,
    /// Durations closest to their limits after many faults.
    pub many_faults: Nearest,
    /// The same after one fault.
    pub single_fault: Nearest,
    /// Number of single faults.
    pub single_faults: u64,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The property that does not hold.
    pub what: String,
    /// Everything that happened until then.
    pub transcript: String,
}

/// Runs a seed; if it fails, again with a transcript.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    let mut random = Random::from_seed(seed);
    let plan = Plan::from_random(&mut random);
    attempt(&plan, random.clone(), false).map_err(|_| {
        let (what, transcript) = match attempt(&plan, random, true) {
            Err((what, transcript)) => (what, transcript),
            Ok(_) => {
                ("it does not fail again: the simulation is not deterministic".to_owned(), String::new())
            }
        };
        let mut text = describe(seed, &plan);
        text += &transcript;
        Box::new(Failure { seed, what, transcript: text })
    })
}

/// The transcript of a seed, whether it fails or not.
pub fn transcript(seed: u64) -> String {
    let mut random = Random::from_seed(seed);
    let plan = Plan::from_random(&mut random);
    let mut world = World::new(plan.clone(), random.clone(), true);
    let result = play(&mut world, &mut random, &mut Outcome::default());
    let text = describe(seed, &plan) + &world.watch.take_transcript().unwrap_or_default();
    match result {
        Ok(()) => text + "all is well\n",
        Err(what) => format!("{text}{} {what}\n", crate::watch::format_time(world.now)),
    }
}

fn attempt(plan: &Plan, mut random: Random, transcript: bool) -> Result<Outcome, (String, String)> {
    let mut world = World::new(plan.clone(), random.clone(), transcript);
    let mut outcome = Outcome::default();
    match play(&mut world, &mut random, &mut outcome) {
        Ok(()) => {
            outcome.figures = world.watch.figures.clone();
            Ok(outcome)
        }
        Err(what) => {
            let at = world.now;
            Err((
                format!("at {}: {what}", crate::watch::format_time(at)),
                world.watch.take_transcript().unwrap_or_default(),
            ))
        }
    }
}

fn describe(seed: u64, plan: &Plan) -> String {
    let mut text = format!("seed {seed}: {} machines, {} LANs\n", plan.machines.len(), plan.lans);
    for (host, machine) in plan.machines.iter().enumerate() {
        let grouping = match machine.grouping {
            Grouping::None => "no group",
            Grouping::OneProcess => "a group in one process",
            Grouping::Processes => "a group of processes",
        };
        let _ = writeln!(text, "  machine {host}, {grouping}:");
        for (lan, (config, address)) in machine.routers.iter().zip(&machine.addresses).enumerate() {
            let _ = writeln!(
                text,
                "    {host}/{lan}: {address}, VRID {}, {}, priority {}, every {}{}, delays {} and {}",
                config.vrid,
                config.version,
                config.priority,
                config.interval,
                match (config.preempt_mode, config.preempt_below) {
                    (true, _) => String::new(),
                    (false, None) => ", no preemption".to_owned(),
                    (false, Some(below)) => format!(", preempts below {below}"),
                },
                config.preempt_delay,
                config.start_delay
            );
        }
    }
    text
}

fn play(world: &mut World, random: &mut Random, outcome: &mut Outcome) -> Result<(), String> {
    let wait = world.plan.longest_wait().as_nanos();
    // Together, or one after the other.
    let spread = random.one_of(&[0, wait / 50, wait / 2, 3 * wait]);
    for host in 0..world.hosts.len() {
        let since = random.between(0, spread);
        for slot in 0..world.hosts[host].slots.len() {
            let after = since + random.between(0, spread / 4);
            world.schedule(Duration::from_nanos(after), Fault::Start(host, slot));
        }
    }
    for _ in 0..random.between(1, 3) {
        chaos(world, random, wait)?;
        world.heal()?;
        if random.percent(40) {
            break_something(world, random)?;
        }
        let slow = std::mem::take(&mut world.slow_was_forged);
        let followed = if slow { world.plan.longest_followed() } else { Duration::ZERO };
        let bound = bound(&world.plan) + followed;
        outcome.many_faults.note(settle(world, bound)?, bound);
        grow(world, random, 6 * wait);
        stay(world, 6 * wait)?;
        if random.percent(50) {
            outcome.single_faults += 1;
            break_something(world, random)?;
            let left = (0..world.hosts.len()).filter(|host| is_whole(world, *host)).count();
            let bound = takeover_bound(&world.plan, left);
            outcome.single_fault.note(settle(world, bound)?, bound);
            stay(world, 6 * wait)?;
        }
    }
    world.heal()?;
    world.run_until(world.now + BEGIN)?;
    world.wind_up(END)
}

/// Faults, many or few, for some time.
fn chaos(world: &mut World, random: &mut Random, wait: u64) -> Result<(), String> {
    let time = wait * random.between(2, 25);
    grow(world, random, time);
    let processes = world.processes();
    for _ in 0..random.between(0, 14) {
        let (fault, end) = Fault::random(random, &world.plan, &processes);
        let at = random.between(0, time);
        world.schedule(Duration::from_nanos(at), fault);
        if let Some(end) = end {
            let longest = random.one_of(&[wait / 4, wait * 2, wait * 6]);
            let lasts = random.between(wait / 20, longest);
            world.schedule(Duration::from_nanos(at + lasts), end);
        }
    }
    world.run_until(world.now + time)
}

/// Some reloads within this time that need larger objects in the kernel. The random numbers are of a generator of their
/// own, so that the rest of a seed's run stays the same.
fn grow(world: &mut World, random: &Random, time: u64) {
    let mut aside = Random::from_seed(random.clone().number());
    for _ in 0..aside.between(0, 6) {
        let (host, lan) = (aside.below(world.hosts.len()), aside.below(world.plan.lans));
        world.schedule(Duration::from_nanos(aside.between(0, time)), Fault::Grow { host, lan });
    }
}

/// Breaks a link, a process or a check permanently, on one or on each machine. Only if all machines have a group, or
/// none: a group does not take over from a machine without a group that still serves one LAN.
fn break_something(world: &mut World, random: &mut Random) -> Result<(), String> {
    let grouped = world.plan.machines.iter().filter(|machine| machine.grouping != Grouping::None).count();
    if grouped != 0 && grouped != world.plan.machines.len() {
        return Ok(());
    }
    let many = random.percent(30);
    let one = random.below(world.hosts.len());
    for host in 0..world.hosts.len() {
        if host == one || (many && random.percent(70)) {
            if random.percent(20) && world.plan.machines[host].check.is_some() {
                let lan = random.below(world.plan.lans);
                world.fault(Fault::Check { host, lan, holds: false })?;
            } else if random.percent(60) {
                world.fault(Fault::Link { host, lan: random.below(world.plan.lans), up: false })?;
            } else {
                let slots = world.hosts[host].slots.len();
                world.fault(Fault::Kill(host, random.below(slots)))?;
            }
        }
    }
    Ok(())
}

/// Durations of incorrect states after the last fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Until the state was correct.
    pub took: Duration,
    /// A LAN had no Master although a machine worked completely.
    pub no_master: Duration,
    /// A LAN had two Masters.
    pub two_masters: Duration,
}

/// Runs for the time limit; then the state must be correct.
pub fn settle(world: &mut World, bound: Duration) -> Result<Settled, String> {
    let (start, bound) = (world.now, bound.as_nanos());
    let mut end = start + bound;
    let mut wrong_until = start;
    let lans = world.plan.lans;
    let (mut none_since, mut two_since) = (vec![None; lans], vec![None; lans]);
    let (mut none, mut two) = (0, 0);
    let step = (bound / 2_000).max(100_000);
    let mut held = 0;
    loop {
        let result = judge(world);
        if result.is_err() {
            wrong_until = world.now;
        }
        let is_held = (0..world.hosts.len()).any(|host| (0..lans).any(|lan| world.is_held(host, lan)));
        if is_held {
            end += step;
            held += step;
            if held > HELD_IN_ALL.as_nanos() {
                return Err(format!("take-overs are held for more than {HELD_IN_ALL}"));
            }
        }
        let serving = !is_held && (0..world.hosts.len()).any(|host| is_whole(world, host));
        for lan in 0..lans {
            let masters = masters(world, lan).count();
            note(world.now, masters == 0 && serving, &mut none_since[lan], &mut none);
            note(world.now, masters > 1, &mut two_since[lan], &mut two);
        }
        if world.now >= end {
            result.map_err(|what| format!("{what}, {} after the last fault", Duration::from_nanos(bound)))?;
            break;
        }
        world.run_until((world.now + step).min(end))?;
    }
    Ok(Settled {
        took: Duration::from_nanos((wrong_until - start).saturating_sub(held)),
        no_master: Duration::from_nanos(none),
        two_masters: Duration::from_nanos(two),
    })
}

fn note(now: u64, is_so: bool, since: &mut Option<u64>, longest: &mut u64) {
    if is_so {
        *longest = (*longest).max(now - *since.get_or_insert(now));
    } else {
        *since = None;
    }
}

/// Runs for this time, in which nothing may change.
pub fn stay(world: &mut World, time: u64) -> Result<(), String> {
    world.watch.steady = true;
    world.forget_heard();
    let result = world.run_until(world.now + time);
    world.watch.steady = false;
    result?;
    judge(world)
}

/// Whether the state is correct some time after the last fault.
fn judge(world: &World) -> Result<(), String> {
    let grouped = |host: &usize| world.plan.machines[*host].grouping != Grouping::None;
    let hosts = || 0..world.hosts.len();
    for host in hosts() {
        for lan in 0..world.plan.lans {
            world.is_as_configured(host, lan)?;
        }
    }
    for host in hosts().filter(grouped) {
        let masters = (0..world.plan.lans).filter(|lan| world.is_master(host, *lan)).count();
        if masters > 0 && !is_whole(world, host) {
            return Err(format!("machine {host} is Master although it is not whole"));
        }
        if masters > 0 && masters < world.plan.lans {
            return Err(format!("machine {host} is Master of some LANs only"));
        }
    }
    for lan in 0..world.plan.lans {
        let can_serve = hosts().any(|host| {
            if grouped(&host) {
                is_whole(world, host)
            } else {
                world.hosts[host].link[lan]
                    && world.router(host, lan).is_some()
                    && !world.check_fails(host, lan)
            }
        });
        let masters: Vec<_> = masters(world, lan).collect();
        if masters.len() != usize::from(can_serve) {
            return Err(format!("LAN {lan} has {} masters: {masters:?}", masters.len()));
        }
    }
    if hosts().all(|host| grouped(&host)) {
        let serving = hosts().find(|host| world.is_master(*host, 0));
        let better =
            hosts().find(|host| is_whole(world, *host) && serving.is_some_and(|s| preempts(world, *host, s)));
        if let Some(better) = better {
            return Err(format!("machine {better} does not preempt although it is better on every LAN"));
        }
    }
    Ok(())
}

/// Whether a machine has to take over from another one.
fn preempts(world: &World, host: usize, other: usize) -> bool {
    (0..world.plan.lans).all(|lan| {
        let (Some(router), Some(other)) = (world.router(host, lan), world.router(other, lan)) else {
            return false;
        };
        let machine = &router.machine;
        let (config, theirs) = (machine.config(), other.machine.priority());
        (config.preempt_mode || config.preempt_below.is_some_and(|below| theirs < below))
            && !machine.forced_backup()
            && machine.priority() > theirs
    })
}

/// The machines that are Master on a LAN and connected to it.
fn masters(world: &World, lan: usize) -> impl Iterator<Item = usize> {
    (0..world.hosts.len()).filter(move |host| world.is_master(*host, lan))
}

/// Whether a machine works completely: links, processes, and checks that are required to serve.
fn is_whole(world: &World, host: usize) -> bool {
    world.hosts[host].link.iter().all(|up| *up)
        && world.hosts[host].slots.iter().all(|slot| slot.process.is_some())
        && (0..world.plan.lans).all(|lan| !world.check_fails(host, lan))
}

impl Worst {
    /// Keeps the one closer to its limit.
    fn merge(&mut self, other: Self) {
        let product = |one: u64, other: u64| u128::from(one) * u128::from(other);
        if self.bound == 0 || product(other.took, self.bound) > product(self.took, other.bound) {
            *self = other;
        }
    }
}

impl Nearest {
    fn note(&mut self, settled: Settled, bound: Duration) {
        let worst = |took: Duration| Worst { took: took.as_nanos(), bound: bound.as_nanos() };
        self.merge(Self {
            took: worst(settled.took),
            no_master: worst(settled.no_master),
            two_masters: worst(settled.two_masters),
        });
    }

    fn merge(&mut self, other: Self) {
        self.took.merge(other.took);
        self.no_master.merge(other.no_master);
        self.two_masters.merge(other.two_masters);
    }
}

impl Outcome {
    /// Adds the results of another seed.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.figures.faults {
            *self.figures.faults.entry(kind).or_default() += count;
        }
        self.figures.promotions += other.figures.promotions;
        self.figures.adverts += other.figures.adverts;
        self.figures.time += other.figures.time;
        self.single_faults += other.single_faults;
        self.many_faults.merge(other.many_faults);
        self.single_fault.merge(other.single_fault);
    }
}
