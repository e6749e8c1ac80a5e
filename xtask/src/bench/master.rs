//! What a master costs, and how late its adverts are.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use vrrpd_lab::{Capture, Lab, wait_until};

use super::Effort;
use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Subject};

const ROUTERS: usize = 255;
const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);
const SETTLE: Duration = Duration::from_secs(3);

const CPU: Metric = Metric { name: "CPU", unit: "ms a second", goal: Goal::PartOf(0.5) };
const WAKE_UPS: Metric = Metric { name: "wake-ups", unit: "a second", goal: Goal::None };
/// How much longer than the interval it took from one advert of a router to its next, on the wire.
const LATE: Metric = Metric { name: "lateness, p99", unit: "ms", goal: Goal::AtMost(1.0) };
const ADVERTS: Metric = Metric { name: "adverts", unit: "a second", goal: Goal::None };

pub(crate) fn run(record: &mut Record, effort: Effort) {
    let routers = Routers::new(ROUTERS, INTERVAL);
    for subject in [Subject::Raw, Subject::Keepalived] {
        let lab = Lab::new();
        let [host, client] = lab.hosts();
        let running = subject.start(&host, &routers);
        wait_until(PATIENCE, "all are master", || running.times_master() >= ROUTERS);
        thread::sleep(SETTLE);
        let span = effort.seconds(10);
        let before = running.usage();
        thread::sleep(span);
        let usage = running.usage().since(&before);

        // Taking every frame costs as much as sending it, so it is not done meanwhile.
        let span_of_capture = effort.seconds(3);
        let capture = Capture::on(&client);
        thread::sleep(span_of_capture);
        let late = lateness(&capture);

        let seconds = span.as_secs_f64();
        let mut add = |metric, value| record.add("", metric, subject.name(), value);
        add(CPU, usage.cpu.as_secs_f64() * 1e3 / seconds);
        add(WAKE_UPS, count(usage.wake_ups) / seconds);
        add(LATE, late.get(late.len() * 99 / 100).map_or(f64::NAN, |late| late.as_secs_f64() * 1e3));
        add(ADVERTS, count(late.len() as u64) / span_of_capture.as_secs_f64());
    }
}

/// How late each advert was after the one before, in order of size.
fn lateness(capture: &Capture) -> Vec<Duration> {
    let mut last: HashMap<u8, Instant> = HashMap::new();
    let gap = |(at, advert): (Instant, vrrpd_lab::Advert)| {
        let before = last.insert(advert.vrid, at)?;
        Some((at - before).saturating_sub(INTERVAL))
    };
    let mut late: Vec<_> = capture.adverts().into_iter().filter_map(gap).collect();
    late.sort();
    late
}
