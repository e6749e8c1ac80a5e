//! Interfaces change, come and go: what that means for the routers on them.

use vrrpd_common::router::{Action, Occasion, StateName};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Engine, Line, Output};
use crate::absence::Absence;
use crate::config::VmacMode;
use crate::ids::{LinkId, RouterId};
use crate::interface::Interface;
use crate::vmac::VmacSide;

/// What another state of an interface means for the routers on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LinkNews {
    /// It was set up.
    came_up: bool,
    /// What may have kept routers from sending has changed.
    may_send_again: bool,
    /// It has another MAC address.
    other_mac: bool,
    /// Something other than its addresses has changed.
    is_link_event: bool,
    /// Others on the same port have come or gone.
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

impl Engine {
    /// The router whose macvlan link this interface is.
    pub fn router_of_link(&self, interface: &Interface) -> Option<RouterId> {
        interface.vmac_of.as_ref()?;
        self.routers
            .iter()
            .find(|(_, router)| router.ledger.link() == Some(interface.index))
            .map(|(id, _)| id)
    }

    /// An interface is like this now.
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
            let line = self.routers.get_mut(*router).and_then(|there| there.meet(&now));
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

    /// An interface is gone, if it is the one of this number.
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
    /// The router's macvlan link is like this now: others may have set it down, or given it another MAC address.
    pub(super) fn macvlan_is(&mut self, now: &Interface) {
        if !self.router.is_settled_master() {
            return;
        }
        if !now.admin_up {
            self.log(Line::MacvlanDown(now.name.clone()));
            // The kernel has forgotten IPv6 addresses with that; those that it has not are found to be there.
            self.router.ledger.forget_addresses_of_link();
        } else if !self.router.vmac.is_on(now) {
            self.log(Line::MacvlanMacChanged(now.name.clone()));
        } else {
            return;
        }
        self.take_again();
    }

    /// The router's macvlan link is gone.
    pub(super) fn macvlan_gone(&mut self) {
        let was_master = self.router.is_settled_master();
        self.router.ledger.link_gone();
        if was_master {
            self.log(Line::MacvlanLost);
            self.take_again();
        } else if self.router.waiting.is_none() && self.router.machine.state().name() != StateName::Init {
            // Its alias was to say how the settings of the interface below were; so it is there until we leave.
            self.prepare();
        }
    }

    /// Others may have given the interface another MAC address while the router had the virtual one there.
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

    /// Hosts and peers learn at once of another MAC address of the interface that a Master without a virtual one answers with.
    pub(super) fn tell_of_other_mac(&mut self) {
        if !self.router.is_holding() || self.router.ledger.vmac().is_some() {
            return;
        }
        let priority = self.router.machine.priority();
        self.router.enqueue(Action::SendAdvert(priority));
        self.router.enqueue(Action::AnnounceAddresses(Occasion::TakeOver));
        // The guardian would resign with the old one.
        self.put_out(Output::TellGuardian(self.id));
        self.next(Task::Act);
    }

    /// What manages links may have set what decides who answers for the addresses on a macvlan link, and with what.
    pub(super) fn enforce_settings(&mut self) {
        let has_others_beside = self.link.interface.as_ref().is_some_and(|there| !there.beside.is_empty());
        let is_macvlan = self.router.vmac.mode() == VmacMode::Macvlan;
        if self.router.is_settled_master() && (is_macvlan || has_others_beside) {
            self.router.enqueue(Action::TakeAddresses);
            self.next(Task::Act);
        }
    }

    /// Says once of a router that is not Master that the interface has addresses of it all the same.
    pub(super) fn check_presence(&mut self) {
        let present = self.router.addresses_present(self.link.interface.as_ref());
        let was_said = std::mem::replace(&mut self.router.presence_said, !present.is_empty());
        if !present.is_empty() && !was_said {
            self.log(Line::AddressesPresent(present));
        }
    }
}
