//! Adverts in an Authentication Header. The tests simulate the verification with a fixed answer.

use std::string::ToString;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::ah::{AhPacket, HEADER_LEN};
use crate::wire::frame::{addresses, parse_advert};

const AH: usize = IP + 20;
const MESSAGE: usize = AH + HEADER_LEN;

/// One virtual router of ours, the answer of its association, and the number of calls.
struct Association {
    ours: Ours,
    answer: Result<(), Rejection>,
    asked: usize,
}

impl Routers for Association {
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        self.ours.expect(vlan, family, vrid)
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        self.ours.use_of(router, address)
    }

    fn receives(&self, destination: MacAddr) -> bool {
        self.ours.receives(destination)
    }
}

impl Associations for Association {
    fn admit(&mut self, router: RouterKey, _: &AhPacket<'_>) -> Result<(), Rejection> {
        assert_eq!(router, self.ours.key);
        self.asked += 1;
        self.answer
    }
}

fn association() -> Association {
    let mut ours = ours(Version::V2, Family::Ipv4);
    ours.expect.auth = Auth::Ah;
    Association { ours, answer: Ok(()), asked: 0 }
}

fn frame() -> Vec<u8> {
    v2_frame(Auth::Ah, 2)
}

#[track_caller]
fn rejected_by(frame: &[u8], association: &mut Association) -> Rejection {
    match classify_authenticated(frame, association) {
        Classified::Reject { rejection, router: Some((router, _)) } if router == association.ours.key => {
            rejection
        }
        other => unexpected(other),
    }
}

#[test]
fn an_authentic_advert_is_accepted() {
    // RFC 2338 §5.3.6.3
    let mut association = association();
    match classify_authenticated(&frame(), &mut association) {
        Classified::Advert { router, advert } => {
            assert_eq!(router, association.ours.key);
            assert_eq!((advert.source, advert.priority, advert.address_count), (FROM_V4, Priority(100), 2));
        }
        other => unexpected(other),
    }
    assert_eq!(association.asked, 1);
}

#[test]
fn a_packet_refused_by_the_association_is_rejected_for_its_reason() {
    let mut association = association();
    let rejection = Reject::Auth.because(Reject::REPLAYED, 2);
    association.answer = Err(rejection);
    assert_eq!(rejected_by(&frame(), &mut association), rejection);
    assert_eq!(rejection.to_string(), "sequence number is not above the last one (RFC 2402 §3.4.3)");
}

#[test]
fn a_damaged_or_routed_or_truncated_packet_is_rejected_before_the_association_is_asked() {
    // RFC 2402 §3.4: the header is processed behind the IP layer's own checks
    let mut association = association();
    let damaged = patched(&frame(), IP + 4, &[1]);
    assert_eq!(rejected_by(&damaged, &mut association).reject, Reject::Checksum);
    let routed = summed_header(patched(&frame(), IP + 8, &[254]));
    assert_eq!(rejected_by(&routed, &mut association), Reject::Ttl.because(254, 255));
    let short = &frame()[..frame().len() - 1];
    assert_eq!(rejected_by(short, &mut association).reject, Reject::Truncated);
    assert_eq!(association.asked, 0);
}

#[test]
fn a_frame_cut_at_any_octet_is_no_advert() {
    for len in 0..frame().len() {
        let mut association = association();
        match classify_authenticated(&frame()[..len], &mut association) {
            Classified::NotVrrp => assert!(len < MESSAGE, "{len} octets"),
            Classified::Reject { rejection, .. } => assert_eq!(rejection.reject, Reject::Truncated),
            other => unexpected(other),
        }
        assert_eq!(association.asked, 0);
    }
}

#[test]
fn a_message_that_is_authentic_has_to_be_right_all_the_same() {
    // RFC 2338 §7.1
    let mut association = association();
    for (at, octets, reject) in [
        (MESSAGE, &[0x31][..], Reject::Version),
        (MESSAGE, &[0x22], Reject::Type),
        (MESSAGE + 3, &[0], Reject::AddressCount),
        (MESSAGE + 3, &[3], Reject::Truncated),
        (MESSAGE + 6, &[0, 0], Reject::Checksum),
        // Another type, with a priority that keeps the checksum.
        (MESSAGE + 2, &[102, 2, 0], Reject::Auth),
        (MESSAGE + 2, &[99, 2, 3], Reject::Auth),
    ] {
        assert_eq!(
            rejected_by(&patched(&frame(), at, octets), &mut association).reject,
            reject,
            "{octets:?}"
        );
    }
}

#[test]
fn a_header_for_a_router_without_one_is_rejected() {
    let mut association = association();
    association.ours.expect.auth = Auth::None;
    assert_eq!(rejected_by(&frame(), &mut association), Reject::Auth.because(2, 0));
    association.ours.expect.auth = Auth::Simple([0; 8]);
    assert_eq!(rejected_by(&frame(), &mut association), Reject::Auth.because(2, 1));
    assert_eq!(association.asked, 0);
}

#[test]
fn a_router_with_a_header_takes_nothing_without_one() {
    let ours = association().ours;
    for auth in [Auth::None, Auth::Simple([0; 8])] {
        let rejection = rejected(&v2_frame(auth, 2), &ours);
        assert_eq!(rejection, Reject::Auth.because(auth.kind().into(), 2));
    }
    // The type alone proves nothing.
    let mut claims = v2_frame(Auth::Ah, 2);
    claims.drain(AH..MESSAGE);
    let total_len = u8::try_from(claims.len() - IP).expect("short");
    claims = patched(&patched(&claims, IP + 3, &[total_len]), IP + 9, &[112]);
    assert_eq!(rejected(&summed(claims), &ours), Reject::Auth.because(2, 2));
}

#[test]
fn a_header_of_another_length_is_rejected_for_the_router_it_names() {
    // RFC 2402 §2.2
    let mut frame = frame();
    frame.splice(MESSAGE..MESSAGE, [0; 4]);
    let total_len = u8::try_from(frame.len() - IP).expect("short");
    frame = summed_header(patched(&patched(&frame, IP + 3, &[total_len]), AH + 1, &[5]));
    let mut association = association();
    assert_eq!(rejected_by(&frame, &mut association).reject, Reject::Auth);
    assert_eq!(association.asked, 0);
}

#[test]
fn routers_of_others_are_left_to_them() {
    let mut association = association();
    association.ours.key.vrid = vrid(52);
    match classify_authenticated(&frame(), &mut association) {
        Classified::NotOurs { vrid_number: 51, .. } => {}
        other => unexpected(other),
    }
}

#[test]
fn other_frames_are_not_vrrp_here() {
    let mut association = association();
    // TCP in the header; another group; IPv6; no header at all.
    let frames = [
        patched(&frame(), AH, &[6]),
        patched(&frame(), IP + 19, &[5]),
        ipv6_frame(1),
        v3_frame(1),
        v2_frame(Auth::None, 1),
    ];
    for frame in frames {
        assert_eq!(classify_authenticated(&frame[..], &mut association), Classified::NotVrrp);
    }
    // The program in the kernel passes the header on.
    assert_eq!(classify(&frame()[..], &association.ours), Classified::NotVrrp);
}

#[test]
fn a_fragment_is_rejected() {
    let mut association = association();
    match classify_authenticated(&summed_header(patched(&frame(), IP + 6, &[0x20])), &mut association) {
        Classified::Reject { rejection, router: None } => assert_eq!(rejection.reject, Reject::Fragment),
        other => unexpected(other),
    }
}

#[test]
fn the_addresses_of_an_authentic_advert_are_read_from_its_frame() {
    let frame = frame();
    let list = addresses(&frame).expect("is an advert");
    assert!(list.iter().eq(v4_addresses(2).into_iter().map(IpAddr::V4)));
    assert_eq!(parse_advert(&frame).map(|(_, advert)| advert.kind()), Some(Kind::V2 { auth: Auth::Ah }));
    for len in 0..frame.len() {
        assert_eq!(addresses(&frame[..len]), None, "{len} octets");
    }
    assert_eq!(addresses(&patched(&frame, AH, &[6])), None);
}

proptest! {
    #[test]
    fn any_damage_and_any_length_are_classified_without_a_panic(
        damage in vec((0..MESSAGE + 24, any::<u8>()), 0..8),
        len in 0..=MESSAGE + 24,
    ) {
        let mut frame = frame();
        prop_assert_eq!(frame.len(), MESSAGE + 24);
        for (at, octet) in damage {
            frame[at] = octet;
        }
        frame.truncate(len);
        let mut association = association();
        let classified = classify_authenticated(&frame[..], &mut association);
        let is_advert = matches!(classified, Classified::Advert { .. });
        prop_assert!(association.asked == 1 || !is_advert);
        let _ = parse_advert(&frame);
    }
}

#[test]
fn a_source_that_cannot_be_and_a_frame_to_another_station_are_as_without_the_header() {
    let mut association = association();
    let broadcast = summed_header(patched(&frame(), IP + 12, &[255; 4]));
    assert_eq!(rejected_by(&broadcast, &mut association).reject, Reject::Source);
    let to_another = patched(&frame(), 0, &[2, 0, 0, 0, 0, 1]);
    assert_eq!(classify_authenticated(&to_another, &mut association), Classified::NotVrrp);
}
