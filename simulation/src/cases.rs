//! Two machines with groups on two LANs, for tests and for the search.

use vrrpd_common::router::{AnnounceTimes, Config};
use vrrpd_common::{Duration, Interval, Priority, Version};

use crate::plan::{Grouping, Machine, Plan, address, config};
use crate::run::bound;
use crate::search::Limits;

/// Priorities of two machines on two LANs, and the last octets of their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// By machine and LAN.
    pub priorities: [[u8; 2]; 2],
    /// By machine and LAN.
    pub hosts: [[u64; 2]; 2],
}

/// The first machine has the higher priority on both LANs.
pub const RANKED: Ranks = Ranks { priorities: [[150, 150], [100, 100]], hosts: [[1, 1], [2, 2]] };
/// The first machine has the higher priority on the first LAN, the second one on the second.
pub const CROSSED: Ranks = Ranks { priorities: [[150, 100], [100, 150]], hosts: [[1, 1], [2, 2]] };
/// Equal priorities, with crossed addresses.
pub const EQUAL: Ranks = Ranks { priorities: [[100; 2]; 2], hosts: [[1, 2], [2, 1]] };

/// Two such machines, version 3.
pub fn two_machines(grouping: [Grouping; 2], ranks: Ranks, interval: Interval, preempt_mode: bool) -> Plan {
    let machine = |host: usize| {
        let router = |lan: usize| Config {
            priority: Priority(ranks.priorities[host][lan]),
            preempt_mode,
            grouped: grouping[host] != Grouping::None,
            announce: AnnounceTimes {
                again_after: Some(interval.as_duration().saturating_mul(5)),
                refresh_every: None,
                elsewhere_every: None,
                after_lower: Some(Duration::from_secs(1)),
            },
            ..config(lan, Version::V3, interval)
        };
        Machine {
            grouping: grouping[host],
            routers: vec![router(0), router(1)],
            addresses: vec![address(0, ranks.hosts[host][0]), address(1, ranks.hosts[host][1])],
            clock: 1_000_000_000_000 * (host as u64 + 1),
            seed: host as u64 * 1_000_000_007,
            marks: true,
            check: None,
            in_kernel: false,
        }
    };
    Plan { machines: vec![machine(0), machine(1)], lans: 2 }
}

/// The searches, each with a name and whether it takes minutes.
pub fn searches() -> Vec<(String, bool, Plan, Limits)> {
    let mut all = Vec::new();
    for (grouping, kind) in [(Grouping::OneProcess, "one process"), (Grouping::Processes, "processes")] {
        for (ranks, order) in [(RANKED, "ranked"), (CROSSED, "crossed"), (EQUAL, "equal, addresses crossed")]
        {
            for (losses, kills) in [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1)] {
                let deep = match (grouping, ranks) {
                    (Grouping::Processes, EQUAL) => true,
                    (Grouping::Processes, CROSSED) => losses + kills > 0,
                    (Grouping::Processes, _) => kills > 0 || losses > 1,
                    (Grouping::OneProcess | Grouping::None, _) => losses + kills > 1,
                };
                // Takes hours, and more memory than most machines have.
                let too_deep = grouping == Grouping::Processes
                    && (losses + kills > 1 || (ranks == EQUAL && losses + kills > 0));
                if too_deep {
                    continue;
                }
                let plan = two_machines([grouping; 2], ranks, Interval::MIN, true);
                let limits = Limits {
                    losses,
                    kills,
                    delay: Duration::from_micros(500),
                    late: Duration::from_micros(200),
                    bound: bound(&plan),
                    enough: Duration::from_millis(45),
                    states: 5_000_000,
                };
                all.push((format!("{kind}, {order}, {losses} lost, {kills} killed"), deep, plan, limits));
            }
        }
    }
    all
}
