//! The machines and routers of a seed, and their faults.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use vrrpd_common::router::{AnnounceTimes, Config};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{AddressDigest, Duration, Interval, Priority, Version, Vrid};
use vrrpd_engine::config::{Announce, RouterConfig, VirtualAddress};
use vrrpd_engine::priority::Weight;
use vrrpd_engine::script::{Script, Scripts};
use vrrpd_engine::track::{CheckConfig, CheckKind, Rules, Tracked};

use crate::kernel::{PREFIX_LEN, name};
use crate::random::Random;

/// How the routers of a machine are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Not grouped, each in its own process.
    None,
    /// `[[group]]`: one process.
    OneProcess,
    /// `-M`: one process each.
    Processes,
}

/// A machine and its routers, one on each LAN.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How its routers are grouped.
    pub grouping: Grouping,
    /// Router configuration by LAN.
    pub routers: Vec<Config>,
    /// Own address by LAN.
    pub addresses: Vec<IpAddr>,
    /// Its clock at the start of the simulation, in nanoseconds.
    pub clock: u64,
    /// Seed of its groups.
    pub seed: u64,
    /// Its kernel stores our mark with addresses.
    pub marks: bool,
    /// Each of its routers has its own check with this weight.
    pub check: Option<Weight>,
    /// Its adverts are handled by a program in the kernel.
    pub in_kernel: bool,
}

/// Machines on LANs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machines.
    pub machines: Vec<Machine>,
    /// Number of LANs.
    pub lans: usize,
}

/// A configuration for the LAN with this number, with priority 100 and preemption.
pub fn config(lan: usize, version: Version, interval: Interval) -> Config {
    let number = u8::try_from(lan).expect("few LANs");
    Config {
        vrid: Vrid::new(51 + number).expect("not 0"),
        version,
        priority: Priority(100),
        preempt_mode: true,
        preempt_below: None,
        preempt_delay: Duration::ZERO,
        start_delay: Duration::ZERO,
        interval,
        max_learned_interval: interval.times(10),
        down_multiplier: 3,
        addresses: AddressDigest::of([virtual_address(lan)]),
        announce: AnnounceTimes {
            again_after: None,
            refresh_every: None,
            elsewhere_every: None,
            after_lower: None,
        },
        grouped: false,
        prepares: false,
    }
}

/// The last octet of an outsider's address.
pub const OUTSIDER: u64 = 250;

/// Consecutive results that change the outcome of a check.
pub const LOOKS: u32 = 2;
/// Maximum time until a check runs again.
pub const LOOK: Duration = Duration::from_millis(40);
/// Maximum duration of a `prepare` script.
pub const PREPARES: Duration = Duration::from_millis(50);
/// The last octet of the virtual address.
const VIRTUAL: u64 = 200;
/// The last octet of the address that another program has added to every interface.
const OTHERS: u64 = 77;

/// The virtual address of a LAN.
pub fn virtual_address(lan: usize) -> IpAddr {
    address(lan, VIRTUAL)
}

/// The address that another program has added to a LAN's interface.
pub fn others_address(lan: usize) -> IpAddr {
    address(lan, OTHERS)
}

/// The check of a LAN's router.
pub fn check(lan: usize) -> CheckConfig {
    CheckConfig {
        name: format!("check{lan}"),
        kind: CheckKind::File(PathBuf::new()),
        rules: Rules { rise: LOOKS, fall: LOOKS, ..Rules::default() },
    }
}

/// The configuration of a router of a machine on a LAN.
pub fn router_config(machine: &Machine, lan: usize) -> RouterConfig {
    let config = &machine.routers[lan];
    let tracked = |weight| Tracked { name: check(lan).name, weight, is_ignored: false };
    let program = config.prepares.then(PathBuf::new);
    let prepare = program.map(|program| Script { program, arguments: Vec::new() });
    let address = VirtualAddress { address: virtual_address(lan), prefix_len: PREFIX_LEN };
    let defaults = RouterConfig::with_defaults(name(lan), config.vrid, vec![address]);
    RouterConfig {
        version: config.version,
        priority: config.priority,
        preempt: config.preempt_mode,
        preempt_below: config.preempt_below,
        preempt_delay: config.preempt_delay,
        start_delay: config.start_delay,
        interval: config.interval,
        max_learned_interval: config.max_learned_interval,
        down_multiplier: config.down_multiplier,
        scripts: Scripts { prepare, ..defaults.scripts },
        announce: Announce { times: config.announce, ..defaults.announce },
        grouped: config.grouped,
        track: machine.check.map(tracked).into_iter().collect(),
        ..defaults
    }
}

/// The longest time that any router of this configuration, with any priority, waits for a silent master.
pub fn longest_wait(config: &Config) -> Duration {
    master_down_interval(config.version, Priority::LOWEST, config.interval, config.down_multiplier)
}

/// An address of a machine on a LAN.
pub fn address(lan: usize, host: u64) -> IpAddr {
    let (number, host) = (u8::try_from(lan).expect("few LANs"), u8::try_from(host).expect("few machines"));
    IpAddr::V4(Ipv4Addr::new(10, 16 + number, 1, host))
}

impl Plan {
    /// The plan of a seed.
    pub fn from_random(random: &mut Random) -> Self {
        let count = if random.percent(65) { 2 } else { 3 };
        let lans = random.one_of(&[1, 2, 2, 2, 3, 3]);
        let shape = random.below(10);
        let base = random.one_of(&[1, 1, 10, 100]);
        let bases: Vec<Config> = (0..lans)
            .map(|lan| {
                let (version, centis) = match base {
                    100 if random.percent(50) => (Version::V2, 100),
                    base if random.percent(30) => (Version::V3, base * random.one_of(&[2, 5])),
                    base => (Version::V3, base),
                };
                let interval = Interval::from_stored(centis).expect("not 0");
                let announce = AnnounceTimes {
                    again_after: random.percent(50).then(|| interval.as_duration().saturating_mul(5)),
                    refresh_every: None,
                    elsewhere_every: None,
                    after_lower: Some(Duration::from_secs(1)),
                };
                Config { announce, ..config(lan, version, interval) }
            })
            .collect();
        let equal = random.percent(25);
        let mut machines: Vec<_> = (0..count)
            .map(|_| {
                let grouping = match shape {
                    0 => Grouping::None,
                    1..=2 => random.one_of(&[Grouping::None, Grouping::OneProcess, Grouping::Processes]),
                    3..=5 => Grouping::OneProcess,
                    _ => Grouping::Processes,
                };
                let preempt_mode = random.percent(80);
                let routers = bases.iter().map(|base| Config {
                    priority: Priority(if equal {
                        100
                    } else {
                        random.one_of(&[50, 90, 100, 100, 150, 200])
                    }),
                    preempt_mode: if random.percent(90) { preempt_mode } else { !preempt_mode },
                    grouped: grouping != Grouping::None,
                    ..*base
                });
                Machine {
                    grouping,
                    routers: routers.collect(),
                    addresses: Vec::new(),
                    clock: random.between(1_000_000_000, 1_000_000_000_000_000),
                    seed: random.number(),
                    marks: true,
                    check: None,
                    in_kernel: false,
                }
            })
            .collect();
        for lan in 0..lans {
            let mut hosts: Vec<u64> = (1..).take(count).collect();
            for machine in &mut machines {
                machine.addresses.push(address(lan, hosts.swap_remove(random.below(hosts.len()))));
            }
        }
        // From a separate generator, so that the rest of a seed's run stays the same.
        let mut aside = Random::from_seed(random.clone().number());
        delay_some(&mut aside, &mut machines);
        for machine in &mut machines {
            machine.marks = aside.percent(75);
            let weights = if machine.grouping == Grouping::None { &[0, -60][..] } else { &[0] };
            let weight = Weight::new(aside.one_of(weights));
            machine.check = weight.filter(|_| aside.percent(30));
            let prepares = machine.grouping == Grouping::None && aside.percent(30);
            machine.routers.iter_mut().for_each(|router| router.prepares = prepares);
        }
        for lan in 0..lans {
            let multiplier = aside.one_of(&[3, 3, 3, 2, 5]);
            for machine in &mut machines {
                machine.routers[lan].down_multiplier = multiplier;
            }
        }
        for router in machines.iter_mut().flat_map(|machine| &mut machine.routers) {
            let [refresh, elsewhere] = [(); 2].map(|()| {
                let every = Duration::from_secs(aside.between(1, 5));
                aside.percent(25).then_some(every)
            });
            router.announce.refresh_every = refresh;
            router.announce.elsewhere_every = elsewhere;
        }
        // All members of a group, or some of them.
        for machine in machines.iter_mut().filter(|machine| machine.grouping != Grouping::None) {
            let share = aside.one_of(&[0, 0, 0, 50, 100]);
            machine.routers.iter_mut().for_each(|router| router.prepares = aside.percent(share));
        }
        for machine in &mut machines {
            machine.in_kernel = aside.percent(50);
        }
        // Sometimes the owner of the addresses.
        if random.percent(5) {
            let owner = random.below(count);
            for router in &mut machines[owner].routers {
                router.priority = Priority::OWNER;
            }
        }
        Self { machines, lans }
    }

    /// The longest Master_Down_Interval of any router.
    pub fn longest_wait(&self) -> Duration {
        let waits = self.machines.iter().flat_map(|machine| &machine.routers).map(longest_wait);
        waits.max().unwrap_or(Duration::ZERO)
    }

    /// The longest time that any router follows a silent master that advertised a long interval.
    pub fn longest_followed(&self) -> Duration {
        let slowest =
            |config: &Config| longest_wait(&Config { interval: config.max_learned_interval, ..*config });
        let waits = self.machines.iter().flat_map(|machine| &machine.routers).map(slowest);
        waits.max().unwrap_or(Duration::ZERO)
    }

    /// The longest time that delays of preemption and start, a script or checks keep any router from being Master.
    pub fn longest_delay(&self) -> Duration {
        let delay = |(machine, config): (&Machine, &Config)| {
            let looks =
                if machine.check.is_some() { LOOK.saturating_mul(u64::from(LOOKS)) } else { Duration::ZERO };
            let script = if config.prepares { PREPARES } else { Duration::ZERO };
            config.preempt_delay + config.start_delay + script + looks
        };
        let machines = self.machines.iter();
        let routers =
            machines.flat_map(|machine| machine.routers.iter().map(move |config| (machine, config)));
        routers.map(delay).max().unwrap_or(Duration::ZERO)
    }

    /// The longest interval between two adverts.
    pub fn longest_interval(&self) -> Duration {
        let intervals = self.machines.iter().flat_map(|machine| &machine.routers);
        intervals.map(|config| config.interval.as_duration()).max().unwrap_or(Duration::ZERO)
    }
}

/// Some machines get delays of preemption or start; some that do not preempt do so below a priority.
fn delay_some(random: &mut Random, machines: &mut [Machine]) {
    for machine in machines {
        let (preempts, starts) = (random.one_of(&[0, 0, 0, 3, 12]), random.one_of(&[0, 0, 0, 6, 15]));
        let below = random.percent(50).then(|| Priority(random.one_of(&[60, 100, 120])));
        for router in &mut machine.routers {
            let interval = router.interval.as_duration();
            router.start_delay = interval.saturating_mul(starts);
            if router.preempt_mode {
                router.preempt_delay = interval.saturating_mul(preempts);
            } else {
                router.preempt_below = below;
            }
        }
    }
}
