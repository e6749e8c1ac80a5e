//! Time of the XDP program per frame.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use vrrpd_lab::AdvertFrame;
use vrrpd_lab::program::Program;

use super::Effort;
use super::record::{Column, Goal, Metric, Record};

/// Runs of the program on one frame.
const RUNS: u32 = 2_000_000;
const VRID: u8 = 51;

const PASSED_BY: Metric = Metric::judged("beyond the bare program", "ns", Goal::AtMost(10.0));
const HANDLED: Metric = Metric::judged("beyond the bare program", "ns", Goal::AtMost(150.0));
const BARE: Metric = Metric::told("as a whole", "ns");

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    let (program, _ring) = Program::load();
    program.follow(VRID);
    let runs = effort.times(RUNS);
    // Too short for a command: the object's other program returns after one comparison.
    let bare = f64::from(program.nanos_per_run("vrrpd_command", &[0; 60], runs));
    ensure!(bare > 0.0, "the kernel has not told how long a program ran");
    record.add("bare program", BARE, Column::Native, bare);
    for (case, metric, frame) in [
        ("TCP segment", PASSED_BY, tcp()),
        ("advert of another VRID", PASSED_BY, advert(VRID + 1)),
        ("advert for a backup, nothing new", HANDLED, advert(VRID)),
    ] {
        let nanos = f64::from(program.nanos_per_run("vrrpd", &frame, runs));
        record.add(case, metric, Column::Native, nanos - bare);
    }
    Ok(())
}

fn advert(vrid: u8) -> Vec<u8> {
    let master = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    let addresses = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))];
    AdvertFrame::v3(master, vrid, 150, Duration::from_millis(10), &addresses).build()
}

/// A TCP segment without data between two hosts.
fn tcp() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(60, 0);
    frame
}
