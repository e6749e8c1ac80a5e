//! VLAN interfaces. The host kernel may lack 802.1Q, so these tests run in a virtual machine.

use std::time::Duration;

use vrrpd_lab::frame::virtual_router_mac;
use vrrpd_lab::usual::{ADDRESS, CIDR, INTERVAL, SOON, VRID, assert_on_time};
use vrrpd_lab::{
    AdvertFrame, Capture, Datapath, Host, Injector, Instance, Keepalived, Lab, Pinger, Snapshot, Vrrpd,
    VrrpdBuilder, timers, wait_until,
};

const VLAN: &str = "eth0.190";

/// Machines with an interface in VLAN 190, whose addresses are in the virtual router's subnet.
fn hosts<const N: usize>(lab: &Lab) -> [Host; N] {
    let hosts: [Host; N] = lab.hosts();
    for host in &hosts {
        let address = host.ipv4();
        host.ip("addr flush dev eth0 scope global");
        host.add_vlan("eth0", 190, &format!("{address}/24"));
    }
    hosts
}

/// The usual router on an interface. A VLAN interface does not support native mode, which the daemon detects itself.
fn router(host: &Host, interface: &str, priority: u8) -> VrrpdBuilder {
    let datapath = match Datapath::usual() {
        Datapath::Native if interface != "eth0" => Datapath::Auto,
        usual => usual,
    };
    Vrrpd::usual(host, priority).interface(interface).datapath(datapath)
}

/// Number of rejected adverts for this router.
fn rejected(router: &Vrrpd) -> u64 {
    let state = router.state();
    let rejected = state["counters"]["rejected"].as_object().expect("counters by reason");
    let faults = rejected.iter().filter(|(reason, _)| *reason != "not_ours");
    faults.filter_map(|(_, count)| count.as_u64()).sum()
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn master_is_elected_and_replaced_on_a_vlan_interface() {
    let lab = Lab::new();
    let [a, b, client] = hosts(&lab);
    let capture = Capture::on_interface(&client, VLAN);
    let master = router(&a, VLAN, 150).start();
    master.wait_state("master", SOON);
    assert!(a.has_address(VLAN, CIDR) && !a.has_address("eth0", CIDR));
    let backup = router(&b, VLAN, 100).start();
    let received = backup.counter("adverts_received");
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= received + 5);
    assert_eq!((&backup.state()["state"], rejected(&backup)), (&"backup".into(), 0));

    master.kill();
    let (taken, advert) = capture.wait_advert(SOON, "it takes over", |advert| advert.priority == 100);
    assert_eq!(advert.source, b.ipv4_of(VLAN));
    let adverts = capture.adverts();
    let (last, _) = adverts.iter().rfind(|(_, advert)| advert.priority == 150).expect("it was heard");
    assert_on_time(taken - *last, timers::master_down_interval(INTERVAL, 100));
    wait_until(SOON, "it has the address", || b.has_address(VLAN, CIDR));
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn sigterm_leaves_the_vlan_interface_as_it_was() {
    let lab = Lab::new();
    let [a] = hosts(&lab);
    let before = a.addresses(VLAN);
    let router = router(&a, VLAN, 100).start();
    router.wait_state("master", SOON);
    assert_eq!(router.terminate(), 0);
    assert_eq!(a.addresses(VLAN), before);
    assert_eq!(a.xdp_program(VLAN), None);
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn same_vrid_on_two_vlans_of_a_port_is_two_routers() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    for (number, host) in [(1, &a), (2, &b)] {
        host.add_vlan("eth0", 190, &format!("10.190.0.{number}/24"));
        host.add_vlan("eth0", 191, &format!("10.191.0.{number}/24"));
    }
    // Each is master on one of them.
    let [a190, b190] =
        [(&a, 150), (&b, 100)].map(|(host, priority)| router(host, "eth0.190", priority).start());
    let [a191, b191] =
        [(&a, 100), (&b, 150)].map(|(host, priority)| router(host, "eth0.191", priority).start());
    for (master, backup, interface) in [(&a190, &b190, "eth0.190"), (&b191, &a191, "eth0.191")] {
        master.wait_state("master", SOON);
        backup.wait_state("backup", SOON);
        wait_until(SOON, "the address is with the master alone", || {
            master.host().has_address(interface, CIDR) && !backup.host().has_address(interface, CIDR)
        });
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it hears its master", || backup.counter("adverts_received") >= received + 5);
    }
    for router in [&a190, &b190, &a191, &b191] {
        assert_eq!(rejected(router), 0, "it hears nothing of the other VLAN: {}", router.state());
    }

    b191.kill();
    a191.wait_state("master", SOON);
    assert_eq!(b190.state()["state"], "backup", "the other VLAN has its master");
    assert!(a190.is_master());
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn each_vlan_of_a_port_has_a_virtual_mac_of_its_own_over_a_failover() {
    for mode in ["interface", "macvlan"] {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        for (number, host) in [(1, &a), (2, &b), (9, &client)] {
            host.add_vlan("eth0", 190, &format!("10.190.0.{number}/24"));
            host.add_vlan("eth0", 191, &format!("10.191.0.{number}/24"));
        }
        let vlans = [("eth0.190", 19, "10.190.0.100"), ("eth0.191", 20, "10.191.0.100")];
        let router = |host: &Host, interface: &str, vrid, address: &str, priority| {
            let router = Vrrpd::on(host).interface(interface).vrid(vrid).priority(priority).v3("100ms");
            router.address(&format!("{address}/24")).datapath(Datapath::Raw).vmac(mode).start()
        };
        let before = [&a, &b].map(Snapshot::of);
        let port = a.mac("eth0");
        let masters = vlans.map(|(interface, vrid, address)| router(&a, interface, vrid, address, 150));
        let backups = vlans.map(|(interface, vrid, address)| router(&b, interface, vrid, address, 100));
        let watched = vlans.map(|(interface, vrid, address)| {
            let address = address.parse().expect("an address");
            let capture = Capture::on_interface(&client, interface);
            (capture, Pinger::start(&client, address, Duration::from_millis(5)), address, vrid)
        });
        for router in &masters {
            router.wait_state("master", SOON);
        }
        for (_, pinger, ..) in &watched {
            pinger.wait_answers(20, SOON);
        }
        assert_eq!(a.mac("eth0"), port, "{mode}: the port has its own");

        // On one interface the master leaves, on the other it loses its link.
        assert_eq!(masters[0].terminate(), 0);
        backups[0].wait_state("master", SOON);
        assert_eq!(backups[1].state()["state"], "backup", "{mode}: the other VLAN has its master");
        lab.port_down(&a);
        backups[1].wait_state("master", SOON);
        for (capture, pinger, address, vrid) in &watched {
            pinger.wait_answers(20, SOON);
            // The new ARP request shows who answers.
            client.ip(&format!("neigh flush to {address}"));
            pinger.wait_answers(20, SOON);
            let claims: Vec<_> = capture.claims((*address).into()).into_iter().collect();
            assert_eq!(claims, [virtual_router_mac((*address).into(), *vrid)], "{mode}: {address}");
        }

        lab.port_up(&a);
        masters[1].wait_state("master", SOON);
        backups[1].wait_state("backup", SOON);
        assert_eq!(a.mac("eth0"), port, "{mode}: the port has its own");

        for router in [&masters[1], &backups[0], &backups[1]] {
            assert_eq!(router.terminate(), 0);
        }
        for (before, host) in before.iter().zip([&a, &b]) {
            let left = before.differences(&Snapshot::of(host));
            assert!(left.is_empty(), "{mode}: not as it was:\n{}", left.join("\n"));
        }
    }
}

/// Without an interface for a VLAN, its frames are passed up without their tag.
#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn advert_of_a_vlan_without_an_interface_does_not_count_for_the_port() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    client.add_vlan("eth0", 190, "10.0.0.9/24");
    let on_port = Vrrpd::usual(&a, 100).datapath(Datapath::Raw).start();
    on_port.wait_state("master", SOON);
    let advert =
        |priority| AdvertFrame::v3(client.ipv4().into(), VRID, priority, INTERVAL, &[ADDRESS.into()]);
    for _ in 0..10 {
        Injector::on_interface(&client, VLAN).send(&advert(200).build());
    }
    // A later one has no tag.
    Injector::on(&client).send(&advert(50).build());
    wait_until(SOON, "it is received", || on_port.counter("adverts_received") > 0);
    assert_eq!((on_port.counter("adverts_received"), rejected(&on_port)), (1, 0));
    assert!(on_port.is_master());
}

/// A receiver on the port gets the frames of the VLAN as well, without their tags.
#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn same_vrid_on_a_port_and_on_its_vlan_is_two_routers() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    for (number, host) in [(1, &a), (2, &b)] {
        host.add_vlan("eth0", 190, &format!("10.190.0.{number}/24"));
    }
    let [plain, tagged] = ["eth0", VLAN].map(|interface| {
        [(&a, 150), (&b, 100)].map(|(host, priority)| {
            Vrrpd::usual(host, priority).interface(interface).datapath(Datapath::Raw).start()
        })
    });
    for ([master, backup], source) in [(&plain, "10.0.0.1"), (&tagged, "10.190.0.1")] {
        master.wait_state("master", SOON);
        backup.wait_state("backup", SOON);
        let received = backup.counter("adverts_received");
        wait_until(SOON, "it hears its master", || backup.counter("adverts_received") >= received + 10);
        let state = backup.state();
        assert_eq!(
            (&state["state"], &state["master"]["address"]),
            (&"backup".into(), &source.into()),
            "{state}"
        );
    }

    tagged[0].kill();
    tagged[1].wait_state("master", SOON);
    assert_eq!(plain[1].state()["state"], "backup", "the port has its master");
    plain[0].kill();
    plain[1].wait_state("master", SOON);
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn keepalived_leads_and_follows_on_a_vlan() {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let instance = Instance::v3(VRID, CIDR, INTERVAL).on(VLAN);
    let first = router(&a, VLAN, 150).start();
    first.wait_state("master", SOON);
    let peer = Keepalived::on(&b).instance(instance.clone()).start();
    peer.wait_entered(VRID, "BACKUP", 1, SOON);
    let sent = first.counter("adverts_sent");
    wait_until(SOON, "adverts for longer than its Master_Down_Interval", || {
        first.counter("adverts_sent") >= sent + 15
    });
    assert_eq!(peer.entered(VRID, "MASTER"), 0, "keepalived hears the master");
    assert_eq!(first.terminate(), 0);
    peer.wait_entered(VRID, "MASTER", 1, SOON);

    let second = router(&a, VLAN, 100).start();
    wait_until(SOON, "it hears keepalived", || second.counter("adverts_received") >= 5);
    assert_eq!((&second.state()["state"], rejected(&second)), (&"backup".into(), 0));
    peer.crash();
    assert_eq!(second.wait_state("master", SOON)["reason"], "master-down-timer");
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn vlan_interface_that_is_removed_and_made_again_is_used_again() {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let master = router(&a, VLAN, 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, VLAN, 100).start();
    backup.wait_state("backup", SOON);

    a.ip(&format!("link del {VLAN}"));
    master.wait_state("fault", SOON);
    wait_until(SOON, "it knows that the interface is gone", || master.state()["ifindex"].is_null());
    backup.wait_state("master", SOON);
    a.add_vlan("eth0", 190, "10.0.0.1/24");
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
    assert!(a.has_address(VLAN, CIDR));
}

#[test]
#[ignore = "needs 802.1Q: cargo xtask vm-test"]
fn vlan_interface_goes_down_with_its_port() {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let master = router(&a, VLAN, 150).start();
    master.wait_state("master", SOON);
    let backup = router(&b, VLAN, 100).start();
    backup.wait_state("backup", SOON);

    lab.port_down(&a);
    assert_eq!(master.wait_state("fault", SOON)["reason"], "link-down");
    backup.wait_state("master", SOON);
    lab.port_up(&a);
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
}
