//! The structure of interfaces, as far as it matters to a virtual MAC address.
//!
//! Some interfaces cannot have one although the driver accepts it, since they share a port with others and the kernel
//! decides by the MAC address which of them gets a frame. A frame from the interface's own MAC address counts as sent
//! by itself: two masters of a virtual router would send from the same address and never hear each other.

use std::collections::BTreeMap;
use std::io;

use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoMacVtap, InfoPortKind, LinkAttribute, LinkInfo, LinkMessage,
    MacVlanMode,
};
use vrrpd_common::MacAddr;
use vrrpd_engine::interface::{Obstacle, Sharing};

/// Maximum depth of stacked interfaces (`MAX_NEST_DEV` of the kernel).
const LAYERS: usize = 8;

/// The error of a request for a virtual MAC address there.
pub fn refusal(obstacle: &Obstacle) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, obstacle.to_string())
}

/// The links of a dump, for looking at the structure of an interface.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    links: BTreeMap<u32, &'a LinkMessage>,
}

impl<'a> Stack<'a> {
    /// From all links.
    pub(super) fn of(links: &'a [LinkMessage]) -> Self {
        Self { links: links.iter().map(|link| (link.header.index, link)).collect() }
    }

    /// Why the interface with this index cannot have a virtual MAC address, if so: because of itself, or of an
    /// interface that it consists of. A VLAN is on top of another interface; a bridge and a bond have ports.
    pub(super) fn obstacle(&self, index: u32) -> Option<Obstacle> {
        let link = self.links.get(&index)?;
        let of_itself = sharing(link).map(|shares| Obstacle { shares, below: None });
        of_itself.or_else(|| self.obstacle_below(link, LAYERS))
    }

    /// Other interfaces that receive the broadcasts of this one's port, and answer ARP for its addresses: macvlan links
    /// on top of it, or those beside it and their lower interface. Links of virtual routers are left out.
    pub(super) fn beside(&self, index: u32) -> Vec<u32> {
        let Some(link) = self.links.get(&index) else { return Vec::new() };
        let below = below(link).filter(|_| is_macvlan(link));
        let is_on_the_port = |other: &LinkMessage| {
            let number = other.header.index;
            number != index && (Some(number) == below || is_beside(other, index, below))
        };
        self.links.values().filter(|other| is_on_the_port(other)).map(|other| other.header.index).collect()
    }

    fn obstacle_below(&self, link: &LinkMessage, layers: usize) -> Option<Obstacle> {
        let layers = layers.checked_sub(1)?;
        self.parts(link).find_map(|part| {
            let of_part = sharing(part).map(|shares| Obstacle { shares, below: name(part) });
            of_part.or_else(|| self.obstacle_below(part, layers))
        })
    }

    /// The interfaces that a link consists of: the lower one, and its ports.
    fn parts(&self, link: &LinkMessage) -> impl Iterator<Item = &'a LinkMessage> {
        // The ends of a veth pair name each other as lower interface; a VRF does not consist of its ports.
        let below = below(link).filter(|_| kind(link) != Some(&InfoKind::Veth));
        let has_ports = matches!(kind(link), Some(InfoKind::Bridge | InfoKind::Bond | InfoKind::Team));
        let index = link.header.index;
        let ports = self.links.values().copied().filter(move |port| has_ports && master(port) == Some(index));
        below.and_then(|below| self.links.get(&below).copied()).into_iter().chain(ports)
    }
}

/// The lower interface; indexes in other namespaces are ignored.
fn below(link: &LinkMessage) -> Option<u32> {
    let is_elsewhere =
        link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) if !is_elsewhere => Some(*index),
        _ => None,
    })
}

fn is_macvlan(link: &LinkMessage) -> bool {
    matches!(kind(link), Some(InfoKind::MacVlan | InfoKind::MacVtap))
}

/// Whether a link is a macvlan link on the port of the interface with this index, whose lower interface is `below`. The
/// link of a virtual router, ours or another program's, answers only for its own addresses and does not count.
pub(super) fn is_beside(link: &LinkMessage, index: u32, below: Option<u32>) -> bool {
    let is_virtual = mac_of(link).is_some_and(MacAddr::is_virtual_router);
    let above = self::below(link);
    is_macvlan(link) && !is_virtual && above.is_some() && (above == Some(index) || above == below)
}

/// The interface that this one is a port of.
fn master(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index).filter(|index| *index != 0),
        _ => None,
    })
}

/// The VRF that this link is a port of; other kinds, such as bridges, do not count.
pub(super) fn vrf(link: &LinkMessage) -> Option<u32> {
    let is_port = info(link).any(|info| matches!(info, LinkInfo::PortKind(InfoPortKind::Vrf)));
    master(link).filter(|_| is_port)
}

/// The kind of a virtual link.
fn kind(link: &LinkMessage) -> Option<&InfoKind> {
    info(link).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

fn info(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let info = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info.as_slice()),
        _ => None,
    });
    info.unwrap_or_default().iter()
}

fn name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn sharing(link: &LinkMessage) -> Option<Sharing> {
    // In this mode it is alone on its port and gets every frame.
    let is_passthru = info(link).any(|info| match info {
        LinkInfo::Data(InfoData::MacVlan(data)) => {
            data.contains(&InfoMacVlan::Mode(MacVlanMode::Passthrough))
        }
        LinkInfo::Data(InfoData::MacVtap(data)) => {
            data.contains(&InfoMacVtap::Mode(MacVlanMode::Passthrough))
        }
        _ => false,
    });
    match kind(link)? {
        InfoKind::MacVlan if !is_passthru => Some(Sharing::Macvlan),
        InfoKind::MacVtap if !is_passthru => Some(Sharing::Macvtap),
        InfoKind::IpVlan => Some(Sharing::Ipvlan),
        InfoKind::IpVtap => Some(Sharing::Ipvtap),
        _ => None,
    }
}

/// The MAC address of a link.
pub(super) fn mac_of(link: &LinkMessage) -> Option<MacAddr> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => octets.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, kind: Option<InfoKind>, data: Option<InfoData>) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::IfName(format!("if{index}")));
        let info = kind.map(LinkInfo::Kind).into_iter().chain(data.map(LinkInfo::Data)).collect();
        link.attributes.push(LinkAttribute::LinkInfo(info));
        link
    }

    fn with(mut link: LinkMessage, attribute: LinkAttribute) -> LinkMessage {
        link.attributes.push(attribute);
        link
    }

    fn macvlan(index: u32, mode: MacVlanMode) -> LinkMessage {
        link(index, Some(InfoKind::MacVlan), Some(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])))
    }

    fn shares(links: &[LinkMessage], index: u32) -> Option<Sharing> {
        Stack::of(links).obstacle(index).map(|obstacle| obstacle.shares)
    }

    #[test]
    fn a_virtual_mac_cannot_work_on_an_interface_that_shares_its_port() {
        for mode in [MacVlanMode::Bridge, MacVlanMode::Private, MacVlanMode::Vepa, MacVlanMode::Source] {
            assert_eq!(shares(&[macvlan(2, mode)], 2), Some(Sharing::Macvlan), "{mode:?}");
        }
        assert_eq!(shares(&[macvlan(2, MacVlanMode::Passthrough)], 2), None);
        for (kind, expected) in [
            (InfoKind::MacVtap, Some(Sharing::Macvtap)),
            (InfoKind::IpVlan, Some(Sharing::Ipvlan)),
            (InfoKind::IpVtap, Some(Sharing::Ipvtap)),
            (InfoKind::Veth, None),
            (InfoKind::Vlan, None),
            (InfoKind::Bond, None),
            (InfoKind::Bridge, None),
        ] {
            assert_eq!(shares(&[link(2, Some(kind.clone()), None)], 2), expected, "{kind}");
        }
        assert_eq!(shares(&[link(2, None, None)], 2), None);
    }

    #[test]
    fn lower_interfaces_and_ports_count() {
        let vlan = |index, below| with(link(index, Some(InfoKind::Vlan), None), LinkAttribute::Link(below));
        let stack = [macvlan(2, MacVlanMode::Bridge), vlan(3, 2), vlan(4, 3)];
        let obstacle = Stack::of(&stack).obstacle(4).expect("a macvlan link is below");
        assert_eq!(
            obstacle.to_string(),
            "if2, below the interface, is a macvlan link, on which a virtual MAC address works in passthru mode only"
        );
        let port = with(macvlan(2, MacVlanMode::Bridge), LinkAttribute::Controller(5));
        assert_eq!(shares(&[port.clone(), link(5, Some(InfoKind::Bond), None)], 5), Some(Sharing::Macvlan));
        // Ports of a VRF are independent interfaces.
        assert_eq!(shares(&[port, link(5, Some(InfoKind::Vrf), None)], 5), None);
    }

    #[test]
    fn interfaces_on_one_port_know_each_other() {
        let above = |index, below| with(macvlan(index, MacVlanMode::Bridge), LinkAttribute::Link(below));
        let ours = with(above(5, 2), LinkAttribute::Address(vec![0, 0, 0x5e, 0, 1, 51]));
        let links = [link(2, None, None), above(3, 2), above(4, 2), ours, above(7, 6)];
        let stack = Stack::of(&links);
        assert_eq!(stack.beside(3), [2, 4]);
        assert_eq!(stack.beside(2), [3, 4]);
        assert_eq!(stack.beside(6), Vec::<u32>::new());
    }

    #[test]
    fn a_vrf_is_distinguished_from_other_masters() {
        let port = |kind| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::Controller(7));
            link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]));
            link
        };
        assert_eq!(vrf(&port(InfoPortKind::Vrf)), Some(7));
        assert_eq!(vrf(&port(InfoPortKind::Bridge)), None);
        assert_eq!(vrf(&LinkMessage::default()), None);
    }

    #[test]
    fn interfaces_of_other_namespaces_and_circles_are_not_followed() {
        let elsewhere = with(link(3, Some(InfoKind::Vlan), None), LinkAttribute::Link(2));
        let elsewhere = with(elsewhere, LinkAttribute::LinkNetNsId(0));
        assert_eq!(shares(&[macvlan(2, MacVlanMode::Bridge), elsewhere], 3), None);
        let circle = |index, below| with(link(index, Some(InfoKind::Vlan), None), LinkAttribute::Link(below));
        assert_eq!(shares(&[circle(2, 3), circle(3, 2)], 2), None);
    }
}
