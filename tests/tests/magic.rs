//! The magic packet as the gateway sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vrrpd_lab::usual::{ADDRESS, CIDR, SOON};
use vrrpd_lab::{Capture, Host, Lab, Vrrpd, frame, wait_until};

const SYN: u8 = 0x02;

/// A TCP segment over IPv4, without IP options.
struct Segment {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    port: u16,
    flags: u8,
    checksum_is_right: bool,
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    if frame[12..14] != [0x08, 0x00] || packet.first() != Some(&0x45) || packet.get(9) != Some(&6) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let tcp = packet.get(20..length)?;
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).expect("four octets"));
    let tcp_length = u16::try_from(tcp.len()).expect("short").to_be_bytes();
    let covered = [&packet[12..20], &[0, 6], &tcp_length, tcp].concat();
    Some(Segment {
        source: address(12),
        destination: address(16),
        port: u16::from_be_bytes([tcp[2], tcp[3]]),
        flags: tcp[13],
        checksum_is_right: vrrpd_lab::checksum::internet(&covered) == 0,
    })
}

fn magic_packets(capture: &Capture) -> Vec<Segment> {
    let segments = capture.frames().into_iter().filter_map(|seen| segment(&seen.frame));
    segments.filter(|segment| segment.port == 1100 && segment.flags == SYN).collect()
}

/// The source MAC address and the addresses of a magic packet over IPv6.
fn magic_over_ipv6(frame: &[u8]) -> Option<([u8; 6], Ipv6Addr, Ipv6Addr)> {
    let is_syn = frame.get(12..14) == Some(&[0x86, 0xdd])
        && frame.get(20) == Some(&6)
        && frame.get(56..58) == Some(&1100_u16.to_be_bytes())
        && frame.get(67) == Some(&SYN);
    let address =
        |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).expect("sixteen octets"));
    is_syn.then(|| (frame[6..12].try_into().expect("six octets"), address(22), address(38)))
}

fn router(host: &Host, destination: &str) -> vrrpd_lab::VrrpdBuilder {
    Vrrpd::usual(host, 100).args(["-I", &ADDRESS.to_string(), "-O", destination])
}

#[test]
fn new_master_sends_a_syn_from_the_virtual_address_to_port_1100_of_the_gateway() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    let capture = Capture::on(&gateway);
    let master = router(&a, "10.0.0.2").start();
    master.wait_state("master", SOON);
    wait_until(SOON, "a magic packet", || !magic_packets(&capture).is_empty());
    for packet in magic_packets(&capture) {
        assert_eq!((packet.source, packet.destination), (ADDRESS, gateway.ipv4()));
        assert!(packet.checksum_is_right);
    }
    // The ARP request for the gateway had the virtual address as its source, from which the gateway learns.
    assert!(capture.claims(ADDRESS.into()).contains(&a.mac("eth0")));
    assert_eq!(gateway.neighbour(IpAddr::V4(ADDRESS)), Some(mac_text(&a)));
}

#[test]
fn gateway_of_ipv6_may_be_link_local_as_it_mostly_is() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    let (address, there) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x51), gateway.link_local("eth0"));
    for mode in ["none", "macvlan"] {
        let capture = Capture::on(&gateway);
        let router = Vrrpd::on(&a).vrid(51).vmac(mode).address("fe80::51/64").v3("100ms");
        let master = router.args(["-I", "fe80::51", "-O", &there.to_string()]).start();
        master.wait_state("master", SOON);
        let mac = if mode == "none" { a.mac("eth0") } else { [0, 0, 0x5e, 0, 2, 51] };
        wait_until(SOON, "a magic packet", || {
            capture.frames().iter().any(|seen| magic_over_ipv6(&seen.frame) == Some((mac, address, there)))
        });
        assert_eq!(master.terminate(), 0);
    }
}

#[test]
fn magic_packet_of_a_macvlan_router_comes_from_the_virtual_mac() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    let capture = Capture::on(&gateway);
    let master = router(&a, "10.0.0.2").vmac("macvlan").start();
    master.wait_state("master", SOON);
    wait_until(SOON, "a magic packet", || !magic_packets(&capture).is_empty());
    for seen in capture.frames().iter().filter(|seen| segment(&seen.frame).is_some_and(|it| it.flags == SYN))
    {
        assert_eq!(seen.frame[6..12], [0, 0, 0x5e, 0, 1, 51]);
    }
    assert_eq!(gateway.neighbour(IpAddr::V4(ADDRESS)).as_deref(), Some("00:00:5e:00:01:33"));
}

#[test]
fn magic_packet_finds_a_way_where_a_macvlan_link_has_none() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    for (host, address) in [(&a, "2001:db8::1"), (&gateway, "2001:db8::2")] {
        host.ip(&format!("addr add {address}/64 dev eth0 nodad"));
    }
    let capture = Capture::on(&gateway);
    let router =
        Vrrpd::on(&a).vrid(51).vmac("macvlan").address("fe80::51").address("2001:db8::51").v3("100ms");
    let master = router.args(["-I", "2001:db8::51", "-O", "2001:db8::2"]).start();
    master.wait_state("master", SOON);
    wait_until(SOON, "a magic packet", || {
        capture.frames().iter().any(|seen| magic_over_ipv6(&seen.frame).is_some())
    });
}

fn mac_text(host: &Host) -> String {
    host.mac("eth0").map(|octet| format!("{octet:02x}")).join(":")
}

#[test]
fn magic_packets_come_again_with_the_gratuitous_arp() {
    let lab = Lab::new();
    let [a, gateway] = lab.hosts();
    let capture = Capture::on(&gateway);
    let again = ["--garp-delay", "200ms", "--garp-interval", "200ms"];
    let master = router(&a, "10.0.0.2").args(again).start();
    master.wait_state("master", SOON);
    wait_until(SOON, "three magic packets", || magic_packets(&capture).len() >= 3);
    let announced = || capture.frames().iter().filter(|seen| frame::announced(&seen.frame).is_some()).count();
    wait_until(SOON, "three announcements", || announced() >= 3);
}

#[test]
fn missing_or_unreachable_gateway_delays_nothing() {
    let lab = Lab::new();
    let [a, client] = lab.hosts();
    for destination in ["10.0.0.250", "203.0.113.1"] {
        let capture = Capture::on(&client);
        let master = router(&a, destination).start();
        master.wait_state("master", SOON);
        let adverts = capture.adverts().len();
        wait_until(SOON, "it advertises", || capture.adverts().len() >= adverts + 10);
        let adverts = capture.adverts();
        let slowest = adverts.windows(2).map(|pair| pair[1].0 - pair[0].0).max().expect("several");
        assert!(slowest < Duration::from_millis(350), "{slowest:?} between two adverts");
        assert!(a.has_address("eth0", CIDR));
        assert_eq!(master.terminate(), 0);
    }
}

#[test]
fn backup_sends_no_magic_packets() {
    let lab = Lab::new();
    let [a, b, gateway] = lab.hosts();
    let master = Vrrpd::usual(&a, 150).start();
    master.wait_state("master", SOON);
    let capture = Capture::on(&gateway);
    let backup = router(&b, "10.0.0.3").start();
    wait_until(SOON, "it hears the master", || backup.counter("adverts_received") >= 5);
    assert!(magic_packets(&capture).is_empty());
}

#[test]
fn one_option_without_the_other_is_refused() {
    let lab = Lab::new();
    let [a] = lab.hosts();
    for (given, missing) in [
        (["-I", "10.0.0.100"], "-O: destination of magic packets missing"),
        (["-O", "10.0.0.2"], "-I: source of magic packets missing"),
    ] {
        let refused = Vrrpd::usual(&a, 100).args(given).run_in_foreground();
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(missing), "{refused:?}");
    }
}
