//! Interfaces on top of others, and renamed interfaces.

use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR, SOON};
use vrrpd_lab::{Capture, Datapath, Host, Lab, Pinger, Snapshot, Vrrpd, VrrpdBuilder, wait_until};

/// RFC 9568 §7.3
const VMAC: &str = "00:00:5e:00:01:33";

/// An interval whose Master_Down_Interval is longer than a bond's failover in an emulated machine, since a master that
/// cannot send for that long gives up.
const LONGER_THAN_A_BOND_TAKES: &str = "500ms";

/// The usual router on an interface that may not support native mode, which the daemon detects itself.
fn router(host: &Host, interface: &str, priority: u8) -> VrrpdBuilder {
    let datapath = match Datapath::usual() {
        Datapath::Native => Datapath::Auto,
        usual => usual,
    };
    Vrrpd::usual(host, priority).interface(interface).datapath(datapath)
}

/// Number of transitions.
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
    let master = router(&a, "bond0", 150).v3(LONGER_THAN_A_BOND_TAKES).start();
    master.wait_state("master", SOON);
    let backup = router(&b, "bond0", 100).v3(LONGER_THAN_A_BOND_TAKES).start();
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

/// Its driver would run the program for the slaves.
#[test]
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn backup_on_a_bond_hears_its_master_and_has_no_program_in_the_driver() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    lab.add_bond(&b, "10.0.0.2/24");
    let master = router(&a, "eth0", 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, "bond0", 100).datapath(Datapath::Auto).start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    let state = backup.state();
    assert_ne!(state["datapath"], "xdp-native");
    assert_eq!((&state["state"], transitions(&backup)), (&"backup".into(), 1));
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
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn bond_that_keeps_its_own_mac_serves_without_the_virtual_one_and_announces_its_own() {
    for fail_over_mac in ["none", "active", "follow"] {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        lab.add_bond_with(&a, "10.0.0.1/24", fail_over_mac);
        let own = mac(&a, "bond0");
        let master = router(&a, "bond0", 150).vmac("interface").v3(LONGER_THAN_A_BOND_TAKES).start();
        master.wait_state("master", SOON);
        let state = master.state();
        if fail_over_mac == "none" {
            assert_eq!((&state["vmac"], &state["vmac_reason"]), (&VMAC.into(), &serde_json::Value::Null));
            assert_eq!(mac(&a, "bond0"), VMAC);
        } else {
            assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
            let reason = state["vmac_reason"].as_str().expect("it is told");
            assert!(reason.contains("the driver reports success"), "{reason}");
            master.assert_in_log("continuing without it", 1);
        }
        let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
        for _ in 0..2 {
            pinger.wait_answers(5, SOON);
            wait_until(SOON, "the client knows the bond's MAC", || {
                client.neighbour(ADDRESS.into()) == Some(mac(&a, "bond0"))
            });
            let active = active_slave(&a).expect("a slave is active");
            lab.port_down_of(&a, &active);
            wait_until(SOON, "the other slave is active", || {
                active_slave(&a).is_some_and(|slave| slave != active)
            });
            pinger.wait_answers(20, SOON);
            lab.port_up_of(&a, &active);
            // Without any slave there is no link, which is a different test.
            wait_until(SOON, "both slaves have a link", || a.has_link(&active));
        }
        assert_eq!(transitions(&master), 2, "{fail_over_mac}: backup, then master");
        assert_eq!(master.terminate(), 0);
        if fail_over_mac == "none" {
            assert_eq!(mac(&a, "bond0"), own);
        }
    }
}

#[test]
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn bond_that_keeps_its_own_mac_does_not_become_master_where_that_is_refused() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    lab.add_bond_with(&a, "10.0.0.1/24", "active");
    let refusing = router(&a, "bond0", 150).vmac("interface").args(["--vmac-fallback", "refuse"]).start();
    refusing.wait_log(SOON, "not becoming master");
    let master = router(&b, "eth0", 100).start();
    master.wait_state("master", SOON);
    wait_until(SOON, "it hears the master", || refusing.counter("adverts_received") >= 20);
    assert_eq!(refusing.state()["state"], "backup");
    assert!(!a.has_address("bond0", CIDR));
}

#[test]
#[ignore = "needs the bonding driver: cargo xtask vm-test"]
fn macvlan_link_above_a_bond_keeps_the_virtual_mac_when_another_slave_becomes_active() {
    for fail_over_mac in ["none", "active", "follow"] {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        lab.add_bond_with(&a, "10.0.0.1/24", fail_over_mac);
        let master = router(&a, "bond0", 150).vmac("macvlan").start();
        assert_eq!(master.wait_state("master", SOON)["vmac"], VMAC);
        let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
        pinger.wait_answers(5, SOON);
        let active = active_slave(&a).expect("a slave is active");
        lab.port_down_of(&a, &active);
        wait_until(SOON, "the other slave is active", || {
            active_slave(&a).is_some_and(|slave| slave != active)
        });
        pinger.wait_answers(20, SOON);
        assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC), "{fail_over_mac}");
        assert_eq!(transitions(&master), 2, "{fail_over_mac}: backup, then master");
    }
}

#[test]
#[ignore = "needs VRFs: cargo xtask vm-test"]
fn macvlan_link_is_in_the_vrf_of_the_interface_and_follows_it() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    for (vrf, table) in [("blue", 10), ("red", 20)] {
        a.ip(&format!("link add {vrf} type vrf table {table}"));
        a.ip(&format!("link set {vrf} up"));
    }
    a.ip("link set eth0 master blue");
    let before = Snapshot::of(&a);
    let is_in = |vrf: Option<&str>| {
        let shown = a.ip("-oneline link show dev vrrp4.51");
        let master = shown.split_whitespace().skip_while(|word| *word != "master").nth(1).map(str::to_owned);
        master.as_deref() == vrf
    };
    let start = || {
        let master = router(&a, "eth0", 150).vmac("macvlan").start();
        master.wait_state("master", SOON);
        assert!(is_in(Some("blue")));
        master
    };
    assert_eq!(start().terminate(), 0);
    before.assert_as_before(&a);

    let master = start();
    let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC));
    for vrf in [Some("red"), None, Some("blue")] {
        a.ip(&vrf.map_or("link set eth0 nomaster".to_owned(), |vrf| format!("link set eth0 master {vrf}")));
        wait_until(SOON, "the link is where the interface is", || master.is_master() && is_in(vrf));
        pinger.wait_answers(5, SOON);
    }
    // A VRF makes a veth interface with a macvlan link promiscuous permanently, so the state before is not restored
    // completely.
    assert_eq!(master.terminate(), 0);
    assert!(!a.ip("-oneline link show").contains("vrrp4.51"));
}

#[test]
#[ignore = "needs the ipvlan driver: cargo xtask vm-test"]
fn router_on_an_ipvlan_link_or_a_vlan_of_a_macvlan_link_goes_without_a_virtual_mac() {
    for (make, interface, why) in [
        (&["link add link eth0 name ipv0 type ipvlan mode l2"][..], "ipv0", "an ipvlan link"),
        (
            &[
                "link add link eth0 name mv0 type macvlan mode bridge",
                "link set mv0 up",
                "link add link mv0 name mv0.5 type vlan id 5",
            ],
            "mv0.5",
            "mv0, below the interface, is a macvlan link",
        ),
    ] {
        for mode in ["interface", "macvlan"] {
            let lab = Lab::new();
            let [a] = lab.hosts();
            for arguments in make {
                a.ip(arguments);
            }
            a.ip(&format!("addr add 10.0.5.1/24 dev {interface}"));
            a.ip(&format!("link set {interface} up"));
            wait_until(SOON, "there is a carrier", || a.has_link(interface));
            let router = router(&a, interface, 150).datapath(Datapath::Raw).vmac(mode).start();
            let state = router.wait_state("master", SOON);
            assert_eq!(state["vmac"], serde_json::Value::Null);
            let reason = state["vmac_reason"].as_str().expect("it is told");
            assert!(reason.contains(why), "{reason}");
        }
    }
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

/// Not all kernels of the tests can rename an interface that is up.
fn rename(host: &Host, from: &str, to: &str) {
    host.ip(&format!("link set {from} down"));
    host.ip(&format!("link set {from} name {to}"));
    host.ip(&format!("link set {to} up"));
}

/// The MAC address of an interface, as text.
fn mac(host: &Host, interface: &str) -> String {
    let octets = host.mac(interface).map(|octet| format!("{octet:02x}"));
    octets.join(":")
}

/// The active slave of `bond0`.
fn active_slave(host: &Host) -> Option<String> {
    let shown = host.ip("-details -oneline link show dev bond0");
    let mut words = shown.split_whitespace().skip_while(|word| *word != "active_slave");
    words.nth(1).map(str::to_owned)
}
