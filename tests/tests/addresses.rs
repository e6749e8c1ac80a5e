//! Virtual addresses on the interface.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vrrpd_lab::needs::{IP, kernel_is_at_least};
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Capture, Datapath, Host, Lab, Monitor, Signal, Vrrpd, signal_to, wait_until};

fn router(host: &Host, addresses: &[&str]) -> Vrrpd {
    Vrrpd::on(host).vrid(51).args(addresses.iter().copied()).v3("100ms").start()
}

#[test]
fn address_with_a_length_has_it_and_one_without_is_a_host_address() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let router = router(&a, &["10.0.0.100/24", "10.0.0.101", "192.0.2.1/30"]);
    router.wait_state("master", SOON);
    for address in ["10.0.0.100/24", "10.0.0.101/32", "192.0.2.1/30"] {
        assert!(a.has_address("eth0", address), "{address} is not among {:?}", a.addresses("eth0"));
    }
    let shown = router.state()["addresses"].clone();
    assert_eq!(shown, serde_json::json!(["10.0.0.100/24", "10.0.0.101/32", "192.0.2.1/30"]));
}

#[test]
fn ipv6_addresses_are_usable_at_once_and_announced() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    // As on a real machine: duplicate address detection is on, and would take a second.
    a.namespace().sysctl("ipv6/conf/eth0/accept_dad", "1");
    // Read before the virtual address is added, which is link-local as well.
    let own = a.link_local("eth0");
    let capture = Capture::on(&client);
    let router = router(&a, &["fe80::33/64", "2001:db8::33/64", "2001:db8::34"]);
    let state = router.wait_state("master", SOON);
    assert_eq!((&state["family"], &state["protocol"]), (&"ipv6".into(), &3.into()));
    for address in ["fe80::33/64", "2001:db8::33/64", "2001:db8::34/128"] {
        assert!(a.has_address("eth0", address), "{address} is not among {:?}", a.addresses("eth0"));
        let plain: IpAddr = address.split('/').next().expect("an address").parse().expect("an address");
        wait_until(SOON, "a neighbour advertisement", || {
            capture.announcements().iter().any(|(_, announced)| *announced == plain)
        });
    }
    assert!(!a.ip("addr show dev eth0").contains("tentative"));
    let (_, advert) = capture.wait_advert(SOON, "it advertises", |advert| advert.priority == 100);
    assert_eq!((advert.source, advert.version), (own.into(), 3));
    assert_eq!(advert.addresses[0], "fe80::33".parse::<IpAddr>().expect("an address"), "RFC 9568 §5.2.9");

    assert_eq!(router.terminate(), 0);
    assert_eq!(a.addresses("eth0").len(), 2);
}

#[test]
fn addresses_have_words_of_ip_address_and_extra_ones_are_not_advertised() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let before = a.addresses("eth0");
    let capture = Capture::on(&client);
    let addresses = "10.0.8.100/24 label eth0:vip scope link broadcast 10.0.8.250";
    let router = Vrrpd::on(&a)
        .vrid(51)
        .args([addresses, "10.0.8.101 peer 10.0.8.102/32"])
        .args([
            "--extra-address",
            "10.0.7.1/24 brd +",
            "--extra-address",
            "2001:db8::7/64 preferred_lft forever",
        ])
        .v3("100ms");
    let first = router.clone().start();
    let state = first.wait_state("master", SOON);
    assert_eq!(state["addresses"], serde_json::json!(["10.0.8.100/24", "10.0.8.101/32"]));
    assert_eq!(state["extra_addresses"], serde_json::json!(["10.0.7.1/24", "2001:db8::7/64"]));
    let shown = a.ip("addr show dev eth0");
    for line in [
        "inet 10.0.8.100/24 brd 10.0.8.250 scope link proto 112 eth0:vip",
        "inet 10.0.8.101 peer 10.0.8.102/32 scope global",
        "inet 10.0.7.1/24 brd 10.0.7.255 scope global",
        "inet6 2001:db8::7/64 scope global",
    ] {
        let without_mark = line.replace(" proto 112", "");
        assert!(shown.contains(line) || shown.contains(&without_mark), "{line} is not in {shown}");
    }
    assert!(!shown.contains("deprecated"), "{shown}");
    let (_, advert) = capture.wait_advert(SOON, "it advertises", |advert| advert.priority == 100);
    assert_eq!(advert.addresses, [100, 101].map(|last| IpAddr::from([10, 0, 8, last])));
    for extra in ["10.0.7.1", "2001:db8::7"] {
        let extra: IpAddr = extra.parse().expect("an address");
        wait_until(SOON, "it is announced", || {
            capture.announcements().iter().any(|(_, announced)| *announced == extra)
        });
    }
    // Each is restored as it was.
    a.ip("addr del 10.0.8.100/24 dev eth0");
    a.ip("addr del 2001:db8::7/64 dev eth0");
    wait_until(SOON, "they are there again", || {
        let shown = a.ip("addr show dev eth0");
        shown.contains("eth0:vip") && shown.contains("2001:db8::7/64") && !shown.contains("deprecated")
    });
    first.kill_daemon();
    wait_until(SOON, "the guardian has given all back", || a.addresses("eth0") == before);

    let second = router.clone().beside(&first).start();
    second.wait_state("master", SOON);
    second.kill();
    assert_eq!(a.addresses("eth0").len(), before.len() + 4);
    let third = Vrrpd::on(&a).vrid(51).args(["--family", "ipv4"]).v3("100ms").beside(&second).start();
    wait_until(SOON, "the next start has given all back", || a.addresses("eth0") == before);
    assert_eq!(third.terminate(), 0);
}

#[test]
fn router_without_addresses_takes_part_in_the_election() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts();
    let capture = Capture::on(&client);
    let empty = |host: &Host, priority| {
        Vrrpd::on(host).vrid(51).priority(priority).args(["--family", "ipv4"]).v3("100ms")
    };
    let before = a.addresses("eth0");
    let first = empty(&a, 150).start();
    let state = first.wait_state("master", SOON);
    assert_eq!((&state["family"], &state["addresses"]), (&"ipv4".into(), &serde_json::json!([])));
    let (_, advert) = capture.wait_advert(SOON, "it advertises", |advert| advert.priority == 150);
    assert_eq!(advert.addresses, Vec::<IpAddr>::new());
    assert_eq!(a.addresses("eth0"), before);

    let second = empty(&b, 100).start();
    second.wait_state("backup", SOON);
    wait_until(SOON, "three adverts are accepted", || second.counter("adverts_received") >= 3);
    assert_eq!(second.state()["master"]["same_addresses"], true);
    assert_eq!(first.terminate(), 0);
    assert_eq!(second.wait_state("master", SOON)["reason"], "master-resigned");
    capture.wait_advert(SOON, "a resignation", |advert| advert.priority == 0);

    // It follows a router with addresses, which discards adverts without any (RFC 9568 §5.2.5).
    let third = Vrrpd::usual(&a, 150).start();
    third.wait_state("master", SOON);
    assert_eq!(second.wait_state("backup", SOON)["mismatch"]["check"], "addresses");
    wait_until(SOON, "its adverts were discarded", || third.counter("rejected/address_count") >= 1);
    assert_eq!(third.state()["mismatch"]["theirs"], "no addresses");
}

#[test]
fn address_that_was_there_before_survives() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    a.ip("addr add 10.0.0.100/24 dev eth0");
    let before = a.addresses("eth0");
    let first = Vrrpd::usual(&a, 100).address("10.0.0.101/24").start();
    first.wait_state("master", SOON);
    assert!(a.has_address("eth0", "10.0.0.101/24"));

    let second = Vrrpd::usual(&b, 150).start();
    second.wait_state("master", SOON);
    assert_eq!(first.wait_state("backup", SOON)["addresses_present"], serde_json::json!([CIDR]));
    wait_until(SOON, "what it added is gone", || !a.has_address("eth0", "10.0.0.101/24"));
    assert_eq!(a.addresses("eth0"), before);
    // Once at its start, and once when it became backup again.
    first.assert_in_log("virtual address present on a router", 2);
    assert!(first.atropos(&["--state"]).stdout.contains("10.0.0.100/24 on eth0 although not master"));
    assert_eq!(second.state()["addresses_present"], serde_json::json!([]));

    assert_eq!(first.terminate(), 0);
    assert_eq!(a.addresses("eth0"), before);
}

#[test]
fn address_goes_with_the_role() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let first = Vrrpd::usual(&a, 100).start();
    first.wait_state("master", SOON);
    assert!(a.has_address("eth0", CIDR));
    let second = Vrrpd::usual(&b, 150).start();
    second.wait_state("master", SOON);
    wait_until(SOON, "the address has moved", || b.has_address("eth0", CIDR) && !a.has_address("eth0", CIDR));
}

#[test]
fn primary_address_stays_the_source_of_adverts_beside_a_smaller_virtual_one() {
    let lab = Lab::new();
    let client = lab.host("client", "10.0.0.9/24");
    let a = lab.host("a", "10.0.0.50/24");
    let capture = Capture::on(&client);
    let router = router(&a, &["10.0.0.1/24"]);
    router.wait_state("master", SOON);
    wait_until(SOON, "five adverts", || capture.adverts().len() >= 5);
    assert!(capture.adverts().iter().all(|(_, advert)| advert.source == a.ipv4()));
}

#[test]
fn routers_on_two_interfaces_are_independent() {
    let mut lab = Lab::new();
    let [a, b] = lab.hosts();
    let second = lab.add_network();
    lab.join(&a, second, "eth1", "10.1.0.1/24");
    lab.join(&b, second, "eth1", "10.1.0.2/24");
    let outside = Vrrpd::usual(&a, 150).start();
    let inside = Vrrpd::on(&a)
        .interface("eth1")
        .vrid(51)
        .address("10.1.0.100/24")
        .v3("100ms")
        .beside(&outside)
        .start();
    outside.wait_state("master", SOON);
    inside.wait_state("master", SOON);
    lab.port_down(&a);
    outside.wait_state("fault", SOON);
    inside.wait_state("master", SOON);
    assert!(a.has_address("eth1", "10.1.0.100/24"));
}

/// Removes an address whenever it is there, until told to stop; returns how often.
fn thief(host: &Host, stop: &AtomicBool) -> u32 {
    let mut stolen = 0;
    while !stop.load(Ordering::Relaxed) {
        stolen += u32::from(host.run("ip", ["addr", "del", CIDR, "dev", "eth0"]).success());
    }
    stolen
}

#[test]
fn address_removed_repeatedly_is_restored_at_once_and_then_with_backoff() {
    const SAID: &str = "virtual address lost";
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    let router = Vrrpd::usual(&a, 100).args(["--garp-delay", "0"]).start();
    router.wait_state("master", SOON);
    a.ip(&format!("addr del {CIDR} dev eth0"));
    wait_until(SOON, "it is back", || a.has_address("eth0", CIDR));

    let capture = Capture::on(&client);
    let stop = AtomicBool::new(false);
    let span = Duration::from_secs(3);
    let (stolen, announced) = thread::scope(|scope| {
        let thief = scope.spawn(|| thief(&a, &stop));
        thread::sleep(span);
        let announced = capture.announcements().len();
        stop.store(true, Ordering::Relaxed);
        (thief.join().expect("it ends"), announced)
    });
    // After 0, 10, 20, 40… 640 ms, and then once a second.
    assert!((3..=11).contains(&stolen), "{stolen} times in {span:?}");
    assert!(announced <= 60, "{announced} announcements");
    assert!(router.count_in_log(SAID) <= 5, "{:?}", router.log());
    wait_until(SOON, "it is back", || a.has_address("eth0", CIDR));
    assert!(router.is_master());
}

/// A master whose address was removed repeatedly, so that its backoff is long, and now once more.
fn robbed(a: &Host, b: &Host) -> (Vrrpd, Vrrpd) {
    let robbed = router(a, &[CIDR]);
    robbed.wait_state("master", SOON);
    let peer = Vrrpd::on(b).vrid(51).address(CIDR).priority(50).v3("100ms").start();
    for _ in 0..9 {
        wait_until(SOON, "the address is there", || a.has_address("eth0", CIDR));
        a.ip(&format!("addr del {CIDR} dev eth0"));
    }
    (robbed, peer)
}

/// The notification of a removal may arrive after a later request.
#[test]
fn address_that_has_not_gone_after_all_goes_with_the_role() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (router, _peer) = robbed(&a, &b);
    // It has our mark, and its daemon does not restore it any more.
    let other = Vrrpd::on(&a).vrid(99).priority(255).address(CIDR).v3("100ms");
    // The interface can have only one XDP program.
    let other = other.datapath(Datapath::Raw).start();
    other.wait_state("master", SOON);
    other.kill();
    assert!(a.has_address("eth0", CIDR));
    assert!(router.atropos(&["--backup"]).success());
    router.wait_state("backup", SOON);
    wait_until(SOON, "the address is gone", || !a.has_address("eth0", CIDR));
}

/// Whether the kernel stores our mark with addresses (Linux 5.18).
fn addresses_have_marks() -> bool {
    kernel_is_at_least((5, 18))
}

#[test]
fn address_that_another_program_added_again_stays_if_marks_show_that() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let (router, _peer) = robbed(&a, &b);
    let ip = |what: &str| a.run(IP.require(), ["addr", what, CIDR, "dev", "eth0"]).code == 0;
    // If the daemon was faster, the address is removed once more.
    wait_until(SOON, "the address is taken", || ip("add") || (ip("del") && ip("add")));
    assert!(router.atropos(&["--backup"]).success());
    router.wait_state("backup", SOON);
    assert_eq!(router.terminate(), 0);
    // No machine with the address is better than two.
    assert_eq!(a.has_address("eth0", CIDR), addresses_have_marks());
}

/// The sysctl by which the next secondary address becomes primary.
#[test]
fn address_that_another_program_added_while_the_process_was_stopped_stays_if_marks_show_that() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let stopped = router(&a, &[CIDR]);
    stopped.wait_state("master", SOON);
    let peer = Vrrpd::on(&b).vrid(51).address(CIDR).priority(50).v3("100ms").start();
    stopped.pause();
    // For so long that it does not go on as Master.
    wait_until(SOON, "the peer has sent adverts for a second", || peer.counter("adverts_sent") >= 10);
    a.ip(&format!("addr del {CIDR} dev eth0"));
    a.ip(&format!("addr add {CIDR} dev eth0"));
    stopped.resume();
    stopped.wait_log(SOON, "from=\"master\" to=\"backup\"");
    assert_eq!(stopped.terminate(), 0);
    assert_eq!(a.has_address("eth0", CIDR), addresses_have_marks());
}

fn promote_secondaries(host: &Host) -> String {
    let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
    host.namespace().enter(|| fs::read_to_string(path).expect("the kernel has it")).trim().to_owned()
}

/// When the first address of a subnet is removed, the kernel removes the others, unless `promote_secondaries` is set.
#[test]
fn addresses_of_a_subnet_go_one_by_one_and_take_no_other_along() {
    const SUBNET: &str = "172.16.5";
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    a.namespace().sysctl("ipv4/conf/eth0/promote_secondaries", "0");
    // A router that was told to be backup takes over again after a Master_Down_Interval without adverts: longer than a
    // slow machine takes.
    let file = |priority: u8| {
        let router = |vrid| {
            format!("[[router]]\ninterface = \"eth0\"\nvrid = {vrid}\naddresses = [\"{SUBNET}.{vrid}/24\"]\n")
        };
        let defaults = format!(
            "[defaults]\nprotocol = \"v3\"\ninterval = \"500ms\"\nvmac = \"none\"\npriority = {priority}\n"
        );
        defaults + &(1..=4).map(router).collect::<String>()
    };
    let master = Vrrpd::on(&a).config(&file(100)).start();
    wait_until(SOON, "all are master", || master.states().iter().all(|state| state["state"] == "master"));
    let _backup = Vrrpd::on(&b).config(&file(50)).start();
    let others = format!("{SUBNET}.200/24");
    a.ip(&format!("addr add {others} dev eth0"));
    let mut monitor = Monitor::on(&a);

    for vrid in 1..=3 {
        assert!(master.atropos(&["--backup", "-v", &vrid.to_string()]).success());
        let gone = format!("{SUBNET}.{vrid}/24");
        wait_until(SOON, "the address is gone", || !a.has_address("eth0", &gone));
        for left in (vrid + 1..=4).map(|vrid| format!("{SUBNET}.{vrid}/24")).chain([others.clone()]) {
            assert!(a.has_address("eth0", &left), "{left} is not among {:?}", a.addresses("eth0"));
        }
    }
    let gone = [1, 2, 3].map(|vrid| Ipv4Addr::new(172, 16, 5, vrid));
    assert_eq!(monitor.addresses_gone(), gone, "no other was gone for a moment");
    assert_eq!(promote_secondaries(&a), "0");
    // The guardian removes them the same way.
    master.kill_daemon();
    wait_until(SOON, "the last one is gone", || !a.has_address("eth0", &format!("{SUBNET}.4/24")));
    assert!(a.has_address("eth0", &others));
    wait_until(SOON, "the setting is as it was", || promote_secondaries(&a) == "0");
    assert_eq!(master.count_in_log("virtual address lost"), 0, "{:?}", master.log());
}

/// Removes the address and adds it again, without our mark.
fn take_for_oneself(host: &Host) {
    host.ip(&format!("addr del {CIDR} dev eth0"));
    host.ip(&format!("addr add {CIDR} dev eth0"));
}

#[test]
fn address_in_a_journal_that_belongs_to_another_program_now_stays_if_marks_show_that() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    let first = router(&a, &[CIDR]);
    first.wait_state("master", SOON);
    let guardian = first.guardian().expect("it has one");
    signal_to(guardian, Signal::SIGSTOP);
    first.kill_daemon();
    take_for_oneself(&a);
    signal_to(guardian, Signal::SIGCONT);
    // It waits for the guardian.
    let second = Vrrpd::on(&a).vrid(51).address("10.0.0.101/24").v3("100ms").beside(&first).start();
    assert_eq!(a.has_address("eth0", CIDR), addresses_have_marks(), "the guardian");
    second.wait_state("master", SOON);
    assert_eq!(second.terminate(), 0);

    a.ip("addr flush dev eth0 to 10.0.0.100");
    let third = Vrrpd::on(&a).vrid(51).address(CIDR).v3("100ms").beside(&second).start();
    third.wait_state("master", SOON);
    third.kill();
    take_for_oneself(&a);
    let fourth = Vrrpd::on(&a).vrid(51).address("10.0.0.101/24").v3("100ms").beside(&third).start();
    fourth.wait_state("master", SOON);
    assert_eq!(a.has_address("eth0", CIDR), addresses_have_marks(), "the next start");
}
