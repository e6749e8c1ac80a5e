//! Frames: adverts built octet by octet, valid or not, and parsed, without the code under test.
//!
//! Field numbers are those of RFC 9568 §5 and RFC 2338 §5.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::checksum;

/// Destination of IPv4 adverts.
pub const MULTICAST_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Destination of IPv6 adverts.
pub const MULTICAST_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The Ethernet address of [`MULTICAST_V4`].
pub const MULTICAST_MAC_V4: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12];
/// The Ethernet address of [`MULTICAST_V6`].
pub const MULTICAST_MAC_V6: [u8; 6] = [0x33, 0x33, 0x00, 0x00, 0x00, 0x12];

const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_ICMPV6: u8 = 58;
const PROTOCOL_VRRP: u8 = 112;

/// An advert to be sent. [`AdvertFrame::v2`] and [`AdvertFrame::v3`] create valid ones; tests change fields to make
/// them invalid. The checksum is correct for any content, unless `checksum_flip` is set.
#[derive(Clone, Debug)]
pub struct AdvertFrame {
    /// Source of the Ethernet frame.
    pub source_mac: [u8; 6],
    /// Destination of the Ethernet frame; default: the group's.
    pub destination_mac: Option<[u8; 6]>,
    /// Source of the packet, which determines its family.
    pub source: IpAddr,
    /// Destination of the packet; default: the group.
    pub destination: Option<IpAddr>,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Flags and fragment offset of the IPv4 header.
    pub fragment: u16,
    /// VRRP version.
    pub version: u8,
    /// VRRP type; 1 is an advert.
    pub kind: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// The count field; default: the number of `addresses`.
    pub count: Option<u8>,
    /// Octets 4 and 5: authentication type and seconds in version 2, centiseconds in version 3.
    pub interval: [u8; 2],
    /// Virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Authentication data, after the addresses in version 2.
    pub auth_data: Option<[u8; 8]>,
    /// Whether a version 3 checksum over IPv4 includes the pseudo-header.
    pub pseudo_header: bool,
    /// Bits flipped in the checksum.
    pub checksum_flip: u16,
    /// Octets in the packet after the message.
    pub trailer: Vec<u8>,
    /// Whether the checksum includes the trailer.
    pub trailer_summed: bool,
    /// Octets of padding after the packet.
    pub padding: usize,
}

impl AdvertFrame {
    /// A valid advert of version 2, without authentication.
    pub fn v2(source: Ipv4Addr, vrid: u8, priority: u8, seconds: u8, addresses: &[Ipv4Addr]) -> Self {
        Self {
            version: 2,
            interval: [0, seconds],
            auth_data: Some([0; 8]),
            addresses: addresses.iter().copied().map(IpAddr::V4).collect(),
            ..Self::v3(IpAddr::V4(source), vrid, priority, Duration::ZERO, &[])
        }
    }

    /// A valid advert of version 3.
    pub fn v3(source: IpAddr, vrid: u8, priority: u8, interval: Duration, addresses: &[IpAddr]) -> Self {
        let centis = u16::try_from(interval.as_millis() / 10).expect("at most 40.95 s");
        Self {
            source_mac: [0x02, 0, 0, 0, 0, 0x99],
            destination_mac: None,
            source,
            destination: None,
            ttl: 255,
            fragment: 0,
            version: 3,
            kind: 1,
            vrid,
            priority,
            count: None,
            interval: centis.to_be_bytes(),
            addresses: addresses.to_vec(),
            auth_data: None,
            pseudo_header: true,
            checksum_flip: 0,
            trailer: Vec::new(),
            trailer_summed: false,
            padding: 0,
        }
    }

    /// Simple text authentication (RFC 2338 §5.3.6).
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        let mut data = [0; 8];
        data[..password.len()].copy_from_slice(password.as_bytes());
        self.interval[0] = 1;
        self.auth_data = Some(data);
        self
    }

    /// The octets of the frame.
    pub fn build(&self) -> Vec<u8> {
        let message = self.message();
        let (destination_mac, ethertype, header) = match self.source {
            IpAddr::V4(source) => (MULTICAST_MAC_V4, ETHERTYPE_IPV4, self.ipv4_header(source, message.len())),
            IpAddr::V6(source) => (MULTICAST_MAC_V6, ETHERTYPE_IPV6, self.ipv6_header(source, message.len())),
        };
        let destination_mac = self.destination_mac.unwrap_or(destination_mac);
        let mut frame = [&destination_mac[..], &self.source_mac, &ethertype.to_be_bytes()].concat();
        frame.extend(header);
        frame.extend(message);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    fn message(&self) -> Vec<u8> {
        let count = self.count.unwrap_or_else(|| self.addresses.len().try_into().expect("at most 255"));
        let mut message = vec![self.version << 4 | self.kind, self.vrid, self.priority, count];
        message.extend(self.interval);
        message.extend([0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => message.extend(address.octets()),
                IpAddr::V6(address) => message.extend(address.octets()),
            }
        }
        message.extend(self.auth_data.iter().flatten());

        let summed = if self.trailer_summed { &self.trailer[..] } else { &[] };
        let destination = self.destination();
        let mut covered = Vec::new();
        if self.version == 3 && (self.pseudo_header || self.source.is_ipv6()) {
            covered = checksum::pseudo_header(self.source, destination, message.len() + summed.len());
        }
        covered.extend(&message);
        covered.extend(summed);
        let checksum = checksum::internet(&covered) ^ self.checksum_flip;
        message[6..8].copy_from_slice(&checksum.to_be_bytes());
        message.extend(&self.trailer);
        message
    }

    fn destination(&self) -> IpAddr {
        self.destination.unwrap_or_else(|| multicast(self.source))
    }

    fn ipv4_header(&self, source: Ipv4Addr, message_len: usize) -> Vec<u8> {
        let total = u16::try_from(20 + message_len).expect("fits a packet");
        let mut header = vec![0x45, 0xc0];
        header.extend(total.to_be_bytes());
        header.extend([0, 0]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, PROTOCOL_VRRP, 0, 0]);
        header.extend(source.octets());
        match self.destination() {
            IpAddr::V4(destination) => header.extend(destination.octets()),
            IpAddr::V6(destination) => panic!("{destination} over IPv4"),
        }
        let checksum = checksum::internet(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6_header(&self, source: Ipv6Addr, message_len: usize) -> Vec<u8> {
        let len = u16::try_from(message_len).expect("fits a packet");
        let mut header = vec![0x6c, 0, 0, 0];
        header.extend(len.to_be_bytes());
        header.extend([PROTOCOL_VRRP, self.ttl]);
        header.extend(source.octets());
        match self.destination() {
            IpAddr::V4(destination) => panic!("{destination} over IPv6"),
            IpAddr::V6(destination) => header.extend(destination.octets()),
        }
        header
    }
}

fn multicast(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => MULTICAST_V4.into(),
        IpAddr::V6(_) => MULTICAST_V6.into(),
    }
}

/// A captured advert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Source of the Ethernet frame.
    pub source_mac: [u8; 6],
    /// Destination of the Ethernet frame.
    pub destination_mac: [u8; 6],
    /// Source of the packet.
    pub source: IpAddr,
    /// Destination of the packet.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The octet with the DSCP in its upper six bits.
    pub traffic_class: u8,
    /// VRRP version.
    pub version: u8,
    /// VRRP type.
    pub kind: u8,
    /// Virtual router.
    pub vrid: u8,
    /// Priority.
    pub priority: u8,
    /// Interval.
    pub interval: Duration,
    /// Authentication type; 0 in version 3.
    pub auth_type: u8,
    /// Authentication data; version 2 only.
    pub auth_data: Option<[u8; 8]>,
    /// Virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether the checksum of the message is correct, with the pseudo-header in version 3.
    pub checksum_is_right: bool,
}

impl Advert {
    /// Parses a frame; `None` if it is not a VRRP packet or is truncated.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        let packet = frame.get(ETHERNET_LEN..)?;
        let (source, destination, ttl, traffic_class, message): (IpAddr, IpAddr, _, _, _) = match ethertype {
            ETHERTYPE_IPV4 => {
                let header = packet.get(..20)?;
                if header[9] != PROTOCOL_VRRP {
                    return None;
                }
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let message = packet.get(usize::from(header[0] & 0xf) * 4..total)?;
                (ipv4(&header[12..16])?.into(), ipv4(&header[16..20])?.into(), header[8], header[1], message)
            }
            ETHERTYPE_IPV6 => {
                let header = packet.get(..40)?;
                if header[6] != PROTOCOL_VRRP {
                    return None;
                }
                let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
                let message = packet.get(40..40 + len)?;
                let traffic_class = header[0] << 4 | header[1] >> 4;
                (
                    ipv6(&header[8..24])?.into(),
                    ipv6(&header[24..40])?.into(),
                    header[7],
                    traffic_class,
                    message,
                )
            }
            _ => return None,
        };
        let fixed = message.get(..8)?;
        let version = fixed[0] >> 4;
        let size = if source.is_ipv4() { 4 } else { 16 };
        let end = 8 + usize::from(fixed[3]) * size;
        let addresses = message.get(8..end)?.chunks(size);
        let (interval, auth_type, auth_data) = if version == 2 {
            (Duration::from_secs(fixed[5].into()), fixed[4], message.get(end..end + 8)?.try_into().ok())
        } else {
            let centis = u16::from_be_bytes([fixed[4] & 0xf, fixed[5]]);
            (Duration::from_millis(10 * u64::from(centis)), 0, None)
        };
        let mut covered = Vec::new();
        if version == 3 {
            covered = checksum::pseudo_header(source, destination, message.len());
        }
        covered.extend(message);
        Some(Self {
            source_mac: frame[6..12].try_into().ok()?,
            destination_mac: frame[..6].try_into().ok()?,
            source,
            destination,
            ttl,
            traffic_class,
            version,
            kind: fixed[0] & 0xf,
            vrid: fixed[1],
            priority: fixed[2],
            interval,
            auth_type,
            auth_data,
            addresses: addresses
                .map(|octets| ipv4(octets).map(IpAddr::V4).or_else(|| ipv6(octets).map(IpAddr::V6)))
                .collect::<Option<_>>()?,
            checksum_is_right: checksum::internet(&covered) == 0,
        })
    }
}

/// The address that a frame announces to all hosts: by a gratuitous ARP (equal sender and target) or an unsolicited
/// neighbour advertisement (to all nodes).
pub fn announced(frame: &[u8]) -> Option<IpAddr> {
    let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let packet = frame.get(ETHERNET_LEN..)?;
    match ethertype {
        ETHERTYPE_ARP => {
            let (sender, target) = (ipv4(packet.get(14..18)?)?, ipv4(packet.get(24..28)?)?);
            (sender == target).then_some(sender.into())
        }
        ETHERTYPE_IPV6 => {
            const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let is_it = *packet.get(6)? == PROTOCOL_ICMPV6
                && ipv6(packet.get(24..40)?)? == all_nodes
                && *packet.get(40)? == NEIGHBOUR_ADVERTISEMENT;
            if is_it { ipv6(packet.get(48..64)?).map(IpAddr::V6) } else { None }
        }
        _ => None,
    }
}

/// The address and MAC address that a frame claims: the sender of any ARP packet (RFC 826), or the target of a
/// neighbour advertisement with its link-layer address as the first option (RFC 4861 §4.4).
pub fn claimed(frame: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
    let packet = frame.get(ETHERNET_LEN..)?;
    match ethertype {
        ETHERTYPE_ARP => Some((ipv4(packet.get(14..18)?)?.into(), packet.get(8..14)?.try_into().ok()?)),
        ETHERTYPE_IPV6
            if (*packet.get(6)?, *packet.get(40)?) == (PROTOCOL_ICMPV6, NEIGHBOUR_ADVERTISEMENT) =>
        {
            let option = packet.get(64..72)?;
            (option[..2] == TARGET_LINK_LAYER_ADDRESS)
                .then(|| Some((ipv6(packet.get(48..64)?)?.into(), option[2..].try_into().ok()?)))?
        }
        _ => None,
    }
}

/// The virtual router MAC address for the family of an address (RFC 9568 §7.3).
pub const fn virtual_router_mac(address: IpAddr, vrid: u8) -> [u8; 6] {
    [0x00, 0x00, 0x5e, 0x00, if address.is_ipv4() { 1 } else { 2 }, vrid]
}

fn ipv4(octets: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

fn ipv6(octets: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(octets).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    #[test]
    fn a_built_frame_is_parsed_back() {
        let v2 = AdvertFrame::v2(SOURCE, 51, 100, 1, &[VIRTUAL]).with_password("secret");
        let read = Advert::read(&v2.build()).expect("an advert");
        assert_eq!((read.version, read.vrid, read.priority, read.auth_type), (2, 51, 100, 1));
        assert_eq!(read.auth_data, Some(*b"secret\0\0"));
        assert_eq!((read.interval, read.checksum_is_right), (Duration::from_secs(1), true));

        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into();
        let v3 = AdvertFrame::v3(source, 7, 0, Duration::from_millis(250), &[source]);
        let read = Advert::read(&v3.build()).expect("an advert");
        assert_eq!((read.version, read.vrid, read.priority, read.ttl), (3, 7, 0, 255));
        assert_eq!((read.interval, read.checksum_is_right), (Duration::from_millis(250), true));
        assert_eq!(read.addresses, [source]);
    }

    #[test]
    fn checksum_of_a_known_message_is_right() {
        // Version 2, VRID 1, priority 100, one address 10.0.0.100, interval 1, no authentication; computed by hand:
        // 2101 + 6401 + 0001 + 0a00 + 0064 = 8f67, whose complement is 7098.
        let frame = AdvertFrame::v2(SOURCE, 1, 100, 1, &[VIRTUAL]).build();
        assert_eq!(frame[34 + 6..34 + 8], [0x70, 0x98]);
    }
}
