//! The IP Authentication Header of version 2 (RFC 2338 §5.3.6.3), added to adverts and removed without the code under
//! test.

use std::net::Ipv4Addr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use crate::{Advert, AdvertFrame, checksum};

const IP: usize = 14;
const AH: usize = IP + 20;
const ICV: usize = AH + 12;
const MESSAGE: usize = AH + 24;

const PROTOCOL_AH: u8 = 51;
const PROTOCOL_VRRP: u8 = 112;

/// An advert in an Authentication Header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Security Parameters Index as an address, as VRRP uses it.
    pub spi: Ipv4Addr,
    /// Sequence number.
    pub sequence: u32,
    /// The advert without the header.
    pub advert: Advert,
}

impl Authenticated {
    /// Parses a frame; `None` if it has no such header, or was not authenticated with this key.
    pub fn read(frame: &[u8], key: &[u8]) -> Option<Self> {
        let octets = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        if *frame.get(IP + 9)? != PROTOCOL_AH || frame.get(AH..AH + 4)? != [PROTOCOL_VRRP, 4, 0, 0] {
            return None;
        }
        let end = IP + usize::from(u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]));
        let frame = frame.get(..end)?;
        if frame.get(ICV..MESSAGE)? != icv(frame, key) {
            return None;
        }
        let (spi, sequence) = (Ipv4Addr::from(octets(AH + 4)?), octets(AH + 8)?);
        let mut plain = [&frame[..AH], &frame[MESSAGE..]].concat();
        set_ip(&mut plain, PROTOCOL_VRRP);
        Some(Self { spi, sequence, advert: Advert::read(&plain)? })
    }
}

impl AdvertFrame {
    /// The octets of the frame, which must be of version 2, with an Authentication Header.
    pub fn build_authenticated(mut self, key: &[u8], sequence: u32) -> Vec<u8> {
        self.interval[0] = 2;
        let mut frame = self.build();
        let spi: [u8; 4] = frame[IP + 12..IP + 16].try_into().expect("four octets");
        let header =
            [&[PROTOCOL_VRRP, 4, 0, 0][..], &spi, &sequence.to_be_bytes(), &[0; MESSAGE - ICV]].concat();
        frame.splice(AH..AH, header);
        set_ip(&mut frame, PROTOCOL_AH);
        let icv = icv(&frame, key);
        frame[ICV..MESSAGE].copy_from_slice(&icv);
        frame
    }
}

/// Protocol, length and checksum of the IPv4 header.
fn set_ip(frame: &mut [u8], protocol: u8) {
    let total = u16::try_from(frame.len() - IP).expect("fits a packet");
    frame[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
    frame[IP + 9] = protocol;
    frame[IP + 10..IP + 12].fill(0);
    let checksum = checksum::internet(&frame[IP..AH]);
    frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// HMAC-MD5-96 (RFC 2403) over the packet, except type of service, flags and fragment offset, header checksum and the
/// integrity check value itself. The TTL is included, as in keepalived.
fn icv(frame: &[u8], key: &[u8]) -> [u8; 12] {
    let mut packet = frame[IP..].to_vec();
    for octet in [1, 6, 7, 10, 11].into_iter().chain(ICV - IP..MESSAGE - IP) {
        packet[octet] = 0;
    }
    let mut hmac = Hmac::<Md5>::new_from_slice(key).expect("a key of any length will do");
    hmac.update(&packet);
    *hmac.finalize().into_bytes().first_chunk().expect("MD5 has 16 octets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_frame_is_parsed_back_with_the_same_key_only() {
        let source = Ipv4Addr::new(10, 0, 0, 9);
        let frame = AdvertFrame::v2(source, 51, 200, 1, &[Ipv4Addr::new(10, 0, 0, 100)]);
        let built = frame.build_authenticated(b"secret", 7);
        let read = Authenticated::read(&built, b"secret").expect("is authentic");
        assert_eq!(
            (read.spi, read.sequence, read.advert.priority, read.advert.auth_type),
            (source, 7, 200, 2)
        );
        assert!(read.advert.checksum_is_right);
        assert_eq!(Authenticated::read(&built, b"geheim"), None);
    }
}
