//! The figures of docs/performance.md: what a backup costs with its adverts handled in the kernel.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use vrrpd_lab::program::Program;
use vrrpd_lab::{
    AdvertFrame, Capture, Datapath, Flood, Lab, Vrrpd, needs, timers, use_binaries_in, wait_until,
};

use crate::{cargo, setup};

const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);
const OWN_PRIORITY: u8 = 100;
/// Runs of the program on one frame.
const RUNS: u32 = 2_000_000;

/// How much to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds over which a backup is watched
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Failovers that are timed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    failovers: u32,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(needs::is_root(), "this makes network namespaces, which needs root: run as root");
    setup::see_to(&[needs::IP])?;
    use_binaries_in(cargo::build_release(None)?);
    packet_costs();
    println!();
    for datapath in [Datapath::Native, Datapath::Generic, Datapath::Raw] {
        for routers in [1, 255] {
            backup(routers, datapath, Duration::from_secs(options.seconds));
        }
    }
    println!();
    for (datapath, vmac) in [
        (Datapath::Native, "none"),
        (Datapath::Raw, "none"),
        (Datapath::Raw, "interface"),
        (Datapath::Raw, "macvlan"),
    ] {
        failovers(options.failovers, datapath, vmac);
    }
    Ok(())
}

/// What the program takes for a frame, beside one that returns at once.
fn packet_costs() {
    let (program, _ring) = Program::load();
    let advert = AdvertFrame::v3(peer(), 51, 150, INTERVAL, &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))]);
    let foreign = AdvertFrame::v3(peer(), 52, 150, INTERVAL, &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))]);
    program.follow(51);
    // Too short for a command: the other program of the object returns after one comparison.
    let bare = program.nanos_per_run("vrrpd_command", &[0; 60], RUNS);
    println!("nanoseconds for a frame, {RUNS} runs of each; a program that returns at once: {bare}");
    for (what, frame) in [
        ("TCP segment", tcp()),
        ("advert of another VRID", foreign.build()),
        ("advert for a backup", advert.build()),
    ] {
        let nanos = program.nanos_per_run("vrrpd", &frame, RUNS);
        println!("  {what:<24} {nanos:>4}  ({:+} to the bare one)", i64::from(nanos) - i64::from(bare));
    }
}

/// What a backup costs while its masters are alive.
fn backup(routers: u8, datapath: Datapath, span: Duration) {
    let lab = Lab::new();
    let [host, masters] = lab.hosts();
    let address = |vrid| Ipv4Addr::new(10, 1, 0, vrid);
    let mut text =
        "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"10ms\"\nvmac = \"none\"\n"
            .to_owned();
    for vrid in 1..=routers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"{}\"]", address(vrid));
    }
    let frames = (1..=routers).map(|vrid| {
        AdvertFrame::v3(masters.ipv4().into(), vrid, 150, INTERVAL, &[IpAddr::V4(address(vrid))]).build()
    });
    let flood = Flood::every(INTERVAL, &masters, frames.collect());
    let daemon = Vrrpd::on(&host).vrid(routers).config(&text).datapath(datapath).start();
    wait_until(PATIENCE, "it hears its masters", || daemon.counter("adverts_received") >= 100);
    // The question just asked has its after-effects.
    thread::sleep(Duration::from_millis(500));
    let before = (daemon.wake_ups(), cpu(daemon.pid()), flood.sent());
    thread::sleep(span);
    let after = (daemon.wake_ups(), cpu(daemon.pid()), flood.sent());
    let stable = daemon.states().iter().all(|state| state["counters"]["transitions"] == 1);
    let seconds = span.as_secs_f64();
    let busy = after.1.saturating_sub(before.1).as_secs_f64();
    println!(
        "backup of {routers:>3}, {:<11}: {:>8} adverts, {:>6} wake-ups ({:.2} a second), CPU {:.3} ms ({:.4} % of a core){}",
        datapath.name().unwrap_or("auto"),
        after.2 - before.2,
        after.0 - before.0,
        count(after.0 - before.0) / seconds,
        busy * 1e3,
        busy / seconds * 100.0,
        if stable { "" } else { ", and it was NOT stable" }
    );
}

/// From Master_Down_Interval after the last advert of a master to the first advert of the next, on the wire.
fn failovers(count: u32, datapath: Datapath, vmac: &str) {
    let lab = Lab::new();
    let [host, client, master] = lab.hosts();
    let capture = Capture::on(&client);
    let frame =
        AdvertFrame::v3(master.ipv4().into(), 51, 150, INTERVAL, &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))]);
    let daemon = Vrrpd::on(&host)
        .vrid(51)
        .priority(OWN_PRIORITY)
        .address("10.0.0.100/24")
        .v3("10ms")
        .datapath(datapath)
        .vmac(vmac)
        .start();
    let demanded = timers::master_down_interval(INTERVAL, OWN_PRIORITY);
    let mut late: Vec<Duration> = (0..count)
        .map(|_| {
            let flood = Flood::every(INTERVAL, &master, vec![frame.build()]);
            daemon.wait_state("backup", PATIENCE);
            thread::sleep(INTERVAL * 5);
            capture.clear();
            thread::sleep(INTERVAL * 3);
            flood.stop();
            let own = IpAddr::from(host.ipv4());
            let (first, _) = capture.wait_advert(PATIENCE, "it takes over", |advert| advert.source == own);
            let last = last_before(&capture, first, own);
            (first - last).saturating_sub(demanded)
        })
        .collect();
    late.sort();
    let at = |share: usize| late.get(late.len() * share / 100).or(late.last()).copied().unwrap_or_default();
    println!(
        "failover at 10 ms, {:<11}, vmac {vmac:<9}: first advert after the deadline: median {:?}, p99 {:?}, most {:?} ({count} runs)",
        datapath.name().unwrap_or("auto"),
        at(50),
        at(99),
        late.last().copied().unwrap_or_default()
    );
}

fn last_before(capture: &Capture, first: Instant, own: IpAddr) -> Instant {
    let adverts = capture.adverts();
    let heard = adverts.iter().filter(|(at, advert)| *at < first && advert.source != own);
    heard.map(|(at, _)| *at).max().unwrap_or(first)
}

/// CPU time of all threads of a process, as the scheduler counts it.
fn cpu(pid: i32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a minute are small")]
fn count(number: u64) -> f64 {
    number as f64
}

fn peer() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))
}

/// A TCP segment without data, from one host to another.
fn tcp() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(60, 0);
    frame
}
