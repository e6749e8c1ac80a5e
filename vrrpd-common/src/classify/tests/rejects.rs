//! One test for each reason, with the values in the log.

use super::*;
use std::string::ToString;

fn secret() -> Auth {
    Auth::simple(b"secret").expect("six octets fit")
}

fn v2() -> Ours {
    ours(Version::V2, Family::Ipv4)
}

fn v3() -> Ours {
    ours(Version::V3, Family::Ipv4)
}

fn ipv6() -> Ours {
    ours(Version::V3, Family::Ipv6)
}

#[test]
fn ttl_and_hop_limit_below_255_are_rejected() {
    // RFC 9568 §7.1, §5.1.1.3, §5.1.2.3
    let routed = summed(patched(&v3_frame(1), IP + 8, &[254]));
    assert_eq!(rejected(&routed, &v3()), Reject::Ttl.because(254, 255));
    let routed = patched(&ipv6_frame(1), IP + 7, &[64]);
    let rejection = rejected(&routed, &ipv6());
    assert_eq!(rejection, Reject::Ttl.because(64, 255));
    assert_eq!(rejection.to_string(), "TTL 64, must be 255 (RFC 9568 §7.1)");
}

#[test]
fn a_lower_bound_on_the_ttl_lets_routed_adverts_in() {
    let mut ours = v3();
    ours.expect.min_ttl = 254;
    accepted(&summed(patched(&v3_frame(1), IP + 8, &[254])), &ours);
    let rejection = rejected(&summed(patched(&v3_frame(1), IP + 8, &[253])), &ours);
    assert_eq!(rejection, Reject::Ttl.because(253, 254));
}

#[test]
fn a_damaged_ipv4_header_is_rejected_with_both_checksums() {
    // RFC 9568 §7.1
    let damaged = patched(&v3_frame(1), IP + 1, &[0xc1]);
    assert_eq!(rejected(&damaged, &v3()), Reject::Checksum.because(0x1890, 0x188f));
}

#[test]
fn a_damaged_ipv4_header_counts_as_a_header_error_for_every_field() {
    // RFC 791 §3.1: then no field is trustworthy.
    for (at, octet) in [(IP + 8, 1), (IP + 3, 200), (IP + 12, 10)] {
        let damaged = patched(&v3_frame(1), at, &[octet]);
        assert_eq!(rejected(&damaged, &v3()).reject, Reject::Checksum);
    }
}

#[test]
fn a_damaged_message_is_rejected_with_both_checksums() {
    // RFC 3768 §5.3.8, RFC 9568 §5.2.8
    let damaged = patched(&v2_frame(Auth::None, 1), MESSAGE_V4 + 2, &[101]);
    assert_eq!(rejected(&damaged, &v2()), Reject::Checksum.because(0xb8c8, 0xb7c8));
    let damaged = patched(&v3_frame(1), MESSAGE_V4 + 2, &[101]);
    let rejection = rejected(&damaged, &v3());
    assert_eq!(rejection, Reject::Checksum.because(0x05cb, 0x04cb));
    assert_eq!(rejection.to_string(), "checksum 0x05cb, must be 0x04cb (RFC 9568 §5.2.8)");
    let damaged = patched(&ipv6_frame(1), MESSAGE_V6 + 2, &[101]);
    assert_eq!(rejected(&damaged, &ipv6()).reject, Reject::Checksum);
}

#[test]
fn version_3_over_ipv6_without_the_pseudo_header_is_rejected() {
    // RFC 9568 §5.2.8
    let mut frame = ipv6_frame(1);
    let len = frame.len() - MESSAGE_V6;
    set_checksum(&mut frame, MESSAGE_V6, MESSAGE_V6 + 6, len, Sum::ZERO);
    assert_eq!(rejected(&frame, &ipv6()).reject, Reject::Checksum);
}

#[test]
fn version_2_with_a_pseudo_header_is_rejected() {
    // RFC 3768 §5.3.8
    let mut frame = v2_frame(Auth::None, 1);
    let pseudo = Sum::of(&frame[..], IP + 12, 8).expect("both addresses").plus_u16(20).plus_u16(112);
    set_checksum(&mut frame, MESSAGE_V4, MESSAGE_V4 + 6, 20, pseudo);
    assert_eq!(rejected(&frame, &v2()).reject, Reject::Checksum);
}

#[test]
fn another_version_than_ours_is_rejected() {
    // RFC 9568 §7.1
    assert_eq!(rejected(&v3_frame(1), &v2()), Reject::Version.because(3, 2));
    assert_eq!(rejected(&v2_frame(Auth::None, 1), &v3()), Reject::Version.because(2, 3));
    let future = summed(patched(&ipv6_frame(1), MESSAGE_V6, &[0x41]));
    assert_eq!(rejected(&future, &ipv6()), Reject::Version.because(4, 3));
}

#[test]
fn over_ipv6_only_version_3_is_expected() {
    // RFC 9568 §5.2.1
    let ours = ours(Version::V2, Family::Ipv6);
    accepted(&ipv6_frame(1), &ours);
    let version_2 = summed(patched(&ipv6_frame(1), MESSAGE_V6, &[0x21]));
    assert_eq!(rejected(&version_2, &ours), Reject::Version.because(2, 3));
}

#[test]
fn another_type_than_advertisement_is_rejected() {
    // RFC 9568 §5.2.2
    let unknown = summed(patched(&v3_frame(1), MESSAGE_V4, &[0x32]));
    assert_eq!(rejected(&unknown, &v3()), Reject::Type.because(2, 1));
}

#[test]
fn a_count_of_zero_is_rejected() {
    // RFC 9568 §5.2.5
    let empty = summed(patched(&v3_frame(1), MESSAGE_V4 + 3, &[0]));
    assert_eq!(rejected(&empty, &v3()), Reject::AddressCount.because(0, 1));
    let mut ours = v3();
    ours.expect.accept_no_addresses = true;
    assert_eq!(accepted(&v3_frame(0), &ours).address_count, 0);
    accepted(&v3_frame(1), &ours);
}

#[test]
fn a_count_that_the_message_does_not_hold_is_rejected() {
    // RFC 9568 §7.1
    let more = summed(patched(&v3_frame(1), MESSAGE_V4 + 3, &[2]));
    assert_eq!(rejected(&more, &v3()), Reject::Truncated.because(12, 16));
    let more = summed(patched(&ipv6_frame(1), MESSAGE_V6 + 3, &[2]));
    assert_eq!(rejected(&more, &ipv6()), Reject::Truncated.because(24, 40));
}

#[test]
fn version_2_without_its_authentication_data_is_rejected() {
    // RFC 3768 §5.3.10
    let mut frame = v2_frame(Auth::None, 1);
    frame.truncate(frame.len() - 8);
    let frame = summed(patched(&frame, IP + 2, &[0, 32]));
    assert_eq!(rejected(&frame, &v2()), Reject::Truncated.because(12, 20));
}

#[test]
fn the_length_comes_from_the_ip_header_and_never_from_the_frame() {
    // RFC 9568 §7.1: the padding would hold the second address
    let mut frame = v3_frame(1);
    frame.extend([0; 14]);
    let more = summed(patched(&frame, MESSAGE_V4 + 3, &[2]));
    assert_eq!(rejected(&more, &v3()), Reject::Truncated.because(12, 16));
}

#[test]
fn another_type_of_authentication_is_rejected() {
    // RFC 2338 §5.3.6
    let mut ours = v2();
    let rejection = rejected(&v2_frame(secret(), 1), &ours);
    assert_eq!(rejection, Reject::Auth.because(1, 0));
    ours.expect.auth = secret();
    assert_eq!(rejected(&v2_frame(Auth::None, 1), &ours), Reject::Auth.because(0, 1));
    let header = summed(patched(&v2_frame(secret(), 1), MESSAGE_V4 + 4, &[2]));
    assert_eq!(rejected(&header, &ours), Reject::Auth.because(2, 1));
}

#[test]
fn another_password_is_rejected_without_showing_either() {
    // RFC 2338 §5.3.10
    let mut ours = v2();
    ours.expect.auth = secret();
    accepted(&v2_frame(secret(), 1), &ours);
    for other in [&b"secreT"[..], b"secret1", b"", b"12345678"] {
        let auth = Auth::simple(other).expect("at most eight octets");
        let rejection = rejected(&v2_frame(auth, 1), &ours);
        assert_eq!(rejection.to_string(), "authentication data differs (RFC 2338 §5.3.6)");
    }
}

#[test]
fn data_without_authentication_means_nothing() {
    // RFC 2338 §5.3.10
    let frame = summed(patched(&v2_frame(Auth::None, 1), MESSAGE_V4 + 12, b"whatever"));
    accepted(&frame, &v2());
}

#[test]
fn an_interval_of_zero_is_rejected_in_every_version() {
    // RFC 9568 §5.2.7; RFC 3768 §5.3.7
    let mut lenient = v2();
    lenient.expect.accept_interval_mismatch = true;
    let zero = summed(patched(&v2_frame(Auth::None, 1), MESSAGE_V4 + 5, &[0]));
    assert_eq!(rejected(&zero, &lenient), Reject::Interval.because(0, 1));
    // The reserved bits are not part of it.
    let zero = summed(patched(&v3_frame(1), MESSAGE_V4 + 4, &[0xf0, 0]));
    assert_eq!(rejected(&zero, &v3()), Reject::Interval.because(0, 100));
    let zero = summed(patched(&ipv6_frame(1), MESSAGE_V6 + 4, &[0, 0]));
    assert_eq!(rejected(&zero, &ipv6()).reject, Reject::Interval);
}

#[test]
fn another_interval_is_rejected_in_version_2_unless_waived() {
    // RFC 3768 §7.1
    let slower = summed(patched(&v2_frame(Auth::None, 1), MESSAGE_V4 + 5, &[3]));
    let rejection = rejected(&slower, &v2());
    assert_eq!(rejection.to_string(), "interval 3 s, ours is 1 s (RFC 3768 §7.1)");
    let mut lenient = v2();
    lenient.expect.accept_interval_mismatch = true;
    assert_eq!(accepted(&slower, &lenient).interval.as_seconds(), Some(3));
}

#[test]
fn another_interval_is_taken_over_in_version_3() {
    // RFC 9568 §6.4.2
    let slower = summed(patched(&v3_frame(1), MESSAGE_V4 + 4, &[0xff, 0xff]));
    assert_eq!(accepted(&slower, &v3()).interval.as_centis(), 4095);
}

#[test]
fn our_own_frame_come_back_is_rejected() {
    // RFC 9568 §7.1
    for (frame, source, mut ours) in [(v3_frame(1), FROM_V4, v3()), (ipv6_frame(1), FROM_V6, ipv6())] {
        ours.expect.source = Some(source);
        assert_eq!(rejected(&frame, &ours).reject, Reject::Loopback);
        ours.expect.source = Some(if source == FROM_V4 { FROM_V6 } else { FROM_V4 });
        accepted(&frame, &ours);
    }
}

#[test]
fn over_ipv6_any_address_can_be_the_first() {
    // RFC 9568 §5.2.9 asks senders for a link-local one; §7.1 does not have receivers check it, and keepalived sends others.
    for first in [0xfe80_u16, 0xfec0, 0x2001] {
        accepted(&summed(patched(&ipv6_frame(2), MESSAGE_V6 + 8, &first.to_be_bytes())), &ipv6());
    }
}

#[test]
fn another_list_of_addresses_is_rejected_where_equality_is_asked_for() {
    // RFC 3768 §7.1
    let mut ours = v2();
    ours.expect.address_list = Some(AddressDigest::of(v4_addresses(3).into_iter().rev().map(IpAddr::V4)));
    accepted(&v2_frame(Auth::None, 3), &ours);
    assert_eq!(rejected(&v2_frame(Auth::None, 2), &ours).reject, Reject::AddressList);
    let other = summed(patched(&v2_frame(Auth::None, 3), MESSAGE_V4 + 8, &[10]));
    assert_eq!(rejected(&other, &ours).reject, Reject::AddressList);
    ours.expect.address_list = None;
    accepted(&other, &ours);
}

#[test]
fn the_owner_may_announce_any_addresses() {
    // RFC 3768 §7.1
    let mut ours = v2();
    ours.expect.address_list = Some(AddressDigest::of(v4_addresses(3).into_iter().map(IpAddr::V4)));
    let owner = summed(patched(&v2_frame(Auth::None, 2), MESSAGE_V4 + 2, &[255]));
    assert_eq!(accepted(&owner, &ours).priority, Priority::OWNER);
}

#[test]
fn fragments_name_no_router() {
    // RFC 9568 §7.1: the complete packet
    for (flags, offset) in [([0x20, 0x00], 0), ([0x00, 0x01], 8), ([0x3f, 0xff], 65528)] {
        let fragment = summed(patched(&v3_frame(1), IP + 6, &flags));
        assert_eq!(rejected_unnamed(&fragment, &v3()), Reject::Fragment.because(offset, 0));
    }
    // "Don't fragment" does not make it a fragment.
    accepted(&summed(patched(&v3_frame(1), IP + 6, &[0x40, 0x00])), &v3());
}

#[test]
fn adverts_for_foreign_virtual_routers_are_not_ours_whatever_their_errors() {
    // RFC 9568 §7.1
    let not_ours = |vlan, family, vrid_number| Classified::NotOurs { vlan, family, vrid_number };
    let damaged = patched(&v3_frame(1), MESSAGE_V4, &[0xff, 52, 0, 0]);
    let damaged = patched(&damaged, IP + 8, &[1]);
    assert_eq!(classify(&damaged[..], &v3()), not_ours(0, Family::Ipv4, 52));
    assert_eq!(classify(&damaged[..MESSAGE_V4 + 2], &v3()), not_ours(0, Family::Ipv4, 52));
    assert_eq!(classify(&ipv6_frame(1)[..], &v3()), not_ours(0, Family::Ipv6, 51));
    // RFC 9568 §5.2.3: 0 is not a valid VRID
    let zero = patched(&v3_frame(1), MESSAGE_V4 + 1, &[0]);
    assert_eq!(classify(&zero[..], &v3()), not_ours(0, Family::Ipv4, 0));
}

#[test]
fn a_source_that_no_host_can_have_is_rejected() {
    // RFC 1122 §3.2.1.3
    let mut ours = v3();
    ours.expect.broadcast = Some(Ipv4Addr::new(192, 0, 2, 255));
    for (source, is_host) in [
        ([0, 0, 0, 0], false),
        ([0, 0, 0, 1], false),
        ([1, 0, 0, 1], true),
        ([127, 0, 0, 1], false),
        ([223, 255, 255, 255], true),
        ([224, 0, 0, 18], false),
        ([240, 0, 0, 1], false),
        ([255, 255, 255, 255], false),
        ([192, 0, 2, 254], true),
        ([192, 0, 2, 255], false),
    ] {
        let frame = summed(patched(&v3_frame(1), IP + 12, &source));
        if is_host {
            assert_eq!(accepted(&frame, &ours).source, IpAddr::from(source));
        } else {
            assert_eq!(rejected(&frame, &ours), Reject::Source.because(Reject::NOT_UNICAST, 0));
        }
    }
    // RFC 4291 §2.5.2, §2.5.3, §2.7
    for (source, is_host) in [("::", false), ("::1", false), ("ff02::12", false), ("2001:db8::1", true)] {
        let source: Ipv6Addr = source.parse().expect("an address");
        let frame = summed(patched(&ipv6_frame(1), IP + 8, &source.octets()));
        let classified = classify(&frame[..], &ipv6());
        assert_eq!(matches!(classified, Classified::Advert { .. }), is_host, "{classified:?}");
    }
}

#[test]
fn a_virtual_address_is_the_source_of_its_owner_only() {
    const OURS: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), FROM_V4];
    let ours = Ours { virtual_addresses: OURS, ..v3() };
    for priority in 0..=255 {
        let frame = summed(patched(&v3_frame(1), MESSAGE_V4 + 2, &[priority]));
        // RFC 9568 §5.2.4: the owner has priority 255, and 0 when it resigns.
        if priority == 0 || priority == 255 {
            accepted(&frame, &ours);
        } else {
            let rejection = rejected(&frame, &ours);
            assert_eq!(rejection, Reject::Source.because(Reject::VIRTUAL_ADDRESS, 0));
            assert!(rejection.to_string().starts_with("source is a virtual address"), "{rejection}");
        }
    }
    accepted(&summed(patched(&v3_frame(1), IP + 12, &[192, 0, 2, 3])), &ours);
}

#[test]
fn a_frame_to_another_station_is_ignored_for_any_content() {
    for (frame, ours) in [(v3_frame(1), v3()), (ipv6_frame(1), ipv6())] {
        accepted(&patched(&frame, 0, &STATION.0), &ours);
        accepted(&patched(&frame, 0, &MacAddr::BROADCAST.0), &ours);
        for other in [[2, 0, 0, 0, 0, 1], [0, 0, 0x5e, 0, 1, 51]] {
            assert_eq!(classify(&patched(&frame, 0, &other)[..], &ours), Classified::NotVrrp);
        }
    }
}
