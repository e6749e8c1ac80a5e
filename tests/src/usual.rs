//! The virtual router of most tests: VRID 51 with one address, version 3, ten adverts a second.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::{Capture, Datapath, Host, Lab, Vrrpd, VrrpdBuilder, needs, stretched, timers, wait_until};

/// Its VRID.
pub const VRID: u8 = 51;
/// Its virtual MAC address for IPv4 (RFC 9568 §7.3).
pub const VMAC: &str = "00:00:5e:00:01:33";
/// The modes of the virtual MAC address.
pub const VMAC_MODES: [&str; 2] = ["interface", "macvlan"];
/// Its virtual address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// The virtual address with prefix length.
pub const CIDR: &str = "10.0.0.100/24";
/// Its advertisement interval: short, for quick tests, and long enough for a busy machine with two cores.
pub const INTERVAL: Duration = Duration::from_millis(100);
/// Allowed lateness on a busy machine.
pub const TOLERANCE: Duration = Duration::from_millis(250);
/// Maximum difference of timestamps in two processes and a capture.
const CLOCK: Duration = Duration::from_millis(2);
/// A deadline for events within a few intervals.
pub const SOON: Duration = Duration::from_secs(5);

/// Panics unless a duration is at least what the protocol requires, and not much more.
#[track_caller]
pub fn assert_on_time(took: Duration, demanded: Duration) {
    let (early, late) = (stretched(CLOCK), stretched(TOLERANCE));
    assert!(took + early >= demanded && took <= demanded + late, "{took:?}, {demanded:?} demanded");
}

/// A configuration file with these routers on `eth0`: VRID, address, and further lines for each. They have the usual
/// interval, and no virtual MAC address.
pub fn routers_file(routers: &[(u8, &str, &str)]) -> String {
    let mut text = "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n".to_owned();
    for (vrid, address, more) in routers {
        let interface = if more.contains("interface = ") { "" } else { "interface = \"eth0\"\n" };
        write!(text, "[[router]]\n{interface}vrid = {vrid}\naddresses = [\"{address}/24\"]\n{more}\n")
            .expect("writing to a string works");
    }
    text
}

/// Two daemons with a router each on one interface, in one directory, both master.
pub fn two_masters(host: &Host) -> (Vrrpd, Vrrpd) {
    let first = Vrrpd::usual(host, 100).datapath(Datapath::Raw).start();
    let second = Vrrpd::on(host).vrid(52).address("10.0.0.101/24").v3("100ms").datapath(Datapath::Raw);
    let second = second.beside(&first).start();
    first.wait_state("master", SOON);
    second.wait_state("master", SOON);
    (first, second)
}

/// Two machines on a bridge that drops multicast. IPv6 neighbour discovery uses multicast, so there are static
/// neighbour entries.
pub fn without_multicast(lab: &Lab) -> [Host; 2] {
    let hosts = lab.hosts();
    for host in &hosts {
        lab.switch().ip(&format!("link set {}.eth0 type bridge_slave mcast_flood off", host.name()));
    }
    let [a, b] = &hosts;
    for (host, other) in [(a, b), (b, a)] {
        let mac = other.mac("eth0").map(|octet| format!("{octet:02x}")).join(":");
        let address = other.link_local("eth0");
        host.ip(&format!("neigh replace {address} lladdr {mac} dev eth0 nud permanent"));
    }
    hosts
}

/// Panics unless this backup follows the master, and takes over when that fails, not before.
#[track_caller]
pub fn assert_serves(lab: &Lab, backup: &Vrrpd, master: &Vrrpd, client: &Host) {
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 3);
    assert_eq!(backup.state()["state"], "backup");
    let capture = Capture::on(client);
    capture.wait_advert(SOON, "the master advertises", |_| true);
    lab.port_down(master.host());
    backup.wait_state("master", SOON);
    let adverts = capture.adverts();
    let last = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was heard");
    let first = capture.wait_advert(SOON, "the backup advertises", |advert| advert.priority == 100);
    assert_on_time(first.0 - last.0, timers::master_down_interval(INTERVAL, 100));
}

/// A shell in its own mount namespace that runs these commands before the daemon.
pub fn in_mounts_of_its_own(commands: &str) -> Vec<String> {
    let unshare = needs::UNSHARE.require().display().to_string();
    [&unshare, "--mount", "sh", "-c", commands, "sh"].map(str::to_owned).to_vec()
}

impl Vrrpd {
    /// Starts a description of the usual router with this priority.
    pub fn usual(host: &Host, priority: u8) -> VrrpdBuilder {
        Self::on(host).vrid(VRID).priority(priority).address(CIDR).v3("100ms")
    }

    /// Starts a description of the usual router with this priority and mode of the virtual MAC address.
    pub fn usual_with_vmac(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
        Self::usual(host, priority).vmac(mode)
    }

    /// Starts the routers of a configuration file.
    pub fn of_file(host: &Host, text: &str) -> Self {
        Self::on(host).config(text).start()
    }
}

/// The usual router with this data path.
#[must_use]
pub fn router(host: &Host, priority: u8, datapath: Datapath) -> VrrpdBuilder {
    Vrrpd::usual(host, priority).datapath(datapath)
}

/// A master with raw sockets.
#[must_use]
pub fn master(host: &Host) -> Vrrpd {
    let master = router(host, 150, Datapath::Raw).start();
    master.wait_state("master", SOON);
    master
}
