//! Ethernet II frames with at most one VLAN tag (IEEE 802.3, IEEE 802.1Q).
//!
//! Inner tags are ignored: such a frame belongs to a stacked device, which sees it with one tag less.

use super::put;
use crate::mac::MacAddr;
use crate::octets::Octets;

/// Ethertype of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;
/// Tag protocol identifier of a customer VLAN tag.
pub const TYPE_VLAN: u16 = 0x8100;
/// Tag protocol identifier of a service VLAN tag (802.1ad).
pub const TYPE_SERVICE_VLAN: u16 = 0x88a8;

/// Octets of the header without a tag.
pub const HEADER_LEN: usize = 14;
/// Octets of a tag.
pub const TAG_LEN: usize = 4;
/// The shortest frame, without its check sequence: shorter ones are padded.
pub const MIN_FRAME_LEN: usize = 60;

/// Offsets of the fields.
mod field {
    pub(super) const DESTINATION: usize = 0;
    pub(super) const SOURCE: usize = 6;
    pub(super) const ETHERTYPE: usize = 12;
    pub(super) const TAG_CONTROL: usize = 14;
    pub(super) const TAGGED_ETHERTYPE: usize = 16;
}

/// A VLAN identifier that names a VLAN: 1 to 4094 (IEEE 802.1Q §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// `None` for 0, which means "no VLAN, only a priority", and for 4095 and above.
    #[inline(always)]
    pub const fn new(id: u16) -> Option<Self> {
        match id {
            1..=4094 => Some(Self(id)),
            _ => None,
        }
    }

    /// 1 to 4094.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetRepr {
    /// Destination address.
    pub destination: MacAddr,
    /// Source address.
    pub source: MacAddr,
    /// The VLAN of its tag. `None` also for a priority tag, which has VLAN identifier 0.
    pub vlan: Option<VlanId>,
    /// Ethertype of the payload: never that of a tag.
    pub ethertype: u16,
}

impl EthernetRepr {
    /// Parses the header; returns it and the offset of the payload. `None` if the frame is too short, or has a second
    /// tag or the reserved VLAN identifier 4095.
    #[inline(always)]
    pub fn parse<F: Octets + ?Sized>(frame: &F) -> Option<(Self, usize)> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low] = frame.get::<HEADER_LEN>(0)?;
        let mut ethertype = u16::from_be_bytes([high, low]);
        let mut payload = HEADER_LEN;
        let mut vlan = None;
        if is_tag(ethertype) {
            let id = frame.u16_at(field::TAG_CONTROL)? & 0x0fff;
            vlan = VlanId::new(id);
            if vlan.is_none() && id != 0 {
                return None;
            }
            ethertype = frame.u16_at(field::TAGGED_ETHERTYPE)?;
            payload += TAG_LEN;
            if is_tag(ethertype) {
                return None;
            }
        }
        let destination = MacAddr([d0, d1, d2, d3, d4, d5]);
        let source = MacAddr([s0, s1, s2, s3, s4, s5]);
        Some((Self { destination, source, vlan, ethertype }, payload))
    }

    /// Octets of the header.
    pub const fn buffer_len(&self) -> usize {
        match self.vlan {
            Some(_) => HEADER_LEN + TAG_LEN,
            None => HEADER_LEN,
        }
    }

    /// Writes the header and returns the offset of the payload; `None` if the buffer is too short.
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.get_mut(..self.buffer_len())?;
        put(header, field::DESTINATION, &self.destination.0)?;
        put(header, field::SOURCE, &self.source.0)?;
        match self.vlan {
            None => put(header, field::ETHERTYPE, &self.ethertype.to_be_bytes())?,
            Some(vlan) => {
                put(header, field::ETHERTYPE, &TYPE_VLAN.to_be_bytes())?;
                put(header, field::TAG_CONTROL, &vlan.get().to_be_bytes())?;
                put(header, field::TAGGED_ETHERTYPE, &self.ethertype.to_be_bytes())?;
            }
        }
        Some(self.buffer_len())
    }
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TYPE_VLAN | TYPE_SERVICE_VLAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0b]);
    const PLAIN: [u8; 14] = [0x01, 0x00, 0x5e, 0, 0, 0x12, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00];
    const TAGGED: [u8; 18] =
        [0x01, 0x00, 0x5e, 0, 0, 0x12, 0x02, 0, 0, 0, 0, 0x0b, 0x81, 0x00, 0x00, 0x64, 0x08, 0x00];

    fn repr(vlan: Option<u16>) -> EthernetRepr {
        let destination = MacAddr([0x01, 0x00, 0x5e, 0, 0, 0x12]);
        EthernetRepr { destination, source: MAC, vlan: vlan.and_then(VlanId::new), ethertype: TYPE_IPV4 }
    }

    #[test]
    fn headers_with_and_without_a_tag_are_written_in_full() {
        // IEEE 802.3 §3.1.1, IEEE 802.1Q §9.3
        let mut buffer = [0xa5; 18];
        assert_eq!(repr(None).emit(&mut buffer), Some(14));
        assert_eq!(buffer[..14], PLAIN);
        assert_eq!(buffer[14..], [0xa5; 4]);
        let mut buffer = [0xa5; 18];
        assert_eq!(repr(Some(100)).emit(&mut buffer), Some(18));
        assert_eq!(buffer, TAGGED);
    }

    #[test]
    fn headers_with_and_without_a_tag_are_read_back() {
        assert_eq!(EthernetRepr::parse(&PLAIN[..]), Some((repr(None), 14)));
        assert_eq!(EthernetRepr::parse(&TAGGED[..]), Some((repr(Some(100)), 18)));
    }

    #[test]
    fn a_tag_for_priority_only_names_no_vlan() {
        // IEEE 802.1Q §9.6: identifier 0
        let mut frame = TAGGED;
        frame[14..16].copy_from_slice(&[0xf0, 0x00]);
        assert_eq!(EthernetRepr::parse(&frame[..]), Some((repr(None), 18)));
    }

    #[test]
    fn the_reserved_vlan_and_a_second_tag_are_refused() {
        // IEEE 802.1Q §9.6: identifier 4095
        let mut frame = TAGGED;
        frame[14..16].copy_from_slice(&[0x0f, 0xff]);
        assert_eq!(EthernetRepr::parse(&frame[..]), None);
        for second in [TYPE_VLAN, TYPE_SERVICE_VLAN] {
            let mut frame = TAGGED;
            frame[16..].copy_from_slice(&second.to_be_bytes());
            assert_eq!(EthernetRepr::parse(&frame[..]), None);
        }
        assert_eq!(VlanId::new(0), None);
        assert_eq!(VlanId::new(4095), None);
        assert_eq!(VlanId::new(4094).map(VlanId::get), Some(4094));
    }

    #[test]
    fn a_header_cut_short_is_refused_and_a_short_buffer_left_alone() {
        for len in 0..18 {
            assert_eq!(EthernetRepr::parse(&TAGGED[..len]), None);
            let mut buffer = [0xa5; 18];
            assert_eq!(repr(Some(100)).emit(&mut buffer[..len]), None);
            assert_eq!(buffer, [0xa5; 18]);
        }
    }
}
