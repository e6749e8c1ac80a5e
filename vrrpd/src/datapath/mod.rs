//! Reception of adverts: from an interface to events for its routers.
//!
//! [`RouterTable`] contains the routers of an interface. In user space [`raw::RawPath`] receives frames from packet
//! sockets, and [`RouterTable::judge`] runs the parser on a frame and counts the result. In the kernel [`xdp::XdpPath`]
//! does both, and reports only changes. An interface has exactly one of them at a time.

mod attachment;
mod by_slot;
pub mod claims;
pub mod classifier;
pub mod closing;
mod clsact;
mod commands;
mod counts;
pub mod detaching;
#[cfg(feature = "debug-log")]
mod kernel_log;
pub mod leftovers;
pub mod loaded;
mod maps;
pub mod membership;
mod names;
pub mod object;
pub mod own_mac;
pub mod pins;
pub mod places;
mod ports;
pub mod privileges;
mod program;
pub mod raw;
pub mod readiness;
pub mod refusal;
pub mod tier;
pub mod vlans;
pub mod xdp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vrrpd_common::classify::{
    AddressUse, Associations, Classified, Delivery, Expect, RouterKey, Routers, classify_authenticated,
    is_vrrp_group,
};
use vrrpd_common::wire::ah::AhPacket;
use vrrpd_common::wire::vrrp::group;
use vrrpd_common::wire::{ah, ethernet, ipv4, ipv6, vrrp};
use vrrpd_common::{Advert, Auth, Family, Reject, Rejection, Vrid, classify};
use vrrpd_engine::RouterId;

use by_slot::BySlot;
use xdp::KnownAddresses;

pub use counts::{Counts, RejectCounts};

use crate::ah::SecurityAssociation;
use crate::clock;
use crate::config::{Destination, Peer, Settings};
use crate::sys::packet::Frame;
use crate::transmit::AdvertFrames;
use crate::transmit::routed::Packet;

/// The result of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A valid advert.
    Advert {
        /// Its router.
        router: RouterId,
        /// Saying this.
        advert: Advert,
    },
    /// A VRRP message that failed a check.
    Rejected {
        /// The router and source address; `None` if unknown, or not a router of ours.
        router: Option<(RouterId, IpAddr)>,
        /// The check.
        rejection: Rejection,
    },
}

/// The routers of one interface, and their counters.
#[derive(Debug, Default)]
pub struct RouterTable {
    routers: BySlot<RouterEntry>,
    /// Rejects for no router of ours.
    rejected: RejectCounts,
    /// Counters of routers that have left, since counters never go back.
    left: BTreeMap<(Family, Vrid), Counts>,
}

#[derive(Debug)]
struct RouterEntry {
    id: RouterId,
    expect: Expect,
    destination: Destination,
    /// Sorted.
    virtual_addresses: Box<[IpAddr]>,
    /// State of its Authentication Header, if it has one.
    association: Option<Box<SecurityAssociation>>,
    counts: Counts,
}

impl RouterTable {
    /// Adds a router, or changes the checks of its adverts.
    pub fn set(&mut self, family: Family, vrid: Vrid, id: RouterId, expect: Expect) {
        let key = (family, vrid);
        if let Some(entry) = self.routers.get_mut(key) {
            entry.expect = expect;
            return;
        }
        let entry = RouterEntry {
            id,
            expect,
            destination: Destination::Group(group(family)),
            virtual_addresses: Box::default(),
            association: None,
            counts: self.left.remove(&key).unwrap_or_default(),
        };
        self.routers.insert(key, entry);
    }

    /// Sets the destination of a router's adverts, if it is not VRRP's group.
    pub fn set_destination(&mut self, family: Family, vrid: Vrid, destination: &Destination) {
        if let Some(entry) = self.routers.get_mut((family, vrid))
            && entry.destination != *destination
        {
            entry.destination.clone_from(destination);
        }
    }

    /// Sets the virtual addresses of a router, from which only the owner's adverts are accepted.
    pub fn set_virtual_addresses(
        &mut self,
        family: Family,
        vrid: Vrid,
        addresses: impl Iterator<Item = IpAddr>,
    ) {
        if let Some(entry) = self.routers.get_mut((family, vrid)) {
            entry.virtual_addresses = addresses.collect();
            entry.virtual_addresses.sort_unstable();
        }
    }

    /// The addresses of a router for the kernel.
    pub fn known_addresses(&self, family: Family, vrid: Vrid) -> KnownAddresses {
        self.routers.get((family, vrid)).map(RouterEntry::known_addresses).unwrap_or_default()
    }

    /// Sets the key of a router's Authentication Header.
    pub fn associate(&mut self, family: Family, vrid: Vrid, association: SecurityAssociation) {
        if let Some(entry) = self.routers.get_mut((family, vrid)) {
            entry.association = Some(Box::new(association));
        }
    }

    /// Removes a router. If it comes back, its counters continue.
    pub fn remove(&mut self, family: Family, vrid: Vrid) {
        if let Some(entry) = self.routers.remove((family, vrid)) {
            self.left.insert((family, vrid), entry.counts);
        }
    }

    /// Adds counters of a data path that is being closed, for a router or for none.
    pub fn carry_over(&mut self, router: Option<(Family, Vrid)>, counted: &Counts) {
        let Some(key) = router else {
            self.rejected = self.rejected.plus(&counted.rejected);
            return;
        };
        let entry = self.routers.get_mut(key).map(|entry| &mut entry.counts);
        let counts = entry.unwrap_or_else(|| self.left.entry(key).or_default());
        counts.received += counted.received;
        counts.rejected = counts.rejected.plus(&counted.rejected);
    }

    /// Whether there is a router with an Authentication Header.
    pub fn has_associations(&self) -> bool {
        self.routers.values().any(|entry| entry.association.is_some())
    }

    /// The frames of an advert for sending: with the next sequence number if they have an Authentication Header, else
    /// unchanged.
    pub fn seal(&mut self, config: &Settings, frames: AdvertFrames) -> Option<AdvertFrames> {
        let entry = self.routers.get_mut((config.family, config.vrid))?;
        let Some(association) = &mut entry.association else { return Some(frames) };
        let sequence = association.next(clock::time_of_day());
        let seal = |frame: &Frame| {
            let mut sealed = frame.to_vec();
            association.seal(sealed.get_mut(ethernet::HEADER_LEN..)?, sequence)?;
            Some(Frame::from(sealed))
        };
        Some(match frames {
            AdvertFrames::Group(frame) => AdvertFrames::Group(seal(&frame)?),
            AdvertFrames::Peers(packets) => {
                let seal = |packet: &Packet| Some(Packet { to: packet.to, frame: seal(&packet.frame)? });
                AdvertFrames::Peers(packets.iter().map(seal).collect::<Option<_>>()?)
            }
        })
    }

    /// Whether a router of this family accepts adverts to another group than VRRP's.
    pub fn serves_other_groups(&self, family: Family) -> bool {
        self.groups(family).iter().any(|served| *served != group(family))
    }

    /// Whether a router of this family has peers.
    pub fn serves_peers(&self, family: Family) -> bool {
        self.of(family).any(|entry| matches!(entry.destination, Destination::Peers { .. }))
    }

    /// The multicast groups of the routers of this family.
    pub fn groups(&self, family: Family) -> BTreeSet<IpAddr> {
        let group = |entry: &RouterEntry| match entry.destination {
            Destination::Group(group) => Some(group),
            Destination::Peers { .. } => None,
        };
        self.of(family).filter_map(group).collect()
    }

    /// The routers of a family.
    fn of(&self, family: Family) -> impl Iterator<Item = &RouterEntry> {
        self.routers.iter().filter(move |((served, _), _)| *served == family).map(|(_, entry)| entry)
    }

    /// Number of routers of a family, and the octets of their longest advert with its headers.
    pub fn traffic(&self, family: Family) -> (usize, usize) {
        let octets = |entry: &RouterEntry| {
            let (headers, address) = match family {
                Family::Ipv4 => (ipv4::HEADER_LEN, 4),
                Family::Ipv6 => (ipv6::HEADER_LEN, 16),
            };
            let ah = if entry.association.is_some() { ah::HEADER_LEN } else { 0 };
            let addresses = entry.virtual_addresses.len() * address;
            let octets = ethernet::HEADER_LEN + headers + ah + vrrp::HEADER_LEN + addresses + Auth::DATA_LEN;
            octets.max(ethernet::MIN_FRAME_LEN)
        };
        (self.of(family).count(), self.of(family).map(octets).max().unwrap_or(0))
    }

    /// Whether there is a router of this family.
    pub fn serves(&self, family: Family) -> bool {
        self.of(family).next().is_some()
    }

    /// Classifies a frame and counts the result; `None` if it is not VRRP.
    pub fn judge(&mut self, frame: &[u8]) -> Option<Arrival> {
        let classified = match classify(frame, &*self) {
            Classified::NotVrrp if self.has_associations() => classify_authenticated(frame, self),
            other => other,
        };
        match classified {
            Classified::NotVrrp => None,
            Classified::NotOurs { vrid_number, .. } => {
                let rejection = Reject::NotOurs.because(u32::from(vrid_number), 0);
                self.rejected.add(Reject::NotOurs);
                Some(Arrival::Rejected { router: None, rejection })
            }
            Classified::Reject { rejection, router } => {
                let entry = router.and_then(|(key, _)| self.routers.get_mut((key.family, key.vrid)));
                let router = entry.as_ref().zip(router).map(|(entry, (_, source))| (entry.id, source));
                entry.map_or(&mut self.rejected, |entry| &mut entry.counts.rejected).add(rejection.reject);
                Some(Arrival::Rejected { router, rejection })
            }
            Classified::Advert { router, advert } => {
                let entry = self.routers.get_mut((router.family, router.vrid))?;
                entry.counts.received += 1;
                Some(Arrival::Advert { router: entry.id, advert })
            }
        }
    }

    /// All routers.
    pub fn routers(&self) -> impl Iterator<Item = (Family, Vrid)> {
        self.routers.iter().map(|(key, _)| key)
    }

    /// The router of a family and VRID.
    pub fn router(&self, family: Family, vrid: Vrid) -> Option<RouterId> {
        self.routers.get((family, vrid)).map(|entry| entry.id)
    }

    /// Valid adverts that a router received.
    pub fn received(&self, family: Family, vrid: Vrid) -> u64 {
        self.routers.get((family, vrid)).map_or(0, |entry| entry.counts.received)
    }

    /// Rejects of a router, and those of its interface without a known router.
    pub fn rejected(&self, family: Family, vrid: Vrid) -> RejectCounts {
        let own = self.routers.get((family, vrid)).map(|entry| entry.counts.rejected).unwrap_or_default();
        own.plus(&self.rejected)
    }
}

impl Routers for RouterTable {
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        // Tagged frames belong to the VLAN interface.
        if vlan != 0 {
            return None;
        }
        self.routers.get((family, vrid)).map(|entry| entry.expect)
    }

    fn knows(&self, vlan: u16, family: Family, vrid: Vrid) -> bool {
        vlan == 0 && self.routers.get((family, vrid)).is_some()
    }

    fn is_destination(&self, destination: IpAddr) -> bool {
        // Most are sent to the group, and others arrive only if a router needs them.
        is_vrrp_group(destination) || self.routers.values().any(|entry| entry.is_at(destination))
    }

    fn delivery(&self, router: &RouterKey, sender: AddressUse, destination: IpAddr) -> Delivery {
        let entry = self.routers.get((router.family, router.vrid));
        entry.map_or(Delivery::Elsewhere, |entry| entry.delivery(sender, destination))
    }

    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        let entry = self.routers.get((router.family, router.vrid));
        entry.map(|entry| entry.use_of(address)).unwrap_or_default()
    }
}

impl RouterEntry {
    /// Whether its adverts have this destination.
    fn is_at(&self, destination: IpAddr) -> bool {
        match self.destination {
            Destination::Group(group) => destination == group,
            Destination::Peers { .. } => self.expect.source == Some(destination),
        }
    }

    /// The verdict on an advert from such a sender to this address.
    fn delivery(&self, sender: AddressUse, destination: IpAddr) -> Delivery {
        let is_at = self.is_at(destination);
        match self.destination {
            Destination::Group(_) => Delivery::to_group(is_at),
            Destination::Peers { .. } => Delivery::to_peer(is_vrrp_group(destination), is_at, sender),
        }
    }

    /// The addresses for the kernel.
    fn known_addresses(&self) -> KnownAddresses {
        let peers: &[Peer] = match &self.destination {
            Destination::Group(_) => &[],
            Destination::Peers { peers, .. } => peers,
        };
        let addresses = self.virtual_addresses.iter().copied().chain(peers.iter().map(|peer| peer.address));
        KnownAddresses {
            uses: addresses.map(|address| (address, self.use_of(address))).collect(),
            from_peers: self.expect.source.filter(|_| !peers.is_empty()),
        }
    }

    /// The use of an address by the router.
    fn use_of(&self, address: IpAddr) -> AddressUse {
        let min_ttl = match &self.destination {
            Destination::Group(_) => None,
            Destination::Peers { peers, .. } => {
                peers.iter().find(|peer| peer.address == address).map(|peer| peer.min_ttl)
            }
        };
        AddressUse::new(self.virtual_addresses.binary_search(&address).is_ok(), min_ttl)
    }
}

impl Associations for RouterTable {
    fn admit(&mut self, router: RouterKey, packet: &AhPacket<'_>) -> Result<(), Rejection> {
        match self.routers.get_mut((router.family, router.vrid)) {
            Some(RouterEntry { association: Some(association), .. }) => association.admit(packet),
            Some(RouterEntry { association: None, .. }) | None => Err(Reject::Auth.because(0, 0)),
        }
    }
}
