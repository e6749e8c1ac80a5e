//! Virtual addresses: parsing, lists as adverts carry them, and subnet comparison.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vrrpd_common::Family;
use vrrpd_common::wire::vrrp::Addresses;

/// Text that is not a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not an IP address.
    Syntax,
    /// The prefix length is not between 1 and this maximum.
    MaskLength(u8),
    /// Not a unicast address.
    NotUnicast,
}

/// Virtual addresses as an advert carries them, all of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressList {
    /// Of IPv4.
    Ipv4(Vec<Ipv4Addr>),
    /// Of IPv6.
    Ipv6(Vec<Ipv6Addr>),
}

impl AddressList {
    /// Those of `addresses` that are of this family, in their order.
    pub fn of(family: Family, addresses: &[VirtualAddress]) -> Self {
        let mut ipv4 = Vec::new();
        let mut ipv6 = Vec::new();
        for address in addresses {
            match address.address {
                IpAddr::V4(address) => ipv4.push(address),
                IpAddr::V6(address) => ipv6.push(address),
            }
        }
        match family {
            Family::Ipv4 => Self::Ipv4(ipv4),
            Family::Ipv6 => Self::Ipv6(ipv6),
        }
    }

    /// The first `count` addresses; `None` if there are fewer, or more than an advert can carry.
    pub fn first(&self, count: usize) -> Option<Addresses<'_>> {
        match self {
            Self::Ipv4(all) => Addresses::ipv4(all.get(..count)?).ok(),
            Self::Ipv6(all) => Addresses::ipv6(all.get(..count)?).ok(),
        }
    }
}

impl fmt::Display for AddressError {
    /// States the expected value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("expected for example 10.16.1.200, 10.16.1.200/24 or fe80::1/64"),
            Self::MaskLength(longest) => write!(f, "expected a prefix length of 1 to {longest}"),
            Self::NotUnicast => f.write_str("expected a unicast address"),
        }
    }
}

impl std::error::Error for AddressError {}

/// A virtual address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// 1 to 32, or 1 to 128.
    pub prefix_len: u8,
}

impl VirtualAddress {
    /// The family of the address.
    pub const fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl FromStr for VirtualAddress {
    type Err = AddressError;

    /// Reads `10.16.1.200`, `10.16.1.200/24`, `fe80::1`, `2001:db8::1/64`. Without a prefix length it is a host address
    /// (/32, /128).
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address = address.parse().map_err(|_| AddressError::Syntax)?;
        let (longest, is_unicast) = match address {
            IpAddr::V4(v4) => (32, is_unicast_v4(v4)),
            IpAddr::V6(v6) => (128, is_unicast_v6(v6)),
        };
        let prefix_len = match length {
            None => longest,
            Some(length) => length
                .parse()
                .ok()
                .filter(|length| (1..=longest).contains(length))
                .ok_or(AddressError::MaskLength(longest))?,
        };
        if is_unicast { Ok(Self { address, prefix_len }) } else { Err(AddressError::NotUnicast) }
    }
}

const fn is_unicast_v4(address: Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast() && !address.is_loopback()
}

const fn is_unicast_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
}

impl VirtualAddress {
    /// Whether both have the same subnet and prefix length. Link-local addresses share no subnet: every interface needs
    /// its own route for them.
    pub fn shares_subnet_with(&self, other: &Self) -> bool {
        self.prefix_len == other.prefix_len
            && match (self.address, other.address) {
                (IpAddr::V4(one), IpAddr::V4(other)) => {
                    (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix_len)
                }
                (IpAddr::V6(one), IpAddr::V6(other)) if !other.is_unicast_link_local() => {
                    (one.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix_len)
                }
                (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<VirtualAddress, AddressError> {
        text.parse()
    }

    #[test]
    fn an_address_reads_back_as_it_is_written() {
        for text in ["10.0.0.1/24", "10.0.0.1/32", "fe80::33/64", "2001:db8::1/128"] {
            assert_eq!(address(text).expect("legal").to_string(), text);
        }
        assert_eq!(address("10.0.0.1").expect("legal").prefix_len, 32);
        assert_eq!(address("2001:db8::1").expect("legal").prefix_len, 128);
    }

    #[test]
    fn an_error_explains_what_is_wrong_with_an_address() {
        for (text, error) in [
            ("", AddressError::Syntax),
            ("10.0.0.300/24", AddressError::Syntax),
            ("10.0.0.1/0", AddressError::MaskLength(32)),
            ("10.0.0.1/33", AddressError::MaskLength(32)),
            ("fe80::1/129", AddressError::MaskLength(128)),
            ("10.0.0.1/", AddressError::MaskLength(32)),
            ("224.0.0.18/32", AddressError::NotUnicast),
            ("0.0.0.0/8", AddressError::NotUnicast),
            ("127.0.0.1/8", AddressError::NotUnicast),
            ("ff02::12/128", AddressError::NotUnicast),
        ] {
            assert_eq!(address(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_subnet_that_is_there_is_recognised_by_address_and_mask() {
        let same =
            |one, other| address(one).expect("legal").shares_subnet_with(&address(other).expect("legal"));
        assert!(same("10.0.0.1/24", "10.0.0.100/24"));
        assert!(!same("10.0.0.1/24", "10.0.1.100/24"));
        assert!(!same("10.0.0.1/24", "10.0.0.100/32"));
        assert!(same("2001:db8::1/64", "2001:db8::2/64"));
        assert!(!same("fe80::1/64", "fe80::2/64"));
        assert!(!same("10.0.0.1/24", "fe80::2/64"));
    }
}
