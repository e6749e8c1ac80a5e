//! Boundaries of lengths, tags and headers.

use super::*;
use crate::wire::frame::addresses;

/// `frame` with a VLAN tag.
fn tagged(frame: &[u8], protocol: [u8; 2], control: [u8; 2]) -> Vec<u8> {
    [&frame[..12], &protocol, &control, &frame[12..]].concat()
}

/// A frame of each kind, with a router that accepts it.
fn each_kind(count: u8) -> [(Vec<u8>, Ours); 3] {
    [
        (v2_frame(Auth::None, count), ours(Version::V2, Family::Ipv4)),
        (v3_frame(count), ours(Version::V3, Family::Ipv4)),
        (ipv6_frame(count), ours(Version::V3, Family::Ipv6)),
    ]
}

#[test]
fn adverts_with_1_20_and_255_addresses_are_taken() {
    // RFC 9568 §5.2.5
    for count in [1, 20, 255] {
        let v4 = AddressDigest::of(v4_addresses(count).into_iter().map(IpAddr::V4));
        let v6 = AddressDigest::of(v6_addresses(count).into_iter().map(IpAddr::V6));
        for (frame, ours) in each_kind(count) {
            let (source, wanted) = match ours.key.family {
                Family::Ipv4 => (FROM_V4, v4),
                Family::Ipv6 => (FROM_V6, v6),
            };
            let advert = Advert {
                vrid: vrid(51),
                priority: Priority(100),
                interval: Interval::DEFAULT,
                source,
                mac: SENDER,
                address_count: count,
                addresses: wanted,
            };
            assert_eq!(accepted(&frame, &ours), advert);
            assert_eq!(addresses(&frame).map(|list| list.digest()), Some(wanted));
        }
    }
}

#[test]
fn every_priority_is_taken() {
    // RFC 9568 §5.2.4
    for priority in 0..=255 {
        let frame = summed(patched(&v3_frame(1), MESSAGE_V4 + 2, &[priority]));
        assert_eq!(accepted(&frame, &ours(Version::V3, Family::Ipv4)).priority, Priority(priority));
    }
}

#[test]
fn a_frame_cut_short_anywhere_is_never_an_advert() {
    // RFC 9568 §7.1
    for (frame, ours) in each_kind(20) {
        let vrid_at = match ours.key.family {
            Family::Ipv4 => MESSAGE_V4 + 1,
            Family::Ipv6 => MESSAGE_V6 + 1,
        };
        for len in 0..frame.len() {
            let wanted = Reject::Truncated.because(number(len.saturating_sub(IP)), number(frame.len() - IP));
            match classify(&frame[..len], &ours) {
                Classified::NotVrrp => assert!(len < vrid_at - 1, "{len} octets"),
                Classified::Reject { rejection, router } => {
                    assert_eq!(rejection, wanted, "{len} octets");
                    let router = router.map(|(router, _)| router);
                    assert_eq!(router, (len > vrid_at).then_some(ours.key), "{len} octets");
                }
                other => unexpected(other),
            }
        }
    }
}

#[test]
fn padding_is_no_part_of_the_message() {
    // RFC 9568 §7.1, IEEE 802.3 §3.2.8
    for (frame, ours) in each_kind(1) {
        let advert = accepted(&frame, &ours);
        for len in [1, 3, 14, 200, 5000] {
            assert_eq!(accepted(&[&frame[..], &std::vec![0xa5; len]].concat(), &ours), advert);
        }
    }
}

#[test]
fn octets_after_the_last_address_are_no_part_of_the_message() {
    // RFC 9568 §5.1: the count says where it ends
    for (frame, ours) in each_kind(1) {
        for extra in [1_u8, 2, 3, 4, 8] {
            let longer = [&frame[..], &std::vec![0x5a; extra.into()]].concat();
            let longer = match ours.key.family {
                Family::Ipv4 => patched(&longer, IP + 3, &[frame[IP + 3] + extra]),
                Family::Ipv6 => patched(&longer, IP + 5, &[frame[IP + 5] + extra]),
            };
            let longer = if ours.key.family == Family::Ipv4 { summed_header(longer) } else { longer };
            assert_eq!(accepted(&longer, &ours), accepted(&frame, &ours));
        }
    }
}

#[test]
fn ipv4_options_are_skipped_and_summed_up() {
    // RFC 791 §3.1
    for words in 1..=10_u8 {
        let ours = ours(Version::V3, Family::Ipv4);
        let plain = v3_frame(1);
        let options = std::vec![0x01; usize::from(words) * 4];
        let frame = [&plain[..MESSAGE_V4], &options, &plain[MESSAGE_V4..]].concat();
        let frame = patched(&frame, IP, &[0x45 + words, 0xc0, 0, 32 + words * 4]);
        let frame = summed(frame);
        assert_eq!(accepted(&frame, &ours), accepted(&plain, &ours));
        assert_eq!(rejected(&patched(&frame, MESSAGE_V4, &[0x07]), &ours).reject, Reject::Checksum);
    }
}

#[test]
fn an_ipv4_header_shorter_than_itself_is_rejected_without_a_name() {
    // RFC 791 §3.1
    for words in 0..5 {
        let frame = patched(&v3_frame(1), IP, &[0x40 | words]);
        let rejection = rejected_unnamed(&frame, &ours(Version::V3, Family::Ipv4));
        assert_eq!(rejection, Reject::Truncated.because(u32::from(words) * 4, 20));
    }
}

#[test]
fn a_packet_without_room_for_a_vrid_is_rejected_without_a_name() {
    // RFC 9568 §7.1; the frame goes on, but not the packet
    for (total_len, message_len) in [(0_u8, 0), (19, 0), (20, 0), (21, 1)] {
        let frame = patched(&v3_frame(1), IP + 2, &[0, total_len]);
        let rejection = rejected_unnamed(&frame, &ours(Version::V3, Family::Ipv4));
        assert_eq!(rejection, Reject::Truncated.because(message_len, 8));
    }
    for payload_len in [0_u8, 1] {
        let frame = patched(&ipv6_frame(1), IP + 4, &[0, payload_len]);
        let rejection = rejected_unnamed(&frame, &ours(Version::V3, Family::Ipv6));
        assert_eq!(rejection, Reject::Truncated.because(payload_len.into(), 8));
    }
}

#[test]
fn a_packet_that_ends_inside_the_vrrp_header_is_rejected() {
    // RFC 9568 §7.1
    for len in 2..8_u8 {
        let frame = patched(&v3_frame(1), IP + 2, &[0, 20 + len]);
        let frame = patched(&summed(frame), MESSAGE_V4, &[0x31, 51]);
        let rejection = rejected(&frame, &ours(Version::V3, Family::Ipv4));
        assert_eq!(rejection, Reject::Truncated.because(len.into(), 8));
    }
}

#[test]
fn a_vlan_tag_is_part_of_the_name() {
    // IEEE 802.1Q §9.3
    for protocol in [[0x81, 0x00], [0x88, 0xa8]] {
        for (frame, mut ours) in each_kind(1) {
            let advert = accepted(&frame, &ours);
            let in_vlan = tagged(&frame, protocol, [0x70, 0x64]);
            let (family, vrid_number) = (ours.key.family, 51);
            let not_ours = Classified::NotOurs { vlan: 100, family, vrid_number };
            assert_eq!(classify(&in_vlan[..], &ours), not_ours);
            ours.key.vlan = 100;
            assert_eq!(accepted(&in_vlan, &ours), advert);
            assert_eq!(classify(&frame[..], &ours), Classified::NotOurs { vlan: 0, family, vrid_number });
        }
    }
}

#[test]
fn a_tag_for_priority_only_is_no_vlan() {
    // IEEE 802.1Q §9.6
    for (frame, ours) in each_kind(1) {
        assert_eq!(accepted(&tagged(&frame, [0x81, 0x00], [0xf0, 0x00]), &ours), accepted(&frame, &ours));
    }
}

#[test]
fn tags_within_tags_are_left_to_the_devices_stacked_above() {
    for (frame, ours) in each_kind(1) {
        for protocol in [[0x81, 0x00], [0x88, 0xa8]] {
            let twice = tagged(&tagged(&frame, [0x81, 0x00], [0x00, 0x64]), protocol, [0x00, 0x65]);
            assert_eq!(classify(&twice[..], &ours), Classified::NotVrrp);
        }
    }
}

#[test]
fn other_traffic_is_not_vrrp() {
    // RFC 9568 §5.1.1.2, §5.1.1.4, §5.1.2.2, §5.1.2.4
    let v4 = ours(Version::V3, Family::Ipv4);
    let v6 = ours(Version::V3, Family::Ipv6);
    let cases = [
        ("ARP", patched(&v3_frame(1), 12, &[0x08, 0x06]), v4),
        ("IPv6 in a frame of IPv4", patched(&v3_frame(1), IP, &[0x65]), v4),
        ("IPv4 in a frame of IPv6", patched(&ipv6_frame(1), IP, &[0x4c]), v6),
        ("UDP over IPv4", patched(&v3_frame(1), IP + 9, &[17]), v4),
        ("authentication header", patched(&v3_frame(1), IP + 9, &[51]), v4),
        ("UDP over IPv6", patched(&ipv6_frame(1), IP + 6, &[17]), v6),
        ("hop-by-hop options", patched(&ipv6_frame(1), IP + 6, &[0]), v6),
        ("fragment header", patched(&ipv6_frame(1), IP + 6, &[44]), v6),
        ("unicast over IPv4", summed(patched(&v3_frame(1), IP + 16, &[192, 0, 2, 1])), v4),
        ("224.0.0.1", summed(patched(&v3_frame(1), IP + 19, &[1])), v4),
        ("ff02::1", summed(patched(&ipv6_frame(1), IP + 39, &[1])), v6),
        ("ff05::12", summed(patched(&ipv6_frame(1), IP + 25, &[5])), v6),
    ];
    for (name, frame, ours) in cases {
        assert_eq!(classify(&frame[..], &ours), Classified::NotVrrp, "{name}");
    }
}

#[test]
fn an_extension_header_before_the_message_makes_it_no_advert() {
    // RFC 9568 §5.1.2.4
    let plain = ipv6_frame(1);
    let hop_by_hop = [112, 0, 1, 4, 0, 0, 0, 0];
    let frame = [&plain[..MESSAGE_V6], &hop_by_hop, &plain[MESSAGE_V6..]].concat();
    let frame = patched(&frame, IP + 4, &[0, 32, 0]);
    assert_eq!(classify(&frame[..], &ours(Version::V3, Family::Ipv6)), Classified::NotVrrp);
}

#[test]
fn both_checksums_of_version_3_over_ipv4_are_taken() {
    // RFC 9568 §5.2.8, RFC 5798 §5.2.8
    let ours = ours(Version::V3, Family::Ipv4);
    let alone = summed(v3_frame(1));
    assert_ne!(alone, v3_frame(1));
    assert_eq!(accepted(&alone, &ours), accepted(&v3_frame(1), &ours));
}

#[test]
fn a_source_that_is_not_link_local_is_taken_over_ipv6() {
    // RFC 9568 §5.1.2.1 applies to the sender; §7.1 requires only the hop limit of the receiver.
    let frame = summed(patched(&ipv6_frame(1), IP + 8, &[0x20, 0x01]));
    let source = accepted(&frame, &ours(Version::V3, Family::Ipv6)).source;
    assert_eq!(source, IpAddr::V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0x0b)));
}
