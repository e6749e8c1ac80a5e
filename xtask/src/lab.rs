//! Demonstrates a failover: two routers and a client on a bridge, all in network namespaces of this process.

use std::net::Ipv4Addr;
use std::panic;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use vrrpd_lab::{
    Capture, Datapath, Host, Lab, PingReport, Pinger, Vrrpd, message, needs, timers, use_binaries_in,
    wait_for,
};

use crate::{cargo, setup};

const VRID: u8 = 51;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const PRIORITY_OF_A: u8 = 150;
const PRIORITY_OF_B: u8 = 100;
/// Allowed lateness on a busy machine.
const TOLERANCE: Duration = Duration::from_millis(100);
/// Longer than three intervals of ten seconds.
const PATIENCE: Duration = Duration::from_secs(45);

/// Options of `cargo xtask lab`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Advertisement interval, as `vrrpd -d` takes it [default: 100ms in v3, 1 in v2]
    #[arg(long, value_name = "DELAY")]
    interval: Option<String>,

    /// Protocol version: v2 or v3
    #[arg(long, value_name = "VERSION", default_value = "v3", value_parser = ["v2", "v3"])]
    protocol: String,

    /// How the master goes away
    #[arg(long, value_name = "FAULT", default_value = "power")]
    fault: Fault,

    /// Receive adverts by XDP, as with `vrrpd --xdp`, instead of the default
    #[arg(
        long,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto"
    )]
    xdp: Option<Xdp>,

    /// Milliseconds between two pings
    #[arg(long, value_name = "MS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    ping: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Xdp {
    /// The best mode available
    Auto,
    /// In the driver
    Native,
    /// After the driver
    Generic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// kill -9 and link failure, as if the machine lost power
    Power,
    /// kill -9 of the daemon only: its machine keeps the address and answers
    Kill,
    /// SIGTERM: it resigns
    Leave,
}

/// A measured failover.
struct Failover {
    /// Time of the fault.
    fault: Instant,
    /// The old master's last advert.
    last: Instant,
    /// The new master's first advert.
    taken: Instant,
    pings: PingReport,
    /// The time between the two adverts that the protocol requires.
    demanded: Demand,
}

struct Demand {
    name: &'static str,
    span: Duration,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(needs::is_root(), "the lab makes network namespaces, which needs root: run as root");
    setup::see_to(&[needs::IP])?;
    println!("lab: building vrrpd");
    use_binaries_in(cargo::build_release(None)?);
    // The laboratory panics when it cannot go on; here that is an ordinary error.
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(|| show(options));
    drop(panic::take_hook());
    result.unwrap_or_else(|panic| Err(anyhow!("lab: {}", message(panic.as_ref()))))
}

fn show(options: &Options) -> Result<()> {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    println!(
        "lab: routers a (10.0.0.1, priority {PRIORITY_OF_A}) and b (10.0.0.2, priority {PRIORITY_OF_B}) and a client"
    );
    println!(
        "     joined by a bridge; virtual router {VRID} with address {ADDRESS}, protocol {}",
        options.protocol
    );
    let on_a = router(&a, PRIORITY_OF_A, options);
    on_a.wait_state("master", PATIENCE);
    let on_b = router(&b, PRIORITY_OF_B, options);
    let capture = Capture::on(&client);
    wait_for(PATIENCE, "b hears a", || (on_b.counter("adverts_received") > 0).then_some(()));
    for (name, daemon) in [("a", &on_a), ("b", &on_b)] {
        println!("{}", datapath(name, daemon));
    }
    for (name, daemon) in [("a", &on_a), ("b", &on_b)] {
        println!("\n{name}# atropos --state\n{}", daemon.atropos(&["--state"]).stdout.trim_end());
    }

    let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(options.ping));
    pinger.wait_answers(100, PATIENCE);
    println!(
        "\nThe client pings {ADDRESS} every {} ms. {}",
        options.ping,
        options.fault.announcement(on_a.pid())
    );
    let fault = Instant::now();
    options.fault.strike(&lab, &a, &on_a);

    let state = on_b.wait_state("master", PATIENCE);
    println!("b took over: {}, reason {}.", state["state"], state["reason"]);
    ensure!(
        b.addresses("eth0").iter().any(|there| there.starts_with("10.0.0.100/")),
        "b has not got the address"
    );
    pinger.wait_answers(100, PATIENCE);
    let pings = pinger.stop();
    println!("\nb# atropos --state\n{}\n", on_b.atropos(&["--state"]).stdout.trim_end());

    let interval = Duration::from_nanos(state["interval_ns"].as_u64().unwrap_or_default());
    let demanded = options.fault.demand(&options.protocol, interval);
    let from_b = |advert: &vrrpd_lab::Advert| advert.source == b.ipv4();
    let (taken, _) = capture.wait_advert(PATIENCE, "b advertises", from_b);
    let adverts = capture.adverts();
    let (last, _) = adverts
        .iter()
        .rfind(|(at, advert)| *at < taken && !from_b(advert))
        .ok_or_else(|| anyhow!("a was never heard"))?;
    Failover { fault, last: *last, taken, pings, demanded }.report()
}

fn router(host: &Host, priority: u8, options: &Options) -> Vrrpd {
    let default = if options.protocol == "v2" { "1" } else { "100ms" };
    let interval = options.interval.as_deref().unwrap_or(default);
    let words = ["--protocol", &options.protocol, "-d", interval, "10.0.0.100/24"];
    let datapath = match options.xdp {
        None => Datapath::Default,
        Some(Xdp::Auto) => Datapath::Auto,
        Some(Xdp::Native) => Datapath::Native,
        Some(Xdp::Generic) => Datapath::Generic,
    };
    Vrrpd::on(host).vrid(VRID).priority(priority).args(words).datapath(datapath).start()
}

/// The data path of a daemon, and why not a better one.
fn datapath(name: &str, daemon: &Vrrpd) -> String {
    let state = daemon.state();
    let path = state["datapath"].as_str().unwrap_or_default();
    let reason = state["datapath_reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("     {name} receives adverts by {path}{reason}")
}

impl Fault {
    fn announcement(self, pid: i32) -> String {
        match self {
            Self::Power => format!("a loses power: kill -9 {pid}, and its cable is pulled."),
            Self::Kill => {
                format!(
                    "a's daemon dies: kill -9 {pid}. (Its guardian resigns in its place and gives the address back.)"
                )
            }
            Self::Leave => format!("a's daemon is asked to leave: kill {pid}."),
        }
    }

    fn strike(self, lab: &Lab, host: &Host, daemon: &Vrrpd) {
        match self {
            Self::Power => {
                // The link first: not even a reply to a ping is sent any more, as after a power failure.
                lab.port_down(host);
                daemon.kill();
            }
            Self::Kill => daemon.kill_daemon(),
            Self::Leave => {
                daemon.terminate();
            }
        }
    }

    fn demand(self, protocol: &str, interval: Duration) -> Demand {
        let name = if self == Self::Power { "Master_Down_Interval" } else { "Skew_Time" };
        let span = match (self, protocol) {
            (Self::Leave | Self::Kill, "v2") => timers::skew_time_v2(PRIORITY_OF_B),
            (Self::Leave | Self::Kill, _) => timers::skew_time(interval, PRIORITY_OF_B),
            (Self::Power, "v2") => timers::master_down_interval_v2(interval, PRIORITY_OF_B),
            (Self::Power, _) => timers::master_down_interval(interval, PRIORITY_OF_B),
        };
        Demand { name, span }
    }
}

impl Failover {
    /// Prints the result; an error if it is not what the protocol requires.
    fn report(&self) -> Result<()> {
        let took = self.taken - self.last;
        let Demand { name, span } = self.demanded;
        println!(
            "a's last advert came {:>9} before the fault",
            ms(self.fault.saturating_duration_since(self.last))
        );
        println!(
            "b's first advert came {:>8} after it, {} after a's last one",
            ms(self.taken.saturating_duration_since(self.fault)),
            ms(took)
        );
        println!("the protocol demands  {:>8} after a's last one ({name})", ms(span));
        println!(
            "pings: {} sent, {} lost; outage {}",
            self.pings.sent,
            self.pings.lost,
            ms(self.pings.longest_gap)
        );
        ensure!(took + Duration::from_millis(2) >= span, "b took over before {name} was over");
        ensure!(took <= span + TOLERANCE, "b took over {} late", ms(took.saturating_sub(span)));
        ensure!(self.pings.longest_gap <= span + TOLERANCE, "the outage was longer than {name}");
        println!("lab: failover worked");
        Ok(())
    }
}

fn ms(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1_000.0)
}
