//! Properties of all frames.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::wire::frame::{addresses, parse_advert};

/// A possible advert, with a router that accepts it.
#[derive(Clone, Debug)]
struct Sample {
    vrid: Vrid,
    priority: Priority,
    interval: Interval,
    kind: Kind,
    style: ChecksumStyle,
    source: IpAddr,
    addresses: List,
}

#[derive(Clone, Debug)]
enum List {
    V4(Vec<Ipv4Addr>),
    V6(Vec<Ipv6Addr>),
}

impl Sample {
    fn list(&self) -> Addresses<'_> {
        match &self.addresses {
            List::V4(list) => Addresses::ipv4(list),
            List::V6(list) => Addresses::ipv6(list),
        }
        .expect("legal by construction")
    }

    fn repr(&self) -> VrrpRepr<'_> {
        VrrpRepr::new(self.vrid, self.priority, self.interval, self.kind, self.list())
            .expect("legal by construction")
    }

    fn frame(&self) -> Vec<u8> {
        frame_of(self.source, self.style, self.repr())
    }

    fn ours(&self) -> Ours {
        let (version, auth) = match self.kind {
            Kind::V2 { auth } => (Version::V2, auth),
            Kind::V3 => (Version::V3, Auth::None),
        };
        let mut ours = ours(version, self.list().family());
        ours.key.vrid = self.vrid;
        ours.expect = Expect { interval: self.interval, auth, ..ours.expect };
        ours
    }

    fn advert(&self) -> Advert {
        Advert {
            vrid: self.vrid,
            priority: self.priority,
            interval: self.interval,
            source: self.source,
            mac: SENDER,
            address_count: self.list().count(),
            addresses: self.list().digest(),
        }
    }

    fn message(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => MESSAGE_V4,
            IpAddr::V6(_) => MESSAGE_V6,
        }
    }
}

fn any_auth() -> impl Strategy<Value = Auth> {
    prop_oneof![Just(Auth::None), any::<[u8; 8]>().prop_map(Auth::Simple)]
}

fn any_centis() -> impl Strategy<Value = Interval> {
    (1..=4095_u16).prop_map(|centis| Interval::from_centis(centis).expect("in range"))
}

fn any_v2() -> impl Strategy<Value = (Kind, Interval)> {
    let interval = (1..=255_u8).prop_map(|seconds| Interval::from_seconds(seconds).expect("in range"));
    (any_auth().prop_map(|auth| Kind::V2 { auth }), interval)
}

fn any_ipv4() -> impl Strategy<Value = (Kind, Interval, IpAddr, List)> {
    let kind = prop_oneof![any_v2(), any_centis().prop_map(|interval| (Kind::V3, interval))];
    let host = any::<Ipv4Addr>()
        .prop_filter("the address of a host", |address| !matches!(address.octets(), [0 | 127 | 224.., ..]));
    (kind, host, vec(any::<Ipv4Addr>(), 1..=255))
        .prop_map(|((kind, interval), source, list)| (kind, interval, source.into(), List::V4(list)))
}

fn any_ipv6() -> impl Strategy<Value = (Kind, Interval, IpAddr, List)> {
    let list = vec(any::<Ipv6Addr>(), 1..=255).prop_map(|mut list| {
        list[0] = Ipv6Addr::from_bits(0xfe80 << 112 | list[0].to_bits() >> 16);
        List::V6(list)
    });
    let host = any::<u64>().prop_map(|host| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(host)));
    (any_centis(), host, list).prop_map(|(interval, source, list)| (Kind::V3, interval, source.into(), list))
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let style = prop_oneof![Just(ChecksumStyle::WithPseudoHeader), Just(ChecksumStyle::MessageOnly)];
    (1..=255_u8, any::<u8>(), style, prop_oneof![any_ipv4(), any_ipv6()]).prop_map(
        |(number, priority, style, (kind, interval, source, addresses))| Sample {
            vrid: vrid(number),
            priority: Priority(priority),
            interval,
            kind,
            style,
            source,
            addresses,
        },
    )
}

/// Accepts any virtual router, so that every check is reached.
struct Everything(Expect);

impl Routers for Everything {
    fn expect(&self, _: u16, _: Family, _: Vrid) -> Option<Expect> {
        Some(self.0)
    }

    fn use_of(&self, _: &RouterKey, _: IpAddr) -> AddressUse {
        AddressUse::default()
    }
}

/// If the pseudo-header adds a single bit, or all but one, the two checksums of version 3 over IPv4 differ in that bit
/// only: flipping it turns one valid checksum into the other.
fn styles_differ_in_one_bit(sample: &Sample, frame: &[u8]) -> bool {
    let len = u16::try_from(frame.len() - MESSAGE_V4).expect("short");
    let pseudo = Sum::of(frame, IP + 12, 8).expect("both addresses").plus_u16(112).plus_u16(len);
    let added = !pseudo.checksum();
    sample.kind == Kind::V3
        && sample.source.is_ipv4()
        && (added.is_power_of_two() || (!added).is_power_of_two())
}

proptest! {
    #[test]
    fn any_octets_are_classified_without_a_panic(frame: Vec<u8>) {
        let ours = ours(Version::V3, Family::Ipv4);
        let is_advert = matches!(classify(&frame[..], &ours), Classified::Advert { .. });
        prop_assert!(!is_advert);
        let _ = parse_advert(&frame);
    }

    #[test]
    fn any_damage_is_classified_without_a_panic(
        sample in any_sample(),
        damage in vec((any::<Index>(), any::<u8>()), 1..8),
        headers_only: bool,
        len: Index,
        cut: bool,
    ) {
        let mut frame = sample.frame();
        let reach = if headers_only { sample.message() + 8 } else { frame.len() };
        for (place, octet) in damage {
            frame[place.index(reach)] = octet;
        }
        if cut {
            frame.truncate(len.index(frame.len()));
        }
        let _ = classify(&frame[..], &Everything(sample.ours().expect));
        let _ = parse_advert(&frame);
    }

    #[test]
    fn an_emitted_advert_is_classified_and_parsed_as_the_same(sample in any_sample()) {
        let frame = sample.frame();
        let ours = sample.ours();
        let wanted = Classified::Advert { router: ours.key, advert: sample.advert() };
        prop_assert_eq!(classify(&frame[..], &ours), wanted);
        prop_assert_eq!(parse_advert(&frame), Some((sample.source, sample.repr())));
        prop_assert_eq!(addresses(&frame), Some(sample.list()));
    }

    #[test]
    fn any_flipped_bit_of_a_message_is_noticed(sample in any_sample(), place: Index, bit in 0..8_u8) {
        // RFC 9568 §5.2.8
        let mut frame = sample.frame();
        prop_assume!(!styles_differ_in_one_bit(&sample, &frame));
        let message = sample.message();
        let at = message + place.index(frame.len() - message);
        frame[at] ^= 1_u8 << bit;
        match classify(&frame[..], &sample.ours()) {
            Classified::NotVrrp => prop_assert!(false, "no header was touched"),
            Classified::NotOurs { vrid_number, .. } => prop_assert_ne!(vrid_number, sample.vrid.get()),
            Classified::Reject { .. } => {}
            Classified::Advert { advert, .. } => prop_assert_ne!(advert, sample.advert()),
        }
    }

    #[test]
    fn padding_changes_nothing(sample in any_sample(), padding in vec(any::<u8>(), 1..64)) {
        let padded = [sample.frame(), padding].concat();
        prop_assert_eq!(accepted(&padded, &sample.ours()), sample.advert());
        prop_assert_eq!(addresses(&padded), Some(sample.list()));
    }
}
