//! A received frame.
//!
//! * The parser and the tests' oracle, which share no code, give the same result for it, and for the frame with
//!   corrected checksums, which gives access to the checks after them.
//! * Octets after the packet in the frame change nothing.
//! * A parsed advert is parsed as the same after it was emitted; an accepted one is accepted again.
//! * Without the key no Authentication Header is accepted; a sealed advert is accepted at most once.

use std::net::IpAddr;
use std::sync::LazyLock;

use vrrpd::ah::{AuthKey, SecurityAssociation};
use vrrpd::datapath::{Arrival, RouterTable};
use vrrpd_common::abi::{KernelConfig, slot};
use vrrpd_common::classify::{AddressUse, Classified, Delivery, Expect, RouterKey, Routers};
use vrrpd_common::wire::ah::HEADER_LEN;
use vrrpd_common::wire::ethernet;
use vrrpd_common::wire::frame::{
    AdvertFrame, NOT_ROUTED, addresses, advert_frame_len, emit_advert, parse_advert,
};
use vrrpd_common::wire::vrrp::{ChecksumStyle, group};
use vrrpd_common::{AddressDigest, Advert, Auth, Family, Interval, MacAddr, Reject, Version, Vrid, classify};
use vrrpd_engine::RouterId;
use vrrpd_lab::corpus;
use vrrpd_lab::oracle::{self, Judgement, Router};
use vrrpd_lab::program::{config_of, is_destination, slot_of, use_of};
use vrrpd_lab::trial::MACS;

/// Octets after the packet.
const PADDING: [u8; 46] = [0xa5; 46];
/// The key of the router with an Authentication Header.
const KEY: &[u8] = b"known to nobody";
/// The router with an Authentication Header.
const AUTHENTICATED: u8 = corpus::V2_STRICT;

/// The routers of the tests' corpus, for the oracle and for the parser.
struct Ours {
    routers: Vec<Router>,
    configs: Vec<KernelConfig>,
}

static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let routers = corpus::routers();
    let configs = routers.iter().map(|router| config_of(router, 1)).collect();
    Ours { routers, configs }
});

impl Ours {
    fn place(&self, key: RouterKey) -> Option<usize> {
        let slot = slot(key.family, key.vrid);
        self.routers.iter().position(|router| slot_of(router) == slot)
    }
}

impl Routers for Ours {
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        let config = self.configs.get(self.place(RouterKey { vlan, family, vrid })?)?;
        config.expect(family).filter(|_| config.vlan == vlan)
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        let router = self.place(*router).and_then(|place| self.routers.get(place));
        router.map(|router| use_of(router, address)).unwrap_or_default()
    }

    fn is_destination(&self, destination: IpAddr) -> bool {
        is_destination(&self.routers, destination)
    }

    fn delivery(&self, router: &RouterKey, sender: AddressUse, destination: IpAddr) -> Delivery {
        let config = self.place(*router).and_then(|place| self.configs.get(place));
        config.map_or(Delivery::Elsewhere, |config| config.delivery(sender, destination))
    }

    fn receives(&self, destination: MacAddr) -> bool {
        MACS.contains(&destination.0)
    }
}

/// Checks these properties.
pub fn check(frame: &[u8]) {
    let opinion = agreed(frame);
    let packet = &frame[..end_of_packet(frame)];
    if packet.len() < frame.len() {
        assert_eq!(agreed(packet), opinion, "without the padding");
        let mut changed = frame.to_vec();
        changed[packet.len()..].iter_mut().for_each(|octet| *octet ^= 0xff);
        assert_eq!(agreed(&changed), opinion, "with other padding");
    } else if matches!(opinion, Classified::Advert { .. }) {
        assert_eq!(agreed(&[packet, &PADDING].concat()), opinion, "with padding");
    }
    for pseudo_header in [false, true] {
        let mut repaired = frame.to_vec();
        corpus::repair_header(&mut repaired);
        corpus::repair_message(&mut repaired, pseudo_header);
        let opinion = agreed(&repaired);
        emitted_again(&repaired, &opinion);
    }
    emitted_again(frame, &opinion);
    authenticated(frame);
}

/// The classification of the frame, in which parser and oracle agree.
fn agreed(frame: &[u8]) -> Classified {
    let classified = classify(frame, &*OURS);
    let judgement = oracle::judge(frame, &MACS, &OURS.routers);
    let same = match (&classified, &judgement) {
        (Classified::NotVrrp, Judgement::NotVrrp) => true,
        (Classified::NotOurs { .. }, Judgement::Stray(reason)) => *reason == Reject::NotOurs.name(),
        (Classified::Reject { rejection, router: None }, Judgement::Stray(reason)) => {
            rejection.reject.name() == *reason
        }
        (Classified::Reject { rejection, router: Some((key, _)) }, Judgement::Discard(place, reason)) => {
            OURS.place(*key) == Some(*place) && rejection.reject.name() == *reason
        }
        (Classified::Advert { router, advert }, Judgement::Accept(place, judged)) => {
            OURS.place(*router) == Some(*place) && says_the_same(advert, judged)
        }
        _ => false,
    };
    assert!(same, "parser: {classified:?}\noracle: {judgement:?}");
    classified
}

fn says_the_same(advert: &Advert, judged: &oracle::Advert) -> bool {
    advert.priority.0 == judged.priority
        && advert.interval.as_centis() == judged.centis
        && advert.source == judged.source
        && usize::from(advert.address_count) == judged.addresses.len()
        && advert.addresses == AddressDigest::of(judged.addresses.iter().copied())
}

/// The end of the packet according to its header; at most the end of the frame, also without such a header.
fn end_of_packet(frame: &[u8]) -> usize {
    let announced = corpus::ip_header(frame).and_then(|ip| {
        let (field, more) = if frame[ip] >> 4 == 4 { (ip + 2, 0) } else { (ip + 4, 40) };
        let len = u16::from_be_bytes([*frame.get(field)?, *frame.get(field + 1)?]);
        // A length in an IPv4 header may end inside the header, which is read completely.
        Some((ip + usize::from(len) + more).max(ip + 60))
    });
    announced.map_or(frame.len(), |end| end.min(frame.len()))
}

/// A parsed advert is parsed as the same after it was emitted, and an accepted one is accepted again.
fn emitted_again(frame: &[u8], opinion: &Classified) {
    let parsed = parse_advert(frame);
    if let Classified::Advert { advert, .. } = opinion {
        let addresses = addresses(frame).expect("an accepted advert has addresses that can be read");
        assert_eq!((addresses.count(), addresses.digest()), (advert.address_count, advert.addresses));
    }
    let Some((source, advert)) = parsed else { return };
    let source_mac = frame[6..12].try_into().map(MacAddr).expect("a parsed frame has a whole header");
    for checksum in [ChecksumStyle::WithPseudoHeader, ChecksumStyle::MessageOnly] {
        let mut emitted = vec![0xa5; advert_frame_len(&advert)];
        // Its receiver has peers, or takes multicast.
        let receiver = match opinion {
            Classified::Advert { router, .. } => {
                OURS.place(*router).and_then(|place| OURS.routers.get(place))
            }
            _ => None,
        };
        let own = receiver.filter(|router| router.peers.is_some()).map(|router| router.own_address);
        let whole = AdvertFrame {
            source_mac,
            source,
            destination: own.unwrap_or_else(|| group(advert.addresses().family())),
            ttl: NOT_ROUTED,
            checksum,
            advert,
        };
        assert_eq!(emit_advert(&whole, &mut emitted), Some(emitted.len()));
        assert_eq!(parse_advert(&emitted), Some((source, advert)));
        if own.is_some() {
            emitted[..6].copy_from_slice(&corpus::OWN_MAC);
        }
        // Adverts are sent untagged.
        if let Classified::Advert { router: RouterKey { vlan: 0, .. }, .. } = opinion {
            assert_eq!(classify(&emitted[..], &*OURS), *opinion);
        }
    }
}

/// A router that accepts only adverts with an Authentication Header.
fn table() -> RouterTable {
    let vrid = Vrid::new(AUTHENTICATED).expect("a VRID");
    let mut table = RouterTable::default();
    let expect = Expect {
        version: Version::V2,
        interval: Interval::DEFAULT,
        auth: Auth::Ah,
        source: Some(IpAddr::V4(corpus::OWN_V4)),
        broadcast: None,
        from_peers: false,
        min_ttl: 255,
        accept_interval_mismatch: true,
        accept_no_addresses: false,
        address_list: None,
    };
    table.set(Family::Ipv4, vrid, RouterId::FIRST, expect);
    table.associate(Family::Ipv4, vrid, association());
    table
}

fn association() -> SecurityAssociation {
    SecurityAssociation::new(&AuthKey::new(KEY).expect("a key"))
}

fn authenticated(frame: &[u8]) {
    let mut table = table();
    let arrival = table.judge(frame);
    assert!(!matches!(arrival, Some(Arrival::Advert { .. })), "accepted without the key: {arrival:?}");

    let mut sealed = frame.to_vec();
    corpus::repair_header(&mut sealed);
    repair_message_behind_ah(&mut sealed);
    let Some(packet) = sealed.get_mut(ethernet::HEADER_LEN..) else { return };
    if association().seal(packet, 1).is_none() {
        return;
    }
    if let Some(Arrival::Advert { advert, .. }) = table.judge(&sealed) {
        let (source, parsed) = parse_advert(&sealed).expect("an accepted advert can be parsed");
        assert_eq!((source, parsed.priority()), (advert.source, advert.priority));
        let again = table.judge(&sealed);
        let is_replay = matches!(
            again,
            Some(Arrival::Rejected { rejection, .. })
                if rejection.reject == Reject::Auth && rejection.got == Reject::REPLAYED
        );
        assert!(is_replay, "accepted twice: {again:?}");
    }
}

/// Corrects the checksum of a message after an Authentication Header.
fn repair_message_behind_ah(frame: &mut [u8]) {
    let Some(ip) = corpus::ip_header(frame) else { return };
    let header = ip + usize::from(frame[ip] & 15) * 4;
    let message = header + HEADER_LEN;
    if message > frame.len() {
        return;
    }
    let mut plain = [&frame[..header], &frame[message..]].concat();
    corpus::repair_message(&mut plain, false);
    frame[message..].copy_from_slice(&plain[header..]);
}

/// The corpus of the tests: valid adverts, invalid ones of every kind, and adverts with an Authentication Header.
pub fn seeds() -> Vec<Vec<u8>> {
    let right = corpus::right_ones().into_iter().map(|(_, frame)| frame);
    let cases = corpus::cases().into_iter().map(|case| case.frame);
    let authenticated = [corpus::v2(AUTHENTICATED), corpus::v2_strict()]
        .map(|advert| advert.build_authenticated(b"another key", 7));
    right.chain(cases).chain(authenticated).collect()
}
