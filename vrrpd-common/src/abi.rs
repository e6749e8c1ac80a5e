//! Memory layouts shared by the daemon and the program in the kernel.
//!
//! A process has one set of maps for all its interfaces. Each virtual router has a place in them, an array index that the
//! daemon chooses; a hash map finds the place by interface and [`slot`], see [`place_key`]. Each interface has pins of the
//! maps under `/sys/fs/bpf/vrrpd/`, in a directory per network namespace and interface.
//!
//! The daemon changes a router by a [`KernelCommand`], which the kernel carries out under the router's lock. It writes only
//! those maps itself in which no entry depends on another one: places, addresses ([`address_key`], [`known_bit`]) and
//! [`Stations`]. It
//! reads [`RouterRecord`]s, which it maps into memory, and takes [`KernelEvent`]s from the ring buffer. [`crate::watch`]
//! says what the figures mean and who changes them.
//!
//! All types are plain old data without padding. Times are nanoseconds of `CLOCK_MONOTONIC`, 0 meaning never. Numbers
//! are in native byte order, addresses in network byte order.

use core::net::{IpAddr, Ipv4Addr};

use crate::advert::AddressDigest;
use crate::classify::{AddressUse, Delivery, Expect, is_vrrp_group};
use crate::mac::MacAddr;
use crate::params::{Auth, Family, Interval, Version};

mod key;
mod record;

pub(crate) use key::words;
pub use key::{address, address_key, any_router, family_of, known_bit, octets, place_key, router_at, slot};
pub use record::{EventKind, KernelAdvert, KernelCounters, KernelEvent, KernelReject, RouterRecord};

/// Changes with every change of a layout; a set of maps of another number is not read.
pub const ABI_VERSION: u32 = 5;
/// Number of places in the maps, unless the loader of the object asks for another one.
pub const PLACES: usize = 512;
/// Maximum number of peers of a virtual router.
pub const MAX_PEERS: usize = 255;
/// Addresses that the kernel can know of all virtual routers together; it takes memory only for those that there are.
pub const MAX_KNOWN_ADDRESSES: usize = 1 << 24;
/// Octets of the ring buffer for [`PLACES`].
pub const RING_LEN: usize = ring_len(PLACES, 4096);

/// Octets of the ring buffer for so many routers: an expiry of each fits, and some more. The kernel wants a power of two, and
/// whole pages of `page` octets.
pub const fn ring_len(routers: usize, page: usize) -> usize {
    /// What the kernel puts before each event.
    const HEADER: usize = 8;
    // The ring buffer is never quite full.
    let octets = (size_of::<KernelEvent>() + HEADER) * routers + 1;
    let octets = octets.next_power_of_two();
    if octets < page { page } else { octets }
}

/// The role of a virtual router, which determines how the kernel handles its adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum KernelRole {
    /// Not ours: ignored.
    #[default]
    None,
    /// Does not take part: adverts are recorded and consumed.
    Init,
    /// Adverts are recorded, and the master-down timer runs (RFC 9568 §6.4.2).
    Backup,
    /// Adverts are reported (RFC 9568 §6.4.3).
    Master,
}

impl KernelRole {
    /// From a number in a map.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Init,
            2 => Self::Backup,
            3 => Self::Master,
            _ => Self::None,
        }
    }
}

/// The configuration of a virtual router in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct KernelConfig {
    /// Digest of our own virtual addresses.
    pub addresses: u64,
    /// Minimum nanoseconds between non-urgent reports.
    pub report_spacing: u64,
    /// Source address of our own adverts; IPv4 in the first four octets.
    pub source: [u8; 16],
    /// Data of authentication type 1.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub auth_data: [u8; 8],
    /// The broadcast address of our subnet; zero: none or unknown.
    pub broadcast: [u8; 4],
    /// Changed with the checks of adverts, to detect an advert that was checked while they changed. Role, priority and
    /// election flags may change without it.
    pub generation: u32,
    /// The VLAN of the virtual router, 0 for none.
    pub vlan: u16,
    /// Our own interval in centiseconds.
    pub interval: u16,
    /// A [`KernelRole`].
    pub role: u8,
    /// The protocol version's number.
    pub version: u8,
    /// The effective priority.
    pub priority: u8,
    /// The minimum TTL or hop limit.
    pub min_ttl: u8,
    /// Authentication type, 0 to 2. The kernel does not verify Authentication Headers: with type 2 it discards adverts
    /// without one, and leaves those with one to the daemon.
    pub auth_kind: u8,
    /// A set of [`flag`]s.
    pub flags: u8,
    /// The maximum Master_Adver_Interval in use, in centiseconds; 0: no limit.
    pub max_learned_interval: u16,
    /// The lowest priority of a master that a Backup follows: its own if it preempts, 1 if it follows every master.
    pub lowest_followed: u8,
    /// Number of intervals without an advert, in addition to Skew_Time, after which a master counts as down.
    pub down_multiplier: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// The MAC addresses that an interface accepts: its own, and the previous one while it has a virtual one. Both are
/// equal if there is only one.
pub type Stations = [u64; 2];

/// A MAC address in the format of [`Stations`].
#[inline(always)]
pub const fn station(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The switches of [`KernelConfig::flags`].
pub mod flag {
    /// [`super::KernelConfig::source`] is set.
    pub const SOURCE: u8 = 1 << 1;
    /// A version 2 interval other than ours is accepted.
    pub const ACCEPT_INTERVAL_MISMATCH: u8 = 1 << 2;
    /// Only [`super::KernelConfig::addresses`] are accepted, unless from their owner.
    pub const REQUIRE_ADDRESSES: u8 = 1 << 3;
    /// Handled adverts are passed on to other receivers.
    pub const PASS_ON: u8 = 1 << 4;
    /// Adverts without addresses are accepted.
    pub const ACCEPT_NO_ADDRESSES: u8 = 1 << 5;
    /// Only unicast adverts from peers to [`super::KernelConfig::source`] are accepted.
    pub const PEERS: u8 = 1 << 6;
}

/// A command of the daemon to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "bytemuck", derive(bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct KernelCommand {
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// The [`slot`] of the virtual router.
    pub slot: u32,
    /// The number of its interface.
    pub interface: u32,
    /// Its place in the maps.
    pub place: u32,
    /// Backup: when Master_Down_Timer runs out.
    pub deadline: u64,
    /// When the daemon last read the record before this command. Later adverts were unknown to it and move the
    /// deadline; earlier ones were taken into account.
    pub known_until: u64,
    /// Backup: Master_Adver_Interval in centiseconds.
    pub master_interval: u16,
    /// Zero.
    pub reserved: [u8; 2],
    /// The kernel's answer: 0, or a negated errno. The first command for a place may fail with `ENOMEM` although memory
    /// is available: newer kernels allocate timers without sleeping. It has changed nothing and may be repeated.
    pub result: i32,
    /// The new configuration of the virtual router.
    pub config: KernelConfig,
}

const _: () = {
    assert!(size_of::<KernelConfig>() == 64 && align_of::<KernelConfig>() == 8);
    assert!(size_of::<KernelCommand>() == 104 && align_of::<KernelCommand>() == 8);
    // A frame that BPF_PROG_TEST_RUN takes is at least an Ethernet header.
    assert!(size_of::<KernelCommand>() >= 14);
};

impl KernelConfig {
    /// The checks of adverts, for [`crate::classify`].
    #[inline(always)]
    pub fn expect(&self, family: Family) -> Option<Expect> {
        Some(Expect {
            version: self.version(family),
            interval: Interval::from_stored(self.interval)?,
            auth: match self.auth_kind {
                0 => Auth::None,
                1 => Auth::Simple(self.auth_data),
                _ => Auth::Ah,
            },
            source: self.has(flag::SOURCE).then(|| address(family, self.source)),
            from_peers: self.has(flag::PEERS),
            broadcast: (u32::from_ne_bytes(self.broadcast) != 0)
                .then_some(Ipv4Addr::from_octets(self.broadcast)),
            min_ttl: self.min_ttl,
            accept_interval_mismatch: self.has(flag::ACCEPT_INTERVAL_MISMATCH),
            accept_no_addresses: self.has(flag::ACCEPT_NO_ADDRESSES),
            address_list: self
                .has(flag::REQUIRE_ADDRESSES)
                .then_some(AddressDigest::from_bits(self.addresses)),
        })
    }

    /// Sets the checks that [`KernelConfig::expect`] returns.
    #[must_use]
    pub fn expecting(mut self, expect: &Expect) -> Self {
        self.version = expect.version.number();
        self.interval = expect.interval.as_centis();
        self.auth_kind = expect.auth.kind();
        self.auth_data = expect.auth.data();
        self.source = expect.source.map_or([0; 16], octets);
        self.broadcast = expect.broadcast.map_or([0; 4], |broadcast| broadcast.octets());
        self.min_ttl = expect.min_ttl;
        self.set(flag::SOURCE, expect.source.is_some());
        self.set(flag::PEERS, expect.from_peers);
        self.set(flag::ACCEPT_INTERVAL_MISMATCH, expect.accept_interval_mismatch);
        self.set(flag::ACCEPT_NO_ADDRESSES, expect.accept_no_addresses);
        self.set(flag::REQUIRE_ADDRESSES, expect.address_list.is_some());
        if let Some(addresses) = expect.address_list {
            self.addresses = addresses.to_bits();
        }
        self
    }

    /// Whether the router accepts an advert from this sender to `destination`.
    #[inline(always)]
    pub fn delivery(&self, sender: AddressUse, destination: IpAddr) -> Delivery {
        let is_to_group = is_vrrp_group(destination);
        if self.has(flag::PEERS) {
            let is_to_us = self.has(flag::SOURCE) && words(self.source) == words(octets(destination));
            Delivery::to_peer(is_to_group, is_to_us, sender)
        } else {
            Delivery::to_group(is_to_group)
        }
    }

    /// Whether a [`flag`] is set.
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears a [`flag`].
    pub const fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// The maximum Master_Adver_Interval in use.
    #[inline(always)]
    pub fn max_learned_interval(&self) -> Interval {
        Interval::from_stored(self.max_learned_interval).unwrap_or(Interval::MAX)
    }

    /// The role.
    #[inline(always)]
    pub const fn role(&self) -> KernelRole {
        KernelRole::from_number(self.role)
    }

    /// The protocol version for this family.
    #[inline(always)]
    pub const fn version(&self, family: Family) -> Version {
        let version = if self.version == Version::V2.number() { Version::V2 } else { Version::V3 };
        version.over(family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_of_adverts_reach_the_kernel_unchanged() {
        for auth in [Auth::None, Auth::Simple(*b"secret\0\0"), Auth::Ah] {
            let expect = Expect {
                version: Version::V2,
                interval: Interval::DEFAULT,
                auth,
                source: Some(Ipv4Addr::new(192, 0, 2, 11).into()),
                broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
                from_peers: true,
                min_ttl: 255,
                accept_interval_mismatch: true,
                accept_no_addresses: true,
                address_list: Some(AddressDigest::from_bits(7)),
            };
            let config = KernelConfig::default().expecting(&expect);
            assert_eq!(config.expect(Family::Ipv4), Some(expect));
        }
    }
}
