//! Frames written out by hand, octet by octet.

use super::*;
use crate::params::{Auth, Interval, Priority, Vrid};
use crate::wire::vrrp::{self, Kind};

const V4: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 0, 2, 1)];
const V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)];

const FROM_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const FROM_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x0b));

#[rustfmt::skip]
const V2_ADVERT: [u8; 54] = [
    0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x08, 0x00,
    0x45, 0xc0, 0x00, 0x28, 0x00, 0x00, 0x00, 0x00, 0xff, 0x70, 0x18, 0x88, 192, 0, 2, 11, 224, 0, 0, 18,
    0x21, 0x33, 0x64, 0x01, 0x01, 0x01, 0x7b, 0x7c, 192, 0, 2, 1, b's', b'e', b'c', b'r', b'e', b't', 0, 0,
];
#[rustfmt::skip]
const V2_AH_ADVERT: [u8; 78] = [
    0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x08, 0x00,
    0x45, 0xc0, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0xff, 0x33, 0x18, 0xad, 192, 0, 2, 11, 224, 0, 0, 18,
    0x70, 0x04, 0x00, 0x00, 192, 0, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x21, 0x33, 0x64, 0x01, 0x02, 0x01, 0xb6, 0xc8, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,
];
#[rustfmt::skip]
const V3_ADVERT: [u8; 46] = [
    0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x08, 0x00,
    0x45, 0xc0, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0xff, 0x70, 0x18, 0x90, 192, 0, 2, 11, 224, 0, 0, 18,
    0x31, 0x33, 0x64, 0x01, 0x00, 0x64, 0x05, 0xcb, 192, 0, 2, 1,
];
#[rustfmt::skip]
const IPV6_ADVERT: [u8; 94] = [
    0x33, 0x33, 0x00, 0x00, 0x00, 0x12, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x33, 0x86, 0xdd,
    0x6c, 0x00, 0x00, 0x00, 0x00, 0x28, 0x70, 0xff,
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b,
    0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12,
    0x31, 0x33, 0x64, 0x02, 0x00, 0x64, 0x3f, 0xf1,
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];

fn frame(kind: Kind, source: IpAddr) -> AdvertFrame<'static> {
    let vrid = Vrid::new(51).expect("51 is legal");
    let (family, addresses) = match source {
        IpAddr::V4(_) => (Family::Ipv4, Addresses::ipv4(&V4)),
        IpAddr::V6(_) => (Family::Ipv6, Addresses::ipv6(&V6)),
    };
    let addresses = addresses.expect("can be advertised");
    AdvertFrame {
        source_mac: MacAddr::virtual_router(family, vrid),
        source,
        destination: vrrp::group(family),
        ttl: NOT_ROUTED,
        checksum: ChecksumStyle::WithPseudoHeader,
        advert: VrrpRepr::new(vrid, Priority(100), Interval::DEFAULT, kind, addresses).expect("legal"),
    }
}

fn v2_frame() -> AdvertFrame<'static> {
    frame(Kind::V2 { auth: Auth::simple(b"secret").expect("six octets fit") }, FROM_V4)
}

fn v2_ah_frame() -> AdvertFrame<'static> {
    frame(Kind::V2 { auth: Auth::Ah }, FROM_V4)
}

/// Checks that `wanted` is written, and nothing beyond it.
fn assert_emits(frame: &AdvertFrame<'_>, wanted: &[u8]) {
    let mut buffer = [0xa5; 100];
    assert_eq!(emit_advert(frame, &mut buffer), Some(wanted.len()));
    assert_eq!(advert_frame_len(&frame.advert), wanted.len());
    assert_eq!(&buffer[..wanted.len()], wanted);
    assert!(buffer[wanted.len()..].iter().all(|octet| *octet == 0xa5), "written past its end");
}

#[test]
fn a_version_2_advert_goes_to_the_group_with_ttl_255() {
    // RFC 3768 §5.2, §5.3
    assert_emits(&v2_frame(), &V2_ADVERT);
}

#[test]
fn an_authentication_header_is_between_the_ipv4_header_and_the_message_and_not_sealed_yet() {
    // RFC 2338 §5.3.6.3, RFC 2402 §3.1.1
    assert_emits(&v2_ah_frame(), &V2_AH_ADVERT);
}

#[test]
fn a_version_3_advert_over_ipv4_goes_to_the_group_with_ttl_255() {
    // RFC 9568 §5.1.1, §5.2
    assert_emits(&frame(Kind::V3, FROM_V4), &V3_ADVERT);
}

#[test]
fn a_version_3_advert_over_ipv6_goes_to_the_group_with_hop_limit_255() {
    // RFC 9568 §5.1.2, §5.2
    assert_emits(&frame(Kind::V3, FROM_V6), &IPV6_ADVERT);
}

#[test]
fn an_advert_to_a_peer_has_its_address_in_the_checksum_and_leaves_its_ethernet_address_open() {
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
    let to_peer = AdvertFrame { destination: peer, ttl: 64, ..frame(Kind::V3, FROM_V4) };
    let mut wanted = V3_ADVERT;
    wanted[..6].fill(0);
    wanted[30..34].copy_from_slice(&[192, 0, 2, 12]);
    wanted[22] = 64;
    wanted[24..26].copy_from_slice(&[0xf5, 0x96]);
    wanted[40..42].copy_from_slice(&[0x23, 0xd1]);
    assert_emits(&to_peer, &wanted);
    assert_eq!(parse_advert(&wanted), Some((FROM_V4, to_peer.advert)));
}

#[test]
fn another_group_has_another_ethernet_address() {
    // RFC 1112 §6.4, RFC 2464 §7
    assert_eq!(ipv4::mac_of(Ipv4Addr::new(239, 129, 2, 3)), MacAddr([0x01, 0x00, 0x5e, 0x01, 0x02, 0x03]));
    let group = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0x12ff, 0x1234);
    assert_eq!(ipv6::mac_of(group), MacAddr([0x33, 0x33, 0x12, 0xff, 0x12, 0x34]));
}

#[test]
fn an_advert_is_read_back_from_its_frame_with_its_addresses() {
    assert_eq!(parse_advert(&V2_ADVERT), Some((FROM_V4, v2_frame().advert)));
    assert_eq!(parse_advert(&V2_AH_ADVERT), Some((FROM_V4, v2_ah_frame().advert)));
    assert_eq!(parse_advert(&V3_ADVERT), Some((FROM_V4, frame(Kind::V3, FROM_V4).advert)));
    assert_eq!(parse_advert(&IPV6_ADVERT), Some((FROM_V6, frame(Kind::V3, FROM_V6).advert)));
    assert!(addresses(&V3_ADVERT).is_some_and(|list| list.iter().eq(V4.map(IpAddr::V4))));
    assert!(addresses(&IPV6_ADVERT).is_some_and(|list| list.iter().eq(V6.map(IpAddr::V6))));
}

#[test]
fn other_frames_have_no_advert_to_read() {
    let arp = gratuitous_arp(MacAddr::BROADCAST, V4[0]);
    let na = unsolicited_na(MacAddr::BROADCAST, V6[1]);
    assert_eq!(parse_advert(&arp), None);
    assert_eq!(parse_advert(&na), None);
    for len in 0..V3_ADVERT.len() {
        assert_eq!(addresses(&V3_ADVERT[..len]), None, "{len} octets");
    }
}

#[test]
fn a_short_buffer_or_a_source_of_the_other_family_is_refused() {
    let mut buffer = [0xa5; 100];
    for (frame, len) in [
        (v2_frame(), V2_ADVERT.len()),
        (v2_ah_frame(), V2_AH_ADVERT.len()),
        (frame(Kind::V3, FROM_V6), IPV6_ADVERT.len()),
    ] {
        for short in 0..len {
            assert_eq!(emit_advert(&frame, &mut buffer[..short]), None, "{short} octets");
        }
    }
    assert_eq!(emit_advert(&AdvertFrame { source: FROM_V6, ..v2_frame() }, &mut buffer), None);
}

#[test]
fn gratuitous_arp_is_a_broadcast_request_padded_to_the_shortest_frame() {
    // RFC 9568 §6.4.1 with errata 7947 and 7949, RFC 5227 §3
    #[rustfmt::skip]
    let wanted = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 0x08, 0x06,
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
        0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 192, 0, 2, 1,
        0x00, 0x00, 0x5e, 0x00, 0x01, 0x33, 192, 0, 2, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mac = frame(Kind::V3, FROM_V4).source_mac;
    assert_eq!(gratuitous_arp(mac, V4[0]), wanted);
}

#[test]
fn unsolicited_na_goes_to_all_nodes_from_the_address_itself() {
    // RFC 9568 §6.4.1, RFC 4861 §4.4, §7.2.6
    #[rustfmt::skip]
    let wanted = [
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x33, 0x86, 0xdd,
        0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0x88, 0x00, 0x1a, 0xf8, 0xa0, 0x00, 0x00, 0x00,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0x02, 0x01, 0x00, 0x00, 0x5e, 0x00, 0x02, 0x33,
    ];
    let mac = frame(Kind::V3, FROM_V6).source_mac;
    assert_eq!(unsolicited_na(mac, V6[1]), wanted);
}
