//! A router with two hundred addresses takes over: until hosts have been told of the last one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vrrpd_lab::{Capture, Flood, Lab, timers, wait_until};

use super::Effort;
use super::record::{Goal, Metric, Record};
use super::subject::{Routers, Subject};

const ADDRESSES: u8 = 200;
const INTERVAL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

const ADVERT: Metric = Metric { name: "first advert", unit: "ms after the deadline", goal: Goal::None };
const LAST: Metric =
    Metric { name: "last address announced", unit: "ms after the deadline", goal: Goal::AtMost(20.0) };

pub(crate) fn run(record: &mut Record, _: Effort) -> Result<()> {
    let routers = Routers { addresses: ADDRESSES, ..Routers::new(1, INTERVAL) };
    for subject in Subject::ALL {
        let lab = Lab::new();
        let [host, client, master] = lab.hosts();
        let flood = Flood::every(INTERVAL, &master, routers.masters(&master, 0));
        let running = subject.start(&host, &routers);
        thread::sleep(INTERVAL * 5);
        let capture = Capture::on(&client);
        let own = IpAddr::from(host.ipv4());
        let heard = |capture: &Capture| {
            let adverts = capture.adverts().into_iter();
            adverts.filter(|(_, advert)| advert.source != own).map(|(at, _)| at).max()
        };
        wait_until(PATIENCE, "the master is heard", || heard(&capture).is_some());
        flood.stop();
        let mut told: HashMap<IpAddr, Instant> = HashMap::new();
        wait_until(PATIENCE, "every address is announced", || {
            for (at, address) in capture.announcements() {
                told.entry(address).or_insert(at);
            }
            told.len() >= usize::from(ADDRESSES)
        });
        let (first, _) = capture.wait_advert(PATIENCE, "it takes over", |advert| advert.source == own);
        let last = heard(&capture).context("the master was heard")?;
        let deadline = last + timers::master_down_interval(INTERVAL, routers.priority);
        let after = |at: Instant| at.saturating_duration_since(deadline).as_secs_f64() * 1e3;
        record.add("", ADVERT, subject.name(), after(first));
        record.add("", LAST, subject.name(), told.values().max().map_or(f64::NAN, |at| after(*at)));
        drop(running);
    }
    Ok(())
}
