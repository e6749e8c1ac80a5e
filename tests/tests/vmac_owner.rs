//! Answers to ARP and neighbour discovery for a virtual address: by the owner with its virtual MAC address, and by one
//! of several links of a port. Classifiers correct the answers.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use vrrpd_lab::frame::virtual_router_mac;
use vrrpd_lab::usual::{ADDRESS, SOON, VMAC, VRID};
use vrrpd_lab::{
    Capture, Datapath, Host, Lab, Pinger, Snapshot, Vrrpd, VrrpdBuilder, is_alive, needs, wait_until,
};

/// A router that owns the address 10.0.0.1 of `eth0`.
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
        // Its own requests have the same MAC address, and it receives the answers.
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
        // The port is closed: the refusal comes from the address, which shows that packets pass.
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
    // With the router on a macvlan link, the interface below and other links would answer; with our own macvlan link,
    // others would.
    for (interface, mode) in [("mv0", "none"), ("mv0", "macvlan"), ("eth0", "macvlan"), ("eth0", "none")] {
        let lab = Lab::new();
        let [a, client] = lab.hosts();
        if interface == "mv0" {
            a.add_macvlan("bridge", "10.0.0.1/24");
        }
        sibling(&a, "mv1");
        let before = Snapshot::of(&a);
        let master = Vrrpd::usual(&a, 150).vmac(mode).interface(interface).datapath(Datapath::Raw).start();
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
        // Also one that is added later.
        sibling(&a, "mv2");
        wait_until(SOON, "the new link says nothing else", || claims() == [expected]);
        a.ip("link del mv2");
        assert_eq!(master.terminate(), 0);
        before.assert_as_before(&a);
    }
}

/// Before Linux 6.6 a classifier is a filter of the clsact qdisc, which outlives the daemon.
#[test]
fn classifiers_of_a_killed_daemon_go_with_its_guardian_and_with_the_next_start() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    a.ip("link add link eth0 name mv1 type macvlan mode bridge");
    a.ip("link set mv1 up");
    a.link_local("mv1");
    // The first owns its address, with two classifiers on `eth0`, one per direction. On `mv1` each router has one.
    let two = "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"100ms\"\n\
               [[router]]\nvrid = 51\npriority = 255\nvmac = \"macvlan\"\naddresses = [\"10.0.0.1/24\"]\n\
               [[router]]\nvrid = 52\nvmac = \"none\"\naddresses = [\"10.0.0.52/24\"]\n";
    let daemon = Vrrpd::on(&a).config(two).datapath(Datapath::Raw);
    for has_qdisc in [false, true] {
        if has_qdisc {
            // A qdisc of another program stays.
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
