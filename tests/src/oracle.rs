//! An independent classification of frames for tests: simple slices, no optimisation, no code shared with the code
//! under test. It follows RFC 9568, RFC 3768 and RFC 2338.
//!
//! [`judge`] classifies a frame, [`Watch`] models how a virtual router handles adverts. Both use this module's own type
//! for virtual routers ([`Router`]); reasons have their names in the daemon's state.

mod watch;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum;
use crate::frame::{MULTICAST_V4, MULTICAST_V6};

pub use watch::Watch;

/// Maximum number of octets after a message that its checksum may cover.
const MAX_TRAILING: usize = 256;

/// The role of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Does not take part.
    Init,
    /// Waits for the master to fall silent.
    Backup,
    /// Is the master.
    Master,
}

/// A virtual router of ours.
#[derive(Clone, Debug)]
pub struct Router {
    /// Source of its adverts, which determines its family.
    pub own_address: IpAddr,
    /// The broadcast address of its subnet.
    pub broadcast: Option<Ipv4Addr>,
    /// Its virtual addresses.
    pub virtual_addresses: Vec<IpAddr>,
    /// Its VRID.
    pub vrid: u8,
    /// Its VLAN, 0 for none.
    pub vlan: u16,
    /// Its version over IPv4.
    pub version: u8,
    /// Its interval in hundredths of a second.
    pub centis: u16,
    /// The maximum learned interval in version 3.
    pub longest_centis: u16,
    /// Number of intervals without an advert after which a master counts as down.
    pub down_multiplier: u8,
    /// Data of simple text authentication.
    pub password: Option<[u8; 8]>,
    /// The minimum TTL.
    pub min_ttl: u8,
    /// Takes unicast to its address instead of multicast, from these with this TTL or more.
    pub peers: Option<Vec<(IpAddr, u8)>>,
    /// Accepts intervals other than its own in version 2.
    pub takes_other_intervals: bool,
    /// Accepts adverts without addresses.
    pub takes_no_addresses: bool,
    /// Accepts no other addresses than these, unless from their owner.
    pub only_addresses: Option<Vec<IpAddr>>,
    /// Its role.
    pub role: Role,
    /// Its priority.
    pub priority: u8,
    /// Preempts masters of lower priority.
    pub preempts: bool,
    /// Passes handled adverts on to other receivers.
    pub passes_on: bool,
    /// Minimum nanoseconds between reports.
    pub spacing: u64,
}

/// A valid advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Its priority.
    pub priority: u8,
    /// Its interval in hundredths of a second.
    pub centis: u16,
    /// Source address.
    pub source: IpAddr,
    /// Source MAC address.
    pub mac: [u8; 6],
    /// Its addresses, in order.
    pub addresses: Vec<IpAddr>,
}

/// The classification of a frame. Routers are given by their index in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Not VRRP.
    NotVrrp,
    /// VRRP, but not for a router of ours, for this reason.
    Stray(&'static str),
    /// For this router of ours, and invalid.
    Discard(usize, &'static str),
    /// For this router of ours.
    Accept(usize, Advert),
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotVrrp => f.write_str("not vrrp"),
            Self::Stray(reason) => write!(f, "stray: {reason}"),
            Self::Discard(_, reason) => write!(f, "discard: {reason}"),
            Self::Accept(..) => f.write_str("advert"),
        }
    }
}

/// A packet with protocol 112.
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    /// The checksum of the IPv4 header is correct.
    header_is_right: bool,
    /// The frame contains all octets according to the IP header.
    is_whole: bool,
    /// Octets of VRRP according to the IP header.
    announced: usize,
    /// Those of them in the frame.
    message: &'a [u8],
}

/// Classifies a frame on an interface that accepts frames to these MAC addresses, besides those to groups.
pub fn judge(frame: &[u8], macs: &[[u8; 6]], routers: &[Router]) -> Judgement {
    let Some((vlan, ethertype, payload)) = ethernet(frame) else { return Judgement::NotVrrp };
    let is_wanted = |destination: IpAddr| {
        is_group(destination)
            || routers.iter().any(|router| router.peers.is_some() && router.own_address == destination)
    };
    let packet = match ethertype {
        0x0800 => ipv4(payload, is_wanted),
        0x86dd => ipv6(payload, is_wanted),
        _ => Err(Judgement::NotVrrp),
    };
    // IEEE 802.3 §3.2.3: the first bit on the wire marks group addresses.
    let is_unicast = frame[0] & 1 == 0;
    if is_unicast && !macs.iter().any(|mac| frame.starts_with(mac)) {
        return Judgement::NotVrrp;
    }
    let packet = match packet {
        Ok(packet) => packet,
        Err(judgement) => return judgement,
    };
    let [_, vrid, ..] = *packet.message else { return Judgement::Stray("truncated") };
    let found = routers.iter().position(|router| {
        router.vlan == vlan
            && router.vrid == vrid
            && router.own_address.is_ipv4() == packet.source.is_ipv4()
            && vrid != 0
    });
    let Some(place) = found else { return Judgement::Stray("not_ours") };
    // Another router's address, or multicast only.
    let router = &routers[place];
    if !is_group(packet.destination) && (router.peers.is_none() || packet.destination != router.own_address) {
        return Judgement::NotVrrp;
    }
    match advert(&packet, router) {
        Ok(advert) => Judgement::Accept(place, Advert { mac: sender(frame), ..advert }),
        Err(reason) => Judgement::Discard(place, reason),
    }
}

fn is_group(address: IpAddr) -> bool {
    address == IpAddr::V4(MULTICAST_V4) || address == IpAddr::V6(MULTICAST_V6)
}

/// The source MAC address of a frame that has a header.
fn sender(frame: &[u8]) -> [u8; 6] {
    frame[6..12].try_into().expect("six octets")
}

/// VLAN (0 for none), ethertype and payload; at most one tag (IEEE 802.1Q, 802.1ad), 4095 is reserved.
fn ethernet(frame: &[u8]) -> Option<(u16, u16, &[u8])> {
    let ethertype = be16(frame, 12)?;
    if ethertype != 0x8100 && ethertype != 0x88a8 {
        return Some((0, ethertype, &frame[14..]));
    }
    let vlan = be16(frame, 14)? & 0xfff;
    let ethertype = be16(frame, 16)?;
    if vlan == 0xfff || ethertype == 0x8100 || ethertype == 0x88a8 {
        return None;
    }
    Some((vlan, ethertype, &frame[18..]))
}

/// RFC 791, RFC 9568 §5.1.1.
fn ipv4(packet: &[u8], is_wanted: impl Fn(IpAddr) -> bool) -> Result<Packet<'_>, Judgement> {
    if packet.len() < 20 {
        return Err(Judgement::NotVrrp);
    }
    let source: [u8; 4] = packet[12..16].try_into().expect("four octets");
    let destination: [u8; 4] = packet[16..20].try_into().expect("four octets");
    if packet[0] >> 4 != 4 || packet[9] != 112 || !is_wanted(Ipv4Addr::from(destination).into()) {
        return Err(Judgement::NotVrrp);
    }
    let header_len = usize::from(packet[0] & 15) * 4;
    if header_len < 20 {
        return Err(Judgement::Stray("truncated"));
    }
    // More fragments, or an offset.
    if be16(packet, 6).expect("it is there") & 0x3fff != 0 {
        return Err(Judgement::Stray("fragment"));
    }
    let total = usize::from(be16(packet, 2).expect("it is there"));
    let announced = total.saturating_sub(header_len);
    let body = packet.get(header_len..).unwrap_or_default();
    Ok(Packet {
        source: Ipv4Addr::from(source).into(),
        destination: Ipv4Addr::from(destination).into(),
        ttl: packet[8],
        header_is_right: packet.get(..header_len).is_some_and(|header| checksum::internet(header) == 0),
        is_whole: packet.len() >= total,
        announced,
        message: &body[..announced.min(body.len())],
    })
}

/// RFC 8200 §3, RFC 9568 §5.1.2.
fn ipv6(packet: &[u8], is_wanted: impl Fn(IpAddr) -> bool) -> Result<Packet<'_>, Judgement> {
    if packet.len() < 40 {
        return Err(Judgement::NotVrrp);
    }
    let source: [u8; 16] = packet[8..24].try_into().expect("sixteen octets");
    let destination: [u8; 16] = packet[24..40].try_into().expect("sixteen octets");
    if packet[0] >> 4 != 6 || packet[6] != 112 || !is_wanted(Ipv6Addr::from(destination).into()) {
        return Err(Judgement::NotVrrp);
    }
    let announced = usize::from(be16(packet, 4).expect("it is there"));
    let body = &packet[40..];
    Ok(Packet {
        source: Ipv6Addr::from(source).into(),
        destination: Ipv6Addr::from(destination).into(),
        ttl: packet[7],
        header_is_right: true,
        is_whole: body.len() >= announced,
        announced,
        message: &body[..announced.min(body.len())],
    })
}

/// RFC 9568 §7.1, RFC 3768 §7.1: the first check that fails, in this order.
fn advert(packet: &Packet<'_>, router: &Router) -> Result<Advert, &'static str> {
    let ipv4 = packet.source.is_ipv4();
    let version = if ipv4 { router.version } else { 3 };
    ensure(packet.header_is_right, "checksum")?;
    ensure(packet.is_whole, "truncated")?;
    let min_ttl = match &router.peers {
        None => router.min_ttl,
        Some(_) if is_group(packet.destination) => return Err("destination"),
        Some(peers) => peers.iter().find(|(peer, _)| *peer == packet.source).ok_or("peer")?.1,
    };
    ensure(packet.ttl >= min_ttl, "ttl")?;
    ensure(packet.announced >= 8, "truncated")?;
    let message = packet.message;
    ensure(message[0] >> 4 == version, "version")?;
    ensure(message[0] & 15 == 1, "type")?;
    let (priority, count) = (message[2], usize::from(message[3]));
    ensure(count > 0 || router.takes_no_addresses, "address_count")?;
    let end_of_addresses = 8 + count * if ipv4 { 4 } else { 16 };
    let needed = if version == 2 { end_of_addresses + 8 } else { end_of_addresses };
    let payload = message;
    let message = message.get(..needed).ok_or("truncated")?;
    let trails = (1..=MAX_TRAILING).contains(&(payload.len() - needed));
    let is_right = message_checksum_is_right(packet, version, message)
        || trails && message_checksum_is_right(packet, version, payload);
    ensure(is_right, "checksum")?;
    let centis = if version == 2 {
        let kind = u8::from(router.password.is_some());
        ensure(message[4] == kind, "auth")?;
        ensure(router.password.is_none_or(|password| message[end_of_addresses..] == password), "auth")?;
        let centis = u16::from(message[5]) * 100;
        ensure(centis == router.centis || router.takes_other_intervals, "interval")?;
        centis
    } else {
        be16(message, 4).expect("it is there") & 0xfff
    };
    ensure(centis != 0, "interval")?;
    ensure(packet.source != router.own_address, "loopback")?;
    let addresses = addresses(&message[8..end_of_addresses], ipv4);
    let others = router.only_addresses.as_ref().is_some_and(|ours| sorted(ours) != sorted(&addresses));
    ensure(priority == 255 || !others, "address_list")?;
    ensure(is_host(packet.source) && router.broadcast.map(IpAddr::V4) != Some(packet.source), "source")?;
    // An owner sends from its address, and resigns with priority 0.
    let is_virtual = router.virtual_addresses.contains(&packet.source);
    ensure(!is_virtual || priority == 0 || priority == 255, "source")?;
    Ok(Advert { priority, centis, source: packet.source, mac: [0; 6], addresses })
}

/// RFC 9568 §5.2.8, RFC 5798 §5.2.8 (with a pseudo-header), RFC 3768 §5.3.8 (never with one).
fn message_checksum_is_right(packet: &Packet<'_>, version: u8, message: &[u8]) -> bool {
    if version == 2 {
        return checksum::internet(message) == 0;
    }
    let mut covered = checksum::pseudo_header(packet.source, packet.destination, message.len());
    covered.extend(message);
    checksum::internet(&covered) == 0 || packet.source.is_ipv4() && checksum::internet(message) == 0
}

/// RFC 1122 §3.2.1.3 with class E, RFC 4291 §2.5.2, §2.5.3, §2.7.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first != 127 && first < 224
        }
        IpAddr::V6(address) => !(address.is_unspecified() || address.is_loopback() || address.is_multicast()),
    }
}

fn addresses(octets: &[u8], ipv4: bool) -> Vec<IpAddr> {
    let one = |octets: &[u8]| match octets.try_into() {
        Ok(octets) => Ipv4Addr::from_octets(octets).into(),
        Err(_) => Ipv6Addr::from_octets(octets.try_into().expect("sixteen octets")).into(),
    };
    octets.chunks(if ipv4 { 4 } else { 16 }).map(one).collect()
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}

fn ensure(condition: bool, reason: &'static str) -> Result<(), &'static str> {
    if condition { Ok(()) } else { Err(reason) }
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]))
}
