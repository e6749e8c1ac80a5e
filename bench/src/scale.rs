//! Growth with the number of routers in one process.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vrrpd_lab::{Capture, Flood, Host, Lab, wait_until};

use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Running, Subject, Vmac, name};
use super::{Effort, generator, lateness};

const INTERVAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);
const SETTLE: Duration = Duration::from_secs(1);
const NUMBERS: [usize; 5] = [1, 16, 255, 1000, 4000];
/// keepalived is not measured with more: its start alone takes minutes.
const MAX_FOR_KEEPALIVED: usize = 1000;
/// With a macvlan link for each virtual MAC address.
const WITH_MACVLAN: usize = 255;
/// Growth is evaluated between these numbers.
const GROWTH: [usize; 3] = [255, 1000, 4000];
/// Linear growth, with the variation of measurements.
const LINEAR: f64 = 1.1;

const MEMORY: Metric =
    Metric::judged("own memory, for each router beyond the first", "KiB", Goal::AtMost(2.0));
const RESIDENT: Metric = Metric::told("resident memory, for each router beyond the first", "KiB");
const START: Metric = Metric::told("start", "s");
const START_OF_1000: Metric = Metric::judged("start", "s", Goal::AtMost(2.0));
const CPU: Metric = Metric::told("CPU", "ms a second");
const FIRST: Metric = Metric::judged("all fail over, first advert", "ms after its deadline", Goal::NotEarly);
const LAST: Metric = Metric::told("all fail over, last advert", "ms after its deadline");

/// Growth relative to that of the number of routers; 1 is linear.
const MEMORY_GROWTH: Metric = growth("growth of own memory");
const START_GROWTH: Metric = growth("growth of start");
const CPU_GROWTH: Metric = growth("growth of CPU");
const LAST_GROWTH: Metric = growth("growth of the last advert's lateness");

const fn growth(name: &'static str) -> Metric {
    Metric::judged(name, "1: linear", Goal::AtMost(LINEAR))
}

/// The measurements for one number of routers.
#[derive(Clone, Copy, Debug)]
struct Measured {
    start: f64,
    cpu: f64,
    first: f64,
    last: f64,
    own: f64,
    resident: f64,
}

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    for subject in Subject::ALL {
        let mut known: Vec<(usize, Measured)> = Vec::new();
        for number in NUMBERS {
            if subject == Subject::Keepalived && number > MAX_FOR_KEEPALIVED {
                continue;
            }
            let case = format!("{number} routers");
            let measured = measure(effort, subject, &Routers::new(number, INTERVAL))?;
            note(record, &case, subject, number, &measured);
            if let Some((_, base)) = known.first() {
                let each = |metric, from: f64, to: f64| (metric, (to - from) / count(number as u64 - 1));
                for (metric, each) in
                    [each(MEMORY, base.own, measured.own), each(RESIDENT, base.resident, measured.resident)]
                {
                    record.add(&case, metric, subject.column(), each);
                }
            }
            known.push((number, measured));
        }
        note_growth(record, subject, &known);

        let routers = Routers { vmac: Vmac::Macvlan, ..Routers::new(WITH_MACVLAN, INTERVAL) };
        let measured = measure(effort, subject, &routers)?;
        let case = format!("{WITH_MACVLAN} routers, {}", routers.vmac.case());
        note(record, &case, subject, WITH_MACVLAN, &measured);
    }
    Ok(())
}

fn note(record: &mut Record, case: &str, subject: Subject, number: usize, measured: &Measured) {
    let start = if number == 1000 { START_OF_1000 } else { START };
    let figures =
        [(start, measured.start), (CPU, measured.cpu), (FIRST, measured.first), (LAST, measured.last)];
    for (metric, value) in figures {
        record.add(case, metric, subject.column(), value);
    }
}

fn note_growth(record: &mut Record, subject: Subject, known: &[(usize, Measured)]) {
    let steps = known.windows(2).filter(|pair| pair.iter().all(|(number, _)| GROWTH.contains(number)));
    for pair in steps {
        let [(fewer, before), (more, after)] = pair else { continue };
        let case = format!("from {fewer} to {more} routers");
        let times = count(*more as u64) / count(*fewer as u64);
        for (metric, before, after) in [
            (MEMORY_GROWTH, before.own, after.own),
            (START_GROWTH, before.start, after.start),
            (CPU_GROWTH, before.cpu, after.cpu),
            (LAST_GROWTH, before.last, after.last),
        ] {
            // There is no ratio to 0.
            if before > 0.0 {
                record.add(&case, metric, subject.column(), after / before / times);
            }
        }
    }
}

fn measure(effort: Effort, subject: Subject, routers: &Routers) -> Result<Measured> {
    let mut lab = Lab::new();
    let [host, masters, client] = lab.hosts();
    for interface in routers.interfaces().skip(1) {
        let network = lab.add_network();
        for (machine, last) in [(&host, 1), (&masters, 2), (&client, 3)] {
            lab.join(machine, network, &name(interface), &format!("10.{interface}.0.{last}/24"));
        }
    }
    let adverts = send(routers, &masters);
    let start = Instant::now();
    let running = subject.start(&host, routers);
    let start = start.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let captures: Vec<_> = routers
        .interfaces()
        .map(name)
        .map(|interface| (Capture::on_interface(&client, &interface), IpAddr::from(host.ipv4_of(&interface))))
        .collect();
    // Longer than an interval, so that every master is heard meanwhile.
    let span = effort.seconds(3).max(INTERVAL * 2);
    let before = running.usage();
    thread::sleep(span);
    let usage = running.usage().since(&before);
    let late = fail_over(routers, &captures, adverts, &running)?;
    Ok(Measured {
        start,
        cpu: usage.cpu.as_secs_f64() * 1e3 / span.as_secs_f64(),
        first: late.iter().copied().fold(f64::INFINITY, f64::min),
        last: late.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        own: count(usage.own),
        resident: count(usage.resident),
    })
}

fn send(routers: &Routers, masters: &Host) -> Vec<Flood> {
    let on = |interface| {
        let frames = routers.masters(masters, interface);
        Flood::every_on(&name(interface), routers.interval, masters, frames)
    };
    routers.interfaces().map(on).collect()
}

/// All masters fall silent; milliseconds from each router's deadline to its first advert.
fn fail_over(
    routers: &Routers,
    captures: &[(Capture, IpAddr)],
    adverts: Vec<Flood>,
    running: &Running,
) -> Result<Vec<f64>> {
    ensure!(running.times_master() == 0, "a router took over while its master was alive");
    generator::stop(adverts)?;
    wait_until(PATIENCE, "every router takes over", || running.times_master() >= routers.count);
    // Everything sent until then has been captured.
    thread::sleep(Duration::from_millis(200));
    let late = captures.iter().map(|(capture, own)| lateness::of_take_overs(capture, *own, routers));
    let late: Vec<f64> = late.flat_map(std::collections::HashMap::into_values).collect();
    ensure!(
        late.len() == routers.count,
        "of {} routers {} were seen to take over",
        routers.count,
        late.len()
    );
    Ok(late)
}
