//! How long it takes beyond what the protocol demands until a backup is master.
//!
//! The master is the load generator: what a backup takes is measured, not how a master dies, and the same backup fails
//! over again and again. How many packets a client loses is measured with a pair of the same program.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use vrrpd_lab::{Capture, Flood, Host, Injector, Lab, Pinger, timers, wait_until};

use super::Effort;
use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Running, Subject};

const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(1);
/// Failovers of each kind in a run; with three runs, thirty.
const TIMES: u32 = 10;

const LATE: Metric =
    Metric { name: "beyond the protocol", unit: "ms", goal: Goal::Tail { median: 1.0, p99: 3.0 } };
const LOST: Metric = Metric { name: "packets lost, one every ms", unit: "", goal: Goal::None };

/// How a master is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Silence from one moment to the next, as after kill -9.
    Killed,
    /// Its link goes down.
    LinkDown,
    /// It resigns, as upon SIGTERM.
    Leaves,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Killed, Self::LinkDown, Self::Leaves];

    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "kill -9",
            Self::LinkDown => "link down",
            Self::Leaves => "SIGTERM",
        }
    }

    /// From the last advert of the old master to the first of the new.
    fn demand(self, routers: &Routers) -> Duration {
        match self {
            Self::Killed | Self::LinkDown => timers::master_down_interval(routers.interval, routers.priority),
            Self::Leaves => timers::skew_time(routers.interval, routers.priority),
        }
    }
}

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    for subject in Subject::ALL {
        let times = effort.times(TIMES);
        // One router ten times; at an advert a second, ten routers at once, whose adverts are spread over the second.
        failovers(record, subject, &Routers::new(1, SHORT), times);
        failovers(record, subject, &Routers::new(usize::try_from(times)?, LONG), 1);
        for fault in [Fault::LinkDown, Fault::Leaves] {
            lost(record, subject, fault);
        }
    }
    Ok(())
}

fn failovers(record: &mut Record, subject: Subject, routers: &Routers, times: u32) {
    let lab = Lab::new();
    let [host, client, master] = lab.hosts();
    let capture = Capture::on(&client);
    let frames = routers.masters(&master, 0);
    let resignations = routers.adverts(&master, 0, 0);
    let injector = Injector::on(&master);
    let mut flood = Flood::spread_over(routers.interval, &master, frames.clone());
    let running = subject.start(&host, routers);
    for fault in Fault::ALL {
        for _ in 0..times {
            wait_quiet(&capture, &host, routers.interval);
            capture.clear();
            // Each has been heard once more.
            thread::sleep(routers.interval * 2);
            match fault {
                Fault::Killed => drop(flood.stop()),
                Fault::LinkDown => {
                    lab.port_down(&master);
                    flood.stop();
                }
                Fault::Leaves => {
                    flood.stop();
                    injector.send_all(&resignations);
                }
            }
            let case = format!("{}, adverts every {:?}", fault.name(), routers.interval);
            for late in lateness(&capture, &host, routers, fault.demand(routers)) {
                record.add(&case, LATE, subject.name(), late.as_secs_f64() * 1e3);
            }
            if fault == Fault::LinkDown {
                lab.port_up(&master);
                wait_until(PATIENCE, "the link is back", || master.has_link("eth0"));
            }
            flood = Flood::spread_over(routers.interval, &master, frames.clone());
        }
    }
    drop(running);
}

/// Waits until a backup has stopped sending.
fn wait_quiet(capture: &Capture, host: &Host, interval: Duration) {
    let own = IpAddr::from(host.ipv4());
    wait_until(PATIENCE, "it is backup", || {
        capture.clear();
        thread::sleep(interval * 2 + Duration::from_millis(30));
        let adverts = capture.adverts();
        !adverts.is_empty() && adverts.iter().all(|(_, advert)| advert.source != own)
    });
}

/// Waits until every router is master, and says how much later than demanded each sent its first advert.
fn lateness(capture: &Capture, host: &Host, routers: &Routers, demanded: Duration) -> Vec<Duration> {
    let own = IpAddr::from(host.ipv4());
    let mut taken: HashMap<u8, Instant> = HashMap::new();
    wait_until(PATIENCE, "every router takes over", || {
        for (at, advert) in capture.adverts() {
            if advert.source == own {
                taken.entry(advert.vrid).or_insert(at);
            }
        }
        taken.len() == routers.count
    });
    let mut last: HashMap<u8, Instant> = HashMap::new();
    for (at, advert) in capture.adverts() {
        if advert.source != own && taken.get(&advert.vrid).is_some_and(|taken| at < *taken) {
            last.insert(advert.vrid, at);
        }
    }
    let spans = taken.iter().filter_map(|(vrid, taken)| Some(*taken - *last.get(vrid)?));
    spans.map(|span| span.saturating_sub(demanded)).collect()
}

/// What a client loses that sends to the virtual address every millisecond, between two of the same program.
fn lost(record: &mut Record, subject: Subject, fault: Fault) {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let routers = Routers::new(1, SHORT);
    let first = subject.start(&a, &Routers { priority: 150, ..routers });
    wait_master(&first);
    let second = subject.start(&b, &routers);
    client.ip("route add 10.100.0.0/16 dev eth0");
    let Some(address) = routers.addresses(0, 1).next() else { return };
    let pinger = Pinger::start(&client, address, Duration::from_millis(1));
    pinger.wait_answers(200, PATIENCE);
    match fault {
        Fault::LinkDown => lab.port_down(&a),
        // A machine whose daemon is killed keeps the address, and answers on.
        Fault::Leaves | Fault::Killed => first.leave(),
    }
    wait_master(&second);
    pinger.wait_answers(200, PATIENCE);
    let case = format!("{}, adverts every {:?}", fault.name(), routers.interval);
    record.add(&case, LOST, subject.name(), count(pinger.stop().lost as u64));
}

fn wait_master(running: &Running) {
    wait_until(PATIENCE, "it is master", || running.times_master() > 0);
}
