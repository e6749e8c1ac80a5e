//! Virtual routers and addresses as numbers and octets, and the keys of the maps.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::params::{Family, Vrid};

/// The number of a virtual router on its interface.
#[inline(always)]
pub const fn slot(family: Family, vrid: Vrid) -> u32 {
    let family = match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 256,
    };
    family + vrid.get() as u32
}

/// The family of a slot.
#[inline(always)]
pub const fn family_of(slot: u32) -> Family {
    if slot < 256 { Family::Ipv4 } else { Family::Ipv6 }
}

/// The virtual router of a slot; `None` where there can be none.
pub fn router_at(slot: u32) -> Option<(Family, Vrid)> {
    let [low, family, 0, 0] = slot.to_le_bytes() else { return None };
    let family = match family {
        0 => Family::Ipv4,
        1 => Family::Ipv6,
        _ => return None,
    };
    Some((family, Vrid::new(low)?))
}

/// Represents all virtual routers of a family in an [`address_key`]: the [`slot`] that VRID 0 would have.
#[inline(always)]
pub const fn any_router(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 256,
    }
}

/// The key under which the place of a virtual router is found: the number of its interface, and its [`slot`].
#[inline(always)]
pub const fn place_key(interface: u32, slot: u32) -> u64 {
    (interface as u64) << 32 | slot as u64
}

/// The key of an [`AddressUse`](crate::classify::AddressUse): the number of the interface, the [`slot`] of the virtual router, and the address. With
/// [`any_router`] as the slot it is an address to which peers send.
#[inline(always)]
pub fn address_key(interface: u32, slot: u32, address: IpAddr) -> [u8; 24] {
    let mut key = [0; 24];
    let (router, behind) = key.split_at_mut(8);
    router.copy_from_slice(&place_key(interface, slot).to_be_bytes());
    behind.copy_from_slice(&octets(address));
    key
}

/// The bit of an address in the set of those that the kernel knows of a virtual router. Addresses may share a bit: one
/// whose bit is not set is unknown, any other has to be looked up by its [`address_key`].
#[inline(always)]
pub fn known_bit(address: IpAddr) -> u64 {
    // 2^32 divided by the golden ratio, so that neighbouring addresses have different bits.
    const SPREAD: u32 = 0x9e37_79b1;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets(address);
    let folded = u32::from_be_bytes([a, b, c, d])
        ^ u32::from_be_bytes([e, f, g, h])
        ^ u32::from_be_bytes([i, j, k, l])
        ^ u32::from_be_bytes([m, n, o, p]);
    1 << (folded.wrapping_mul(SPREAD) >> 26)
}

/// An address as sixteen octets.
#[inline(always)]
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// An address from sixteen octets.
#[inline(always)]
pub const fn address(family: Family, octets: [u8; 16]) -> IpAddr {
    match family {
        Family::Ipv4 => {
            let [a, b, c, d, ..] = octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_octets(octets)),
    }
}

/// Sixteen octets as two numbers with the same order.
#[inline(always)]
pub(crate) const fn words(octets: [u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, low @ ..] = octets;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(low))
}
