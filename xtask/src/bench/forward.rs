//! Packets forwarded through a namespace, with and without the program where they arrive.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vrrpd_lab::{Bystander, Datapath, Flood, Host, Lab, Vrrpd, checksum};

use super::Effort;
use super::record::{Goal, Metric, Record, count};

const SETTLE: Duration = Duration::from_millis(500);
const NO_PROGRAM: &str = "no program";

const RATE: Metric = Metric { name: "forwarded", unit: "packets a second", goal: Goal::Within(0.01) };

pub(crate) fn run(record: &mut Record, effort: Effort) -> Result<()> {
    let span = effort.seconds(3);
    let mut lab = Lab::new();
    let [router, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&router, network, "eth1", "10.0.1.1/24");
    let server = lab.host("server", "10.0.2.9/24");
    lab.join(&server, network, "eth1", "10.0.1.9/24");
    router.namespace().sysctl("ipv4/conf/all/forwarding", "1");
    // Told once: a question in between would take packets.
    let mac = server.mac("eth1").map(|octet| format!("{octet:02x}")).join(":");
    router.ip(&format!("neigh replace 10.0.1.9 lladdr {mac} dev eth1 nud permanent"));
    let frame = datagram(client.mac("eth0"), router.mac("eth0"));
    let flood = Flood::without_pause(&client, vec![frame; 64]);
    let forwarded = || -> Result<f64> {
        thread::sleep(SETTLE);
        let before = received(&server)?;
        thread::sleep(span);
        Ok(count(received(&server)? - before) / span.as_secs_f64())
    };

    let daemon =
        Vrrpd::on(&router).vrid(51).address("10.0.0.100/24").v3("1s").datapath(Datapath::Native).start();
    record.add("", RATE, "vrrpd --xdp", forwarded()?);
    daemon.terminate();
    let bystander = Bystander::on(&router, "eth0", Datapath::Native);
    record.add("", RATE, "XDP_PASS alone", forwarded()?);
    drop(bystander);
    record.add("", RATE, NO_PROGRAM, forwarded()?);
    flood.stop();
    Ok(())
}

/// Packets that have come in on `eth1` up to now.
fn received(host: &Host) -> Result<u64> {
    let devices = host.namespace().enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("eth1:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).context("eth1 has counters")
}

/// A UDP datagram without data from the client to the server, by way of the router.
fn datagram(from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
    let mut ipv4 = vec![0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, 17, 0, 0];
    ipv4.extend(Ipv4Addr::new(10, 0, 0, 2).octets());
    ipv4.extend(Ipv4Addr::new(10, 0, 1, 9).octets());
    let sum = checksum::internet(&ipv4).to_be_bytes();
    ipv4[10..12].copy_from_slice(&sum);
    let udp = [0x9c, 0x40, 0, 9, 0, 8, 0, 0];
    let mut frame = [&to[..], &from, &[0x08, 0x00], &ipv4, &udp].concat();
    frame.resize(60, 0);
    frame
}
