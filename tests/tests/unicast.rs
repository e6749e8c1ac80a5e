//! Routers with peers: no multicast, each advert to each peer, and only adverts of peers accepted.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vrrpd_lab::frame::{MULTICAST_V4, MULTICAST_V6};
use vrrpd_lab::usual::{
    ADDRESS, CIDR, INTERVAL, SOON, VRID, assert_on_time, routers_file, without_multicast,
};
use vrrpd_lab::{
    Advert, AdvertFrame, Capture, Flood, Host, Injector, Lab, Vrrpd, VrrpdBuilder, timers, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// The usual router with these peers.
fn router(host: &Host, priority: u8, peers: &[&Host]) -> VrrpdBuilder {
    let peers = peers.iter().map(|peer| format!("--peer={}", peer.ipv4()));
    Vrrpd::usual(host, priority).args(peers)
}

fn is_multicast(advert: &Advert) -> bool {
    advert.destination == IpAddr::V4(MULTICAST_V4) || advert.destination == IpAddr::V6(MULTICAST_V6)
}

#[test]
fn failover_works_where_all_multicast_is_dropped() {
    let lab = Lab::new();
    let [a, b] = without_multicast(&lab);
    let capture = Capture::on(&b);
    let master = router(&a, 200, &[&b]).start();
    master.wait_state("master", SOON);
    // The program passes on what it handles, so that the capture has it.
    let backup = router(&b, 100, &[&a]).args(["--xdp-pass"]).start();
    let state = backup.wait_state("backup", SOON);
    wait_until(SOON, "five adverts", || backup.counter("adverts_received") >= 5);
    assert_eq!(backup.state()["master"]["address"], a.ipv4().to_string());
    assert_eq!(state["peers"][0]["address"], a.ipv4().to_string());
    assert!(state["multicast_group"].is_null() && state["peers"][0]["min_ttl"] == 255);
    let (_, advert) = capture.wait_advert(SOON, "an advert of a", |advert| advert.priority == 200);
    assert_eq!((advert.destination, advert.ttl), (b.ipv4().into(), 255));
    assert!(advert.checksum_is_right, "over the peer's address");

    master.kill();
    let killed = Instant::now();
    backup.wait_state("master", SOON);
    let (at, _) = capture.wait_advert(SOON, "an advert of b", |advert| advert.priority == 100);
    let last =
        capture.adverts().into_iter().filter(|(_, advert)| advert.priority == 200).map(|(at, _)| at).max();
    let last = last.expect("a was master");
    assert!(last <= killed + INTERVAL);
    assert_on_time(at - last, timers::master_down_interval(INTERVAL, 100));
    assert!(!capture.adverts().iter().any(|(_, advert)| is_multicast(advert)), "b sends none");

    let again = router(&a, 200, &[&b]).start();
    again.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
    assert_eq!(again.terminate(), 0);
    assert_eq!(backup.wait_state("master", SOON)["reason"], "master-resigned");
}

#[test]
fn no_group_is_joined_and_nothing_answers_with_an_icmp_error() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let groups = |host: &Host| host.ip("maddr show dev eth0");
    let before = groups(&a);
    // Every error is sent, without the rate limit of one a second.
    b.namespace().sysctl("ipv4/icmp_ratelimit", "0");
    let master = router(&a, 200, &[&b]).start();
    let backup = router(&b, 100, &[&a]).start();
    master.wait_state("master", SOON);
    backup.wait_state("backup", SOON);
    // Before its daemon runs, a host answers with ICMP errors; the capture begins when both run.
    let capture = Capture::on(&b);
    let heard = backup.counter("adverts_received");
    wait_until(SOON, "five adverts", || backup.counter("adverts_received") >= heard + 5);
    assert_eq!(groups(&a), before);
    let icmp = |frame: &[u8]| frame.get(12..14) == Some(&[8, 0][..]) && frame.get(23) == Some(&1);
    assert!(!capture.frames().iter().any(|seen| icmp(&seen.frame)), "protocol unreachable");
}

#[test]
fn each_of_three_peers_hears_the_master_and_a_dead_peer_delays_none() {
    let lab = Lab::new();
    let [a, b, c, d] = lab.hosts();
    let master = router(&a, 200, &[&b, &c, &d]).start();
    let others = [router(&b, 150, &[&a, &c, &d]).start(), router(&c, 100, &[&a, &b, &d]).start()];
    d.ip("link set eth0 down");
    master.wait_state("master", SOON);
    for backup in &others {
        backup.wait_state("backup", SOON);
        wait_until(SOON, "twenty adverts", || backup.counter("adverts_received") >= 20);
        assert_eq!(backup.state()["state"], "backup");
    }
    assert_eq!(master.counter("transitions"), 2, "{}", master.state()["history"]);
    assert_eq!(master.terminate(), 0);
    others[0].wait_state("master", SOON);
}

#[test]
fn strangers_and_multicast_are_rejected_and_counted() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts();
    let backup = router(&a, 100, &[&b]).start();
    backup.wait_state("master", SOON);
    let injector = Injector::on(&c);
    let right = unicast(&b, &a, a.mac("eth0"), VRID);
    let rejects = |reason: &str, frame: &AdvertFrame| {
        let before = backup.counter(&format!("rejected/{reason}"));
        injector.send(&frame.build());
        wait_until(SOON, reason, || backup.counter(&format!("rejected/{reason}")) == before + 1);
    };
    rejects("peer", &AdvertFrame { source: c.ipv4().into(), ..right.clone() });
    let mismatch = backup.state()["mismatch"].clone();
    assert_eq!((&mismatch["check"], &mismatch["source"]), (&"peer".into(), &c.ipv4().to_string().into()));
    rejects("destination", &AdvertFrame { destination: None, destination_mac: None, ..right.clone() });
    rejects("ttl", &AdvertFrame { ttl: 254, ..right.clone() });
    assert_eq!(backup.counter("adverts_received"), 0);
    if backup.state()["datapath"] == "raw" {
        backup.assert_in_log("advertisement rejected", 3);
    }
    injector.send(&right.build());
    backup.wait_state("backup", SOON);
}

/// An advert of the usual interval by unicast.
fn unicast(from: &Host, to: &Host, mac: [u8; 6], vrid: u8) -> AdvertFrame {
    AdvertFrame {
        destination: Some(to.ipv4().into()),
        destination_mac: Some(mac),
        ..AdvertFrame::v3(from.ipv4().into(), vrid, 200, INTERVAL, &[ADDRESS.into()])
    }
}

#[test]
fn a_master_with_the_virtual_mac_hears_peers_that_send_to_the_interface_s_own_mac() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let own = a.mac("eth0");
    let master = router(&a, 100, &[&b]).vmac("interface").start();
    master.wait_state("master", SOON);
    assert_ne!(a.mac("eth0"), own);
    let injector = Injector::on(&b);
    // It is taken in a moment after the interface has the other one.
    wait_until(SOON, "it yields", || {
        injector.send(&unicast(&b, &a, own, VRID).build());
        master.state()["state"] == "backup"
    });
    assert_eq!(master.counter("transitions"), 3, "{}", master.state()["history"]);
}

#[test]
fn a_router_without_peers_does_not_hear_unicast() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let text = format!(
        "[defaults]\nprotocol = \"v3\"\ninterval = \"100ms\"\nvmac = \"none\"\n\
         [[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{CIDR}\"]\n\
         [[router]]\ninterface = \"eth0\"\nvrid = 52\naddresses = [\"10.0.0.101/24\"]\n\
         peers = [{{ address = \"{}\", min-ttl = 250 }}]\n",
        b.ipv4()
    );
    let both = Vrrpd::on(&a).vrid(52).config(&text).start();
    let of = |vrid: u8| both.state_of(vrid);
    let is_master = |vrid| of(vrid)["state"] == "master";
    wait_until(SOON, "both are master", || is_master(51) && is_master(52));
    let injector = Injector::on(&b);
    injector.send(&unicast(&b, &a, a.mac("eth0"), 51).build());
    // Sent last, so that the first one has been handled when this one is counted.
    injector.send(&AdvertFrame { ttl: 250, ..unicast(&b, &a, a.mac("eth0"), 52) }.build());
    wait_until(SOON, "the one with a peer yields", || of(52)["counters"]["adverts_received"] == 1);
    assert_eq!((&of(51)["counters"]["adverts_received"], &of(51)["state"]), (&0.into(), &"master".into()));
}

/// Two machines on separate networks, with a router between them.
struct TwoHops {
    _lab: Lab,
    _between: [Host; 2],
    a: Host,
    b: Host,
}

impl TwoHops {
    fn set_up() -> Self {
        let mut lab = Lab::new();
        let second = lab.add_network();
        let third = lab.add_network();
        let a = lab.host("a", "10.0.0.1/24");
        let b = lab.host_on(third, "b", "10.2.0.2/24");
        let near = lab.host("near", "10.0.0.254/24");
        lab.join(&near, second, "eth1", "10.1.0.1/24");
        let far = lab.host_on(third, "far", "10.2.0.254/24");
        lab.join(&far, second, "eth1", "10.1.0.2/24");
        for host in [&near, &far] {
            host.namespace().sysctl("ipv4/ip_forward", "1");
            host.namespace().sysctl("ipv6/conf/all/forwarding", "1");
        }
        Self::route(&[(&a, "10.2.0.0/24 via 10.0.0.254"), (&b, "10.0.0.0/24 via 10.2.0.254")]);
        Self::route(&[(&near, "10.2.0.0/24 via 10.1.0.2"), (&far, "10.0.0.0/24 via 10.1.0.1")]);
        for (host, interface, address) in [
            (&a, "eth0", "2001:db8::1/64"),
            (&near, "eth0", "2001:db8::fe/64"),
            (&near, "eth1", "2001:db8:1::1/64"),
            (&far, "eth1", "2001:db8:1::2/64"),
            (&far, "eth0", "2001:db8:2::fe/64"),
            (&b, "eth0", "2001:db8:2::2/64"),
        ] {
            host.ip(&format!("addr add {address} dev {interface} nodad"));
        }
        Self::route(&[(&a, "2001:db8:2::/64 via 2001:db8::fe"), (&b, "2001:db8::/64 via 2001:db8:2::fe")]);
        Self::route(&[
            (&near, "2001:db8:2::/64 via 2001:db8:1::2"),
            (&far, "2001:db8::/64 via 2001:db8:1::1"),
        ]);
        // The laboratory lives as long as its machines.
        Self { _lab: lab, _between: [near, far], a, b }
    }

    fn route(routes: &[(&Host, &str)]) {
        for (host, route) in routes {
            host.ip(&format!("route add {route}"));
        }
    }
}

#[test]
fn two_routers_on_the_way_lower_the_ttl_by_two() {
    let hops = TwoHops::set_up();
    for (addresses, peers) in [
        (&["192.0.2.100/32"][..], ["10.2.0.2", "10.0.0.1"]),
        (&["fe80::100/64", "2001:db8:9::100/128"][..], ["2001:db8:2::2", "2001:db8::1"]),
    ] {
        let start = |host: &Host, priority, peer: &str, min_ttl: &str| {
            let router = Vrrpd::on(host).vrid(VRID).priority(priority).v3("100ms").args(addresses);
            router.args(["--peer", peer, "--min-ttl", min_ttl]).start()
        };
        let master = start(&hops.a, 200, peers[0], "253");
        master.wait_state("master", SOON);
        let strict = start(&hops.b, 100, peers[1], "254");
        wait_until(SOON, "rejected for its TTL", || strict.counter("rejected/ttl") > 0);
        assert_eq!(strict.counter("adverts_received"), 0);
        drop(strict);
        let backup = start(&hops.b, 100, peers[1], "253");
        wait_until(SOON, "ten adverts", || backup.counter("adverts_received") >= 10);
        assert_eq!(backup.state()["state"], "backup");
        assert_eq!(backup.state()["master"]["address"], peers[1]);
        master.kill_daemon();
        assert_eq!(backup.wait_state("master", SOON)["reason"], "master-resigned", "its guardian says so");
    }
}

#[test]
fn a_master_without_a_route_to_any_peer_gives_up_until_there_is_one() {
    let hops = TwoHops::set_up();
    let router = Vrrpd::on(&hops.a).vrid(VRID).priority(200).v3("100ms").address("192.0.2.100/32");
    let master = router.args(["--peer=10.2.0.2,min-ttl=0"]).start();
    master.wait_state("master", SOON);
    hops.a.ip("route del 10.2.0.0/24");
    let state = master.wait_state("fault", SOON);
    assert_eq!(state["reason"], "advert-unsendable");
    assert!(
        state["peers"][0]["error"].as_str().is_some_and(|error| error.contains("unreachable")),
        "{state}"
    );
    master.assert_in_log("cannot send advertisement to peer", 1);
    hops.a.ip("route add 10.2.0.0/24 via 10.0.0.254");
    let state = master.wait_state("master", PATIENCE);
    assert!(state["peers"][0]["error"].is_null());
}

#[test]
fn a_reload_adds_a_peer_without_a_change_of_state() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts();
    let text = |peers: &str| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{CIDR}\"]\nprotocol = \"v3\"\n\
             interval = \"100ms\"\nvmac = \"none\"\npriority = 200\npeers = [{peers}]\n"
        )
    };
    let master = Vrrpd::on(&a).config(&text(&format!("\"{}\"", b.ipv4()))).start();
    master.wait_state("master", SOON);
    let transitions = master.counter("transitions");
    let capture = Capture::on(&c);
    master.reload(&text(&format!("\"{}\", \"{}\"", b.ipv4(), c.ipv4())));
    capture.wait_advert(SOON, "the new peer hears it", |advert| advert.destination == c.ipv4());
    assert_eq!(master.counter("transitions"), transitions);
    let own = format!("\"{}\"", a.ipv4());
    master.reload(&text(&own));
    wait_until(SOON, "the own address is refused", || master.count_in_log("reload refused") == 1);
    assert_eq!(master.state()["peers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_peer_that_a_reload_removes_is_not_heard_any_more() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts();
    let text = |peer: &Host| routers_file(&[(VRID, "10.0.0.100", &format!("peers = [\"{}\"]", peer.ipv4()))]);
    let backup = Vrrpd::of_file(&a, &text(&b));
    backup.wait_state("master", SOON);
    let of_b = Flood::every(INTERVAL, &b, vec![unicast(&b, &a, a.mac("eth0"), VRID).build()]);
    backup.wait_state("backup", SOON);

    backup.reload(&text(&c));
    backup.wait_state("master", SOON);
    let (received, rejected) = (backup.counter("adverts_received"), backup.counter("rejected/peer"));
    wait_until(SOON, "five are discarded", || backup.counter("rejected/peer") >= rejected + 5);
    assert_eq!(backup.counter("adverts_received"), received);
    of_b.stop();
    Injector::on(&c).send(&unicast(&c, &a, a.mac("eth0"), VRID).build());
    backup.wait_state("backup", SOON);
}

#[test]
fn unicast_is_heard_while_any_router_of_the_source_address_has_peers() {
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let with_peers = format!("peers = [\"{}\"]", b.ipv4());
    let [first, second] = [(51, "10.0.0.51", &*with_peers), (52, "10.0.0.52", &*with_peers)];
    let multicast = (53, "10.0.0.53", "");
    let daemon = Vrrpd::of_file(&a, &routers_file(&[first, second, multicast]));
    let injector = Injector::on(&b);
    let send = |vrid| injector.send(&unicast(&b, &a, a.mac("eth0"), vrid).build());
    for vrid in [51, 52, 53] {
        daemon.wait_state_of(vrid, "master", SOON);
    }
    let received = |vrid: u8| daemon.state_of(vrid)["counters"]["adverts_received"].as_u64();
    let not_ours = || daemon.state_of(53)["counters"]["rejected"]["not_ours"].as_u64();
    send(51);
    send(52);
    wait_until(SOON, "both hear one", || (received(51), received(52)) == (Some(1), Some(1)));
    let before = not_ours().expect("a number");

    daemon.reload(&routers_file(&[first, multicast]));
    wait_until(SOON, "one has left", || daemon.find(52).is_none());
    send(52);
    send(51);
    wait_until(SOON, "the other one hears another", || received(51) == Some(2));
    assert_eq!(not_ours(), Some(before + 1));

    daemon.reload(&routers_file(&[multicast]));
    wait_until(SOON, "both have left", || daemon.find(51).is_none());
    send(51);
    let to_group = AdvertFrame { destination: None, destination_mac: None, ..unicast(&b, &a, [0; 6], 54) };
    injector.send(&to_group.build());
    wait_until(SOON, "multicast for others is counted", || not_ours() >= Some(before + 2));
    assert_eq!(not_ours(), Some(before + 2), "unicast is nobody's here any more");
}

#[test]
fn source_and_group_are_as_configured() {
    const GROUP: &str = "239.1.2.3";
    let lab = Lab::new();
    let [a, b] = lab.hosts();
    let capture = Capture::on(&b);
    let start = |host: &Host, priority, source: &str| {
        host.ip(&format!("addr add {source}/24 dev eth0"));
        let router = Vrrpd::usual(host, priority).args(["--source", source, "--multicast-group", GROUP]);
        router.in_user_space().start()
    };
    let master = start(&a, 200, "10.0.0.11");
    let backup = start(&b, 100, "10.0.0.12");
    master.wait_state("master", SOON);
    wait_until(SOON, "five adverts", || backup.counter("adverts_received") >= 5);
    assert_eq!(backup.state()["master"]["address"], "10.0.0.11");
    assert_eq!(
        (&backup.state()["source"], &backup.state()["multicast_group"]),
        (&"10.0.0.12".into(), &GROUP.into())
    );
    assert!(b.ip("maddr show dev eth0").contains(GROUP));
    let (_, advert) = capture.wait_advert(SOON, "an advert of a", |advert| advert.priority == 200);
    assert_eq!(advert.destination, GROUP.parse::<IpAddr>().expect("an address"));
    assert_eq!(advert.destination_mac, [0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]);
}
