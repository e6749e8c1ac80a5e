//! Cost of a backup with live masters.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use vrrpd_lab::{Flood, Host, Lab, busy_time};

use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Subject};
use super::{Effort, generator};

const ROUTERS: usize = 255;
/// Time until a start has no more effect.
const SETTLE: Duration = Duration::from_secs(1);

const WAKE_UPS: Metric = Metric::judged_in_kernel("wake-ups", "a second", Goal::AtMost(2.0));
/// Busy time of the whole machine, minus that of the generator and of the delivery of its frames without a receiver.
const BUSY: Metric = Metric::judged_in_kernel("busy time of the machine", "ms a second", Goal::PartOf(0.25));
const FALSE_FAILOVERS: Metric = Metric::judged("false failovers", "", Goal::Never(0.0));

pub(crate) fn hundred_adverts_a_second(record: &mut Record, effort: Effort) -> Result<()> {
    let cpu = Metric::judged_in_kernel("CPU", "ms a second", Goal::PartOf(0.02));
    run(record, effort, Duration::from_millis(10), cpu, Flood::every)
}

pub(crate) fn one_advert_a_second(record: &mut Record, effort: Effort) -> Result<()> {
    // Spread over the second, as with masters started at different times; at a hundred a second that would cost the
    // generator more than the subjects.
    let cpu = Metric::told("CPU", "ms a second");
    run(record, effort, Duration::from_secs(1), cpu, Flood::spread_over)
}

/// Sends adverts at this interval from a machine.
type Generator = fn(Duration, &Host, Vec<Vec<u8>>) -> Flood;

fn run(record: &mut Record, effort: Effort, interval: Duration, cpu: Metric, send: Generator) -> Result<()> {
    let span = effort.seconds(10);
    let routers = Routers::new(ROUTERS, interval);
    for subject in Subject::ALL {
        let lab = Lab::new();
        let [host, masters] = lab.hosts();
        let flood = send(interval, &masters, routers.masters(&masters, 0));
        let alone = busy_during(span / 2);
        let running = subject.start(&host, &routers);
        thread::sleep(SETTLE);
        let (before, busy) = (running.usage(), busy_time());
        thread::sleep(span);
        let (usage, busy) = (running.usage().since(&before), busy_time().saturating_sub(busy));
        let taken_over = running.times_master();
        generator::stop_beside(record, subject, [flood])?;

        let seconds = span.as_secs_f64();
        let mut add = |metric, value| record.add("", metric, subject.column(), value);
        add(cpu, usage.cpu.as_secs_f64() * 1e3 / seconds);
        add(WAKE_UPS, count(usage.wake_ups) / seconds);
        add(BUSY, (busy.as_secs_f64() / seconds - alone).max(0.0) * 1e3);
        add(FALSE_FAILOVERS, count(taken_over as u64));
    }
    Ok(())
}

/// Busy time of the machine in seconds per second.
fn busy_during(span: Duration) -> f64 {
    let before = busy_time();
    thread::sleep(span);
    busy_time().saturating_sub(before).as_secs_f64() / span.as_secs_f64()
}
