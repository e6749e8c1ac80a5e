//! Interfaces made of others, and interfaces that change their names.

use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Datapath, Host, Lab, Vrrpd, VrrpdBuilder, wait_until};

/// The usual router on an interface that may have no native mode: where that is the usual one it is left to the daemon
/// to find out.
fn router(host: &Host, interface: &str, priority: u8) -> VrrpdBuilder {
    let datapath = match Datapath::usual() {
        Datapath::Native => Datapath::Auto,
        usual => usual,
    };
    Vrrpd::usual(host, priority).interface(interface).datapath(datapath)
}

/// How often the state has changed.
fn transitions(router: &Vrrpd) -> u64 {
    router.counter("transitions")
}

#[test]
fn router_on_a_bridge_is_elected_and_hands_over() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    a.add_bridge("10.0.0.1/24");
    let master = router(&a, "br0", 150).start();
    master.wait_state("master", SOON);
    assert!(a.has_address("br0", CIDR));
    let backup = router(&b, "eth0", 100).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    assert_eq!(master.terminate(), 0);
    backup.wait_state("master", SOON);

    let master = router(&a, "br0", 150).start();
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
    lab.port_down(&a);
    master.wait_state("fault", SOON);
    backup.wait_state("master", SOON);
}

#[test]
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn slave_of_a_bond_that_fails_changes_no_state() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    lab.add_bond(&a, "10.0.0.1/24");
    lab.add_bond(&b, "10.0.0.2/24");
    let capture = Capture::on(&client);
    let master = router(&a, "bond0", 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, "bond0", 100).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    let before = (transitions(&master), transitions(&backup));
    for host in [&a, &b] {
        assert!(active_slave(host).is_some(), "{}", host.name());
        let active = active_slave(host).unwrap_or_default();
        lab.port_down_of(host, &active);
        wait_until(SOON, "the other slave is active", || {
            active_slave(host).is_some_and(|slave| slave != active)
        });
        capture.clear();
        wait_until(SOON, "the master goes on", || capture.adverts().len() >= 10);
        let received = backup.counter("adverts_received");
        wait_until(SOON, "the backup hears it", || backup.counter("adverts_received") >= received + 5);
        lab.port_up_of(host, &active);
    }
    assert_eq!((transitions(&master), transitions(&backup)), before);
    assert!(capture.adverts().iter().all(|(_, advert)| advert.priority == 150));
}

#[test]
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn bond_without_any_slave_is_a_link_that_is_down() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    lab.add_bond(&a, "10.0.0.1/24");
    let master = router(&a, "bond0", 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, "eth0", 100).start();
    backup.wait_state("backup", SOON);
    for slave in ["eth0", "eth1"] {
        lab.port_down_of(&a, slave);
    }
    assert_eq!(master.wait_state("fault", SOON)["reason"], "link-down");
    backup.wait_state("master", SOON);
    lab.port_up_of(&a, "eth1");
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
}

#[test]
fn interface_that_gets_another_name_is_gone_and_is_used_again_when_it_has_its_own() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let backup = Vrrpd::usual(&b, 100).start();
    backup.wait_state("backup", SOON);

    rename(&a, "eth0", "wan0");
    master.wait_state("fault", SOON);
    wait_until(SOON, "it knows that the interface is gone", || master.state()["ifindex"].is_null());
    backup.wait_state("master", SOON);
    wait_until(SOON, "the address is given up", || !a.has_address("wan0", CIDR));
    rename(&a, "wan0", "eth0");
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
    assert!(a.has_address("eth0", CIDR));
}

/// The kernels that tests run on do not all rename what is up.
fn rename(host: &Host, from: &str, to: &str) {
    host.ip(&format!("link set {from} down"));
    host.ip(&format!("link set {from} name {to}"));
    host.ip(&format!("link set {to} up"));
}

/// The slave of `bond0` that is in use.
fn active_slave(host: &Host) -> Option<String> {
    let shown = host.ip("-details -oneline link show dev bond0");
    let mut words = shown.split_whitespace().skip_while(|word| *word != "active_slave");
    words.nth(1).map(str::to_owned)
}
