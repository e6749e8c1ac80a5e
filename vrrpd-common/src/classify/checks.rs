//! The checks of a packet for one of our virtual routers, in the order of RFC 9568 §7.1 and RFC 3768 §7.1.

use core::net::{IpAddr, Ipv4Addr};

use super::delivery::Delivery;
use crate::advert::{AddressDigest, Advert};
use crate::mac::MacAddr;
use crate::params::{Auth, Interval, Priority, Version, Vrid};
use crate::reject::{Reject, Rejection};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::vrrp::{Message, PseudoHeader, VrrpHeader, number};

/// The checks of adverts for one of our virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Expect {
    /// Our protocol version. Over IPv6 version 3 applies for any value.
    pub version: Version,
    /// Our advertisement interval.
    pub interval: Interval,
    /// Our authentication; version 2 only.
    pub auth: Auth,
    /// Our own primary address: a frame from it is our own, looped back.
    pub source: Option<IpAddr>,
    /// The broadcast address of its subnet, if any, which no host can have.
    pub broadcast: Option<Ipv4Addr>,
    /// Accept only unicast adverts from peers to `source`, each peer with its own minimum TTL; otherwise multicast.
    pub from_peers: bool,
    /// The minimum TTL or hop limit of multicast: 255 on a link (RFC 9568 §5.1.1.3).
    pub min_ttl: u8,
    /// Accept an interval other than ours in version 2, although RFC 3768 §7.1 requires to discard it.
    pub accept_interval_mismatch: bool,
    /// Accept adverts without addresses, although RFC 9568 §5.2.5 requires to discard them: ours have none either.
    pub accept_no_addresses: bool,
    /// Accept only this list of addresses, unless from their owner (RFC 3768 §7.1); `None`: any.
    pub address_list: Option<AddressDigest>,
}

/// The packet around a VRRP message.
pub(super) struct Packet {
    /// Length according to the IP header, in octets.
    pub(super) len: usize,
    /// Octets present in the frame, including padding.
    pub(super) there: usize,
    /// Offset of the message.
    pub(super) message: usize,
    /// Length of the message according to the IP header, in octets.
    pub(super) message_len: usize,
    /// TTL or hop limit.
    pub(super) hop_limit: u8,
    /// Source MAC address of the frame.
    pub(super) mac: MacAddr,
    /// Family and addresses, for the checksum.
    pub(super) pseudo: PseudoHeader,
    /// Whether it has a verified Authentication Header.
    pub(super) authenticated: bool,
    /// The verdict on its addresses.
    pub(super) delivery: Delivery,
}

/// The checksum of the IPv4 header with its options (RFC 9568 §7.1, RFC 791 §3.1).
#[inline(always)]
pub(super) fn check_ipv4_header(header: &Ipv4Header, sum: Sum) -> Result<(), Rejection> {
    if sum.is_valid() {
        return Ok(());
    }
    let wanted = sum.without_u16(header.checksum()).checksum();
    Err(Reject::Checksum.because(u32::from(header.checksum()), u32::from(wanted)))
}

/// All checks of a packet for one of our virtual routers.
#[inline(always)]
pub(super) fn advert(
    packet: &Packet,
    message: &Message,
    vrid: Vrid,
    expect: &Expect,
) -> Result<Advert, Rejection> {
    check_packet(packet, expect)?;
    check_message(packet, message, vrid, expect)
}

/// Checks length, addresses, and TTL or hop limit.
#[inline(always)]
pub(super) fn check_packet(packet: &Packet, expect: &Expect) -> Result<(), Rejection> {
    if packet.there < packet.len {
        return Err(cut_short(packet));
    }
    let min_ttl = match packet.delivery {
        Delivery::Accepted { min_ttl } => min_ttl.unwrap_or(expect.min_ttl),
        Delivery::Multicast | Delivery::Elsewhere => return Err(Reject::Destination.because(0, 0)),
        Delivery::Stranger => return Err(Reject::Peer.because(0, 0)),
    };
    if packet.hop_limit < min_ttl {
        return Err(Reject::Ttl.because(u32::from(packet.hop_limit), u32::from(min_ttl)));
    }
    Ok(())
}

/// Checks the message.
#[inline(always)]
pub(super) fn check_message(
    packet: &Packet,
    message: &Message,
    vrid: Vrid,
    expect: &Expect,
) -> Result<Advert, Rejection> {
    let family = packet.pseudo.family();
    let version = expect.version.over(family);
    message.check(packet.message_len, version, &packet.pseudo, expect.accept_no_addresses)?;
    let header = message.header();
    if version == Version::V2 {
        check_auth(header, message.auth_data(), expect.auth, packet.authenticated)?;
    }
    let interval = check_interval(header, version, expect)?;
    let source = packet.pseudo.source();
    if expect.source == Some(source) {
        return Err(Reject::Loopback.because(0, 0));
    }
    let (priority, address_count, addresses) =
        (header.priority(), header.address_count(), message.addresses());
    if priority != Priority::OWNER && expect.address_list.is_some_and(|wanted| wanted != addresses) {
        return Err(Reject::AddressList.because(u32::from(address_count), 0));
    }
    // Set later by the caller: carried through the checks, it would be in a register that is not initialised on every
    // path, which the kernel's verifier refuses.
    let mac = MacAddr::default();
    Ok(Advert { vrid, priority, interval, source, mac, address_count, addresses })
}

/// Version 2: authentication type and data must be ours (RFC 2338 §7.1). The data of types 0 and 2 is ignored (RFC 2338
/// §5.3.10).
#[inline(always)]
fn check_auth(
    header: VrrpHeader,
    data: [u8; Auth::DATA_LEN],
    ours: Auth,
    authenticated: bool,
) -> Result<(), Rejection> {
    let same = match ours {
        Auth::None => true,
        Auth::Simple(password) => password == data,
        Auth::Ah => authenticated,
    };
    if same && header.auth_kind() == ours.kind() {
        return Ok(());
    }
    Err(Reject::Auth.because(u32::from(header.auth_kind()), u32::from(ours.kind())))
}

/// The interval must not be zero (RFC 9568 §5.2.7), and in version 2 must be ours (RFC 3768 §7.1) unless waived.
#[inline(always)]
fn check_interval(header: VrrpHeader, version: Version, expect: &Expect) -> Result<Interval, Rejection> {
    let got = u32::from(header.interval_field(version));
    let wanted = match version {
        Version::V2 => u32::from(expect.interval.as_centis()) / 100,
        Version::V3 => u32::from(expect.interval.as_centis()),
    };
    match (header.interval(version), version) {
        (Some(interval), Version::V3) => Ok(interval),
        (Some(interval), Version::V2) if expect.accept_interval_mismatch || interval == expect.interval => {
            Ok(interval)
        }
        (Some(_), Version::V2) | (None, _) => Err(Reject::Interval.because(got, wanted)),
    }
}

/// The source must be a possible address of another router. A virtual address is allowed only for its owner, identified
/// by priority 255, or 0 when it resigns.
#[inline(always)]
pub(super) fn check_source(advert: Advert, expect: &Expect, is_virtual: bool) -> Result<Advert, Rejection> {
    if !is_host(advert.source, expect.broadcast) {
        return Err(Reject::Source.because(Reject::NOT_UNICAST, 0));
    }
    let may_be_owner = matches!(advert.priority, Priority::OWNER | Priority::RESIGN);
    if is_virtual && !may_be_owner {
        return Err(Reject::Source.because(Reject::VIRTUAL_ADDRESS, 0));
    }
    Ok(advert)
}

/// Whether an address can belong to a host on the link: not unspecified, loopback, multicast, reserved or broadcast
/// (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2, §2.5.3, §2.7).
#[inline(always)]
fn is_host(address: IpAddr, broadcast: Option<Ipv4Addr>) -> bool {
    match address {
        IpAddr::V4(address) => {
            !matches!(address.octets(), [0 | 127 | 224.., ..]) && Some(address) != broadcast
        }
        IpAddr::V6(address) => !address.is_multicast() && address.to_bits() > 1,
    }
}

/// The frame ends before the packet.
#[inline(always)]
pub(super) fn cut_short(packet: &Packet) -> Rejection {
    Reject::Truncated.because(number(packet.there), number(packet.len))
}
