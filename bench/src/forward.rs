//! Forwarding rate of a namespace, with and without a BPF program on the receiving interface.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vrrpd_lab::{Bystander, Datapath, Flood, Host, Lab, Vrrpd, checksum};

use super::record::{Column, Goal, Metric, Record, count};
use super::{Effort, generator};

const SETTLE: Duration = Duration::from_millis(300);
/// Number of rounds; each column has each position in the order equally often.
const ROUNDS: u32 = 6;
/// Where the program is attached, and the columns measured there, in the order of the first round: ours, for XDP also
/// one that only passes, and none.
const CASES: [(Datapath, &str, &[Column]); 3] = [
    (Datapath::Native, "native", &[Column::Native, Column::PassAlone, Column::NoProgram]),
    (Datapath::Generic, "generic", &[Column::Native, Column::PassAlone, Column::NoProgram]),
    (Datapath::Tcx, "tcx", &[Column::Tcx, Column::NoProgram]),
];

const RATE: Metric = Metric::told("forwarded", "packets a second");
/// Relative to the rate without a program in the same round.
const OF_ALL: Metric = Metric::judged("forwarded, of what is without a program", "%", Goal::AtLeast(99.0));
/// Relative to a program that only passes: the cost of our program, without what the driver does for any program.
const OF_PASS: Metric = Metric::judged("forwarded, of what is with XDP_PASS alone", "%", Goal::AtLeast(99.0));

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    let wire = Wire::new();
    let flood = Flood::without_pause(&wire.client, vec![wire.datagram(); 64]);
    for (mode, case, columns) in CASES {
        for round in 0..effort.times(ROUNDS) {
            let mut rates = BTreeMap::new();
            for step in 0..columns.len() {
                let column = columns[(step + usize::try_from(round)?) % columns.len()];
                let rate = wire.rate_with(column, mode, effort.seconds(1))?;
                record.add(case, RATE, column, rate);
                rates.insert(column, rate);
            }
            let part_of = |column, reference| Some(rates.get(&column)? * 100.0 / rates.get(&reference)?);
            for &column in columns.iter().filter(|column| **column != Column::NoProgram) {
                if let Some(part) = part_of(column, Column::NoProgram) {
                    record.add(case, OF_ALL, column, part);
                }
            }
            if let Some(part) = part_of(Column::Native, Column::PassAlone) {
                record.add(case, OF_PASS, Column::Native, part);
            }
        }
    }
    generator::stop([flood])
}

/// A client, a server, and the router between them.
struct Wire {
    client: Host,
    router: Host,
    server: Host,
    _lab: Lab,
}

impl Wire {
    fn new() -> Self {
        let mut lab = Lab::new();
        let [router, client] = lab.hosts();
        let network = lab.add_network();
        lab.join(&router, network, "eth1", "10.0.1.1/24");
        let server = lab.host("server", "10.0.2.9/24");
        lab.join(&server, network, "eth1", "10.0.1.9/24");
        router.namespace().sysctl("ipv4/conf/all/forwarding", "1");
        // Requested once, since ARP in between would take packets.
        let mac = server.mac("eth1").map(|octet| format!("{octet:02x}")).join(":");
        router.ip(&format!("neigh replace 10.0.1.9 lladdr {mac} dev eth1 nud permanent"));
        Self { client, router, server, _lab: lab }
    }

    /// Forwarded packets per second with this on the router's interface.
    fn rate_with(&self, column: Column, mode: Datapath, span: Duration) -> Result<f64> {
        let daemon = matches!(column, Column::Native | Column::Tcx).then(|| {
            let daemon = Vrrpd::on(&self.router).vrid(51).address("10.0.0.100/24").v3("1s");
            daemon.datapath(mode).start()
        });
        let bystander = (column == Column::PassAlone).then(|| Bystander::on(&self.router, "eth0", mode));
        thread::sleep(SETTLE);
        let before = received(&self.server)?;
        thread::sleep(span);
        let forwarded = received(&self.server)? - before;
        drop(bystander);
        if let Some(daemon) = daemon {
            daemon.terminate();
        }
        Ok(count(forwarded) / span.as_secs_f64())
    }

    /// An empty UDP datagram from the client to the server, via the router.
    fn datagram(&self) -> Vec<u8> {
        let mut ipv4 = vec![0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0];
        ipv4.extend(Ipv4Addr::new(10, 0, 0, 2).octets());
        ipv4.extend(Ipv4Addr::new(10, 0, 1, 9).octets());
        let sum = checksum::internet(&ipv4).to_be_bytes();
        ipv4[10..12].copy_from_slice(&sum);
        let udp = [0x9c, 0x40, 0, 9, 0, 8, 0, 0];
        let (from, to) = (self.client.mac("eth0"), self.router.mac("eth0"));
        let mut frame = [&to[..], &from, &[0x08, 0x00], &ipv4, &udp].concat();
        frame.resize(60, 0);
        frame
    }
}

/// Packets received on `eth1` so far.
fn received(host: &Host) -> Result<u64> {
    let devices = host.namespace().enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("eth1:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).context("eth1 has counters")
}
