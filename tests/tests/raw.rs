//! Reception by raw sockets: a ring in shared memory, and a queue behind it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, INTERVAL, SOON, VRID};
use vrrpd_lab::{AdvertFrame, Datapath, Flood, Host, Injector, Lab, Strace, Vrrpd, wait_until};

/// Sockets of an interface with routers of one family: one with a queue, one with a ring, and one that sends.
const SOCKETS: usize = 3;

/// A backup, with its ring in use.
fn backup(host: &Host) -> Vrrpd {
    let daemon = Vrrpd::usual(host, 100).datapath(Datapath::Raw).start();
    wait_until(SOON, "there is a ring", || daemon.packet_sockets().len() == SOCKETS);
    daemon
}

/// Waits until the daemon has read so many more adverts with no system call for reading them.
#[track_caller]
fn assert_reads_from_the_ring(host: &Host, daemon: &Vrrpd) {
    wait_until(SOON, "it reads adverts from the ring", || {
        let strace = Strace::calls_of(host, daemon.pid(), "recvmmsg");
        let before = daemon.counter("adverts_received");
        wait_until(SOON, "it hears the master", || daemon.counter("adverts_received") >= before + 5);
        strace.lines().iter().all(|line| !line.contains("recvmmsg"))
    });
}

#[test]
fn adverts_that_arrive_while_the_process_is_stopped_are_all_read_and_in_order() {
    // At a hundred adverts a second, as many as arrive in a quarter of a second: many more than the ring has room for.
    const ROUNDS: usize = 25;
    const INTERVAL: Duration = Duration::from_secs(10);
    let lab = Lab::new();
    let [host, masters] = lab.hosts();
    let mut text = "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"10s\"\npriority = 254\nvmac = \"none\"\n"
        .to_owned();
    for vrid in 1..=255 {
        writeln!(text, "[[router]]\nvrid = {vrid}\naddresses = [\"10.1.0.{vrid}\"]").expect("writing works");
    }
    let daemon = Vrrpd::on(&host).vrid(255).config(&text).datapath(Datapath::Raw).start();
    wait_until(SOON, "there is a ring", || daemon.packet_sockets().len() == SOCKETS);
    let adverts = |priority| -> Vec<Vec<u8>> {
        let source = IpAddr::from(masters.ipv4());
        let frame = |vrid| {
            let address = IpAddr::from(Ipv4Addr::new(10, 1, 0, vrid));
            AdvertFrame::v3(source, vrid, priority, INTERVAL, &[address]).build()
        };
        (1..=255).map(frame).collect()
    };
    let injector = Injector::on(&masters);
    let received = || -> u64 {
        let count = |state: &serde_json::Value| state["counters"]["adverts_received"].as_u64();
        daemon.states().iter().filter_map(count).sum()
    };
    injector.send_all(&adverts(255));
    wait_until(SOON, "it hears the masters", || received() == 255);

    daemon.pause();
    for _ in 0..ROUNDS {
        injector.send_all(&adverts(255));
    }
    injector.send_all(&adverts(0));
    daemon.resume();
    // After any other advert than the resignation it would wait for more than 30 seconds.
    wait_until(SOON, "all masters have resigned", || {
        daemon.states().iter().all(|state| state["state"] == "master")
    });
    assert_eq!(received(), 255 * (1 + ROUNDS as u64 + 1));
}

#[test]
fn adverts_longer_than_a_slot_of_the_ring_are_read() {
    let lab = Lab::new();
    let [host, master] = lab.hosts();
    let daemon = backup(&host);
    let addresses: Vec<_> = (0..=254).map(|number| IpAddr::from(Ipv4Addr::new(10, 1, 0, number))).collect();
    let advert = AdvertFrame::v3(master.ipv4().into(), VRID, 150, INTERVAL, &addresses).build();
    let flood = Flood::every(INTERVAL, &master, vec![advert]);
    wait_until(SOON, "it hears the master", || daemon.counter("adverts_received") >= 10);
    assert_reads_from_the_ring(&host, &daemon);
    assert_eq!(daemon.state()["state"], "backup");
    assert!(flood.stop() >= 10);
}

#[test]
fn adverts_are_read_from_the_ring_after_the_interface_was_down() {
    let lab = Lab::new();
    let [host, master] = lab.hosts();
    let daemon = backup(&host);
    let advert = AdvertFrame::v3(master.ipv4().into(), VRID, 150, INTERVAL, &[ADDRESS.into()]).build();
    let _flood = Flood::every(INTERVAL, &master, vec![advert]);
    assert_reads_from_the_ring(&host, &daemon);
    host.ip("link set eth0 down");
    daemon.wait_state("fault", SOON);
    host.ip("link set eth0 up");
    daemon.wait_state("backup", SOON);
    assert_reads_from_the_ring(&host, &daemon);
    assert_eq!(daemon.packet_sockets().len(), SOCKETS);
}
