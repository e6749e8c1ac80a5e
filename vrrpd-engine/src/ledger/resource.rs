//! The kinds of things that a router takes from the system, in one table. A new kind is a variant of [`Resource`], its
//! entry in the journal one of [`Record`](super::Record), and how it is taken and given back is in `vrrpd::interface::hold`.
//!
//! | kind | taken | given back | ours is told by | journal |
//! |---|---|---|---|---|
//! | [`Mac`](Resource::Mac) | the interface gets the virtual MAC address | it gets its own back | the address is one of a virtual router, and the journal has the own one | `eth0 mac 02:00:00:00:00:0a` |
//! | [`Link`](Resource::Link) | the macvlan link is up | it is down, and goes when the router leaves | its alias | `eth0 link eth0/51` |
//! | [`Answers`](Resource::Answers) | classifiers on interfaces of the same port | they go, from Linux 6.6 on also with the process | their name | `eth0 answers eth0/51` |
//! | [`Filter`](Resource::Filter) | packets to the addresses are dropped, before they are taken | they are not, after they are given back; with the last of daemon and guardian from Linux 5.12 on | the name of its nf_tables table | `eth0 filter eth0/51` |
//! | [`Address`](Resource::Address) | the address is on the interface | it is off | the mark (`IFA_PROTO`); the journal where the kernel has none | `eth0 10.0.0.1/24` |
//! | [`Route`](Resource::Route) | the route is in its table | it is not | its protocol | `eth0 route 192.0.2.0/24 via 10.0.0.1` |
//! | [`Rule`](Resource::Rule) | the rule is in force | it is not | its protocol | `eth0 rule from 10.0.0.100 table 10` |

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::{Family, MacAddr};

use crate::config::VirtualAddress;
use crate::held_address::AddressOptions;
use crate::interface::{Interface, Obstacle};
use crate::routing::{Route, Rule};

/// Something that a router has while it is Master.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// The virtual MAC address, on the interface itself.
    Mac(Box<OwnMac>),
    /// The virtual MAC address, on a macvlan link that is up.
    Link(Box<Macvlan>),
    /// What other interfaces on the same port say of the addresses.
    Answers(Box<Answers>),
    /// What keeps the system from accepting packets to the addresses.
    Filter(Box<Filter>),
    /// A virtual address.
    Address(PlacedAddress),
    /// A route.
    Route(Box<Route>),
    /// A policy rule.
    Rule(Box<Rule>),
}

/// An interface whose MAC address is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMac {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its own MAC address.
    pub own: MacAddr,
    /// The one of the virtual router.
    pub vmac: MacAddr,
    /// Why a virtual MAC address cannot work there.
    pub obstacle: Option<Obstacle>,
    /// How the kernel made link-local addresses there before; `None` while nothing was changed, and without IPv6.
    pub addr_gen_mode: Option<String>,
}

impl OwnMac {
    /// An interface as it is before anything is changed.
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
    /// What the router is called: `eth0/51`.
    pub router: String,
    /// Its family.
    pub family: Family,
    /// What the link is to be called, if nobody is yet: at most 11 characters.
    pub name: String,
    /// The virtual router MAC address.
    pub mac: MacAddr,
    /// Virtual addresses that the interface below has anyhow: its owner's. The link answers for them as well.
    pub owned: Vec<VirtualAddress>,
    /// The interface below.
    pub parent: u32,
    /// Its name.
    pub parent_name: String,
    /// The number of the VRF that it is a port of, where the link belongs as well.
    pub vrf: Option<u32>,
    /// Why a virtual MAC address cannot work there.
    pub obstacle: Option<Obstacle>,
    /// Its settings before there was a link of ours, where they are remembered from one that is gone.
    pub settings: Option<String>,
    /// The link that was made, by number and name.
    pub made: Option<(u32, String)>,
}

/// Other interfaces on the port of the one that has the addresses. They would answer ARP for them, with their own MAC
/// addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// The router.
    pub router: String,
    /// Where the addresses are reached.
    pub mac: MacAddr,
    /// The addresses, as far as other interfaces answer for them: IPv4 ones.
    pub addresses: Vec<IpAddr>,
    /// The interfaces, by number.
    pub interfaces: Vec<u32>,
}

/// Packets to the addresses of a router that is not their owner are dropped (Accept_Mode of RFC 9568 §6.1), whatever interface
/// they come by, except for neighbour solicitations and advertisements and for what the machine sends to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The router.
    pub router: String,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// An address, and the interface that has it or is to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedAddress {
    /// The interface.
    pub on: Place,
    /// The address.
    pub address: VirtualAddress,
    /// Whether its subnet is reached through this interface.
    pub route: bool,
    /// How it is set there.
    pub options: AddressOptions,
}

/// An interface that has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The one of this number.
    Interface(u32),
    /// The macvlan link that comes before in the same order; if it is refused, the interface of this number.
    Link {
        /// The interface below the link.
        below: u32,
    },
}

impl Place {
    /// The number of the interface, where the macvlan link of the order has the number `link`.
    pub const fn number(self, link: Option<u32>) -> u32 {
        match (self, link) {
            (Self::Link { .. }, Some(link)) => link,
            (Self::Interface(number) | Self::Link { below: number }, _) => number,
        }
    }
}

impl Resource {
    /// Whether it is the virtual MAC address, wherever that is.
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

    /// The words of a route or rule; empty for anything else.
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
