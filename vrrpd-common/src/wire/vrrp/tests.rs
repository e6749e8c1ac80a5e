//! Messages written out by hand, valid and invalid.

use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::*;

const V4: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 0, 2, 1)];
const V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)];

const FROM_V4: PseudoHeader =
    PseudoHeader::Ipv4 { source: Ipv4Addr::new(192, 0, 2, 11), destination: ipv4::VRRP_GROUP };
const FROM_V6: PseudoHeader = PseudoHeader::Ipv6 {
    source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x0b),
    destination: ipv6::VRRP_GROUP,
};

/// VRID 51, priority 100, one second, 192.0.2.1.
const V2_NO_AUTH: &[u8] =
    &[0x21, 0x33, 0x64, 0x01, 0x00, 0x01, 0xb8, 0xc8, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
/// The same with the password `secret`.
const V2_SIMPLE: &[u8] =
    &[0x21, 0x33, 0x64, 0x01, 0x01, 0x01, 0x7b, 0x7c, 192, 0, 2, 1, b's', b'e', b'c', b'r', b'e', b't', 0, 0];
/// VRID 51, priority 100, 100 centiseconds, 192.0.2.1; from 192.0.2.11.
const V3_WITH_PSEUDO_HEADER: &[u8] = &[0x31, 0x33, 0x64, 0x01, 0x00, 0x64, 0x05, 0xcb, 192, 0, 2, 1];
/// The same, summed up alone.
const V3_ALONE: &[u8] = &[0x31, 0x33, 0x64, 0x01, 0x00, 0x64, 0xa8, 0x65, 192, 0, 2, 1];
/// VRID 51, priority 100, 100 centiseconds, `fe80::1` and `2001:db8::1`; from `fe80::b`.
#[rustfmt::skip]
const V3_IPV6: &[u8] = &[
    0x31, 0x33, 0x64, 0x02, 0x00, 0x64, 0x3f, 0xf1,
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
];

fn repr(kind: Kind, addresses: Addresses<'_>) -> VrrpRepr<'_> {
    let vrid = Vrid::new(51).expect("51 is legal");
    VrrpRepr::new(vrid, Priority(100), Interval::DEFAULT, kind, addresses).expect("legal in each version")
}

fn v2(auth: Auth) -> VrrpRepr<'static> {
    repr(Kind::V2 { auth }, Addresses::ipv4(&V4).expect("one"))
}

fn v3_ipv4() -> VrrpRepr<'static> {
    repr(Kind::V3, Addresses::ipv4(&V4).expect("one"))
}

fn v3_ipv6() -> VrrpRepr<'static> {
    repr(Kind::V3, Addresses::ipv6(&V6).expect("two, the first link-local"))
}

fn secret() -> Auth {
    Auth::simple(b"secret").expect("six octets fit")
}

fn emitted(repr: &VrrpRepr<'_>, pseudo: &PseudoHeader, style: ChecksumStyle) -> Vec<u8> {
    let mut buffer = [0xa5; 64];
    let len = repr.emit(pseudo, style, &mut buffer).expect("the buffer has room");
    assert_eq!(len, repr.buffer_len());
    assert!(buffer[len..].iter().all(|octet| *octet == 0xa5), "written past its end");
    buffer[..len].to_vec()
}

#[test]
fn version_2_without_authentication_still_carries_eight_octets_of_it() {
    // RFC 3768 §5.1, §5.3.10
    assert_eq!(emitted(&v2(Auth::None), &FROM_V4, ChecksumStyle::default()), V2_NO_AUTH);
    assert_eq!(VrrpRepr::parse(V2_NO_AUTH, &FROM_V4), Ok(v2(Auth::None)));
}

#[test]
fn version_2_with_a_password_carries_it_under_the_checksum() {
    // RFC 2338 §5.3.6, §5.3.8, §5.3.10
    assert_eq!(emitted(&v2(secret()), &FROM_V4, ChecksumStyle::default()), V2_SIMPLE);
    assert_eq!(VrrpRepr::parse(V2_SIMPLE, &FROM_V4), Ok(v2(secret())));
}

#[test]
fn version_2_never_sums_up_a_pseudo_header() {
    // RFC 3768 §5.3.8
    assert_eq!(emitted(&v2(Auth::None), &FROM_V4, ChecksumStyle::WithPseudoHeader), V2_NO_AUTH);
    assert_eq!(emitted(&v2(Auth::None), &FROM_V4, ChecksumStyle::MessageOnly), V2_NO_AUTH);
}

#[test]
fn version_3_over_ipv4_sums_up_the_pseudo_header_as_the_installed_base_does() {
    // RFC 5798 §5.2.8
    assert_eq!(emitted(&v3_ipv4(), &FROM_V4, ChecksumStyle::WithPseudoHeader), V3_WITH_PSEUDO_HEADER);
    assert_eq!(VrrpRepr::parse(V3_WITH_PSEUDO_HEADER, &FROM_V4), Ok(v3_ipv4()));
}

#[test]
fn version_3_over_ipv4_sums_up_the_message_alone_when_told_to() {
    // RFC 9568 §5.2.8
    assert_eq!(emitted(&v3_ipv4(), &FROM_V4, ChecksumStyle::MessageOnly), V3_ALONE);
    assert_eq!(VrrpRepr::parse(V3_ALONE, &FROM_V4), Ok(v3_ipv4()));
}

#[test]
fn version_3_over_ipv6_always_sums_up_the_pseudo_header() {
    // RFC 9568 §5.2.8
    assert_eq!(emitted(&v3_ipv6(), &FROM_V6, ChecksumStyle::WithPseudoHeader), V3_IPV6);
    assert_eq!(emitted(&v3_ipv6(), &FROM_V6, ChecksumStyle::MessageOnly), V3_IPV6);
    assert_eq!(VrrpRepr::parse(V3_IPV6, &FROM_V6), Ok(v3_ipv6()));
    let other = PseudoHeader::Ipv6 { source: Ipv6Addr::UNSPECIFIED, destination: ipv6::VRRP_GROUP };
    let alone = VrrpRepr::parse(V3_IPV6, &other);
    assert_eq!(alone.map_err(|rejection| rejection.reject), Err(Reject::Checksum));
}

#[test]
fn the_reserved_nibble_of_version_3_is_ignored_on_receipt() {
    // RFC 9568 §5.2.6
    let mut message = V3_ALONE.to_vec();
    message[4] = 0xf0;
    message[6] = 0xb8; // 0xa8 - 0xf0, with the borrow around the end
    message[7] = 0x64;
    assert_eq!(VrrpRepr::parse(&message, &FROM_V4), Ok(v3_ipv4()));
}

#[test]
fn resigning_changes_the_priority_only() {
    // RFC 9568 §5.2.4
    let resigned = v2(Auth::None).with_priority(Priority::RESIGN);
    let message = emitted(&resigned, &FROM_V4, ChecksumStyle::default());
    assert_eq!(message[2], 0);
    assert_eq!(VrrpRepr::parse(&message, &FROM_V4), Ok(resigned));
}

#[test]
fn values_impossible_in_a_version_are_refused() {
    // RFC 3768 §5.3.7, RFC 9568 §5.2.7
    let vrid = Vrid::new(1).expect("1 is legal");
    let (ipv4, ipv6) = (Addresses::ipv4(&V4).expect("one"), Addresses::ipv6(&V6).expect("two"));
    let new = |interval, kind, addresses| VrrpRepr::new(vrid, Priority(1), interval, kind, addresses);
    let (long, short) = (Interval::from_seconds(41).expect("41 s"), Interval::MIN);
    assert_eq!(new(short, Kind::V2 { auth: Auth::None }, ipv4), None);
    assert!(new(long, Kind::V2 { auth: Auth::None }, ipv4).is_some());
    assert_eq!(new(long, Kind::V3, ipv4), None);
    assert!(new(short, Kind::V3, ipv4).is_some());
    assert_eq!(new(Interval::DEFAULT, Kind::V2 { auth: Auth::None }, ipv6), None);
}

#[test]
fn lists_that_cannot_be_advertised_are_refused_with_the_reason() {
    // RFC 9568 §5.2.5
    assert_eq!(
        Addresses::ipv4(&[V4[0]; 256]).expect_err("cannot be advertised").to_string(),
        "256 addresses, at most 255 can be advertised (RFC 9568 §5.2.5)"
    );
    assert_eq!(Addresses::ipv6(&V6[1..]).expect("any can be first").count(), 1);
    assert_eq!(Addresses::ipv6(&[]).expect("there may be none").count(), 0);
    assert_eq!(Addresses::ipv4(&[V4[0]; 255]).expect("255 are possible").count(), 255);
}

#[test]
fn addresses_are_the_same_from_a_configuration_and_from_the_wire() {
    let parsed = VrrpRepr::parse(V3_IPV6, &FROM_V6).expect("valid");
    assert!(parsed.addresses().iter().eq(V6.map(IpAddr::V6)));
    assert_eq!(parsed.addresses().count(), 2);
    assert_eq!(parsed.addresses().family(), Family::Ipv6);
    assert_eq!(parsed.addresses().digest(), v3_ipv6().addresses().digest());
    assert_eq!(
        parsed.addresses().digest(),
        Message::read(V3_IPV6, 0, Family::Ipv6, V3_IPV6.len()).addresses()
    );
}

#[test]
fn messages_that_parse_alone_refuses_name_the_field() {
    let rejected = |message: &[u8], pseudo| VrrpRepr::parse(message, pseudo).expect_err("not legal").reject;
    // RFC 2338 §5.3.6
    let mut message = V2_NO_AUTH.to_vec();
    message[4] = 3;
    message[6] = 0xb5;
    assert_eq!(rejected(&message, &FROM_V4), Reject::Auth);
    // RFC 9568 §5.2.7
    let mut message = V3_ALONE.to_vec();
    message[5] = 0;
    message[7] = 0xc9;
    assert_eq!(rejected(&message, &FROM_V4), Reject::Interval);
    // RFC 9568 §5.2.3
    let mut message = V3_ALONE.to_vec();
    message[1] = 0;
    message[7] = 0x98;
    assert_eq!(rejected(&message, &FROM_V4), Reject::NotOurs);
    // RFC 9568 §5.2.1: there is no version 2 over IPv6
    let mut message = V3_IPV6.to_vec();
    message[0] = 0x21;
    assert_eq!(rejected(&message, &FROM_V6), Reject::Version);
    assert_eq!(rejected(&[], &FROM_V4), Reject::Truncated);
}

#[test]
fn a_message_cut_short_is_refused_and_a_short_buffer_left_alone() {
    for (message, pseudo) in [(V2_SIMPLE, &FROM_V4), (V3_ALONE, &FROM_V4), (V3_IPV6, &FROM_V6)] {
        let whole = VrrpRepr::parse(message, pseudo).expect("valid");
        for len in 0..message.len() {
            let cut = VrrpRepr::parse(&message[..len], pseudo);
            assert_eq!(cut.map_err(|rejection| rejection.reject), Err(Reject::Truncated), "{len} octets");
            let mut buffer = [0xa5; 64];
            assert_eq!(whole.emit(pseudo, ChecksumStyle::MessageOnly, &mut buffer[..len]), None);
            assert_eq!(buffer, [0xa5; 64]);
        }
    }
}

#[test]
fn a_truncated_message_is_refused_for_every_length_field() {
    // RFC 9568 §7.1
    for (message, version, pseudo) in [
        (V2_SIMPLE, Version::V2, &FROM_V4),
        (V3_ALONE, Version::V3, &FROM_V4),
        (V3_IPV6, Version::V3, &FROM_V6),
    ] {
        for len in HEADER_LEN..message.len() {
            let cut = Message::read(&message[..len], 0, pseudo.family(), message.len());
            let wanted = Reject::Truncated.because(number(message.len()), number(message.len()));
            assert_eq!(cut.check(message.len(), version, pseudo, false), Err(wanted), "{len} octets");
        }
    }
}

#[test]
fn a_source_of_the_other_family_is_refused() {
    // RFC 9568 §5.1
    let mut buffer = [0xa5; 64];
    assert_eq!(v3_ipv4().emit(&FROM_V6, ChecksumStyle::default(), &mut buffer), None);
    assert_eq!(v3_ipv6().emit(&FROM_V4, ChecksumStyle::default(), &mut buffer), None);
    assert_eq!(buffer, [0xa5; 64]);
}

/// The vectors of draft-cassen-vrrp-auth-hmac: a message, its trailer, and the pseudo-header.
fn signed() -> [(Vec<u8>, Vec<u8>, PseudoHeader); 2] {
    let trailer = |hmac: u128| {
        let (stamp, hmac) = (0x6800_0000_8000_0000_u64.to_be_bytes(), hmac.to_be_bytes());
        [&[1, 1, 0, 0][..], &stamp, &hmac].concat()
    };
    let ipv6 = PseudoHeader::Ipv6 {
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10),
        destination: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x20),
    };
    let mut message_ipv6 = vec![0x31, 0x33, 0xc8, 0x01, 0x00, 0x64, 0xa2, 0xe9];
    message_ipv6.extend(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100).octets());
    [
        (
            vec![0x31, 0x33, 0xc8, 0x01, 0x00, 0x64, 0x44, 0x02, 0xc0, 0x00, 0x02, 0x64],
            trailer(0x1b84_bc4e_8e43_892d_c6d9_8448_f8ee_2265),
            PseudoHeader::Ipv4 { source: Ipv4Addr::new(198, 51, 100, 10), destination: ipv4::VRRP_GROUP },
        ),
        (message_ipv6, trailer(0xc8c5_6146_ebfd_66ee_10ec_4d81_8646_1b78), ipv6),
    ]
}

#[test]
fn a_checksum_covers_the_message_with_or_without_its_trailer() {
    // draft-cassen-vrrp-auth-hmac: over IPv4 the message alone, over IPv6 the trailer as well
    let [ipv4, ipv6] = signed().map(|(message, trailer, pseudo)| {
        assert_eq!(trailer.len(), 28);
        let payload = [&message[..], &trailer].concat();
        assert!(VrrpRepr::parse(&payload, &pseudo).is_ok(), "with its trailer");
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let rejected = VrrpRepr::parse(&damaged, &pseudo).is_err();
            let is_covered = bit / 8 < message.len() || pseudo.family() == Family::Ipv6;
            assert_eq!(rejected, is_covered, "bit {bit}");
        }
        VrrpRepr::parse(&message, &pseudo).map_err(|rejection| rejection.reject).map(|_| ())
    });
    assert_eq!((ipv4, ipv6), (Ok(()), Err(Reject::Checksum)), "without their trailers");
}

#[test]
fn a_checksum_covers_no_more_than_256_octets_behind_the_message() {
    for (version, auth, pseudo) in [(V3_ALONE, 0, FROM_V4), (V2_SIMPLE, 8, FROM_V4), (V3_IPV6, 0, FROM_V6)] {
        for (trailing, wanted) in [(255, true), (256, true), (257, false)] {
            let mut payload = version.to_vec();
            payload.resize(version.len() + trailing, 0x5a);
            assert!(VrrpRepr::parse(&payload, &pseudo).is_ok(), "the message alone, {trailing} octets");
            payload[6..8].fill(0);
            let mut sum = Sum::of(&payload[..], 0, payload.len()).expect("few octets");
            if auth == 0 {
                sum = sum.plus(pseudo.sum(payload.len()));
            }
            payload[6..8].copy_from_slice(&sum.checksum().to_be_bytes());
            assert_eq!(VrrpRepr::parse(&payload, &pseudo).is_ok(), wanted, "all of it, {trailing} octets");
        }
    }
}
