//! The kinds of resources that a router takes from the system. A new kind needs a variant of [`Resource`], one of
//! [`Record`](super::Record) for the journal, and code in `vrrpd::interface::hold` to take it and give it back.
//!
//! | kind | taken | given back | recognised as ours by | journal |
//! |---|---|---|---|---|
//! | [`Mac`](Resource::Mac) | virtual MAC address set on the interface | own MAC address restored | it is a virtual router MAC address, and the journal has the own one | `eth0 mac 02:00:00:00:00:0a` |
//! | [`Link`](Resource::Link) | macvlan link set up | set down; removed when the router leaves | its alias | `eth0 link eth0/51` |
//! | [`Answers`](Resource::Answers) | classifiers on interfaces of the same port | removed; from Linux 6.6 on also with the process | their name | `eth0 answers eth0/51` |
//! | [`Filter`](Resource::Filter) | packets to the addresses dropped, set before the addresses | removed after the addresses; from Linux 5.12 on also when daemon and guardian have ended | the name of its nf_tables table | `eth0 filter eth0/51` |
//! | [`Address`](Resource::Address) | address added | removed | the mark (`IFA_PROTO`); the journal if the kernel has none | `eth0 10.0.0.1/24` |
//! | [`Route`](Resource::Route) | route added | removed | its protocol | `eth0 route 192.0.2.0/24 via 10.0.0.1` |
//! | [`Rule`](Resource::Rule) | rule added | removed | its protocol | `eth0 rule from 10.0.0.100 table 10` |

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::{Family, MacAddr};

use crate::config::VirtualAddress;
use crate::held_address::AddressOptions;
use crate::interface::{Interface, Obstacle};
use crate::routing::{Route, Rule};

/// A resource that a Master holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// The virtual MAC address, on the interface itself.
    Mac(Box<OwnMac>),
    /// The virtual MAC address, on a macvlan link that is up.
    Link(Box<Macvlan>),
    /// ARP answers of other interfaces on the same port for the addresses.
    Answers(Box<Answers>),
    /// The packet filter that drops packets to the addresses.
    Filter(Box<Filter>),
    /// A virtual address.
    Address(PlacedAddress),
    /// A route.
    Route(Box<Route>),
    /// A policy rule.
    Rule(Box<Rule>),
}

/// An interface whose MAC address is replaced by the virtual one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMac {
    /// Interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its own MAC address.
    pub own: MacAddr,
    /// The virtual router MAC address.
    pub vmac: MacAddr,
    /// Why the interface cannot have a virtual MAC address, if so.
    pub obstacle: Option<Obstacle>,
    /// Its `addr_gen_mode` before the change; `None` before that, or without IPv6.
    pub addr_gen_mode: Option<String>,
}

impl OwnMac {
    /// From the state of an interface before the change.
    pub fn of(interface: &Interface, own: MacAddr, vmac: MacAddr) -> Self {
        Self {
            index: interface.index,
            name: interface.name.clone(),
            own,
            vmac,
            obstacle: interface.obstacle.clone(),
            addr_gen_mode: None,
        }
    }
}

/// The macvlan link of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Macvlan {
    /// The router: `eth0/51`.
    pub router: String,
    /// Its family.
    pub family: Family,
    /// Name for a new link, if it is free: at most 15 characters.
    pub name: String,
    /// The virtual router MAC address.
    pub mac: MacAddr,
    /// Virtual addresses that the interface below has permanently, as the owner's. The link answers for them too.
    pub owned: Vec<VirtualAddress>,
    /// Index of the interface below.
    pub parent: u32,
    /// Name of the interface below.
    pub parent_name: String,
    /// Index of the VRF of that interface, which the link joins.
    pub vrf: Option<u32>,
    /// Why that interface cannot have a virtual MAC address, if so.
    pub obstacle: Option<Obstacle>,
    /// The original settings of that interface, if known from an earlier link.
    pub settings: Option<String>,
    /// Index and name of the link that was created.
    pub made: Option<(u32, String)>,
}

/// Other interfaces on the port of the interface with the addresses. Without correction they would answer ARP with
/// their own MAC addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The router.
    pub router: String,
    /// The MAC address that the addresses are reached by.
    pub mac: MacAddr,
    /// The IPv4 addresses, for which other interfaces would answer.
    pub addresses: Vec<IpAddr>,
    /// Indexes of the other interfaces.
    pub interfaces: Vec<u32>,
}

/// A packet filter for a router that does not own its addresses (Accept_Mode, RFC 9568 §6.1): drops packets to them on
/// every interface, except neighbour solicitations and advertisements and packets of the machine itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The router.
    pub router: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// An address and its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedAddress {
    /// The interface.
    pub on: Place,
    /// The address.
    pub address: VirtualAddress,
    /// Whether the interface gets a route to the subnet of the address.
    pub route: bool,
    /// Its options.
    pub options: AddressOptions,
}

/// The interface that gets an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The interface with this index.
    Interface(u32),
    /// The macvlan link taken before in the same request; if it was refused, the interface `below`.
    Link {
        /// Index of the interface below the link.
        below: u32,
    },
}

impl Place {
    /// The index of the interface, given the index of the macvlan link of the request.
    pub const fn number(self, link: Option<u32>) -> u32 {
        match (self, link) {
            (Self::Link { .. }, Some(link)) => link,
            (Self::Interface(number) | Self::Link { below: number }, _) => number,
        }
    }
}

impl Resource {
    /// Whether it is the virtual MAC address, on an interface or macvlan link.
    pub const fn is_vmac(&self) -> bool {
        match self {
            Self::Mac(_) | Self::Link(_) => true,
            Self::Answers(_) | Self::Filter(_) | Self::Address(_) | Self::Route(_) | Self::Rule(_) => false,
        }
    }

    /// Whether it is this address.
    pub fn is_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Address(placed) if placed.address.address == address)
    }

    /// The text of a route or rule; empty for other resources.
    pub fn routing_text(&self) -> &str {
        match self {
            Self::Route(route) => &route.text,
            Self::Rule(rule) => &rule.text,
            Self::Mac(_) | Self::Link(_) | Self::Answers(_) | Self::Filter(_) | Self::Address(_) => "",
        }
    }

    /// Whether it is a route or a rule.
    pub const fn is_routing(&self) -> bool {
        matches!(self, Self::Route(_) | Self::Rule(_))
    }
}
