//! The addresses of an advertisement: up to 255 of one family, from a configuration or a received message.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{MAX_ADDRESSES, field};
use crate::advert::AddressDigest;
use crate::octets::Octets;
use crate::params::Family;

/// Up to 255 addresses of one family. RFC 9568 requires at least one (§5.2.5), and a link-local address as the first
/// IPv6 address (§5.2.9); a router without addresses, or without a link-local one, is advertised as keepalived does it.
#[derive(Clone, Copy)]
pub struct Addresses<'a> {
    count: u8,
    list: List<'a>,
}

#[derive(Clone, Copy)]
enum List<'a> {
    Ipv4(&'a [Ipv4Addr]),
    Ipv6(&'a [Ipv6Addr]),
    /// In the format of a message.
    Wire(Family, &'a [u8]),
}

/// More than 255 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyAddresses {
    /// Number of addresses.
    pub count: usize,
}

impl<'a> Addresses<'a> {
    /// IPv4 addresses, in sending order.
    pub fn ipv4(addresses: &'a [Ipv4Addr]) -> Result<Self, TooManyAddresses> {
        Ok(Self { count: count(addresses.len())?, list: List::Ipv4(addresses) })
    }

    /// IPv6 addresses, in sending order.
    pub fn ipv6(addresses: &'a [Ipv6Addr]) -> Result<Self, TooManyAddresses> {
        Ok(Self { count: count(addresses.len())?, list: List::Ipv6(addresses) })
    }

    /// The `count` addresses of a checked message.
    pub(super) fn from_message(message: &'a [u8], family: Family, count: u8) -> Option<Self> {
        let octets = message.get(field::ADDRESSES..)?.get(..usize::from(count) * family.address_len())?;
        Some(Self { count, list: List::Wire(family, octets) })
    }

    /// The family of the addresses.
    pub const fn family(&self) -> Family {
        match self.list {
            List::Ipv4(_) => Family::Ipv4,
            List::Ipv6(_) => Family::Ipv6,
            List::Wire(family, _) => family,
        }
    }

    /// Number of addresses.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// The digest of the addresses, independent of their order.
    pub fn digest(&self) -> AddressDigest {
        AddressDigest::of(*self)
    }

    /// Iterates over the addresses.
    pub const fn iter(&self) -> Iter<'a> {
        Iter { list: self.list, next: 0 }
    }
}

/// The value of the count field.
fn count(addresses: usize) -> Result<u8, TooManyAddresses> {
    u8::try_from(addresses).map_err(|_| TooManyAddresses { count: addresses })
}

/// The addresses, in message order.
#[derive(Clone)]
pub struct Iter<'a> {
    list: List<'a>,
    next: usize,
}

impl Iterator for Iter<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let at = self.next;
        self.next += 1;
        match self.list {
            List::Ipv4(addresses) => addresses.get(at).copied().map(IpAddr::V4),
            List::Ipv6(addresses) => addresses.get(at).copied().map(IpAddr::V6),
            List::Wire(Family::Ipv4, octets) => Octets::get::<4>(octets, at * 4).map(IpAddr::from),
            List::Wire(Family::Ipv6, octets) => Octets::get::<16>(octets, at * 16).map(IpAddr::from),
        }
    }
}

impl<'a> IntoIterator for Addresses<'a> {
    type Item = IpAddr;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Addresses<'a> {
    type Item = IpAddr;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Addresses<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Addresses<'_> {}

impl fmt::Debug for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl fmt::Display for TooManyAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} addresses, at most {MAX_ADDRESSES} can be advertised (RFC 9568 §5.2.5)", self.count)
    }
}

impl core::error::Error for TooManyAddresses {}
