//! What changes with the number of routers in one process.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use vrrpd_lab::{Capture, Flood, Host, Lab, timers, wait_until};

use super::Effort;
use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Running, Subject, name};

const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);
const SETTLE: Duration = Duration::from_secs(2);
/// More than this keepalived is not given: its start alone takes minutes.
const MOST_FOR_KEEPALIVED: usize = 1000;

const MEMORY: Metric =
    Metric { name: "memory for each router beyond the first", unit: "KiB", goal: Goal::AtMost(2.0) };
const START: Metric = Metric { name: "start", unit: "s", goal: Goal::None };
const START_OF_1000: Metric = Metric { goal: Goal::AtMost(2.0), ..START };
const CPU: Metric = Metric { name: "CPU", unit: "ms a second", goal: Goal::None };
const LAST: Metric =
    Metric { name: "all fail over, last advert", unit: "ms after its deadline", goal: Goal::None };

pub(crate) fn run(record: &mut Record, effort: Effort) {
    for subject in [Subject::Raw, Subject::Native, Subject::Keepalived] {
        let mut base = None;
        for routers in [1, 16, 255, 1000, 4000] {
            if subject == Subject::Keepalived && routers > MOST_FOR_KEEPALIVED {
                continue;
            }
            let routers = Routers::new(routers, INTERVAL);
            let resident = with(record, effort, subject, &routers);
            let base = *base.get_or_insert(resident);
            if routers.count > 1 {
                let each = (resident - base) / count(routers.count as u64 - 1);
                record.add(&format!("{} routers", routers.count), MEMORY, subject.name(), each);
            }
        }
    }
}

/// Measures this many, and returns the resident memory in KiB.
fn with(record: &mut Record, effort: Effort, subject: Subject, routers: &Routers) -> f64 {
    let mut lab = Lab::new();
    let [host, masters, client] = lab.hosts();
    for interface in routers.interfaces().skip(1) {
        let network = lab.add_network();
        for (machine, last) in [(&host, 1), (&masters, 2), (&client, 3)] {
            lab.join(machine, network, &name(interface), &format!("10.{interface}.0.{last}/24"));
        }
    }
    let adverts = generator(routers, &masters);
    let start = Instant::now();
    let running = subject.start(&host, routers);
    let took = start.elapsed();
    thread::sleep(SETTLE);
    let span = effort.seconds(3);
    let before = running.usage();
    thread::sleep(span);
    let usage = running.usage().since(&before);
    let last = fail_over(routers, &host, &client, adverts, &running);

    let case = format!("{} routers", routers.count);
    let start = if routers.count == 1000 { START_OF_1000 } else { START };
    let mut add = |metric, value| record.add(&case, metric, subject.name(), value);
    add(start, took.as_secs_f64());
    add(CPU, usage.cpu.as_secs_f64() * 1e3 / span.as_secs_f64());
    add(LAST, last.as_secs_f64() * 1e3);
    count(usage.resident)
}

fn generator(routers: &Routers, masters: &Host) -> Vec<Flood> {
    let on = |interface| {
        let frames = routers.masters(masters, interface);
        Flood::every_on(&name(interface), routers.interval, masters, frames)
    };
    routers.interfaces().map(on).collect()
}

/// All masters fall silent; how long after its deadline the last router sends its first advert.
fn fail_over(
    routers: &Routers,
    host: &Host,
    client: &Host,
    adverts: Vec<Flood>,
    running: &Running,
) -> Duration {
    let interfaces: Vec<_> = routers
        .interfaces()
        .map(|interface| {
            (Capture::on_interface(client, &name(interface)), IpAddr::from(host.ipv4_of(&name(interface))))
        })
        .collect();
    // Every master is heard once more.
    thread::sleep(routers.interval * 2);
    drop(adverts);
    let demanded = timers::master_down_interval(routers.interval, routers.priority);
    wait_until(PATIENCE, "every router takes over", || running.times_master() >= routers.count);
    // What was sent by then has been captured then.
    thread::sleep(Duration::from_millis(200));
    let late = interfaces.iter().flat_map(|(capture, own)| {
        let seen = capture.adverts();
        let mut spans = Vec::new();
        for vrid in 1..=u8::MAX {
            let of = |ours: bool| {
                let adverts = seen.iter().filter(move |(_, advert)| advert.vrid == vrid);
                adverts.filter(move |(_, advert)| (advert.source == *own) == ours).map(|(at, _)| *at)
            };
            if let (Some(first), Some(last)) = (of(true).min(), of(false).max()) {
                spans.push(first.saturating_duration_since(last + demanded));
            }
        }
        spans
    });
    late.max().unwrap_or_default()
}
