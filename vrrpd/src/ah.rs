//! The shared state of an Authentication Header: the key and the sequence numbers.
//!
//! # Sequence numbers
//! All routers of a virtual router share one key and one number space: each number is greater than all numbers that its
//! sender has sent before, or heard from any router. A packet is admitted if its number is greater than those of all
//! packets admitted before, so no packet is admitted twice. It must also be at least our own last number, so a packet
//! recorded earlier cannot be replayed to a master that never heard it. An equal number is accepted there, since two
//! masters that begin to hear each other may have sent the same one. keepalived does the same, except for this last
//! rule.
//!
//! The numbers are lost when the daemon ends. To be admitted after a restart, the daemon never sends a number lower
//! than the time of day in seconds since 1970. At about one advert a second, numbers hardly exceed that; a daemon that
//! restarts within a second may have its first advert rejected. keepalived starts with 1, and is admitted again once it
//! has heard another router.
//!
//! An attacker without the key can still delay a packet until a higher number was heard or sent, and can replay
//! recorded packets, each once and in order, to a backup that started later and has not heard any router since.
//!
//! After 2³²−1, which the time of day reaches in 2106, numbers start again from the time of day, and heard numbers are
//! forgotten.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use vrrpd_common::Reject;
use vrrpd_common::params::Auth;
use vrrpd_common::reject::Rejection;
use vrrpd_common::wire::ah::{AhPacket, ICV_LEN};

use crate::sys::secret::{self, Secret};

/// A key of 1 to [`AuthKey::MAX_LEN`] octets, padded with zeros, as HMAC pads shorter keys anyway (RFC 2104 §2). No
/// output shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthKey(Secret);

impl AuthKey {
    /// The block size of MD5: a longer key would be replaced by its hash, which is not stronger.
    pub const MAX_LEN: usize = secret::MAX_LEN;

    /// `None` if empty or too long.
    pub fn new(octets: &[u8]) -> Option<Self> {
        if octets.is_empty() { None } else { Secret::new(octets).map(Self) }
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}

/// A key and the sequence numbers under it.
pub struct SecurityAssociation {
    /// The HMAC state is computed for each packet again, since it is as sensitive as the key.
    key: AuthKey,
    /// The last number sent.
    sent: u32,
    /// The highest number admitted.
    admitted: u32,
}

impl SecurityAssociation {
    /// No number sent or admitted yet.
    pub fn new(key: &AuthKey) -> Self {
        Self { key: key.clone(), sent: 0, admitted: 0 }
    }

    /// The sequence number of the next packet; `now` is the time of day in seconds since 1970. Copies of one advert for
    /// several peers have the same number: each peer hears only its own copy, and numbers grow no faster than adverts
    /// are sent.
    pub fn next(&mut self, now: u32) -> u32 {
        let next = self.sent.max(self.admitted).checked_add(1).map_or_else(
            || {
                self.admitted = 0;
                now.max(1)
            },
            |next| next.max(now),
        );
        self.sent = next;
        next
    }

    /// Sets the sequence number and the integrity check value of a packet. `None` if it has no Authentication Header.
    pub fn seal(&self, packet: &mut [u8], sequence: u32) -> Option<()> {
        AhPacket::seal(packet, sequence, |packet| {
            let whole: [u8; 16] = self.mac(packet).finalize().into_bytes().into();
            let mut icv = [0; ICV_LEN];
            icv.copy_from_slice(&whole[..ICV_LEN]);
            icv
        })
    }

    /// Whether a packet is authentic and new; marks its number as used.
    pub fn admit(&mut self, packet: &AhPacket<'_>) -> Result<(), Rejection> {
        let ours = u32::from(Auth::Ah.kind());
        // Constant-time comparison.
        if self.mac(packet).verify_truncated_left(&packet.header().icv()).is_err() {
            return Err(Reject::Auth.because(ours, ours));
        }
        let sequence = packet.header().sequence();
        if sequence <= self.admitted || sequence < self.sent {
            return Err(Reject::Auth.because(Reject::REPLAYED, ours));
        }
        self.admitted = sequence;
        Ok(())
    }

    /// HMAC-MD5 over the octets that the integrity check value covers (RFC 2403).
    fn mac(&self, packet: &AhPacket<'_>) -> Hmac<Md5> {
        let mut mac = Hmac::<Md5>::new(self.key.0.expose().into());
        packet.covered(|piece| mac.update(piece));
        mac
    }
}

impl fmt::Debug for SecurityAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityAssociation")
            .field("sent", &self.sent)
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advert that keepalived 2.2.7 sent with `auth_type AH` and `auth_pass secret`, from its IPv4 header on: VRID 51,
    /// priority 150, sequence number 1.
    #[rustfmt::skip]
    const FROM_KEEPALIVED: [u8; 68] = [
        0x45, 0xc0, 0x00, 0x44, 0x00, 0x01, 0x00, 0x00, 0xff, 0x33, 0xd0, 0xb1, 10, 0, 0, 2, 224, 0, 0, 18,
        0x70, 0x04, 0x00, 0x00, 10, 0, 0, 2, 0, 0, 0, 1,
        0xae, 0x58, 0x2a, 0x9d, 0x8f, 0xa9, 0x37, 0x04, 0x33, 0xfa, 0xa6, 0x62,
        0x21, 0x33, 0x96, 0x02, 0x02, 0x01, 0x32, 0x00, 10, 0, 0, 100, 10, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    /// An advert that it sent to the peer 10.0.0.1: VRID 51, priority 255, sequence number 2.
    #[rustfmt::skip]
    const TO_A_PEER: [u8; 64] = [
        0x45, 0xc0, 0x00, 0x40, 0x00, 0x02, 0x00, 0x00, 0xff, 0x33, 0xa6, 0xc6, 10, 0, 0, 2, 10, 0, 0, 1,
        0x70, 0x04, 0x00, 0x00, 10, 0, 0, 2, 0, 0, 0, 2,
        0x8f, 0x8d, 0x38, 0x88, 0xe7, 0xab, 0xdf, 0xdf, 0x73, 0x0a, 0x17, 0x6f,
        0x21, 0x33, 0xff, 0x01, 0x02, 0x01, 0xd3, 0x65, 10, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    const NOW: u32 = 1_800_000_000;

    fn association() -> SecurityAssociation {
        SecurityAssociation::new(&AuthKey::new(b"secret").expect("six octets"))
    }

    fn admit(association: &mut SecurityAssociation, packet: &[u8]) -> Result<(), u32> {
        association.admit(&AhPacket::read(packet).expect("has the header")).map_err(|rejection| rejection.got)
    }

    fn sealed(by: &mut SecurityAssociation, now: u32) -> [u8; 68] {
        let mut packet = FROM_KEEPALIVED;
        let sequence = by.next(now);
        by.seal(&mut packet, sequence).expect("has the header");
        packet
    }

    fn sequence(packet: &[u8]) -> u32 {
        AhPacket::read(packet).expect("has the header").header().sequence()
    }

    const WRONG: Result<(), u32> = Err(2);
    const REPLAYED: Result<(), u32> = Err(Reject::REPLAYED);

    #[test]
    fn an_advert_of_keepalived_is_authentic() {
        assert_eq!(admit(&mut association(), &FROM_KEEPALIVED), Ok(()));
    }

    #[test]
    fn the_same_number_gives_the_integrity_check_value_that_keepalived_found() {
        assert_eq!(sealed(&mut association(), 0), FROM_KEEPALIVED);
    }

    #[test]
    fn an_advert_of_keepalived_to_a_peer_is_authentic_with_any_ttl() {
        for ttl in [255, 253, 1] {
            let mut packet = TO_A_PEER;
            packet[8] = ttl;
            assert_eq!(admit(&mut association(), &packet), Ok(()), "TTL {ttl}");
        }
        let mut packet = TO_A_PEER;
        association().seal(&mut packet, 2).expect("has the header");
        assert_eq!(packet, TO_A_PEER);
    }

    #[test]
    fn another_key_is_noticed_and_zeros_at_its_end_are_no_other_key() {
        // RFC 2104 §2
        for (key, answer) in
            [(&b"secreT"[..], WRONG), (b"secre", WRONG), (b"secret1", WRONG), (b"secret\0\0", Ok(()))]
        {
            let mut association = SecurityAssociation::new(&AuthKey::new(key).expect("short"));
            assert_eq!(admit(&mut association, &FROM_KEEPALIVED), answer);
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed_but_those_that_may_change_on_the_way() {
        // RFC 2402 §3.3.3.1.1: type of service, flags and fragment offset, header checksum; here not the TTL
        for bit in 0..FROM_KEEPALIVED.len() * 8 {
            let mut packet = FROM_KEEPALIVED;
            packet[bit / 8] ^= 1 << (bit % 8);
            let Some(read) = AhPacket::read(&packet) else { continue };
            let mutable = [1, 6, 7, 10, 11].contains(&(bit / 8));
            assert_eq!(association().admit(&read).is_ok(), mutable, "bit {bit}");
        }
    }

    #[test]
    fn a_packet_that_is_not_authentic_does_not_move_the_numbers() {
        let mut association = association();
        let mut wrong = FROM_KEEPALIVED;
        wrong[28..32].fill(0xff);
        assert_eq!(admit(&mut association, &wrong), WRONG);
        assert_eq!(admit(&mut association, &FROM_KEEPALIVED), Ok(()));
    }

    #[test]
    fn no_packet_is_admitted_twice_and_none_from_the_past() {
        // RFC 2402 §3.4.3
        let (mut sender, mut receiver) = (association(), association());
        let [first, second, third] = [(); 3].map(|()| sealed(&mut sender, NOW));
        assert_eq!(admit(&mut receiver, &first), Ok(()));
        assert_eq!(admit(&mut receiver, &first), REPLAYED);
        assert_eq!(admit(&mut receiver, &third), Ok(()));
        assert_eq!(admit(&mut receiver, &second), REPLAYED);
    }

    #[test]
    fn nothing_from_before_our_own_last_packet_is_admitted_though_never_heard() {
        let (mut peer, mut ours) = (association(), association());
        let recorded = sealed(&mut peer, NOW);
        sealed(&mut ours, NOW + 1);
        assert_eq!(admit(&mut ours, &recorded), REPLAYED);
    }

    #[test]
    fn masters_that_sent_the_same_number_hear_each_other() {
        let (mut one, mut other) = (association(), association());
        let (from_one, from_other) = (sealed(&mut one, NOW), sealed(&mut other, NOW));
        assert_eq!(from_one, from_other);
        assert_eq!(admit(&mut one, &from_other), Ok(()));
        assert_eq!(admit(&mut other, &from_one), Ok(()));
    }

    #[test]
    fn the_next_number_is_above_all_sent_and_heard_and_not_below_the_time_of_day() {
        let mut ours = association();
        assert_eq!(sequence(&sealed(&mut ours, 0)), 1);
        assert_eq!(sequence(&sealed(&mut ours, NOW)), NOW);
        assert_eq!(sequence(&sealed(&mut ours, NOW)), NOW + 1);
        // The clock was set back.
        assert_eq!(sequence(&sealed(&mut ours, NOW - 3600)), NOW + 2);
        let mut ahead = association();
        assert_eq!(admit(&mut ours, &sealed(&mut ahead, NOW + 3600)), Ok(()));
        assert_eq!(sequence(&sealed(&mut ours, NOW)), NOW + 3601);
    }

    #[test]
    fn a_restarted_sender_is_heard() {
        let mut receiver = association();
        assert_eq!(admit(&mut receiver, &sealed(&mut association(), NOW)), Ok(()));
        assert_eq!(admit(&mut receiver, &sealed(&mut association(), NOW + 1)), Ok(()));
    }

    #[test]
    fn after_the_last_sequence_number_both_ends_start_again() {
        let (mut one, mut other) = (association(), association());
        let last = sealed(&mut one, u32::MAX);
        assert_eq!(admit(&mut other, &last), Ok(()));
        let first = sealed(&mut one, NOW);
        assert_eq!(sequence(&first), NOW);
        assert_eq!(admit(&mut other, &first), REPLAYED);
        // The other router misses its master and sends.
        assert_eq!(sequence(&sealed(&mut other, NOW)), NOW);
        assert_eq!(admit(&mut other, &sealed(&mut one, NOW)), Ok(()));
    }

    #[test]
    fn a_key_has_1_to_64_octets_and_is_not_shown() {
        assert_eq!(AuthKey::new(b""), None);
        assert_eq!(AuthKey::new(&[1; 65]), None);
        assert!(AuthKey::new(&[1; 64]).is_some());
        let key = AuthKey::new(b"secret").expect("six octets");
        assert_eq!(format!("{key:?}"), "AuthKey(..)");
        assert!(!format!("{:?}", association()).contains("115"), "115 is an s");
    }
}
