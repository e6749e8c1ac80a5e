//! A router with two hundred addresses takes over: time until the last one is announced.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vrrpd_lab::{Capture, Flood, Lab, timers, wait_until};

use super::record::{Goal, Metric, Record, millis_from};
use super::subject::{Routers, Subject, Vmac};
use super::{Effort, generator};

const ADDRESSES: u8 = 200;
const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

const ADVERT: Metric = Metric::judged("first advert", "ms after the deadline", Goal::NotEarly);
const LAST: Metric = Metric::judged("last address announced", "ms after the deadline", Goal::AtMost(20.0));

pub(crate) fn run(record: &mut Record, _: Effort) -> Result<()> {
    for vmac in Vmac::ALL {
        let routers = Routers { addresses: ADDRESSES, vmac, ..Routers::new(1, INTERVAL) };
        for subject in vmac.subjects() {
            take_over(record, *subject, &routers)?;
        }
    }
    Ok(())
}

fn take_over(record: &mut Record, subject: Subject, routers: &Routers) -> Result<()> {
    let lab = Lab::new();
    let [host, client, master] = lab.hosts();
    let flood = Flood::every(INTERVAL, &master, routers.masters(&master, 0));
    let running = subject.start(&host, routers);
    let own = IpAddr::from(host.ipv4());
    thread::sleep(INTERVAL * 5);
    let capture = Capture::on(&client);
    let heard = |capture: &Capture| {
        let adverts = capture.adverts().into_iter();
        adverts.filter(|(_, advert)| advert.source != own).map(|(at, _)| at).max()
    };
    wait_until(PATIENCE, "the master is heard", || heard(&capture).is_some());
    generator::stop([flood])?;
    let mut told: HashMap<IpAddr, Instant> = HashMap::new();
    wait_until(PATIENCE, "every address is announced", || {
        for (at, address) in capture.announcements() {
            told.entry(address).or_insert(at);
        }
        told.len() >= usize::from(ADDRESSES)
    });
    let (first, _) = capture.wait_advert(PATIENCE, "it takes over", |advert| advert.source == own);
    let deadline = heard(&capture).context("the master was heard")?
        + timers::master_down_interval(INTERVAL, routers.priority);
    let last = told.values().max().context("addresses were announced")?;
    let case = routers.vmac.case();
    record.add(&case, ADVERT, subject.column(), millis_from(deadline, first));
    record.add(&case, LAST, subject.column(), millis_from(deadline, *last));
    drop(running);
    Ok(())
}
