//! How long it takes beyond what the protocol demands until a backup is master.
//!
//! The master is the load generator: what a backup takes is measured, not how a master dies, and the same backup fails
//! over again and again. How many packets a client loses is measured with a pair of the same program.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use vrrpd_lab::{Capture, Flood, Host, Injector, Lab, Pinger, message, wait_for, wait_until};

use super::record::{Figure, Goal, Metric, Record, count};
use super::subject::{Routers, Running, Subject, Unicast, Vmac};
use super::{Effort, generator, lateness};

/// The name of this scenario.
pub(crate) const NAME: &str = "failover";
/// The plot of the README: the figures that [`is_in_readme`] selects.
pub(crate) const README_PLOT: &str = "failover-10ms.svg";

const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(1);
/// What comes at an interval has come after the interval and this.
const MOMENT: Duration = Duration::from_millis(30);
/// Between two take-overs of a router: ours takes over three times at once, and would then be held by its damping if it had
/// to do so more often than every two thirds of a second.
const APART: Duration = Duration::from_millis(750);
/// Failovers of each kind.
const TIMES: u32 = 30;
/// How often a client's loss is counted.
const LOSSES: u32 = 3;

const LATE: Metric = Metric::judged("beyond the protocol", "ms", Goal::Late { median: 1.0, p99: 3.0 });
const LOST: Metric = Metric::told("packets lost, one every ms", "");

/// How a master is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Silence from one moment to the next.
    Killed,
    /// Its link goes down.
    LinkDown,
    /// It resigns, as upon SIGTERM.
    Leaves,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Killed, Self::LinkDown, Self::Leaves];

    /// As part of the name of a case.
    fn case(self, interval: Duration) -> String {
        let name = match self {
            Self::Killed => "kill -9",
            Self::LinkDown => "link down",
            Self::Leaves => "SIGTERM",
        };
        format!("{name}, adverts every {interval:?}")
    }
}

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    let times = effort.times(TIMES);
    // One router thirty times; at an advert a second, thirty routers at once, whose adverts are spread over the second.
    // What a virtual MAC address takes does not depend on the interval.
    for vmac in Vmac::ALL {
        for subject in vmac.subjects() {
            failovers(record, *subject, &Routers { vmac, ..Routers::new(1, SHORT) }, times)?;
        }
    }
    // Routers with peers have raw sockets.
    for subject in [Subject::Raw, Subject::Keepalived] {
        unicast(record, subject, &Routers::new(1, SHORT), times)?;
    }
    for subject in Subject::ALL {
        failovers(record, subject, &Routers::new(usize::try_from(times)?, LONG), 1)?;
    }
    for _ in 0..effort.times(LOSSES) {
        losses(record)?;
    }
    Ok(())
}

/// Whether the README shows this figure: lateness at the short interval, without a virtual MAC address.
pub(crate) fn is_in_readme(figure: &Figure) -> bool {
    figure.metric.title() == LATE.title() && Fault::ALL.iter().any(|fault| fault.case(SHORT) == figure.case)
}

/// What clients lose, each kind once.
fn losses(record: &mut Record) -> Result<()> {
    let kinds = || Fault::ALL.into_iter().flat_map(|fault| Subject::ALL.map(|subject| (fault, subject)));
    for (fault, subject) in kinds() {
        record.add(&fault.case(SHORT), LOST, subject.column(), lost(subject, fault, SHORT)?);
    }
    // Here it is seconds, and some milliseconds do not matter: so all at the same time.
    let losses: Vec<_> = thread::scope(|scope| {
        let start = |(fault, subject)| (fault, subject, scope.spawn(move || lost(subject, fault, LONG)));
        let threads: Vec<_> = kinds().map(start).collect();
        threads.into_iter().map(|(fault, subject, thread)| (fault, subject, thread.join())).collect()
    });
    for (fault, subject, loss) in losses {
        let loss = loss.map_err(|panic| anyhow!("{}", message(panic.as_ref())))?;
        record.add(&fault.case(LONG), LOST, subject.column(), loss?);
    }
    Ok(())
}

/// By multicast.
fn failovers(record: &mut Record, subject: Subject, routers: &Routers, times: u32) -> Result<()> {
    let lab = Lab::new();
    let hosts = lab.hosts();
    failovers_between(record, subject, routers, times, &lab, &hosts)
}

/// Two routers advertise to each other alone, on a network that shows all frames to the third machine.
fn unicast(record: &mut Record, subject: Subject, routers: &Routers, times: u32) -> Result<()> {
    let lab = Lab::new();
    let hosts = lab.hosts();
    lab.show_all_frames();
    let [host, _, master] = &hosts;
    let routers = Routers { unicast: Some(Unicast::between(host, master)), ..*routers };
    failovers_between(record, subject, &routers, times, &lab, &hosts)
}

/// A router of the first machine takes over from the third one, as the second one sees it.
fn failovers_between(
    record: &mut Record,
    subject: Subject,
    routers: &Routers,
    times: u32,
    lab: &Lab,
    [host, client, master]: &[Host; 3],
) -> Result<()> {
    let own = IpAddr::from(host.ipv4());
    let capture = Capture::on(client);
    let frames = routers.masters(master, 0);
    let resignations = routers.adverts(master, 0, 0);
    let injector = Injector::on(master);
    let running = subject.start(host, routers);
    for fault in Fault::ALL {
        let case = match routers.vmac {
            Vmac::Nobody if routers.unicast.is_some() => format!("{}, unicast", fault.case(routers.interval)),
            Vmac::Nobody => fault.case(routers.interval),
            other => format!("{}, {}", fault.case(routers.interval), other.case()),
        };
        for _ in 0..times {
            let flood = Flood::spread_over(routers.interval, master, frames.clone());
            wait_quiet(&capture, own, routers.interval);
            capture.clear();
            // Each has been heard once more.
            thread::sleep((routers.interval + MOMENT).max(APART));
            if fault == Fault::LinkDown {
                lab.port_down(master);
            }
            generator::stop([flood])?;
            if fault == Fault::Leaves {
                // One after the other, so that each take-over is one by itself here as well.
                for resignation in &resignations {
                    injector.send(resignation);
                    thread::sleep(routers.interval / u32::try_from(routers.count)?);
                }
            }
            let late = wait_for(PATIENCE, "every router takes over", || {
                let late = lateness::of_take_overs(&capture, own, routers);
                (late.len() == routers.count).then_some(late)
            });
            for late in late.into_values() {
                record.add(&case, LATE, subject.column(), late);
            }
            if fault == Fault::LinkDown {
                lab.port_up(master);
                wait_until(PATIENCE, "the link is back", || master.has_link("eth0"));
            }
        }
    }
    drop(running);
    Ok(())
}

/// Waits until a backup has stopped sending.
fn wait_quiet(capture: &Capture, own: IpAddr, interval: Duration) {
    wait_until(PATIENCE, "it is backup", || {
        capture.clear();
        thread::sleep(interval + MOMENT);
        let adverts = capture.adverts();
        !adverts.is_empty() && adverts.iter().all(|(_, advert)| advert.source != own)
    });
}

/// What a client loses that sends to the virtual address every millisecond, between two of the same program.
fn lost(subject: Subject, fault: Fault, interval: Duration) -> Result<f64> {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let routers = Routers::new(1, interval);
    let first = subject.start(&a, &Routers { priority: 150, ..routers });
    wait_master(&first);
    let second = subject.start(&b, &routers);
    client.ip("route add 10.100.0.0/16 dev eth0");
    let address = routers.addresses(0, 1).next().context("it has an address")?;
    let pinger = Pinger::start(&client, address, Duration::from_millis(1));
    pinger.wait_answers(200, PATIENCE);
    match fault {
        // The machine keeps the address, and answers on: a master that loses power is one whose link goes down.
        Fault::Killed => first.kill(),
        Fault::LinkDown => lab.port_down(&a),
        Fault::Leaves => first.leave(),
    }
    wait_master(&second);
    pinger.wait_answers(200, PATIENCE);
    Ok(count(pinger.stop().lost as u64))
}

fn wait_master(running: &Running) {
    wait_until(PATIENCE, "it is master", || running.times_master() > 0);
}
