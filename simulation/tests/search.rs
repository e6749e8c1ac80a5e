//! Every order of events, within limits.

use vrrpd_common::router::Config;
use vrrpd_common::{Duration, Interval, Priority, Version};
use vrrpd_simulation::plan::{Grouping, Machine, Plan, address, config};
use vrrpd_simulation::run::bound;
use vrrpd_simulation::search::{Limits, search};

fn plan(grouping: Grouping, priorities: [[u8; 2]; 2], hosts: [[u64; 2]; 2]) -> Plan {
    let machine = |host: usize| {
        let router = |lan: usize| Config {
            priority: Priority(priorities[host][lan]),
            grouped: true,
            ..config(lan, Version::V3, Interval::SHORTEST)
        };
        Machine {
            grouping,
            routers: vec![router(0), router(1)],
            addresses: vec![address(0, hosts[host][0]), address(1, hosts[host][1])],
            clock: 0,
            seed: host as u64 * 1_000_000_007,
        }
    };
    Plan { machines: vec![machine(0), machine(1)], lans: 2 }
}

fn limits(plan: &Plan) -> Limits {
    Limits {
        losses: 0,
        kills: 0,
        delay: Duration::from_micros(500),
        late: Duration::from_micros(200),
        bound: bound(plan),
        enough: Duration::from_millis(45),
        states: 20_000_000,
    }
}

#[test]
fn measure() {
    for grouping in [Grouping::OneProcess, Grouping::Processes] {
        for (name, priorities, hosts) in [
            ("ranked", [[150, 150], [100, 100]], [[1, 1], [2, 2]]),
            ("crossed", [[150, 100], [100, 150]], [[1, 1], [2, 2]]),
            ("equal, crossed", [[100, 100], [100, 100]], [[1, 2], [2, 1]]),
        ] {
            for (losses, kills) in [(0, 0), (1, 0), (0, 1)] {
                let plan = plan(grouping, priorities, hosts);
                let start = std::time::Instant::now();
                let limits = Limits { losses, kills, states: 2_000_000, ..limits(&plan) };
                let found = search(&plan, &limits);
                let text = match found {
                    Ok(f) => format!("{f:?}"),
                    Err(e) => {
                        let n = e.len().saturating_sub(6000);
                        e[n..].to_owned()
                    }
                };
                println!(
                    "{grouping:?} {name} losses {losses} kills {kills}: {text} in {:?}",
                    start.elapsed()
                );
            }
        }
    }
}
