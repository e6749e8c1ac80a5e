//! State of an interface as the kernel reports it, and its consequences for routers.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{Fault, Faults};
use vrrpd_common::{Family, MacAddr};

use crate::config::{RouterConfig, VirtualAddress};

/// State of an interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Interface index, never reused in a network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Administratively up (IFF_UP).
    pub admin_up: bool,
    /// Has a carrier, or cannot report one.
    pub carrier: bool,
    /// MTU in octets.
    pub mtu: u32,
    /// Hardware address; `None` if not Ethernet.
    pub mac: Option<MacAddr>,
    /// Permanent hardware address, if the driver reports one.
    pub permanent_mac: Option<MacAddr>,
    /// The driver does not report a carrier, which is assumed present.
    pub carrier_unknown: bool,
    /// The virtual router that it is the macvlan link of, if our daemon created it.
    pub vmac_of: Option<String>,
    /// Index of the interface below it.
    pub below: Option<u32>,
    /// Index of the VRF that it is a port of.
    pub vrf: Option<u32>,
    /// Indexes of other interfaces on the same port, which receive the same broadcasts: macvlan links and their lower
    /// interfaces.
    pub beside: Vec<u32>,
    /// Why it cannot have a virtual MAC address, if so.
    pub obstacle: Option<Obstacle>,
    /// ID of its XDP program.
    pub xdp_program: Option<u32>,
    /// All its addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// Existing other interfaces with addresses of a router, by name.
pub type OtherInterfaces = BTreeMap<String, Interface>;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix_len: u8,
    /// It has our mark, so our daemon added it.
    pub ours: bool,
    /// Duplicate address detection has not finished, or failed.
    pub tentative: bool,
}

/// Which process removed an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remover {
    /// This process.
    Us,
    /// Another or an unknown process.
    Other,
}

impl Interface {
    /// The source address of adverts: the configured one; or the first IPv4 address that is not a virtual one (RFC 9568
    /// §5.1.1.1); or the link-local IPv6 address (§5.1.2.1). For peers beyond the link, an address that is valid there.
    /// An owner has only virtual addresses to send from.
    pub fn source_address(&self, config: &RouterConfig) -> Option<IpAddr> {
        config.source.or_else(|| self.primary_address(config))
    }

    fn primary_address(&self, config: &RouterConfig) -> Option<IpAddr> {
        let is_virtual = |address| config.holds(address);
        let is_global = config.reaches_beyond_link();
        let usable = || {
            self.addresses.iter().filter(move |candidate| {
                !candidate.ours
                    && !candidate.tentative
                    && match (config.family, candidate.address) {
                        (Family::Ipv4, IpAddr::V4(_)) => true,
                        (Family::Ipv6, IpAddr::V6(address)) => address.is_unicast_link_local() != is_global,
                        (Family::Ipv4, IpAddr::V6(_)) | (Family::Ipv6, IpAddr::V4(_)) => false,
                    }
            })
        };
        usable()
            .find(|candidate| !is_virtual(candidate.address))
            .or_else(|| usable().next())
            .map(|found| found.address)
    }

    /// The valid addresses on it that are not virtual. Before Linux 5.18, addresses have no mark, so `is_virtual` excludes
    /// the virtual ones.
    pub fn own_addresses(&self, is_virtual: impl Fn(IpAddr) -> bool) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses.iter().filter(|there| !there.ours && !there.tentative);
        own.map(|there| there.address).filter(move |address| !is_virtual(*address))
    }

    /// The interface without virtual addresses of other routers, which do not affect this one.
    #[must_use]
    pub fn seen_by(&self, config: &RouterConfig) -> Self {
        let is_seen = |there: &&InterfaceAddress| !there.ours || config.holds(there.address);
        let addresses = self.addresses.iter().filter(is_seen).copied().collect();
        Self {
            name: self.name.clone(),
            vmac_of: self.vmac_of.clone(),
            beside: self.beside.clone(),
            obstacle: self.obstacle.clone(),
            addresses,
            ..*self
        }
    }

    /// Whether only the addresses differ.
    pub fn is_alike_but_for_addresses(&self, other: &Self) -> bool {
        let Self { index, name, admin_up, carrier, mtu, mac, permanent_mac, carrier_unknown, .. } = self;
        let Self { vmac_of, below, vrf, beside, obstacle, xdp_program, addresses: _, .. } = self;
        (*index, *admin_up, *carrier, *mtu, *mac, *permanent_mac, *carrier_unknown)
            == (
                other.index,
                other.admin_up,
                other.carrier,
                other.mtu,
                other.mac,
                other.permanent_mac,
                other.carrier_unknown,
            )
            && (name, vmac_of, below, vrf) == (&other.name, &other.vmac_of, &other.below, &other.vrf)
            && (beside, obstacle, xdp_program) == (&other.beside, &other.obstacle, &other.xdp_program)
    }

    /// The source address of adverts, or all faults of the interface.
    pub fn usable(&self, config: &RouterConfig) -> Result<IpAddr, Faults> {
        // The carrier of an interface that is down is not reported.
        let link = match (self.admin_up, self.carrier) {
            (false, _) => Some(Fault::AdminDown),
            (true, false) => Some(Fault::LinkDown),
            (true, true) => None,
        };
        let link = link.filter(|_| config.track_interface);
        match (link, self.source_address(config)) {
            (None, Some(source)) => Ok(source),
            (Some(fault), Some(_)) => Err(Faults::of(fault)),
            (None, None) => Err(Faults::of(Fault::NoAddress)),
            (Some(fault), None) => Err(Faults::of(fault).and(Fault::NoAddress)),
        }
    }

    /// A peer that is not another host: an address of the interface itself other than our virtual ones, or the
    /// broadcast address of a subnet.
    pub fn misplaced_peer(&self, config: &RouterConfig) -> Option<IpAddr> {
        let is_misplaced = |peer: IpAddr| {
            let is_its = |there: &InterfaceAddress| {
                there.address == peer && !there.ours
                    || self.broadcast(there.address).map(IpAddr::V4) == Some(peer)
            };
            self.addresses.iter().any(is_its)
        };
        config.peers().iter().map(|peer| peer.address).find(|peer| is_misplaced(*peer))
    }

    /// The subnets of its own addresses.
    pub fn subnets(&self) -> Vec<VirtualAddress> {
        let own = self.addresses.iter().filter(|there| !there.ours);
        own.map(|there| VirtualAddress { address: there.address, prefix_len: there.prefix_len }).collect()
    }

    /// Whether the interface has the address and our daemon may have added it: with `marks`, the address must have our
    /// mark.
    pub fn may_be_ours(&self, address: &VirtualAddress, marks: bool) -> bool {
        let there = self.address(address.address).filter(|there| there.prefix_len == address.prefix_len);
        there.is_some_and(|there| there.ours || !marks)
    }

    /// The broadcast address of the subnet of `source`, an address of the interface; `None` for a prefix length of 31
    /// (RFC 3021) or 32.
    pub fn broadcast(&self, source: IpAddr) -> Option<Ipv4Addr> {
        let (IpAddr::V4(source), there) = (source, self.address(source)?) else { return None };
        let hosts = u32::MAX.checked_shr(u32::from(there.prefix_len))?;
        (hosts > 1).then(|| Ipv4Addr::from_bits(source.to_bits() | hosts))
    }

    /// Removes an address of the interface with this index before the notification arrives.
    pub(crate) fn address_is_off(&mut self, index: u32, address: &VirtualAddress) {
        if self.index == index {
            self.addresses
                .retain(|there| there.address != address.address || there.prefix_len != address.prefix_len);
        }
    }

    /// Whether frames can be sent.
    pub const fn is_up(&self) -> bool {
        self.admin_up && self.carrier
    }

    /// The address with its prefix length and flags, if the interface has it.
    pub fn address(&self, address: IpAddr) -> Option<&InterfaceAddress> {
        self.addresses.iter().find(|there| there.address == address)
    }
}

/// Why an interface cannot have a virtual MAC address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The kind of shared port.
    pub shares: Sharing,
    /// The lower interface that shares a port, if not the interface itself.
    pub below: Option<String>,
}

/// How an interface shares its port with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// A macvlan link not in passthru mode.
    Macvlan,
    /// A macvtap link not in passthru mode.
    Macvtap,
    /// An ipvlan link.
    Ipvlan,
    /// An ipvtap link.
    Ipvtap,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.below {
            None => f.write_str("the interface is ")?,
            Some(name) => write!(f, "{name}, below the interface, is ")?,
        }
        f.write_str(match self.shares {
            Sharing::Macvlan => "a macvlan link, on which a virtual MAC address works in passthru mode only",
            Sharing::Macvtap => "a macvtap link, on which a virtual MAC address works in passthru mode only",
            Sharing::Ipvlan => "an ipvlan link, which shares the MAC address of the interface below it",
            Sharing::Ipvtap => "an ipvtap link, which shares the MAC address of the interface below it",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::tests::router;
    use crate::config::{Destination, Peer};

    pub(crate) fn address(text: &str) -> InterfaceAddress {
        let (address, prefix_len) = text.split_once('/').expect("with length");
        InterfaceAddress {
            address: address.parse().expect("an address"),
            prefix_len: prefix_len.parse().expect("a length"),
            ours: false,
            tentative: false,
        }
    }

    fn virtual_address(text: &str) -> VirtualAddress {
        let InterfaceAddress { address, prefix_len, .. } = address(text);
        VirtualAddress { address, prefix_len }
    }

    pub(crate) fn eth0(addresses: Vec<InterfaceAddress>) -> Interface {
        Interface {
            index: 2,
            name: "eth0".into(),
            admin_up: true,
            carrier: true,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            permanent_mac: None,
            carrier_unknown: false,
            vmac_of: None,
            below: None,
            vrf: None,
            beside: Vec::new(),
            obstacle: None,
            xdp_program: None,
            mtu: 1500,
            addresses,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn adverts_come_from_the_first_address_that_is_not_virtual() {
        // RFC 9568 §5.1.1.1
        let left_behind = InterfaceAddress { ours: true, ..address("10.0.0.99/24") };
        let eth0 =
            eth0(vec![left_behind, address("10.0.0.100/24"), address("10.0.0.1/24"), address("fe80::1/64")]);
        assert_eq!(eth0.source_address(&router("10.0.0.100")), Some(ip("10.0.0.1")));
    }

    #[test]
    fn the_owner_sends_from_the_address_it_owns() {
        let eth0 = eth0(vec![address("10.0.0.100/24")]);
        assert_eq!(eth0.source_address(&router("10.0.0.100")), Some(ip("10.0.0.100")));
    }

    #[test]
    fn the_user_may_say_where_adverts_come_from() {
        let eth0 = eth0(vec![address("10.0.0.1/24")]);
        let config = RouterConfig { source: Some(ip("192.0.2.7")), ..router("10.0.0.100") };
        assert_eq!(eth0.usable(&config), Ok(ip("192.0.2.7")));
    }

    #[test]
    fn ipv6_peers_hear_an_address_that_is_valid_where_they_are() {
        let eth0 = eth0(vec![address("fe80::1/64"), address("2001:db8::1/64")]);
        let to = |peer: &str| {
            let peer = Peer { address: ip(peer), min_ttl: 255 };
            let destination = Destination::Peers { peers: vec![peer], ttl: 255 };
            RouterConfig { destination, ..router("fe80::100") }
        };
        assert_eq!(eth0.source_address(&to("fe80::2")), Some(ip("fe80::1")));
        assert_eq!(eth0.source_address(&to("2001:db8:1::2")), Some(ip("2001:db8::1")));
    }

    #[test]
    fn ipv6_adverts_come_from_a_link_local_address_that_is_through_duplicate_detection() {
        // RFC 9568 §5.1.2.1
        let tentative = InterfaceAddress { tentative: true, ..address("fe80::1/64") };
        let mut eth0 = eth0(vec![address("2001:db8::1/64"), tentative]);
        assert_eq!(eth0.usable(&router("fe80::100")), Err(Fault::NoAddress.into()));
        eth0.addresses.push(address("fe80::2/64"));
        assert_eq!(eth0.usable(&router("fe80::100")), Ok(ip("fe80::2")));
    }

    #[test]
    fn an_address_without_our_mark_is_not_ours_where_the_kernel_keeps_marks() {
        let marked = InterfaceAddress { ours: true, ..address("10.0.0.99/24") };
        let eth0 = eth0(vec![marked, address("10.0.0.100/24")]);
        let may_be = |text: &str, marks| eth0.may_be_ours(&virtual_address(text), marks);
        assert!(may_be("10.0.0.99/24", true) && may_be("10.0.0.99/24", false));
        assert!(!may_be("10.0.0.100/24", true) && may_be("10.0.0.100/24", false));
        assert!(!may_be("10.0.0.99/32", true) && !may_be("10.0.0.101/24", false));
    }

    #[test]
    fn a_subnet_has_a_broadcast_address_if_it_has_more_than_two_addresses() {
        // RFC 1122 §3.2.1.3, RFC 3021
        for (own, wanted) in [
            ("10.0.0.1/24", Some("10.0.0.255")),
            ("10.0.0.1/30", Some("10.0.0.3")),
            ("10.0.0.1/0", Some("255.255.255.255")),
            ("10.0.0.1/31", None),
            ("10.0.0.1/32", None),
            ("fe80::1/64", None),
        ] {
            let own = address(own);
            let broadcast = eth0(vec![own]).broadcast(own.address);
            assert_eq!(broadcast.map(IpAddr::V4), wanted.map(ip), "{own:?}");
        }
        assert_eq!(eth0(vec![address("10.0.0.1/24")]).broadcast(ip("10.0.0.2")), None);
    }

    #[test]
    fn an_unusable_interface_has_a_reason() {
        let mut eth0 = eth0(vec![address("10.0.0.1/24")]);
        eth0.carrier = false;
        assert_eq!(eth0.usable(&router("10.0.0.100")), Err(Fault::LinkDown.into()));
        eth0.admin_up = false;
        assert_eq!(eth0.usable(&router("10.0.0.100")), Err(Fault::AdminDown.into()));
    }

    #[test]
    fn the_state_of_an_interface_that_is_not_tracked_is_no_fault() {
        let mut eth0 = eth0(vec![address("10.0.0.1/24")]);
        let config = RouterConfig { track_interface: false, ..router("10.0.0.100") };
        for (admin_up, carrier) in [(true, false), (false, false)] {
            (eth0.admin_up, eth0.carrier) = (admin_up, carrier);
            assert_eq!(eth0.usable(&config), Ok(ip("10.0.0.1")));
        }
        eth0.addresses.clear();
        assert_eq!(eth0.usable(&config), Err(Fault::NoAddress.into()));
    }
}
