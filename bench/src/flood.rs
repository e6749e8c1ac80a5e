//! A backup with a live master during a flood of frames that must have no effect.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use vrrpd_lab::{AdvertFrame, Flood, Host, Lab};

use super::record::{Goal, Metric, Record, count};
use super::subject::{Routers, Subject};
use super::{Effort, generator};

const INTERVAL: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_millis(500);
/// Source address of the flood; no machine has it.
const INTRUDER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

const FALSE_FAILOVERS: Metric = Metric::judged("false failovers", "", Goal::Never(0.0));
const CPU: Metric = Metric::judged_in_kernel("CPU", "% of a core", Goal::AtMost(1.0));
const RATE: Metric = Metric::told("frames sent", "a second");

pub(crate) fn malformed_and_foreign(record: &mut Record, effort: Effort) -> Result<()> {
    let frames = useless_frames();
    under(record, effort.seconds(4), |intruder| Flood::without_pause(intruder, frames.clone()))
}

pub(crate) fn lower_priority(record: &mut Record, effort: Effort) -> Result<()> {
    let frame = AdvertFrame { priority: 50, ..right() }.build();
    // Two frames at a time, a thousand times a second.
    let frames = vec![frame.clone(), frame];
    let every = Duration::from_millis(1);
    under(record, effort.seconds(4), |intruder| Flood::every(every, intruder, frames.clone()))
}

fn under(record: &mut Record, span: Duration, flood: impl Fn(&Host) -> Flood) -> Result<()> {
    let routers = Routers::new(1, INTERVAL);
    for subject in Subject::ALL {
        let lab = Lab::new();
        let [host, master, intruder] = lab.hosts();
        let adverts = Flood::every(INTERVAL, &master, routers.masters(&master, 0));
        let running = subject.start(&host, &routers);
        thread::sleep(SETTLE);
        let flood = flood(&intruder);
        let before = (running.usage(), flood.sent());
        thread::sleep(span);
        let (usage, sent) = (running.usage().since(&before.0), flood.sent() - before.1);
        // Before the master falls silent.
        let failovers = running.times_master();
        generator::stop_beside(record, subject, [adverts, flood])?;
        let seconds = span.as_secs_f64();
        let mut add = |metric, value| record.add("", metric, subject.column(), value);
        add(FALSE_FAILOVERS, count(failovers as u64));
        add(CPU, usage.cpu.as_secs_f64() * 100.0 / seconds);
        add(RATE, count(sent) / seconds);
    }
    Ok(())
}

/// An advert that the backup would accept.
fn right() -> AdvertFrame {
    AdvertFrame::v3(INTRUDER.into(), 1, 200, INTERVAL, &[IpAddr::V4(Ipv4Addr::new(10, 100, 0, 1))])
}

/// Invalid adverts with one error each, adverts for other routers, and truncated ones.
fn useless_frames() -> Vec<Vec<u8>> {
    let frames = [
        AdvertFrame { ttl: 64, ..right() },
        AdvertFrame { checksum_flip: 1, ..right() },
        AdvertFrame { version: 2, ..right() },
        AdvertFrame { version: 15, ..right() },
        AdvertFrame { kind: 2, ..right() },
        AdvertFrame { count: Some(255), ..right() },
        AdvertFrame { vrid: 2, ..right() },
        AdvertFrame { vrid: 255, priority: 0, ..right() },
    ];
    let whole = right().build();
    let beginnings = (14..whole.len()).map(|length| whole[..length].to_vec());
    frames.iter().map(AdvertFrame::build).chain(beginnings).collect()
}
