//! An advertisement that passed every check, as the state machine sees it.

use core::net::IpAddr;

use crate::mac::MacAddr;
use crate::params::{Interval, Priority, Vrid};

/// A valid advertisement for one of our virtual routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Advert {
    /// The virtual router it is for.
    pub vrid: Vrid,
    /// The sender's priority; 0: a resignation.
    pub priority: Priority,
    /// The sender's advertisement interval.
    pub interval: Interval,
    /// The sender's primary address.
    pub source: IpAddr,
    /// The source MAC address of its frame.
    pub mac: MacAddr,
    /// Number of its virtual addresses.
    pub address_count: u8,
    /// Digest of its virtual addresses, in any order.
    pub addresses: AddressDigest,
}

/// A fingerprint of a set of addresses, independent of their order: detects other addresses of a peer, in constant
/// space. Not collision-resistant against attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AddressDigest(u64);

impl AddressDigest {
    /// The digest of the addresses.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut digest = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => digest.add_ipv4(address.octets()),
                IpAddr::V6(address) => digest.add_ipv6(address.octets()),
            }
        }
        digest
    }

    /// Adds an IPv4 address.
    #[inline(always)]
    pub fn add_ipv4(&mut self, octets: [u8; 4]) {
        self.0 = self.0.wrapping_add(mix(u64::from(u32::from_be_bytes(octets))));
    }

    /// Adds an IPv6 address.
    #[inline(always)]
    pub fn add_ipv6(&mut self, octets: [u8; 16]) {
        let [a, b, c, d, e, f, g, h, low @ ..] = octets;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        self.0 = self.0.wrapping_add(mix(mix(high) ^ u64::from_be_bytes(low)));
    }

    /// The digest as a number, for a record shared with the kernel.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From [`AddressDigest::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Two rounds of multiply and shift (the finalizer of MurmurHash3 has this shape): spreads each input bit.
#[inline(always)]
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn digest_ignores_the_order_and_sees_the_set() {
        let a = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        let b = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
        let c = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(AddressDigest::of([a, b, c]), AddressDigest::of([c, b, a]));
        assert_ne!(AddressDigest::of([a]), AddressDigest::of([b]));
        assert_ne!(AddressDigest::of([a]), AddressDigest::of([a, a]));
        assert_ne!(AddressDigest::of([a]), AddressDigest::of([a, c]));
    }
}
