//! The virtual MAC address: hosts keep their ARP entries over a failover in every mode, and nothing is left behind.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use vrrpd_lab::frame::virtual_router_mac;
use vrrpd_lab::usual::{ADDRESS, CIDR, SOON, VMAC, VMAC_MODES, VRID};
use vrrpd_lab::{
    Capture, Datapath, Host, Instance, Keepalived, Lab, Pinger, Signal, Snapshot, Vrrpd, VrrpdBuilder,
    wait_until,
};

const ADDRESS_V6: &str = "2001:db8::33";

fn router_v6(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
    let addresses = ["fe80::33/64", "2001:db8::33/64"];
    Vrrpd::on(host).vrid(VRID).priority(priority).args(addresses).v3("100ms").vmac(mode)
}

/// The interface with a master's addresses.
fn place(mode: &str) -> &'static str {
    if mode == "macvlan" { "vrrp4.51" } else { "eth0" }
}

fn has_link(host: &Host, name: &str) -> bool {
    host.ip("-oneline link show").contains(&format!(" {name}@"))
}

#[test]
fn client_sees_one_mac_before_during_and_after_a_failover() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let capture = Capture::on(&client);
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
        pinger.wait_answers(20, SOON);
        assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC), "{mode}");

        lab.port_down(&a);
        second.wait_state("master", SOON);
        pinger.wait_answers(20, SOON);
        assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC), "{mode}");

        lab.port_up(&a);
        first.wait_state("master", SOON);
        second.wait_state("backup", SOON);
        pinger.wait_answers(20, SOON);
        // The new ARP request shows who answers.
        client.ip("neigh flush dev eth0");
        pinger.wait_answers(20, SOON);
        assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC), "{mode}");
        let claims = capture.claims(ADDRESS.into());
        assert_eq!(
            claims.into_iter().collect::<Vec<_>>(),
            [virtual_router_mac(ADDRESS.into(), VRID)],
            "{mode}"
        );
    }
}

#[test]
fn client_sees_one_mac_over_ipv6() {
    let address: IpAddr = ADDRESS_V6.parse().expect("an address");
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        client.ip("addr add 2001:db8::9/64 dev eth0 nodad");
        let capture = Capture::on(&client);
        let first = router_v6(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router_v6(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        let ask = || {
            client.ip("-6 neigh flush dev eth0");
            // The port is closed; the test is about who answers the solicitation.
            let sent = client.namespace().enter(|| UdpSocket::bind("[::]:0")?.send_to(b"?", (address, 9)));
            sent.expect("a packet can be sent");
            wait_until(SOON, "the address is resolved", || client.neighbour(address).is_some());
            assert_eq!(client.neighbour(address).as_deref(), Some("00:00:5e:00:02:33"), "{mode}");
        };
        ask();
        lab.port_down(&a);
        second.wait_state("master", SOON);
        ask();
        lab.port_up(&a);
        first.wait_state("master", SOON);
        second.wait_state("backup", SOON);
        ask();
        let claims = capture.claims(address);
        assert_eq!(claims.into_iter().collect::<Vec<_>>(), [virtual_router_mac(address, VRID)], "{mode}");
    }
}

#[test]
fn adverts_come_from_the_virtual_mac() {
    // RFC 9568 §7.2
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        let capture = Capture::on(&client);
        let master = Vrrpd::usual_with_vmac(&a, 100, mode).start();
        master.wait_state("master", SOON);
        assert_eq!(master.terminate(), 0);
        capture.wait_advert(SOON, "it resigns", |advert| advert.priority == 0);
        let expected = virtual_router_mac(ADDRESS.into(), VRID);
        assert!(capture.adverts().iter().all(|(_, advert)| advert.source_mac == expected), "{mode}");
    }
}

#[test]
fn state_and_scripts_name_the_virtual_mac_and_where_it_is() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let script = vrrpd_lab::ScriptLog::new(&["VRRP_VMAC", "VRRP_VMAC_INTERFACE"]);
        let master = Vrrpd::usual_with_vmac(&a, 100, mode).args(["-U".into(), script.path()]).start();
        let state = master.wait_state("master", SOON);
        assert_eq!((&state["vmac"], &state["vmac_mode"]), (&VMAC.into(), &mode.into()));
        script.wait_run(SOON, &format!("|{VMAC}|{}", place(mode)));
    }
}

#[test]
fn everything_is_as_before_after_sigterm() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        for (key, value) in [("arp_ignore", "0"), ("rp_filter", "1"), ("arp_announce", "1")] {
            a.namespace().sysctl(&format!("ipv4/conf/eth0/{key}"), value);
        }
        a.ip("neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent");
        a.ip("route add 192.0.2.0/24 via 10.0.0.9 dev eth0");
        let first = Vrrpd::usual_with_vmac(&a, 150, mode);
        let before = Snapshot::with_files(&a, &first.directory());
        let first = first.start();
        first.wait_state("master", SOON);
        assert!(!before.differences(&Snapshot::of(&a)).is_empty(), "a master changes something");
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        assert_eq!(first.terminate(), 0);
        before.assert_as_before(&a);
    }
}

#[test]
fn backup_leaves_everything_as_before() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let before = Snapshot::of(&b);
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        assert!(!b.ip("link show up").contains(VMAC), "{mode}: it takes no frame to the virtual MAC");
        assert_eq!(has_link(&b, "vrrp4.51"), mode == "macvlan");
        assert_eq!(second.terminate(), 0);
        before.assert_as_before(&b);
    }
}

#[test]
fn next_start_undoes_leftovers_of_a_kill() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let router = Vrrpd::usual_with_vmac(&a, 150, mode);
        let before = Snapshot::with_files(&a, &router.directory());
        let killed = router.clone().start();
        killed.wait_state("master", SOON);
        killed.kill();
        assert!(!before.differences(&Snapshot::of(&a)).is_empty(), "a kill leaves something");
        let again = router.start();
        // It is Backup for a moment only.
        again.wait_log(SOON, "to=\"backup\"");
        assert_eq!(again.terminate(), 0);
        before.assert_as_before(&a);
    }
}

#[test]
fn failed_start_leaves_everything_as_before() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let before = Snapshot::of(&a);
        let taken = Vrrpd::usual_with_vmac(&a, 150, mode).beside(&first).run_in_foreground();
        assert_eq!(taken.code, 1, "{taken:?}");
        before.assert_as_before(&a);
    }
}

#[test]
fn start_that_fails_at_its_group_takes_its_link_away_again() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = Vrrpd::usual_with_vmac(&a, 150, "macvlan").args(["-M", "2"]);
    // In the place of the group's socket, which is created last.
    let socket = builder.directory().join("vrrpd_eth0_51.group");
    fs::create_dir_all(&socket).expect("it can be made");
    let before = Snapshot::with_files(&a, &builder.directory());
    let failed = builder.run_in_foreground();
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("vrrpd_eth0_51.group"), "{failed:?}");
    before.assert_as_before(&a);
}

#[test]
fn any_number_of_macvlan_routers_share_an_interface_and_the_last_one_puts_its_settings_back() {
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let before = Snapshot::of(&a);
    let first = Vrrpd::usual_with_vmac(&a, 150, "macvlan").start();
    // The first process uses the kernel data path of the interface.
    let second = Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").datapath(Datapath::Raw);
    let second = second.vmac("macvlan").beside(&first).start();
    // The same VRID on another interface: the name is taken, so another one is chosen.
    let elsewhere = Vrrpd::on(&a).interface("eth1").vrid(51).address("10.1.0.100/24").v3("100ms");
    let elsewhere = elsewhere.vmac("macvlan").beside(&first).start();
    for router in [&first, &second, &elsewhere] {
        router.wait_state("master", SOON);
    }
    assert!(a.has_address("vrrp4.51", CIDR) && a.has_address("vrrp4.52", "10.0.0.101/24"));
    assert!(a.has_address("vrrp4.51.1", "10.1.0.100/24"));

    assert_eq!(first.terminate(), 0);
    assert!(!has_link(&a, "vrrp4.51"));
    client.ip("neigh flush dev eth0");
    let pinger = Pinger::start(&client, "10.0.0.101".parse().expect("an address"), Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert_eq!(
        client.neighbour("10.0.0.101".parse().expect("an address")).as_deref(),
        Some("00:00:5e:00:01:34")
    );
    assert_eq!(second.terminate(), 0);
    assert_eq!(elsewhere.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn hosts_learn_the_real_mac_again_from_a_new_backup() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let own = a.mac("eth0");
    let first = Vrrpd::usual_with_vmac(&a, 100, "interface").start();
    first.wait_state("master", SOON);
    let capture = Capture::on(&client);
    let second = Vrrpd::usual_with_vmac(&b, 150, "interface").start();
    second.wait_state("master", SOON);
    first.wait_state("backup", SOON);
    wait_until(SOON, "its own address is announced", || capture.claims(a.ipv4().into()).contains(&own));
    assert_eq!(a.mac("eth0"), own);
    let pinger = Pinger::start(&client, a.ipv4(), Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
}

#[test]
fn frames_to_the_interface_s_own_mac_are_accepted_while_it_has_the_virtual_one() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let own = a.ip("-oneline link show dev eth0");
    let own = own.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).expect("a MAC address");
    client.ip(&format!("neigh replace {} lladdr {own} dev eth0 nud permanent", a.ipv4()));
    let master = Vrrpd::usual_with_vmac(&a, 150, "interface").start();
    master.wait_state("master", SOON);
    assert_eq!(a.mac("eth0"), virtual_router_mac(ADDRESS.into(), VRID));
    let pinger = Pinger::start(&client, a.ipv4(), Duration::from_millis(5));
    pinger.wait_answers(20, SOON);
}

#[test]
fn aliases_of_the_script_share_the_virtual_mac() {
    // As in the MASTER.sh of Vrrpd users.
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    client.ip("addr add 192.168.14.9/24 dev eth0");
    let up = vrrpd_lab::ScriptLog::running(
        "ip addr add 192.168.14.2/24 dev $VRRP_INTERFACE label eth0:0; echo up",
    );
    let down = vrrpd_lab::ScriptLog::running("ip addr del 192.168.14.2/24 dev $VRRP_INTERFACE; echo down");
    let scripts = ["-U".into(), up.path().into_os_string(), "-D".into(), down.path().into_os_string()];
    let master = Vrrpd::usual_with_vmac(&a, 150, "interface").args(scripts).start();
    master.wait_state("master", SOON);
    up.wait_run(SOON, "up");
    let alias = "192.168.14.2".parse().expect("an address");
    let pinger = Pinger::start(&client, alias, Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert_eq!(client.neighbour(alias.into()).as_deref(), Some(VMAC));
}

#[test]
fn foreign_changes_are_undone_while_master() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        let before = Snapshot::of(&a);
        let master = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        master.wait_state("master", SOON);
        let interface = place(mode);
        a.ip(&format!("addr del {CIDR} dev {interface}"));
        wait_until(SOON, "the address is back", || a.has_address(interface, CIDR));
        if mode == "macvlan" {
            a.ip("link set vrrp4.51 down");
            wait_until(SOON, "the link is up again", || a.has_link("vrrp4.51"));
            a.ip("link set vrrp4.51 address 02:00:00:00:00:99");
            wait_until(SOON, "the virtual MAC is back", || a.ip("link show dev vrrp4.51").contains(VMAC));
            a.ip("link del vrrp4.51");
            wait_until(SOON, "the link is there again", || {
                has_link(&a, "vrrp4.51") && a.has_address("vrrp4.51", CIDR)
            });
        } else {
            a.ip("link set eth0 address 02:00:00:00:00:99");
            wait_until(SOON, "the virtual MAC is back", || a.ip("link show dev eth0").contains(VMAC));
        }
        let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
        pinger.wait_answers(5, SOON);
        assert_eq!(client.neighbour(ADDRESS.into()).as_deref(), Some(VMAC), "{mode}");
        assert_eq!(master.state()["state"], "master");
        assert_eq!(master.terminate(), 0);
        if mode == "interface" {
            assert!(
                a.ip("link show dev eth0").contains("02:00:00:00:00:99"),
                "what somebody gave it is its own now"
            );
        } else {
            before.assert_as_before(&a);
        }
    }
}

#[test]
fn virtual_mac_is_there_again_when_the_interface_is() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        a.ip("link del eth0");
        wait_until(SOON, "it says that the interface is gone", || {
            first.state()["reason"] == "interface-removed"
        });
        second.wait_state("master", SOON);
        lab.join(&a, 0, "eth0", "10.0.0.1/24");
        first.wait_state("master", SOON);
        second.wait_state("backup", SOON);
        wait_until(SOON, "the address is back", || a.has_address(place(mode), CIDR));
        assert_eq!(first.terminate(), 0);
        assert!(!a.ip("link show").contains("00:00:5e:00:01"), "{mode}");
    }
}

#[test]
fn a_stopped_master_that_was_replaced_does_not_answer_for_the_address() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        // Without preemption it stays backup as long as the other one is master.
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).args(["-s"]).start();
        first.wait_state("master", SOON);
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        first.signal(Signal::SIGUSR2);
        second.wait_state("master", SOON);
        wait_until(SOON, "it has given the virtual MAC back", || {
            !a.ip("link show up").contains(VMAC) && !a.has_address("eth0", CIDR)
        });
    }
}

#[test]
fn keepalived_with_use_vmac_and_vrrpd_hand_one_mac_to_each_other() {
    const PATIENCE: Duration = Duration::from_secs(15);
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        // keepalived requires these sysctls, so that the interface below neither answers nor asks.
        b.namespace().sysctl("ipv4/conf/eth0/arp_ignore", "1");
        b.namespace().sysctl("ipv4/conf/eth0/arp_announce", "2");
        let capture = Capture::on(&client);
        let instance = || Instance::v3(VRID, CIDR, Duration::from_millis(200)).vmac();
        let ours = |priority: u8| {
            Vrrpd::on(&a).vrid(VRID).priority(priority).address(CIDR).v3("200ms").vmac(mode).start()
        };
        let theirs = Keepalived::on(&b).instance(instance().priority(150)).start();
        theirs.wait_entered(VRID, "MASTER", 1, PATIENCE);
        let backup = ours(100);
        backup.wait_state("backup", SOON);
        let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
        pinger.wait_answers(5, SOON);

        theirs.leave();
        backup.wait_state("master", PATIENCE);
        pinger.wait_answers(5, SOON);
        drop(theirs);
        // Two masters with the same MAC address hear each other; the lower one yields.
        let theirs = Keepalived::on(&b).instance(instance().priority(150)).start();
        backup.wait_state("backup", PATIENCE);
        theirs.wait_entered(VRID, "MASTER", 1, PATIENCE);
        assert_eq!(backup.terminate(), 0);
        let master = ours(200);
        master.wait_state("master", PATIENCE);
        theirs.wait_entered(VRID, "BACKUP", 2, PATIENCE);
        let all = capture.claims(ADDRESS.into());
        assert_eq!(all.into_iter().collect::<Vec<_>>(), [virtual_router_mac(ADDRESS.into(), VRID)], "{mode}");
    }
}

#[test]
fn two_masters_after_a_split_hear_each_other_although_they_have_the_same_mac() {
    for mode in VMAC_MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let first = Vrrpd::usual_with_vmac(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = Vrrpd::usual_with_vmac(&b, 100, mode).start();
        lab.split(&[&a, &b]);
        second.wait_state("master", SOON);
        lab.heal(&[&a, &b]);
        second.wait_state("backup", SOON);
        assert!(first.is_master());
    }
}
