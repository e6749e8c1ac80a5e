//! What each check accepts and rejects. Frames come from the daemon's own builder and are damaged deliberately; for
//! checks other than the checksum, checksums are corrected.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::vec::Vec;

use super::*;
use crate::advert::AddressDigest;
use crate::mac::MacAddr;
use crate::params::{Auth, Interval, Priority, Version};
use crate::wire::checksum::Sum;
use crate::wire::frame::{AdvertFrame, NOT_ROUTED, advert_frame_len, emit_advert};
use crate::wire::vrrp::{Addresses, ChecksumStyle, Kind, VrrpRepr};

mod authenticated;
mod boundaries;
mod properties;
mod rejects;
mod unicast;

/// Offsets of headers in untagged frames.
const IP: usize = 14;
const MESSAGE_V4: usize = IP + 20;
const MESSAGE_V6: usize = IP + 40;

const FROM_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
/// The MAC address of our interface.
const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x0a]);

const FROM_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x0b));

/// One virtual router of ours.
#[derive(Clone, Copy, Debug)]
struct Ours {
    key: RouterKey,
    expect: Expect,
    virtual_addresses: &'static [IpAddr],
}

impl Routers for Ours {
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        (RouterKey { vlan, family, vrid } == self.key).then_some(self.expect)
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        AddressUse::new(*router == self.key && self.virtual_addresses.contains(&address), None)
    }

    fn receives(&self, destination: MacAddr) -> bool {
        destination == STATION
    }
}

/// VRID 51, untagged, one second, no authentication, any list of addresses.
fn ours(version: Version, family: Family) -> Ours {
    Ours {
        key: RouterKey { vlan: 0, family, vrid: vrid(51) },
        expect: Expect {
            version,
            interval: Interval::DEFAULT,
            auth: Auth::None,
            source: None,
            broadcast: None,
            from_peers: false,
            min_ttl: 255,
            accept_interval_mismatch: false,
            accept_no_addresses: false,
            address_list: None,
        },
        virtual_addresses: &[],
    }
}

fn vrid(number: u8) -> Vrid {
    Vrid::new(number).expect("not 0")
}

fn v4_addresses(count: u8) -> Vec<Ipv4Addr> {
    (1..=count).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect()
}

fn v6_addresses(count: u8) -> Vec<Ipv6Addr> {
    (1..=count).map(|last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into())).collect()
}

/// Source MAC address of each frame.
const SENDER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

fn frame_of(source: IpAddr, checksum: ChecksumStyle, advert: VrrpRepr<'_>) -> Vec<u8> {
    let mut buffer = std::vec![0xa5; advert_frame_len(&advert)];
    let frame = AdvertFrame {
        source_mac: SENDER,
        source,
        destination: vrrp::group(advert.addresses().family()),
        ttl: NOT_ROUTED,
        checksum,
        advert,
    };
    assert_eq!(emit_advert(&frame, &mut buffer), Some(buffer.len()));
    buffer
}

/// VRID 51, priority 100, one second, `count` addresses.
fn v2_frame(auth: Auth, count: u8) -> Vec<u8> {
    ipv4_frame(Kind::V2 { auth }, count)
}

/// VRID 51, priority 100, one second, `count` addresses.
fn v3_frame(count: u8) -> Vec<u8> {
    ipv4_frame(Kind::V3, count)
}

fn ipv4_frame(kind: Kind, count: u8) -> Vec<u8> {
    let addresses = v4_addresses(count);
    let addresses = Addresses::ipv4(&addresses).expect("1 to 255");
    let advert = VrrpRepr::new(vrid(51), Priority(100), Interval::DEFAULT, kind, addresses).expect("legal");
    frame_of(FROM_V4, ChecksumStyle::WithPseudoHeader, advert)
}

/// VRID 51, priority 100, one second, `count` addresses.
fn ipv6_frame(count: u8) -> Vec<u8> {
    let addresses = v6_addresses(count);
    let addresses = Addresses::ipv6(&addresses).expect("1 to 255, link-local");
    let advert =
        VrrpRepr::new(vrid(51), Priority(100), Interval::DEFAULT, Kind::V3, addresses).expect("legal");
    frame_of(FROM_V6, ChecksumStyle::WithPseudoHeader, advert)
}

/// `frame` with `octets` at `at`.
fn patched(frame: &[u8], at: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + octets.len()].copy_from_slice(octets);
    frame
}

/// `frame`, untagged, with corrected checksums of the IPv4 header and of the message.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let mut pseudo = Sum::ZERO;
    let message = if frame[IP] >> 4 == 4 {
        frame = summed_header(frame);
        let header_len = usize::from(frame[IP] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]));
        (IP + header_len, total_len - header_len)
    } else {
        let len = u16::from_be_bytes([frame[IP + 4], frame[IP + 5]]);
        pseudo = Sum::of(&frame[..], IP + 8, 32).expect("both addresses").plus_u16(len).plus_u16(112);
        (MESSAGE_V6, usize::from(len))
    };
    set_checksum(&mut frame, message.0, message.0 + 6, message.1, pseudo);
    frame
}

/// `frame`, untagged, with a corrected checksum of its IPv4 header.
fn summed_header(mut frame: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(frame[IP] & 0x0f) * 4;
    set_checksum(&mut frame, IP, IP + 10, header_len, Sum::ZERO);
    frame
}

fn set_checksum(frame: &mut [u8], at: usize, field: usize, len: usize, pseudo: Sum) {
    frame[field..field + 2].fill(0);
    let sum = Sum::of(&*frame, at, len).expect("all there").plus(pseudo);
    frame[field..field + 2].copy_from_slice(&sum.checksum().to_be_bytes());
}

/// The frame is a valid advert.
#[track_caller]
fn accepted(frame: &[u8], ours: &Ours) -> Advert {
    match classify(frame, ours) {
        Classified::Advert { router, advert } if router == ours.key => advert,
        other => unexpected(other),
    }
}

/// The frame is for our virtual router and fails a check.
#[track_caller]
fn rejected(frame: &[u8], ours: &Ours) -> Rejection {
    match classify(frame, ours) {
        Classified::Reject { rejection, router: Some((router, _)) } if router == ours.key => rejection,
        other => unexpected(other),
    }
}

/// The frame fails a check before its virtual router is known.
#[track_caller]
fn rejected_unnamed(frame: &[u8], ours: &Ours) -> Rejection {
    match classify(frame, ours) {
        Classified::Reject { rejection, router: None } => rejection,
        other => unexpected(other),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed test has to say what it got")]
fn unexpected(classified: Classified) -> ! {
    panic!("unexpected: {classified:?}")
}
