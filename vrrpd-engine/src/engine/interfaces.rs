//! Interfaces change, appear and disappear: the consequences for their routers.

use std::net::IpAddr;

use vrrpd_common::MacAddr;
use vrrpd_common::router::{Action, Occasion, StateName};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Engine, Line, Output};
use crate::absence::Absence;
use crate::config::VmacMode;
use crate::ids::{LinkId, RouterId};
use crate::interface::Interface;
use crate::router::Router;
use crate::vmac::VmacSide;

/// The changes of an interface that matter to its routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkNews {
    /// The interface was set up.
    came_up: bool,
    /// A possible obstacle to sending has changed.
    may_send_again: bool,
    /// Its MAC address has changed.
    other_mac: bool,
    /// Something other than its addresses has changed.
    is_link_event: bool,
    /// Other interfaces on the same port have appeared or disappeared.
    has_news_beside: bool,
}

impl LinkNews {
    fn of(before: Option<&Interface>, now: &Interface) -> Self {
        Self {
            came_up: now.admin_up && before.is_none_or(|before| !before.admin_up),
            may_send_again: before.is_none_or(|before| {
                before.mtu != now.mtu || now.carrier && !before.carrier || now.admin_up && !before.admin_up
            }),
            other_mac: before.is_none_or(|before| before.mac != now.mac),
            is_link_event: before.is_some_and(|before| before.addresses == now.addresses && before != now),
            has_news_beside: before.is_some_and(|before| before.beside != now.beside),
        }
    }
}

/// What the state of an interface concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// The router whose macvlan link it is.
    Router(RouterId),
    /// The interface that routers run on.
    Link(LinkId),
}

impl Engine {
    /// What the state of this interface concerns; `None`: nothing here.
    pub fn concerned(&self, interface: &Interface) -> Option<Concerned> {
        let is_made = |router: &Router| router.ledger.link() == Some(interface.index);
        let owner =
            interface.vmac_of.as_ref().and_then(|_| self.routers.iter().find(|(_, there)| is_made(there)));
        match owner {
            Some((id, _)) => Some(Concerned::Router(id)),
            None => self.link_named(&interface.name).map(Concerned::Link),
        }
    }

    /// The routers that lose an address which is removed from this interface: the one with this macvlan link, or those
    /// that are to have the address there.
    pub fn holders(&self, interface: &Interface, address: IpAddr) -> Vec<RouterId> {
        if let Some(Concerned::Router(id)) = self.concerned(interface) {
            return vec![id];
        }
        let has_there = |router: &Router| router.config.interface_of(address) == interface.name;
        self.routers.iter().filter(|(_, router)| has_there(router)).map(|(id, _)| id).collect()
    }

    /// The routers on other interfaces that are to have addresses on the interface of this name.
    pub fn routers_elsewhere(&self, name: &str) -> Vec<RouterId> {
        let has_some = |router: &Router| router.config.other_interfaces().contains(name);
        self.routers.iter().filter(|(_, router)| has_some(router)).map(|(id, _)| id).collect()
    }

    /// The own MAC address of an interface with a virtual one, to which it still accepts frames.
    pub fn own_mac_to_keep(&self, id: LinkId) -> Option<MacAddr> {
        let mut on_link = self.routers.values().filter(|router| router.link == id);
        on_link.find_map(|router| router.vmac.own_mac())
    }

    /// Handles the new state of an interface.
    pub(super) fn link_is(&mut self, id: LinkId, now: Interface) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.routers.is_empty() {
            link.interface = Some(now);
            return;
        }
        let outputs = &mut self.agenda.outputs;
        if link.assumes_carrier(&now) {
            outputs.push_back(Output::CarrierUnknown(id));
        }
        let news = LinkNews::of(link.interface.as_ref(), &now);
        if news.may_send_again {
            link.mtu_is_known();
        }
        if news.came_up {
            outputs.push_back(Output::Join(id));
        }
        let routers = link.routers.clone();
        for router in &routers {
            let line =
                self.routers.get_mut(*router).and_then(|there| there.meet(&now)).map(Line::vmac_refused);
            outputs.extend(line.map(|line| Output::Log(*router, line)));
        }
        if news.has_news_beside {
            outputs.push_back(Output::WriteJournal);
        }
        if news.other_mac {
            for router in &routers {
                if let Some(router) = self.routers.get_mut(*router) {
                    router.vmac.note_own(&now);
                }
            }
            outputs.extend([Output::WriteJournal, Output::KeepOwnMacs]);
        }
        outputs.push_back(Output::TellStations(id));
        link.interface = Some(now);
        let incoming = &mut self.agenda.incoming;
        if news.may_send_again {
            incoming.extend(routers.iter().map(|id| Work::Task(*id, Task::MaySendAgain)));
        }
        if news.other_mac {
            incoming.extend(routers.iter().map(|id| Work::Task(*id, Task::TellOfOtherMac)));
        }
        for id in routers {
            incoming.push_back(Work::Task(id, Task::CheckMac));
            incoming.push_back(Work::CheckUsable(id));
            incoming.push_back(Work::Task(id, Task::CheckPresence));
            if news.is_link_event || news.has_news_beside {
                incoming.push_back(Work::Task(id, Task::EnforceSettings));
            }
        }
    }

    /// Handles that an interface is gone, if it has this index.
    pub(super) fn link_gone(&mut self, id: LinkId, index: u32) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.interface.take_if(|interface| interface.index == index).is_none() {
            return;
        }
        link.absence = Absence::default();
        self.agenda.outputs.push_back(Output::Close(id));
        for id in link.routers.clone() {
            self.agenda.incoming.push_back(Work::CheckUsable(id));
            self.agenda.incoming.push_back(Work::Task(id, Task::DiscardStranded));
        }
    }
}

impl Turn<'_> {
    /// Handles the new state of the router's macvlan link: it may be down or have another MAC address.
    pub(super) fn macvlan_is(&mut self, now: &Interface) {
        if !self.router.is_settled_master() {
            return;
        }
        if !now.admin_up {
            self.log(Line::MacvlanDown(now.name.clone()));
            // The kernel removes IPv6 addresses of a link that is set down; those that remain are found again.
            self.router.ledger.forget_addresses_of_link();
        } else if !self.router.vmac.is_on(now) {
            self.log(Line::MacvlanMacChanged(now.name.clone()));
        } else {
            return;
        }
        self.take_again();
    }

    /// Handles that the router's macvlan link is gone.
    pub(super) fn macvlan_gone(&mut self) {
        let was_master = self.router.is_settled_master();
        self.router.ledger.link_gone();
        if was_master {
            self.log(Line::MacvlanLost);
            self.take_again();
        } else if self.router.waiting.is_none() && self.router.machine.state().name() != StateName::Init {
            // The link's alias stores the original settings of the interface below it, so the link exists until the
            // router leaves.
            self.prepare();
        }
    }

    /// Handles that another program changed the MAC address of the interface while the router had the virtual one
    /// there.
    pub(super) fn check_mac(&mut self) {
        let Some(interface) = &self.link.interface else { return };
        if !self.router.is_settled_master() {
            return;
        }
        if self.router.ledger.has_lost_mac(interface) {
            let line = Line::MacChanged(interface.name.clone());
            self.log(line);
            self.take_again();
        } else if VmacSide::owns_others(&self.router.config, interface, &self.router.ledger) {
            self.take_again();
        }
    }

    /// A Master without a virtual MAC address announces a changed MAC address of its interface at once, to hosts and
    /// peers.
    pub(super) fn tell_of_other_mac(&mut self) {
        if !self.router.is_holding() || self.router.ledger.vmac().is_some() {
            return;
        }
        let priority = self.router.machine.priority();
        self.router.enqueue(Action::SendAdvert(priority));
        self.router.enqueue(Action::AnnounceAddresses(Occasion::TakeOver));
        // The guardian would resign with the old MAC address.
        self.put_out(Output::TellGuardian(self.id));
        self.next(Task::Act);
    }

    /// Sets again the sysctls for ARP on a macvlan link, which a network manager may have changed.
    pub(super) fn enforce_settings(&mut self) {
        let has_others_beside = self.link.interface.as_ref().is_some_and(|there| !there.beside.is_empty());
        let is_macvlan = self.router.vmac.mode() == VmacMode::Macvlan;
        if self.router.is_settled_master() && (is_macvlan || has_others_beside) {
            self.router.enqueue(Action::TakeAddresses);
            self.next(Task::Act);
        }
    }

    /// Logs, once, virtual addresses that are on the interface although the router is not Master.
    pub(super) fn check_presence(&mut self) {
        let present = self.router.addresses_present(self.link.interface.as_ref());
        let was_said = std::mem::replace(&mut self.router.presence_said, !present.is_empty());
        if !present.is_empty() && !was_said {
            self.log(Line::AddressesPresent(present));
        }
    }
}
