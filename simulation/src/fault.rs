//! Faults, and actions of operators.

use std::fmt;

use vrrpd_common::router::{Event, Origin};
use vrrpd_common::{Duration, Priority};

use crate::plan::Plan;
use crate::random::Random;

/// Disturbances of the network and of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Percentage of lost frames.
    pub loss: u64,
    /// Percentage of duplicated frames.
    pub duplicates: u64,
    /// Maximum delay of a frame. The minimum is a microsecond, so this is jitter and reorders frames.
    pub delay: Duration,
    /// Maximum lateness of timers.
    pub lateness: Duration,
    /// Maximum time of the kernel to add or remove addresses.
    pub kernel: Duration,
}

/// A fault, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Changes the weather.
    Weather(Weather),
    /// All frames from one machine to another on a LAN are lost, or no longer.
    Block {
        /// The LAN.
        lan: usize,
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Whether they are lost.
        on: bool,
    },
    /// The link of a machine on a LAN goes down or up.
    Link {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Whether it is up.
        up: bool,
    },
    /// A process starts.
    Start(usize, usize),
    /// A process is killed.
    Kill(usize, usize),
    /// A process is told to leave.
    Leave(usize, usize),
    /// A process is stopped (SIGSTOP).
    Pause(usize, usize),
    /// A process continues.
    Continue(usize, usize),
    /// A machine stops, with its clock or without.
    Freeze {
        /// The machine.
        host: usize,
        /// Its clock stops too.
        clock: bool,
    },
    /// A machine is suspended: its clock stops, and its processes notice afterwards.
    Suspend(usize),
    /// A machine continues.
    Thaw(usize),
    /// The kernel refuses a router's addresses, or no longer.
    Refuse {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Whether they are refused.
        on: bool,
    },
    /// Another program removes a virtual address of a machine repeatedly.
    Rob {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Interval.
        every: Duration,
        /// Remaining number.
        more: u32,
    },
    /// Another program adds a virtual address on a machine, or removes it again.
    Squat {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Whether it adds the address.
        on: bool,
    },
    /// A machine reads a configuration with more routers on the interface of a LAN than its object in the kernel has room
    /// for: a larger one is loaded, and the program moves to it.
    Grow {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
    },
    /// The check of a machine's router on a LAN fails, or holds again.
    Check {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Whether it holds.
        holds: bool,
    },
    /// A configuration that requires a restart of a router: it leaves and comes back.
    Reconfigure {
        /// The machine.
        host: usize,
        /// The LAN.
        lan: usize,
        /// Whether it preempts.
        preempt: bool,
    },
    /// An outsider repeatedly sends forged adverts of the lowest priority with other addresses.
    Flood {
        /// The LAN.
        lan: usize,
        /// Interval.
        every: Duration,
        /// Remaining number.
        more: u32,
    },
    /// An outsider repeatedly sends two forged adverts: one of a higher priority, and its resignation.
    Flap {
        /// The LAN.
        lan: usize,
        /// Interval.
        every: Duration,
        /// Remaining number.
        more: u32,
    },
    /// An outsider sends one forged advert: of a higher priority, with an interval of 40.95 s.
    Slow {
        /// The LAN.
        lan: usize,
    },
    /// An operator's event for a router.
    Operate(usize, usize, Event),
}

impl Weather {
    /// A healthy network: no losses, at most a millisecond of delay.
    pub const FAIR: Self = Self {
        loss: 0,
        duplicates: 0,
        delay: Duration::from_micros(1_000),
        lateness: Duration::from_micros(500),
        kernel: Duration::from_micros(500),
    };

    fn foul(random: &mut Random, interval: Duration) -> Self {
        let nanos = interval.as_nanos();
        Self {
            loss: random.one_of(&[0, 5, 20, 50, 90]),
            duplicates: random.one_of(&[0, 0, 10]),
            delay: Duration::from_nanos(random.one_of(&[1_000_000, nanos / 4, nanos, nanos * 2])),
            lateness: Duration::from_nanos(random.one_of(&[100_000, 500_000, 1_000_000, nanos / 2])),
            kernel: Duration::from_nanos(random.one_of(&[100_000, 1_000_000, nanos, nanos * 5])),
        }
    }
}

impl Fault {
    /// A random fault with, for most kinds, a duration and the fault that ends it.
    pub(crate) fn random(random: &mut Random, plan: &Plan, processes: &[usize]) -> (Self, Option<Self>) {
        let host = random.below(plan.machines.len());
        let lan = random.below(plan.lans);
        let process = random.below(processes[host]);
        let other = (host + 1 + random.below(plan.machines.len() - 1)) % plan.machines.len();
        match random.below(32) {
            0..=2 => {
                let weather = Weather::foul(random, plan.longest_interval());
                (Self::Weather(weather), Some(Self::Weather(Weather::FAIR)))
            }
            3..=5 => {
                let block = |on| Self::Block { lan, from: host, to: other, on };
                (block(true), Some(block(false)))
            }
            6..=8 => {
                let link = |up| Self::Link { host, lan, up };
                (link(false), Some(link(true)))
            }
            9..=10 => (Self::Pause(host, process), Some(Self::Continue(host, process))),
            11..=12 => (Self::Kill(host, process), Some(Self::Start(host, process))),
            13 => (Self::Leave(host, process), Some(Self::Start(host, process))),
            14..=15 => (Self::Freeze { host, clock: random.percent(50) }, Some(Self::Thaw(host))),
            16 => {
                let refuse = |on| Self::Refuse { host, lan, on };
                (refuse(true), Some(refuse(false)))
            }
            17..=18 => {
                let origin = Origin::Operator;
                (
                    Self::Operate(host, lan, Event::StandBack(origin)),
                    random.percent(70).then_some(Self::Operate(host, lan, Event::Resume(origin))),
                )
            }
            19 => {
                let wait = plan.longest_wait().as_nanos();
                let every =
                    Duration::from_nanos(random.one_of(&[wait / 40, wait / 10, wait / 2]).max(1_000_000));
                (Self::Flap { lan, every, more: random.one_of(&[3, 30, 300]) }, None)
            }
            20 => (Self::Slow { lan }, None),
            23..=24 => {
                let wait = plan.longest_wait().as_nanos();
                let every =
                    Duration::from_nanos(random.one_of(&[1_000_000, wait / 100, wait / 2]).max(1_000_000));
                (Self::Rob { host, lan, every, more: random.one_of(&[0, 0, 5, 200]) }, None)
            }
            26 => (Self::Suspend(host), Some(Self::Thaw(host))),
            27..=28 => {
                let check = |holds| Self::Check { host, lan, holds };
                (check(false), Some(check(true)))
            }
            29..=30 => (Self::Reconfigure { host, lan, preempt: random.percent(50) }, None),
            31 => {
                let every = Duration::from_millis(random.one_of(&[1, 7, 100]));
                (Self::Flood { lan, every, more: random.one_of(&[30, 300, 1500]) }, None)
            }
            25 => {
                let squat = |on| Self::Squat { host, lan, on };
                (squat(true), Some(squat(false)))
            }
            _ => {
                let priority = Priority(random.one_of(&[1, 40, 90, 100, 110, 254]));
                (Self::Operate(host, lan, Event::Priority(priority)), None)
            }
        }
    }

    /// The kind of fault; `None` for one that ends another.
    pub const fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Weather(Weather { loss: 0, .. })
            | Self::Block { on: false, .. }
            | Self::Link { up: true, .. }
            | Self::Start(..)
            | Self::Continue(..)
            | Self::Thaw(_)
            | Self::Squat { on: false, .. }
            | Self::Check { holds: true, .. }
            | Self::Refuse { on: false, .. } => return None,
            Self::Weather(_) => "loss, delay, reordering, duplicates",
            Self::Block { .. } => "one-way partitions",
            Self::Link { .. } => "links pulled",
            Self::Kill(..) => "processes killed",
            Self::Leave(..) => "processes told to leave",
            Self::Pause(..) => "processes stopped",
            Self::Freeze { clock: true, .. } => "machines frozen with their clock",
            Self::Freeze { clock: false, .. } => "machines frozen, the clock running on",
            Self::Refuse { .. } => "addresses refused",
            Self::Rob { .. } => "addresses taken away by others",
            Self::Squat { .. } => "addresses added by others",
            Self::Suspend(_) => "machines suspended",
            Self::Check { .. } => "checks that failed",
            Self::Reconfigure { .. } => "reloads that change more than the priority",
            Self::Grow { .. } => "reloads that need a larger object in the kernel",
            Self::Flood { .. } => "forged adverts of the lowest priority",
            Self::Flap { .. } => "pairs of forged adverts",
            Self::Slow { .. } => "forged adverts of 40.95 s",
            Self::Operate(_, _, Event::Priority(_)) => "priorities changed",
            Self::Operate(..) => "commands to stand back or resume",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weather(w) => write!(
                f,
                "network: {} % lost, {} % twice, up to {} late; timers up to {} late, the kernel takes up to {}",
                w.loss, w.duplicates, w.delay, w.lateness, w.kernel
            ),
            Self::Block { lan, from, to, on: true } => write!(f, "LAN {lan}: {to} does not hear {from}"),
            Self::Block { lan, from, to, on: false } => write!(f, "LAN {lan}: {to} hears {from} again"),
            Self::Link { host, lan, up: false } => write!(f, "{host}/{lan}: link pulled"),
            Self::Link { host, lan, up: true } => write!(f, "{host}/{lan}: link back"),
            Self::Start(host, process) => write!(f, "{host}, process {process}: started"),
            Self::Kill(host, process) => write!(f, "{host}, process {process}: killed"),
            Self::Leave(host, process) => write!(f, "{host}, process {process}: told to leave"),
            Self::Pause(host, process) => write!(f, "{host}, process {process}: stopped"),
            Self::Continue(host, process) => write!(f, "{host}, process {process}: goes on"),
            Self::Freeze { host, clock: true } => write!(f, "{host}: frozen with its clock"),
            Self::Freeze { host, clock: false } => write!(f, "{host}: frozen, the clock runs on"),
            Self::Suspend(host) => write!(f, "{host}: suspended"),
            Self::Check { host, lan, holds } => {
                write!(f, "{host}/{lan}: the check {}", if *holds { "holds" } else { "fails" })
            }
            Self::Reconfigure { host, lan, preempt } => {
                write!(f, "{host}/{lan}: configured with preemption {}", if *preempt { "on" } else { "off" })
            }
            Self::Grow { host, lan } => write!(f, "{host}/{lan}: more routers on the interface"),
            Self::Flood { lan, .. } => write!(f, "LAN {lan}: a forged advert of the lowest priority"),
            Self::Thaw(host) => write!(f, "{host}: goes on"),
            Self::Refuse { host, lan, on: true } => write!(f, "{host}/{lan}: addresses are refused"),
            Self::Refuse { host, lan, on: false } => write!(f, "{host}/{lan}: addresses are taken again"),
            Self::Rob { host, lan, .. } => write!(f, "{host}/{lan}: another program removes the address"),
            Self::Squat { host, lan, on: true } => {
                write!(f, "{host}/{lan}: another program adds the address, if it is not there")
            }
            Self::Squat { host, lan, on: false } => {
                write!(f, "{host}/{lan}: another program removes the address, if it has added it")
            }
            Self::Flap { lan, .. } => write!(f, "LAN {lan}: a forged advert and its resignation"),
            Self::Slow { lan } => write!(f, "LAN {lan}: a forged advert of 40.95 s"),
            Self::Operate(host, lan, event) => write!(f, "{host}/{lan}: {event:?}"),
        }
    }
}
