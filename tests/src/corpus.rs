//! Hand-written frames for virtual routers of every kind, each with its expected result.
//!
//! [`routers`] are the virtual routers, [`cases`] the frames. [`truncations`] and [`flips`] derive families of frames,
//! whose expected result comes from the oracle.

mod cases;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::AdvertFrame;
use crate::checksum;
use crate::oracle::{Role, Router};
use crate::program::{MAX_FRAME, MIN_FRAME};

pub use cases::cases;

/// Our own IPv4 address.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// The broadcast address of our subnet.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 127);
/// Our own IPv6 address.
pub const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
/// The MAC address of our interface.
pub const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];
/// The previous one.
pub const OLD_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x78];
/// IPv4 address of another router, smaller than ours.
pub const PEER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// IPv6 address of another router, greater than ours.
pub const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
/// That of a peer in another network.
pub const DISTANT_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// The password of [`V2_PASSWORD`].
pub const PASSWORD: &str = "secret";
/// The VLAN of [`TAGGED`].
pub const VLAN: u16 = 100;

/// VRID, IPv4: version 3, Backup.
pub const V3: u8 = 51;
/// VRID, IPv4: version 2 with a password, Backup without preemption.
pub const V2_PASSWORD: u8 = 52;
/// VRID, IPv4: version 2, Master, accepts any interval, and [`address`] 0 and 1 only.
pub const V2_STRICT: u8 = 53;
/// VRID, IPv4: version 3, in [`VLAN`], Init, passes adverts on.
pub const TAGGED: u8 = 54;
/// VRID, IPv4: version 3, Master, accepts a TTL of 2.
pub const FAR_OFF: u8 = 255;
/// VRID, IPv4: version 2 with an interval of 5 s, Backup.
pub const V2_SLOW: u8 = 1;
/// VRID, IPv6: Backup.
pub const V6: u8 = 51;
/// VRID, IPv6: Master, accepts [`address_v6`] 0 and 1 only.
pub const V6_STRICT: u8 = 52;
/// VRID, IPv4: version 3, Backup, takes unicast from [`PEER_V4`], and from [`DISTANT_V4`] with a TTL of 64.
pub const V3_PEERS: u8 = 60;
/// VRID, IPv4: version 2 with a password, Master, takes unicast from [`PEER_V4`] with any TTL.
pub const V2_PEERS: u8 = 61;
/// VRID, IPv6: Backup, takes unicast from [`PEER_V6`], and from its first virtual address.
pub const V6_PEERS: u8 = 60;
/// A VRID that is not ours.
pub const FOREIGN: u8 = 77;

const SECOND: Duration = Duration::from_secs(1);

/// A frame and its expected result, in the words of the oracle.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it tests.
    pub name: String,
    /// The expected result.
    pub outcome: &'static str,
    /// Its octets.
    pub frame: Vec<u8>,
}

/// A typical virtual router: version 3, Backup, priority 100, one second.
pub fn router(own_address: IpAddr, vrid: u8) -> Router {
    let (broadcast, virtual_addresses) = match own_address {
        IpAddr::V4(_) => (Some(BROADCAST), vec![address(0), address(1)]),
        IpAddr::V6(_) => (None, vec![address_v6(0), address_v6(1)]),
    };
    Router {
        own_address,
        broadcast,
        virtual_addresses,
        vrid,
        vlan: 0,
        version: 3,
        centis: 100,
        longest_centis: 1000,
        down_multiplier: 3,
        password: None,
        min_ttl: 255,
        peers: None,
        takes_other_intervals: false,
        takes_no_addresses: false,
        only_addresses: None,
        role: Role::Backup,
        priority: 100,
        preempts: true,
        passes_on: false,
        spacing: 0,
    }
}

/// The virtual routers that the frames are for.
pub fn routers() -> Vec<Router> {
    const HOUR: u64 = 3_600_000_000_000;
    let (v4, v6) = (IpAddr::V4(OWN_V4), IpAddr::V6(OWN_V6));
    let password = Some(*b"secret\0\0");
    vec![
        router(v4, V3),
        Router {
            version: 2,
            password,
            preempts: false,
            spacing: 20_000,
            down_multiplier: 100,
            ..router(v4, V2_PASSWORD)
        },
        Router {
            version: 2,
            takes_other_intervals: true,
            only_addresses: Some(vec![address(0), address(1)]),
            role: Role::Master,
            priority: 150,
            spacing: HOUR,
            ..router(v4, V2_STRICT)
        },
        Router { vlan: VLAN, role: Role::Init, passes_on: true, ..router(v4, TAGGED) },
        Router {
            min_ttl: 2,
            takes_no_addresses: true,
            role: Role::Master,
            spacing: 50_000,
            ..router(v4, FAR_OFF)
        },
        Router { version: 2, centis: 500, priority: 1, spacing: HOUR, ..router(v4, V2_SLOW) },
        router(v6, V6),
        Router {
            only_addresses: Some(vec![address_v6(0), address_v6(1)]),
            role: Role::Master,
            passes_on: true,
            ..router(v6, V6_STRICT)
        },
        Router { peers: Some(vec![(PEER_V4.into(), 255), (DISTANT_V4.into(), 64)]), ..router(v4, V3_PEERS) },
        Router {
            version: 2,
            password,
            role: Role::Master,
            peers: Some(vec![(PEER_V4.into(), 0)]),
            ..router(v4, V2_PEERS)
        },
        Router { peers: Some(vec![(PEER_V6.into(), 255), (address_v6(0), 255)]), ..router(v6, V6_PEERS) },
    ]
}

/// Virtual addresses of IPv4.
pub fn address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 1, high, low).into()
}

/// Virtual addresses of IPv6, each link-local.
pub fn address_v6(number: u16) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number).into()
}

/// Maximum number of IPv6 addresses in a frame of a test run: 216. An advert can have 255, which takes 4142 octets.
pub fn most_ipv6_addresses() -> u16 {
    u16::try_from((MAX_FRAME - 14 - 40 - 8) / 16).expect("few")
}

/// A valid advert of version 3 over IPv4, with a higher priority than most routers.
pub fn v3(vrid: u8) -> AdvertFrame {
    AdvertFrame::v3(PEER_V4.into(), vrid, 200, SECOND, &[address(0)])
}

/// A valid advert of version 2 with one address.
pub fn v2(vrid: u8) -> AdvertFrame {
    AdvertFrame { addresses: vec![address(0)], ..AdvertFrame::v2(PEER_V4, vrid, 200, 1, &[]) }
}

/// A valid advert of version 2 for [`V2_PASSWORD`].
pub fn v2_password() -> AdvertFrame {
    v2(V2_PASSWORD).with_password(PASSWORD)
}

/// A valid advert of version 2 for [`V2_STRICT`].
pub fn v2_strict() -> AdvertFrame {
    AdvertFrame { addresses: vec![address(0), address(1)], ..v2(V2_STRICT) }
}

/// A valid advert over IPv6.
pub fn v6(vrid: u8) -> AdvertFrame {
    AdvertFrame::v3(PEER_V6.into(), vrid, 200, SECOND, &[address_v6(0)])
}

/// A valid advert over IPv6 for [`V6_STRICT`].
pub fn v6_strict() -> AdvertFrame {
    AdvertFrame { addresses: vec![address_v6(1), address_v6(0)], ..v6(V6_STRICT) }
}

/// One that [`V3_PEERS`] takes from another network.
pub fn distant() -> AdvertFrame {
    AdvertFrame { source: DISTANT_V4.into(), ttl: 64, ..v3(V3_PEERS) }
}

/// One by unicast, for a router with peers.
pub fn unicast(advert: AdvertFrame) -> AdvertFrame {
    let own = if advert.source.is_ipv4() { OWN_V4.into() } else { OWN_V6.into() };
    AdvertFrame { destination: Some(own), destination_mac: Some(OWN_MAC), ..advert }
}

/// One valid advert for each virtual router, as received.
pub fn right_ones() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("version 3", v3(V3).build()),
        ("version 3, message only", AdvertFrame { pseudo_header: false, ..v3(V3) }.build()),
        ("version 2 with a password", v2_password().build()),
        ("version 2, strict", v2_strict().build()),
        ("version 3 in a VLAN", tagged(&v3(TAGGED).build(), 0x8100, VLAN)),
        ("version 3 from afar", AdvertFrame { ttl: 2, ..v3(FAR_OFF) }.build()),
        ("version 2, slow", AdvertFrame { interval: [0, 5], ..v2(V2_SLOW) }.build()),
        ("IPv6", v6(V6).build()),
        ("IPv6, strict", v6_strict().build()),
        ("unicast", unicast(v3(V3_PEERS)).build()),
        ("unicast from afar", unicast(distant()).build()),
        ("unicast of version 2", unicast(v2(V2_PEERS).with_password(PASSWORD)).build()),
        ("unicast over IPv6", unicast(v6(V6_PEERS)).build()),
        ("IPv4 with options", with_options(&v3(V3).build(), 3)),
        ("twenty addresses", AdvertFrame { addresses: (0..20).map(address).collect(), ..v3(V3) }.build()),
        (
            "twenty IPv6 addresses",
            AdvertFrame { addresses: (0..20).map(address_v6).collect(), ..v6(V6) }.build(),
        ),
    ]
}

/// A frame, truncated at each of its octets.
pub fn truncations(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    (MIN_FRAME..frame.len()).rev().map(|len| &frame[..len])
}

/// A frame with each of its bits flipped.
pub fn flips(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..frame.len() * 8).map(|bit| {
        let mut flipped = frame.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

/// A frame with other lengths in its IP header, from none to some more octets; the header's checksum is correct.
pub fn announced_lengths(frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let ip = ip_header(frame).expect("an IP packet");
    let field = if frame[ip] >> 4 == 4 { ip + 2 } else { ip + 4 };
    let most = u16::from_be_bytes([frame[field], frame[field + 1]]) + 9;
    (0..=most).map(move |len| {
        let mut changed = frame.to_vec();
        changed[field..field + 2].copy_from_slice(&len.to_be_bytes());
        repair_header(&mut changed);
        changed
    })
}

/// A frame with a VLAN tag.
pub fn tagged(frame: &[u8], protocol: u16, id: u16) -> Vec<u8> {
    let mut tagged = frame.to_vec();
    // Priority 7 in the upper bits, which must be ignored.
    let tag = [protocol.to_be_bytes(), (0xe000 | id).to_be_bytes()].concat();
    tagged.splice(12..12, tag);
    tagged
}

/// An IPv4 frame with this many words of options, all "no operation".
pub fn with_options(frame: &[u8], words: u8) -> Vec<u8> {
    let mut changed = frame.to_vec();
    let Some(ip) = ip_header(frame) else { return changed };
    let header_len = usize::from(frame[ip] & 15) * 4;
    changed[ip] += words;
    let total = u16::from_be_bytes([frame[ip + 2], frame[ip + 3]]).wrapping_add(u16::from(words) * 4);
    changed[ip + 2..ip + 4].copy_from_slice(&total.to_be_bytes());
    let at = (ip + header_len).min(changed.len());
    changed.splice(at..at, vec![1; usize::from(words) * 4]);
    repair_header(&mut changed);
    changed
}

/// Where the IP header begins, if the frame is long enough for one.
pub fn ip_header(frame: &[u8]) -> Option<usize> {
    let is_tagged = matches!(frame.get(12..14)?, [0x81, 0x00] | [0x88, 0xa8]);
    let at = if is_tagged { 18 } else { 14 };
    (frame.len() >= at + 20).then_some(at)
}

/// Corrects the checksum of an IPv4 header.
pub fn repair_header(frame: &mut [u8]) {
    let Some(ip) = ip_header(frame) else { return };
    let end = ip + usize::from(frame[ip] & 15) * 4;
    if frame[ip] >> 4 == 4 && end >= ip + 20 && end <= frame.len() {
        put_checksum(frame, ip, end, ip + 10, &[]);
    }
}

/// Corrects the checksum of a VRRP message, with or without the pseudo-header of version 3.
pub fn repair_message(frame: &mut [u8], pseudo_header: bool) {
    let Some(ip) = ip_header(frame) else { return };
    let is_ipv4 = frame[ip] >> 4 == 4;
    let (at, size) = if is_ipv4 { (ip + usize::from(frame[ip] & 15) * 4, 4) } else { (ip + 40, 16) };
    if frame.len() < at + 8 {
        return;
    }
    let is_v2 = frame[at] >> 4 == 2;
    let len = 8 + usize::from(frame[at + 3]) * size + if is_v2 { 8 } else { 0 };
    if frame.len() < at + len {
        return;
    }
    let mut before = Vec::new();
    if !is_ipv4 {
        let source: [u8; 16] = frame[ip + 8..ip + 24].try_into().expect("sixteen octets");
        let to: [u8; 16] = frame[ip + 24..ip + 40].try_into().expect("sixteen octets");
        before = checksum::pseudo_header(Ipv6Addr::from(source).into(), Ipv6Addr::from(to).into(), len);
    } else if pseudo_header && !is_v2 {
        let source: [u8; 4] = frame[ip + 12..ip + 16].try_into().expect("four octets");
        let to: [u8; 4] = frame[ip + 16..ip + 20].try_into().expect("four octets");
        before = checksum::pseudo_header(Ipv4Addr::from(source).into(), Ipv4Addr::from(to).into(), len);
    }
    put_checksum(frame, at, at + len, at + 6, &before);
}

fn put_checksum(frame: &mut [u8], from: usize, to: usize, field: usize, before: &[u8]) {
    frame[field..field + 2].copy_from_slice(&[0, 0]);
    let checksum = checksum::internet(&[before, &frame[from..to]].concat());
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}
