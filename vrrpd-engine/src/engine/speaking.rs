//! What a router sends: the parameters of its adverts, the addresses that it announces on each interface, and the last acts that
//! the guardian performs for a Master. The daemon makes and sends the frames.

use std::net::IpAddr;

use vrrpd_common::router::{Occasion, Reason, StateName, Transition};
use vrrpd_common::{MacAddr, Priority};

use super::Engine;
use crate::config::{GroupConfig, Pauses, VmacMode};
use crate::ids::RouterId;
use crate::ledger::PlacedAddress;
use crate::link::Link;
use crate::pace::Announced;
use crate::router::{AdvertToSend, Past, Router};
use crate::script::Call;

/// An announcement (gratuitous ARP, unsolicited neighbour advertisements) of a router's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Frames for each address, 0 to 255.
    pub count: u8,
    /// Pauses between these frames.
    pub pauses: Pauses,
    /// Addresses announced on the router's own interface, in order, and their MAC address.
    pub here: Option<(MacAddr, Vec<IpAddr>)>,
    /// Addresses announced on other interfaces.
    pub elsewhere: Vec<AnnouncedOn>,
    /// The magic packet of the router, if it has one, is sent as well.
    pub with_magic: bool,
}

/// Addresses announced on an interface other than the router's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedOn {
    /// The name of the interface.
    pub name: String,
    /// The index of the interface.
    pub index: u32,
    /// The MAC address of the addresses.
    pub mac: MacAddr,
    /// The addresses, in order.
    pub addresses: Vec<IpAddr>,
}

/// What the guardian does for a Master if the daemon dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastActs {
    /// The resignation and its source MAC address; `None` where only the daemon can make one.
    pub resignation: Option<(MacAddr, AdvertToSend)>,
    /// Addresses to remove from interfaces.
    pub holds: Vec<PlacedAddress>,
    /// Script of the router.
    pub script: Option<Call>,
    /// Script of the router's group, and the group.
    pub group_script: Option<(GroupConfig, Call)>,
}

impl Past {
    /// Whether the last acts of the guardian change.
    pub fn concerns_guardian(&self) -> bool {
        let Transition { from, to, .. } = self.transition;
        from == StateName::Master || to == StateName::Master
    }
}

impl Engine {
    /// An advert of a router with this priority, and its source MAC address; `None`: there is no source address.
    pub fn advert(&mut self, id: RouterId, priority: Priority) -> Option<(MacAddr, AdvertToSend)> {
        let (router, link) = self.router_on_link(id)?;
        let mac = router.source_mac(link.interface.as_ref())?;
        Some((mac, router.advert(priority, link.sure_mtu())?))
    }

    /// What an announcement contains now; `None`: the router has left.
    pub fn announcement(&self, id: RouterId, announced: Announced) -> Option<Announcement> {
        let router = self.router(id)?;
        let link = self.link(router.link)?;
        let occasion = announced.occasion();
        let is_elsewhere = announced == Announced::All(Occasion::Elsewhere);
        let here = if is_elsewhere { None } else { announced_here(router, link, announced) };
        let is_of_all = matches!(announced, Announced::All(_));
        // Without a MAC address on its own interface, the router announces nothing.
        let says_elsewhere = is_elsewhere || is_of_all && here.is_some();
        let elsewhere = router.others.iter().filter(|_| says_elsewhere).filter_map(|(name, interface)| {
            Some(AnnouncedOn {
                name: name.clone(),
                index: interface.index,
                mac: interface.mac?,
                addresses: virtual_addresses(router, name),
            })
        });
        let announce = &router.config.announce;
        Some(Announcement {
            count: announce.count_on(occasion),
            pauses: announce.pauses,
            elsewhere: elsewhere.collect(),
            with_magic: is_of_all && here.is_some(),
            here,
        })
    }

    /// Counts frames of an announcement that were queued.
    pub fn count_announced(&mut self, id: RouterId, frames: usize) {
        if let Some(router) = self.routers.get_mut(id) {
            router.done.garp_sent += frames as u64;
        }
    }

    /// What the guardian does for a router if the daemon dies; `None`: nothing, since the router is not Master or has left.
    pub fn last_acts(&mut self, id: RouterId) -> Option<LastActs> {
        let router = self.router(id).filter(|router| router.state_told() == StateName::Master)?;
        // Each advert with an Authentication Header has its own sequence number.
        let is_numbered = router.is_verified_by_us();
        let left =
            Transition { from: StateName::Master, to: StateName::Init, reason: Reason::Crash, cause: None };
        let group = self.groups.with_scripts(id);
        let acts = LastActs {
            resignation: None,
            holds: router.ledger.addresses().copied().collect(),
            script: router.call(left),
            group_script: group.and_then(|group| Some((group.clone(), group.call(left)?))),
        };
        let resignation = if is_numbered { None } else { self.advert(id, Priority::RESIGN) };
        Some(LastActs { resignation, ..acts })
    }

    fn router_on_link(&mut self, id: RouterId) -> Option<(&mut Router, &Link)> {
        let router = self.routers.get_mut(id)?;
        let link = self.links.get(router.link)?;
        Some((router, link))
    }
}

/// Addresses announced on a router's own interface, and their MAC address; `None`: there is none.
fn announced_here(router: &Router, link: &Link, announced: Announced) -> Option<(MacAddr, Vec<IpAddr>)> {
    let interface = link.interface.as_ref();
    let mac = router.source_mac(interface)?;
    let mut addresses = match announced {
        Announced::All(_) => virtual_addresses(router, &router.config.interface),
        Announced::Own => Vec::new(),
    };
    if let Some(interface) = interface {
        match (router.vmac.mode(), announced) {
            (VmacMode::Interface, _) => addresses.extend(interface.own_addresses(|_| false)),
            // Hosts know an owner's own addresses by the virtual MAC address, and others by the interface's own one.
            (VmacMode::Macvlan, Announced::Own) => {
                addresses.extend(interface.own_addresses(|address| !router.config.holds(address)));
            }
            (VmacMode::Macvlan | VmacMode::None, _) => {}
        }
    }
    Some((mac, addresses))
}

fn virtual_addresses(router: &Router, interface: &str) -> Vec<IpAddr> {
    router.config.addresses_on(interface).map(|held| held.address).collect()
}
