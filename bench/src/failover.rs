//! Delay of a failover beyond the time that the protocol requires.
//!
//! The load generator is the master, so that the same backup fails over again and again, and only its own delay is
//! measured. The packets that a client loses are measured with a pair of the same program.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use vrrpd_lab::{Capture, Flood, Host, Injector, Lab, Pinger, message, wait_for, wait_until};

use super::record::{Figure, Goal, Metric, Record, count};
use super::subject::{Routers, Running, Subject, Unicast, Vmac};
use super::{Effort, generator, lateness};

/// Name of this scenario.
pub(crate) const NAME: &str = "failover";
/// The plot of the README, with the figures that [`is_in_readme`] selects.
pub(crate) const README_PLOT: &str = "failover-10ms.svg";

const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(1);
/// Tolerance after an interval within which a periodic frame has arrived.
const MOMENT: Duration = Duration::from_millis(30);
/// Time between two take-overs of a router. vrrpd's damping allows three take-overs at once, and then one every two
/// thirds of a second.
const APART: Duration = Duration::from_millis(750);
/// Number of failovers of each kind.
const TIMES: u32 = 30;
/// How often a client's loss is measured.
const LOSSES: u32 = 3;

const LATE: Metric = Metric::judged("beyond the protocol", "ms", Goal::Late { median: 1.0, p99: 3.0 });
const LOST: Metric = Metric::told("packets lost, one every ms", "");

/// How the master fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It falls silent at once.
    Killed,
    /// Its link goes down.
    LinkDown,
    /// It resigns, as after SIGTERM.
    Leaves,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Killed, Self::LinkDown, Self::Leaves];

    /// The fault as part of the name of a case.
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
    // One router thirty times; with an advert a second, thirty routers at once, with adverts spread over the second.
    // The cost of a virtual MAC address does not depend on the interval.
    for vmac in Vmac::ALL {
        for subject in vmac.subjects() {
            failovers(record, *subject, &Routers { vmac, ..Routers::new(1, SHORT) }, times)?;
        }
    }
    for subject in Subject::ALL {
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

/// The losses of clients, once for each kind.
fn losses(record: &mut Record) -> Result<()> {
    let kinds = || Fault::ALL.into_iter().flat_map(|fault| Subject::ALL.map(|subject| (fault, subject)));
    for (fault, subject) in kinds() {
        record.add(&fault.case(SHORT), LOST, subject.column(), lost(subject, fault, SHORT)?);
    }
    // The losses last seconds, so running all at once does not distort them.
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

/// With multicast.
fn failovers(record: &mut Record, subject: Subject, routers: &Routers, times: u32) -> Result<()> {
    let lab = Lab::new();
    let hosts = lab.hosts();
    failovers_between(record, subject, routers, times, &lab, &hosts)
}

/// Two unicast peers, on a network with a third machine that receives all frames.
fn unicast(record: &mut Record, subject: Subject, routers: &Routers, times: u32) -> Result<()> {
    let lab = Lab::new();
    let hosts = lab.hosts();
    lab.show_all_frames();
    let [host, _, master] = &hosts;
    let routers = Routers { unicast: Some(Unicast::between(host, master)), ..*routers };
    failovers_between(record, subject, &routers, times, &lab, &hosts)
}

/// A router of the first machine takes over from the third one, as captured on the second one.
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
            // Each master was heard once more.
            thread::sleep((routers.interval + MOMENT).max(APART));
            if fault == Fault::LinkDown {
                lab.port_down(master);
            }
            generator::stop([flood])?;
            if fault == Fault::Leaves {
                // One after the other, so that take-overs do not overlap.
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

/// Waits until a backup sends nothing.
fn wait_quiet(capture: &Capture, own: IpAddr, interval: Duration) {
    wait_until(PATIENCE, "it is backup", || {
        capture.clear();
        thread::sleep(interval + MOMENT);
        let adverts = capture.adverts();
        !adverts.is_empty() && adverts.iter().all(|(_, advert)| advert.source != own)
    });
}

/// Number of packets lost by a client that sends to the virtual address every millisecond, between two routers of the
/// same program.
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
        // The machine keeps the address and still answers; a power failure is represented by the link failure.
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
