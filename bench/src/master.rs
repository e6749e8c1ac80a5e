//! Cost of a master, and lateness of its adverts.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vrrpd_lab::{Capture, Lab, wait_until};

use super::Effort;
use super::record::{Goal, Metric, Record, count, millis_from};
use super::subject::{Routers, Subject};

const ROUTERS: usize = 255;
const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_mins(1);
const SETTLE: Duration = Duration::from_secs(2);

const CPU: Metric = Metric::judged("CPU", "ms a second", Goal::PartOf(0.5));
const WAKE_UPS: Metric = Metric::told("wake-ups", "a second");
/// Delay behind the schedule, after its drift was removed.
const LATE: Metric = Metric::judged("behind its schedule, p99", "ms", Goal::AtMost(1.0));
/// How much the schedule of a router falls behind; the median of all routers.
const DRIFT: Metric = Metric::told("drift of the schedule", "ms a second");
const ADVERTS: Metric = Metric::told("adverts", "a second");

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
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

        // Capturing every frame costs as much as sending it, so it is done separately.
        let span_of_capture = effort.seconds(3);
        let capture = Capture::on(&client);
        thread::sleep(span_of_capture);
        let seen = Seen::of(&capture);
        ensure!(seen.drifts.len() == ROUTERS, "of {ROUTERS} masters {} were heard", seen.drifts.len());

        let seconds = span.as_secs_f64();
        let mut add = |metric, value| record.add("", metric, subject.column(), value);
        add(CPU, usage.cpu.as_secs_f64() * 1e3 / seconds);
        add(WAKE_UPS, count(usage.wake_ups) / seconds);
        add(LATE, share(&seen.late, 99));
        add(DRIFT, share(&seen.drifts, 50));
        add(ADVERTS, count(seen.late.len() as u64) / span_of_capture.as_secs_f64());
    }
    Ok(())
}

/// The adverts of all routers as captured on a third machine; both lists are sorted.
#[derive(Default)]
struct Seen {
    /// For each advert: milliseconds behind the schedule of its router.
    late: Vec<f64>,
    /// For each router: milliseconds by which its schedule falls behind per second.
    drifts: Vec<f64>,
}

impl Seen {
    fn of(capture: &Capture) -> Self {
        let mut times: HashMap<u8, Vec<Instant>> = HashMap::new();
        for (at, advert) in capture.adverts() {
            times.entry(advert.vrid).or_default().push(at);
        }
        let mut seen = Self::default();
        for times in times.values() {
            seen.add(times);
        }
        seen.late.sort_by(f64::total_cmp);
        seen.drifts.sort_by(f64::total_cmp);
        seen
    }

    /// Adds the adverts of one router. Advert n is due at the start of the schedule plus n intervals plus n times the
    /// drift. The least late adverts of each half determine the schedule.
    fn add(&mut self, times: &[Instant]) {
        let Some(first) = times.first() else { return };
        let interval = INTERVAL.as_secs_f64() * 1e3;
        let behind: Vec<f64> =
            (0..).zip(times).map(|(n, at)| millis_from(*first, *at) - f64::from(n) * interval).collect();
        let least = |behind: &[f64]| behind.iter().copied().fold(f64::INFINITY, f64::min);
        let half = behind.len() / 2;
        if half == 0 {
            return;
        }
        let drift = (least(&behind[half..]) - least(&behind[..half])) / count(half as u64);
        let level: Vec<f64> = (0..).zip(&behind).map(|(n, behind)| behind - f64::from(n) * drift).collect();
        let schedule = least(&level);
        self.late.extend(level.iter().map(|at| at - schedule));
        self.drifts.push(drift * 1e3 / interval);
    }
}

/// A percentile of sorted values.
fn share(sorted: &[f64], share: usize) -> f64 {
    sorted.get(sorted.len() * share / 100).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a router whose advert n comes `late(n)` ms after n times `interval` ms.
    fn seen(interval: f64, late: impl Fn(u32) -> f64) -> Seen {
        let start = Instant::now();
        let at = |n| start + Duration::from_secs_f64((f64::from(n) * interval + late(n)) / 1e3);
        let mut seen = Seen::default();
        seen.add(&(0..300).map(at).collect::<Vec<_>>());
        seen.late.sort_by(f64::total_cmp);
        seen
    }

    fn assert_near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() < 0.01, "{seen}, {expected} expected");
    }

    #[test]
    fn an_advert_that_is_late_makes_the_next_ones_neither_late_nor_early() {
        let seen = seen(10.0, |n| if n % 50 == 0 { 2.0 } else { 0.0 });
        assert_near(share(&seen.late, 95), 0.0);
        assert_near(share(&seen.late, 99), 2.0);
        assert_near(seen.drifts[0], 0.0);
    }

    #[test]
    fn lateness_that_stays_is_seen() {
        // Measured by gaps between adverts, this would count as late once only.
        let seen = seen(10.0, |n| if (100..250).contains(&n) { 3.0 } else { 0.0 });
        assert_near(share(&seen.late, 40), 0.0);
        assert_near(share(&seen.late, 60), 3.0);
    }

    #[test]
    fn drift_is_distinguished_from_lateness() {
        let seen = seen(10.5, |_| 0.0);
        assert_near(seen.drifts[0], 50.0);
        assert_near(share(&seen.late, 99), 0.0);
    }
}
