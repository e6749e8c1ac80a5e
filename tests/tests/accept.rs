//! `accept = false`: which packets reach the virtual addresses (Accept_Mode, RFC 9568 §6.1).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use vrrpd_lab::needs::kernel_is_at_least;
use vrrpd_lab::usual::{CIDR, SOON};
use vrrpd_lab::{Host, Lab, Vrrpd, is_alive, wait_until};

const VIP: &str = "10.0.0.100";
const VIP6: &str = "2001:db8::9";
/// Modes of the virtual MAC address for an IPv4 and an IPv6 router on one interface.
const VMACS: [[&str; 2]; 2] = [["interface", "none"], ["macvlan", "macvlan"]];

/// Machines on one network with addresses of both families.
fn hosts<const N: usize>(lab: &Lab) -> [Host; N] {
    let hosts = lab.hosts();
    for (number, host) in (1..).zip(&hosts) {
        host.ip(&format!("addr add 2001:db8::{number}/64 dev eth0 nodad"));
    }
    hosts
}

/// An IPv4 and an IPv6 router that drop packets to their addresses.
fn both_families(priority: u8, [vmac, vmac6]: [&str; 2]) -> String {
    format!(
        "[defaults]\ninterface = \"eth0\"\nprotocol = \"v3\"\ninterval = \"100ms\"\npriority = {priority}\n\
         accept = false\n[[router]]\nvrid = 51\naddresses = [\"{CIDR}\"]\nvmac = \"{vmac}\"\n\
         [[router]]\nvrid = 52\nvmac = \"{vmac6}\"\naddresses = [\"fe80::34/64\", \"{VIP6}/64\"]\n"
    )
}

fn wait_masters(daemon: &Vrrpd) {
    wait_until(SOON, "both are master", || daemon.states().iter().all(|state| state["state"] == "master"));
}

/// A TCP service on all addresses of a machine.
fn serve(host: &Host) -> TcpListener {
    host.namespace().enter(|| TcpListener::bind("[::]:0")).expect("a port is free")
}

/// Opens a connection, with a short timeout.
fn connect(from: &Host, address: &str, service: &TcpListener) -> Result<(), ErrorKind> {
    let address: IpAddr = address.parse().expect("an address");
    let port = service.local_addr().expect("it is bound").port();
    let connected = from
        .namespace()
        .enter(|| TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_millis(500)));
    connected.map(drop).map_err(|error| error.kind())
}

#[test]
fn addresses_are_not_reached_but_resolved_and_the_machine_itself_is_reached_and_reaches_others() {
    for vmacs in VMACS {
        let lab = Lab::new();
        let [a, client] = hosts(&lab);
        let service = serve(&a);
        let daemon = Vrrpd::of_file(&a, &both_families(100, vmacs));
        wait_masters(&daemon);
        let vmac = vmacs[0];
        for (own, vip, others) in [("10.0.0.1", VIP, "10.0.0.2"), ("2001:db8::1", VIP6, "2001:db8::2")] {
            assert_eq!(connect(&client, vip, &service), Err(ErrorKind::TimedOut), "{vmac}: {vip} is silent");
            assert!(!client.can_ping(vip), "{vmac}: {vip} is silent");
            assert_eq!(connect(&client, own, &service), Ok(()), "{vmac}: {own}");
            assert!(client.can_ping(own) && a.can_ping(others), "{vmac}: {own} and {others} hear each other");
            assert!(a.can_ping_from(own, others), "{vmac}: {own}");
            assert!(a.can_ping(vip), "{vmac}: what the machine sends to itself arrives");
            assert_eq!(connect(&a, vip, &service), Ok(()), "{vmac}: {vip} from the machine itself");
            let mac = client.neighbour(vip.parse().expect("an address")).expect("it was resolved");
            // A reachability probe by unicast (RFC 4861 §7.3.1).
            client.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0 nud probe"));
            wait_until(SOON, "the question is answered", || {
                client.ip(&format!("neigh show {vip}")).contains("REACHABLE")
            });
        }
        assert_eq!(connect(&client, VIP, &service), Err(ErrorKind::TimedOut), "{vmac}: it stays silent");
    }
}

#[test]
fn backup_that_takes_over_drops_packets_and_stops_when_it_yields() {
    let lab = Lab::new();
    let [a, b, client] = hosts(&lab);
    let services = [serve(&a), serve(&b)];
    let first = Vrrpd::of_file(&a, &both_families(150, VMACS[0]));
    wait_masters(&first);
    let second = Vrrpd::of_file(&b, &both_families(100, VMACS[0]));
    lab.port_down(&a);
    wait_masters(&second);
    for vip in [VIP, VIP6] {
        assert_eq!(connect(&client, vip, &services[1]), Err(ErrorKind::TimedOut), "{vip}");
        assert!(!client.can_ping(vip), "{vip}");
    }
    lab.port_up(&a);
    wait_masters(&first);
    wait_until(SOON, "both are backup", || second.states().iter().all(|state| state["state"] == "backup"));
    for (vip, own) in [(VIP, "10.0.0.2"), (VIP6, "2001:db8::2")] {
        assert_eq!(connect(&client, vip, &services[0]), Err(ErrorKind::TimedOut), "{vip}");
        // The backup has the address for another reason.
        b.ip(&format!("addr add {vip} dev lo"));
        client.ip(&format!("route add {vip} via {own}"));
        wait_until(SOON, "the backup accepts", || client.can_ping(vip));
    }
}

#[test]
fn packets_are_dropped_by_the_present_configuration_and_accepted_once_the_router_is_gone() {
    let mut lab = Lab::new();
    let [a, client] = hosts(&lab);
    let second = lab.add_network();
    for (number, host) in (1..).zip([&a, &client]) {
        lab.join(host, second, "eth1", &format!("10.1.0.{number}/24"));
    }
    let text = |priority: u8, accept: bool| {
        format!(
            "[[router]]\ninterface = \"eth0\"\nvrid = 51\nprotocol = \"v3\"\ninterval = \"100ms\"\npriority = {priority}\n\
             accept = {accept}\naddresses = [\"{CIDR}\"]\nextra-addresses = [\"{VIP6}/64\", \
             {{ address = \"10.1.0.100/24\", interface = \"eth1\" }}]\n"
        )
    };
    let start = || Vrrpd::on(&a).config(&text(100, false)).start();
    let router = start();
    router.wait_state("master", SOON);
    let all = [VIP, VIP6, "10.1.0.100"];
    let dropped = || all.into_iter().all(|vip| !client.can_ping(vip));
    assert!(dropped());
    client.ip("addr del 10.1.0.2/24 dev eth1");
    client.ip(&format!("route add 10.1.0.0/24 via {VIP}"));
    assert!(client.can_ping("10.1.0.1"), "it routes");
    client.ip("route del 10.1.0.0/24");
    client.ip("addr add 10.1.0.2/24 dev eth1");

    router.reload(&text(100, true));
    wait_until(SOON, "accepted", || all.into_iter().all(|vip| client.can_ping(vip)));
    router.reload(&text(100, false));
    wait_until(SOON, "dropped again", dropped);
    assert_eq!(router.counter("transitions"), 2, "it goes on");
    assert!(router.atropos(&["--state"]).stdout.contains("accept     no"));

    let is_gone = |how: &str| {
        a.ip(&format!("addr add {VIP}/24 dev eth0"));
        wait_until(SOON, how, || {
            // The client may know the virtual MAC address.
            client.ip("neigh flush dev eth0");
            client.can_ping(VIP)
        });
        a.ip(&format!("addr del {VIP}/24 dev eth0"));
    };
    assert_eq!(router.terminate(), 0);
    is_gone("nothing is left by SIGTERM");
    let killed = start();
    killed.wait_state("master", SOON);
    let guardian = killed.guardian().expect("it has one");
    killed.kill_daemon();
    wait_until(SOON, "the guardian gives it back", || !a.has_address("eth0", CIDR));
    // Before that it might take off an address that another program adds, on kernels without marks.
    wait_until(SOON, "the guardian has ended", || !is_alive(guardian));
    is_gone("nothing is left by the guardian");
    let killed = start();
    killed.wait_state("master", SOON);
    assert!(!client.can_ping(VIP));
    killed.kill();
    if kernel_is_at_least((5, 12)) {
        wait_until(SOON, "nothing is left by a kill of both", || client.can_ping(VIP));
    } else {
        assert!(!client.can_ping(VIP), "the table has no owner: the next start removes it");
    }
    a.ip(&format!("addr del {CIDR} dev eth0"));
    let owner = Vrrpd::on(&a).config(&text(255, false)).beside(&killed).start();
    owner.wait_state("master", SOON);
    assert!(client.can_ping(VIP), "an owner accepts");
}
