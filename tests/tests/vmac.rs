//! The virtual MAC address: hosts keep their ARP entries over a failover, whichever way it is put on the wire.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use vrrpd_lab::frame::virtual_router_mac;
use vrrpd_lab::usual::{ADDRESS, CIDR, SOON, VRID};
use vrrpd_lab::{
    Capture, Datapath, Host, Instance, Keepalived, Lab, Pinger, Signal, Snapshot, Vrrpd, VrrpdBuilder,
    is_alive, needs, wait_until,
};

const MODES: [&str; 2] = ["interface", "macvlan"];
/// RFC 9568 §7.3
const VMAC: &str = "00:00:5e:00:01:33";
const ADDRESS_V6: &str = "2001:db8::33";

fn router(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
    Vrrpd::usual(host, priority).vmac(mode)
}

fn router_v6(host: &Host, priority: u8, mode: &str) -> VrrpdBuilder {
    let addresses = ["fe80::33/64", "2001:db8::33/64"];
    Vrrpd::on(host).vrid(VRID).priority(priority).args(addresses).v3("100ms").vmac(mode)
}

/// The interface that a master's addresses are on.
fn place(mode: &str) -> &'static str {
    if mode == "macvlan" { "vrrp4.51" } else { "eth0" }
}

fn has_link(host: &Host, name: &str) -> bool {
    host.ip("-oneline link show").contains(&format!(" {name}@"))
}

#[test]
fn client_sees_one_mac_before_during_and_after_a_failover() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        let capture = Capture::on(&client);
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router(&b, 100, mode).start();
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
        // Asked for anew, whoever feels addressed answers.
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
    for mode in MODES {
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
            // Nobody listens there; what matters is who answers the solicitation.
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
    for mode in MODES {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        let capture = Capture::on(&client);
        let master = router(&a, 100, mode).start();
        master.wait_state("master", SOON);
        assert_eq!(master.terminate(), 0);
        capture.wait_advert(SOON, "it resigns", |advert| advert.priority == 0);
        let expected = virtual_router_mac(ADDRESS.into(), VRID);
        assert!(capture.adverts().iter().all(|(_, advert)| advert.source_mac == expected), "{mode}");
    }
}

#[test]
fn state_and_scripts_name_the_virtual_mac_and_where_it_is() {
    for mode in MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let script = vrrpd_lab::ScriptLog::new(&["VRRP_VMAC", "VRRP_VMAC_INTERFACE"]);
        let master = router(&a, 100, mode).args(["-U".into(), script.path()]).start();
        let state = master.wait_state("master", SOON);
        assert_eq!((&state["vmac"], &state["vmac_mode"]), (&VMAC.into(), &mode.into()));
        script.wait_run(SOON, &format!("|{VMAC}|{}", place(mode)));
    }
}

#[test]
fn everything_is_as_before_after_sigterm() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        for (key, value) in [("arp_ignore", "0"), ("rp_filter", "1"), ("arp_announce", "1")] {
            a.namespace().sysctl(&format!("ipv4/conf/eth0/{key}"), value);
        }
        a.ip("neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent");
        a.ip("route add 192.0.2.0/24 via 10.0.0.9 dev eth0");
        let first = router(&a, 150, mode);
        let before = Snapshot::with_files(&a, &first.directory());
        let first = first.start();
        first.wait_state("master", SOON);
        assert!(!before.differences(&Snapshot::of(&a)).is_empty(), "a master changes something");
        let second = router(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        assert_eq!(first.terminate(), 0);
        before.assert_as_before(&a);
    }
}

#[test]
fn backup_leaves_everything_as_before() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let before = Snapshot::of(&b);
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router(&b, 100, mode).start();
        second.wait_state("backup", SOON);
        assert!(!b.ip("link show up").contains(VMAC), "{mode}: it takes no frame to the virtual MAC");
        assert_eq!(has_link(&b, "vrrp4.51"), mode == "macvlan");
        assert_eq!(second.terminate(), 0);
        before.assert_as_before(&b);
    }
}

#[test]
fn next_start_puts_back_what_a_kill_left() {
    for mode in MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let router = router(&a, 150, mode);
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
    for mode in MODES {
        let lab = Lab::new();
        let [a] = lab.hosts();
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let before = Snapshot::of(&a);
        let taken = router(&a, 150, mode).beside(&first).run_in_foreground();
        assert_eq!(taken.code, 1, "{taken:?}");
        before.assert_as_before(&a);
    }
}

#[test]
fn start_that_fails_after_a_link_was_made_takes_it_away_again() {
    let mut lab = Lab::new();
    let [a] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    // A port of a bridge cannot have macvlan links.
    a.ip("link add br0 type bridge");
    a.ip("link set eth1 master br0");
    let router = |interface: &str, address: &str| {
        format!("[[router]]\ninterface = \"{interface}\"\nvrid = 51\naddresses = [\"{address}\"]\n")
    };
    let defaults = "[defaults]\nprotocol = \"v3\"\nvmac = \"macvlan\"\nvmac-fallback = \"refuse\"\n";
    let file = [defaults, &router("eth0", CIDR), &router("eth1", "10.1.0.100/24")].concat();
    let builder = Vrrpd::on(&a).config(&file);
    fs::create_dir(builder.directory()).expect("it can be made");
    let before = Snapshot::with_files(&a, &builder.directory());
    let refused = builder.run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("eth1/51") && refused.stderr.contains("--vmac macvlan"), "{refused:?}");
    before.assert_as_before(&a);
}

#[test]
fn start_that_fails_at_its_group_takes_its_link_away_again() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let builder = router(&a, 150, "macvlan").args(["-M", "2"]);
    // In the way of the socket of the group, which is the last thing that is made.
    let socket = builder.directory().join("vrrpd_eth0_51.group");
    fs::create_dir_all(&socket).expect("it can be made");
    let before = Snapshot::with_files(&a, &builder.directory());
    let failed = builder.run_in_foreground();
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("vrrpd_eth0_51.group"), "{failed:?}");
    before.assert_as_before(&a);
}

#[test]
fn macvlan_that_cannot_be_made_is_done_without_or_refused() {
    let lab = Lab::new();
    let [a, _b] = lab.hosts();
    // A port of a bridge cannot have macvlan links.
    a.ip("link add br0 type bridge");
    a.ip("link set eth0 master br0");
    let before = Snapshot::of(&a);
    let refused = router(&a, 100, "macvlan").args(["--vmac-fallback", "refuse"]).run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--vmac macvlan") && refused.stderr.contains("-n"), "{refused:?}");
    before.assert_as_before(&a);

    let without = router(&a, 100, "macvlan").start();
    let state = without.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
    without.wait_log(SOON, "continuing without it");
    without.assert_in_log("continuing without it", 1);
    assert!(a.has_address("eth0", CIDR));
    assert_eq!(without.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn interface_whose_driver_takes_no_other_mac_is_served_without_or_not_at_all() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    // Its driver has one MAC address and no way to change it.
    a.ip("link add ifb9 type ifb");
    a.ip("link set ifb9 up");
    a.ip("addr add 10.9.0.1/24 dev ifb9");
    let router = || {
        let router = Vrrpd::on(&a).interface("ifb9").vrid(51).address("10.9.0.100/24").v3("100ms");
        router.datapath(Datapath::Raw).vmac("interface")
    };
    let without = router().start();
    let state = without.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
    without.wait_log(SOON, "continuing without it");
    without.assert_in_log("continuing without it", 1);
    assert!(a.has_address("ifb9", "10.9.0.100/24"));
    assert_eq!(without.terminate(), 0);

    let refusing = router().args(["--vmac-fallback", "refuse"]).start();
    refusing.wait_log(SOON, "-n or --vmac-fallback none to continue without it");
    assert_eq!(refusing.state()["state"], "backup");
    assert!(!a.has_address("ifb9", "10.9.0.100/24"));
}

#[test]
fn second_virtual_mac_on_an_interface_is_refused_with_a_way_out() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = router(&a, 150, "interface").start();
    first.wait_state("master", SOON);
    // The kernel's data path of an interface is the first process's.
    let other = || Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").datapath(Datapath::Raw);
    // In the directory of the first the name is taken, in another one the address is seen.
    for second in [other().vmac("interface").beside(&first), other().vmac("interface")] {
        let refused = second.run_in_foreground();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("-i eth0") && refused.stderr.contains("macvlan"), "{refused:?}");
    }
    let with_macvlan = other().vmac("macvlan").beside(&first).start();
    with_macvlan.wait_state("master", SOON);
    assert!(a.has_address("vrrp4.52", "10.0.0.101/24"));
    assert!(a.has_address("eth0", CIDR), "the first one still serves");
}

#[test]
fn any_number_of_macvlan_routers_share_an_interface_and_the_last_one_puts_its_settings_back() {
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let before = Snapshot::of(&a);
    let first = router(&a, 150, "macvlan").start();
    // The kernel's data path of an interface is the first process's.
    let second = Vrrpd::on(&a).vrid(52).address("10.0.0.101/24").v3("100ms").datapath(Datapath::Raw);
    let second = second.vmac("macvlan").beside(&first).start();
    // The same VRID on another interface: the name is taken, and another one is found.
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
    let first = router(&a, 100, "interface").start();
    first.wait_state("master", SOON);
    let capture = Capture::on(&client);
    let second = router(&b, 150, "interface").start();
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
    let master = router(&a, 150, "interface").start();
    master.wait_state("master", SOON);
    assert_eq!(a.mac("eth0"), virtual_router_mac(ADDRESS.into(), VRID));
    let pinger = Pinger::start(&client, a.ipv4(), Duration::from_millis(5));
    pinger.wait_answers(20, SOON);
}

#[test]
fn aliases_of_the_script_share_the_virtual_mac() {
    // As the users of Vrrpd have it in MASTER.sh.
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    client.ip("addr add 192.168.14.9/24 dev eth0");
    let up = vrrpd_lab::ScriptLog::running(
        "ip addr add 192.168.14.2/24 dev $VRRP_INTERFACE label eth0:0; echo up",
    );
    let down = vrrpd_lab::ScriptLog::running("ip addr del 192.168.14.2/24 dev $VRRP_INTERFACE; echo down");
    let scripts = ["-U".into(), up.path().into_os_string(), "-D".into(), down.path().into_os_string()];
    let master = router(&a, 150, "interface").args(scripts).start();
    master.wait_state("master", SOON);
    up.wait_run(SOON, "up");
    let alias = "192.168.14.2".parse().expect("an address");
    let pinger = Pinger::start(&client, alias, Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert_eq!(client.neighbour(alias.into()).as_deref(), Some(VMAC));
}

#[test]
fn somebody_else_s_changes_are_undone_while_master() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        let before = Snapshot::of(&a);
        let master = router(&a, 150, mode).start();
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
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router(&b, 100, mode).start();
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
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router(&b, 100, mode).start();
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
    for mode in MODES {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts();
        // keepalived leaves it to its users to keep the interface below from answering, and from asking.
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
        // Two masters with the same MAC address hear each other all the same: the lower one yields.
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
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let first = router(&a, 150, mode).start();
        first.wait_state("master", SOON);
        let second = router(&b, 100, mode).start();
        lab.split(&[&a, &b]);
        second.wait_state("master", SOON);
        lab.heal(&[&a, &b]);
        second.wait_state("backup", SOON);
        assert!(first.is_master());
    }
}

/// Makes `mv0` above `eth0` with this address, as container networks do.
fn add_macvlan(host: &Host, mode: &str, address: &str) {
    host.ip("addr flush dev eth0");
    host.ip(&format!("link add link eth0 name mv0 type macvlan mode {mode}"));
    host.ip(&format!("addr add {address} dev mv0"));
    host.ip("link set mv0 up");
    wait_until(SOON, "the link has a carrier", || host.has_link("mv0"));
}

#[test]
fn routers_on_macvlan_links_go_without_a_virtual_mac_and_heal_a_split() {
    for mode in MODES {
        let lab = Lab::new();
        let [a, b] = lab.hosts();
        let start = |host: &Host, address: &str, priority: u8| {
            add_macvlan(host, "bridge", address);
            // A macvlan link has no native mode.
            router(host, priority, mode).interface("mv0").datapath(Datapath::Raw).start()
        };
        let first = start(&a, "10.0.0.1/24", 150);
        let state = first.wait_state("master", SOON);
        assert_eq!((&state["vmac"], &state["vmac_mode"]), (&serde_json::Value::Null, &"none".into()));
        let reason = state["vmac_reason"].as_str().expect("it is told");
        assert!(reason.contains("macvlan link"), "{reason}");
        first.assert_in_log("continuing without it", 1);
        assert!(a.has_address("mv0", CIDR));
        let second = start(&b, "10.0.0.2/24", 100);
        second.wait_state("backup", SOON);
        lab.split(&[&a, &b]);
        second.wait_state("master", SOON);
        lab.heal(&[&a, &b]);
        second.wait_state("backup", SOON);
        assert!(first.is_master(), "{mode}");
    }
}

#[test]
fn routers_on_passthru_macvlan_links_have_a_virtual_mac_and_heal_a_split() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let start = |host: &Host, address: &str, priority: u8| {
        add_macvlan(host, "passthru", address);
        router(host, priority, "interface").interface("mv0").datapath(Datapath::Raw).start()
    };
    let first = start(&a, "10.0.0.1/24", 150);
    let state = first.wait_state("master", SOON);
    assert_eq!((&state["vmac"], &state["vmac_reason"]), (&VMAC.into(), &serde_json::Value::Null));
    let second = start(&b, "10.0.0.2/24", 100);
    second.wait_state("backup", SOON);
    lab.split(&[&a, &b]);
    second.wait_state("master", SOON);
    lab.heal(&[&a, &b]);
    second.wait_state("backup", SOON);
    assert!(first.is_master());
}

#[test]
fn router_that_must_have_a_virtual_mac_does_not_become_master_on_a_macvlan_link() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    add_macvlan(&a, "bridge", "10.0.0.1/24");
    let refusing = |mode: &str| {
        let router = router(&a, 150, mode).interface("mv0").datapath(Datapath::Raw);
        router.args(["--vmac-fallback", "refuse"])
    };
    let refused = refusing("macvlan").run_in_foreground();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--vmac macvlan") && refused.stderr.contains("passthru"), "{refused:?}");

    let backup = refusing("interface").start();
    let master = Vrrpd::usual(&b, 100).start();
    master.wait_state("master", SOON);
    // It would preempt: its timer has expired more than once by then.
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 20);
    let state = backup.state();
    assert_eq!(state["state"], "backup");
    assert!(state["vmac_reason"].as_str().is_some_and(|reason| reason.contains("macvlan link")));
    assert!(!a.has_address("mv0", CIDR));
    backup.assert_in_log("not becoming master", 1);
}

#[test]
fn interface_that_comes_back_as_another_kind_is_looked_at_again() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    add_macvlan(&a, "bridge", "10.0.0.1/24");
    let router = router(&a, 150, "interface").interface("mv0").datapath(Datapath::Raw).start();
    router.wait_state("master", SOON);
    assert_eq!(router.state()["vmac"], serde_json::Value::Null);
    a.ip("link del mv0");
    wait_until(SOON, "it knows that the interface is gone", || router.state()["ifindex"].is_null());
    lab.join(&a, 0, "mv0", "10.0.0.1/24");
    router.wait_state("master", SOON);
    assert_eq!(router.state()["vmac"], VMAC);
    assert_eq!(router.state()["vmac_reason"], serde_json::Value::Null);
}

/// A router that owns the address of `eth0`, at 10.0.0.1.
fn owner(host: &Host) -> VrrpdBuilder {
    Vrrpd::on(host).vrid(VRID).priority(255).address("10.0.0.1/24").v3("100ms").vmac("macvlan")
}

#[test]
fn owner_with_a_macvlan_link_answers_and_routes_at_the_virtual_mac_alone() {
    // RFC 9568 §8.1.2
    let mut lab = Lab::new();
    let [a, client] = lab.hosts();
    let network = lab.add_network();
    lab.join(&a, network, "eth1", "10.1.0.1/24");
    let server = lab.host_on(network, "server", "10.1.0.9/24");
    server.ip("route add default via 10.1.0.1");
    client.ip("route add 10.1.0.0/24 via 10.0.0.1");
    for (key, value) in [("ip_forward", "1"), ("conf/all/rp_filter", "1")] {
        a.namespace().sysctl(&format!("ipv4/{key}"), value);
    }
    let before = Snapshot::of(&a);
    let capture = Capture::on(&client);
    let vmac = virtual_router_mac(a.ipv4().into(), VRID);
    for _ in 0..2 {
        let master = owner(&a).start();
        let state = master.wait_state("master", SOON);
        assert_eq!((&state["vmac"], &state["vmac_reason"]), (&VMAC.into(), &serde_json::Value::Null));
        assert!(a.has_address("eth0", "10.0.0.1/24"), "its own address stays");
        capture.clear();
        client.ip("neigh flush dev eth0");
        a.ip("neigh flush dev eth0");
        let answered = Pinger::start(&client, a.ipv4(), Duration::from_millis(5));
        answered.wait_answers(5, SOON);
        let routed =
            Pinger::start(&client, "10.1.0.9".parse().expect("an address"), Duration::from_millis(5));
        routed.wait_answers(5, SOON);
        assert_eq!(client.neighbour(a.ipv4().into()).as_deref(), Some(VMAC));
        // What it asks itself says the same, and it hears the answers.
        a.ip("neigh flush dev eth0");
        let asking = Pinger::start(&a, client.ipv4(), Duration::from_millis(5));
        asking.wait_answers(5, SOON);
        wait_until(SOON, "the interface knows the client", || {
            a.ip("neigh show dev eth0").contains(&client.ipv4().to_string())
        });
        let claims = capture.claims(a.ipv4().into());
        assert_eq!(claims.into_iter().collect::<Vec<_>>(), [vmac]);
        drop((answered, routed, asking));
        capture.clear();
        assert_eq!(master.terminate(), 0);
        wait_until(SOON, "hosts are told the own MAC again", || {
            capture.claims(a.ipv4().into()).contains(&a.mac("eth0"))
        });
        before.assert_as_before(&a);
    }
}

#[test]
fn owner_with_a_macvlan_link_is_found_at_the_virtual_mac_over_ipv6() {
    // RFC 9568 §8.2.2
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    a.ip("addr add 2001:db8::1/64 dev eth0 nodad");
    client.ip("addr add 2001:db8::9/64 dev eth0 nodad");
    let (link_local, global) = (a.link_local("eth0"), "2001:db8::1".parse::<Ipv6Addr>().expect("an address"));
    let before = Snapshot::of(&a);
    let capture = Capture::on(&client);
    let addresses = [format!("{link_local}/64"), format!("{global}/64")];
    let master = Vrrpd::on(&a).vrid(VRID).priority(255).args(addresses).v3("100ms").vmac("macvlan").start();
    assert_eq!(master.wait_state("master", SOON)["vmac"], "00:00:5e:00:02:33");
    capture.clear();
    for address in [IpAddr::V6(global), IpAddr::V6(link_local)] {
        client.ip("-6 neigh flush dev eth0");
        a.ip("-6 neigh flush dev eth0");
        let scope = client.namespace().enter(|| nix::net::if_::if_nametoindex("eth0")).expect("it is there");
        let to = |address: IpAddr| match address {
            IpAddr::V6(address) => SocketAddrV6::new(address, 9, 0, scope),
            IpAddr::V4(_) => unreachable!("they are IPv6 addresses"),
        };
        // Nobody listens there: it is refused, which comes from the address and tells that packets pass.
        wait_until(SOON, "the owner answers", || {
            client.namespace().enter(|| {
                let socket = UdpSocket::bind("[::]:0").expect("a socket");
                socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time");
                socket.connect(to(address)).expect("a route");
                socket.send(b"?").is_err()
                    || socket.recv(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            })
        });
        assert_eq!(client.neighbour(address).as_deref(), Some("00:00:5e:00:02:33"));
        let claims = capture.claims(address);
        assert_eq!(claims.into_iter().collect::<Vec<_>>(), [virtual_router_mac(address, VRID)], "{address}");
    }
    assert_eq!(master.terminate(), 0);
    before.assert_as_before(&a);
}

#[test]
fn owner_without_rights_for_programs_serves_at_its_own_mac() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let setpriv = needs::SETPRIV.require().display().to_string();
    let bounded = [&setpriv[..], "--inh-caps", "-all", "--bounding-set", "-bpf,-sys_admin", "--"];
    let master = owner(&a).datapath(Datapath::Raw).through(bounded).start();
    let state = master.wait_state("master", SOON);
    assert_eq!(state["vmac"], serde_json::Value::Null);
    assert!(state["vmac_reason"].as_str().is_some_and(|reason| reason.contains("CAP_BPF")), "{state}");
    let pinger = Pinger::start(&client, a.ipv4(), Duration::from_millis(5));
    pinger.wait_answers(5, SOON);
    assert_ne!(client.neighbour(a.ipv4().into()).as_deref(), Some(VMAC));
}

#[test]
fn only_the_interface_that_has_the_address_answers_arp_for_it_among_links_of_one_port() {
    let sibling = |host: &Host, name: &str| {
        host.ip(&format!("link add link eth0 name {name} type macvlan mode bridge"));
        host.ip(&format!("link set {name} up"));
        host.link_local(name);
    };
    // With the router on a macvlan link, the interface below and other links answer; with a macvlan link of ours, others do.
    for (interface, mode) in [("mv0", "none"), ("mv0", "macvlan"), ("eth0", "macvlan"), ("eth0", "none")] {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        if interface == "mv0" {
            add_macvlan(&a, "bridge", "10.0.0.1/24");
        }
        sibling(&a, "mv1");
        let before = Snapshot::of(&a);
        let master = router(&a, 150, mode).interface(interface).datapath(Datapath::Raw).start();
        let state = master.wait_state("master", SOON);
        let expected =
            if state["vmac"].is_null() { a.mac(interface) } else { virtual_router_mac(ADDRESS.into(), VRID) };
        let capture = Capture::on(&client);
        let claims = || {
            capture.clear();
            for _ in 0..3 {
                client.ip("neigh flush dev eth0");
                let pinger = Pinger::start(&client, ADDRESS, Duration::from_millis(5));
                pinger.wait_answers(5, SOON);
            }
            capture.claims(ADDRESS.into()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(claims(), [expected], "{interface}, {mode}");
        // One that comes later, too.
        sibling(&a, "mv2");
        wait_until(SOON, "the new link says nothing else", || claims() == [expected]);
        a.ip("link del mv2");
        assert_eq!(master.terminate(), 0);
        before.assert_as_before(&a);
    }
}

/// Before Linux 6.6 a classifier is a filter of the qdisc clsact, and stays when its daemon dies.
#[test]
fn classifiers_of_a_killed_daemon_go_with_its_guardian_and_with_the_next_start() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link add link eth0 name mv1 type macvlan mode bridge");
    a.ip("link set mv1 up");
    a.link_local("mv1");
    // The first owns its address: `eth0` has two, one for each direction. On `mv1` each router has one.
    let two = "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"100ms\"\n\
               [[router]]\nvrid = 51\npriority = 255\nvmac = \"macvlan\"\naddresses = [\"10.0.0.1/24\"]\n\
               [[router]]\nvrid = 52\nvmac = \"none\"\naddresses = [\"10.0.0.52/24\"]\n";
    let daemon = Vrrpd::on(&a).config(two).datapath(Datapath::Raw);
    for has_qdisc in [false, true] {
        if has_qdisc {
            // Another program's stays.
            let added = a.run(needs::TC.require(), ["qdisc", "add", "dev", "eth0", "clsact"]);
            assert!(added.success(), "{}", added.stderr);
        }
        let before = Snapshot::of(&a);
        let start = || {
            let master = daemon.clone().start();
            wait_until(SOON, "both are master, with their classifiers", || {
                master.states().iter().all(|state| state["state"] == "master") && master.classifiers() == 4
            });
            master
        };
        let master = start();
        let guardian = master.guardian().expect("it has one");
        master.kill_daemon();
        wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
        before.assert_as_before(&a);

        start().kill();
        assert_eq!(start().terminate(), 0);
        before.assert_as_before(&a);
    }
}
