//! Restores what other programs remove or change while a router is Master, and checks whether interfaces are usable.

use std::net::IpAddr;

use vrrpd_common::router::{Action, Event, Occasion};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Engine, Line, Output};
use crate::expected::Expected;
use crate::ids::RouterId;
use crate::interface::{Interface, Remover};
use crate::ledger::Resource;
use crate::router::Router;

impl Turn<'_> {
    /// Handles that an address was removed from an interface with addresses of the router. A Master restores it, even
    /// if another program had added it; at once if we removed it ourselves, since that notification may arrive after we
    /// added the address again.
    pub(super) fn address_lost(&mut self, address: IpAddr, remover: Remover) {
        let mut is_being_taken = false;
        if let Some(pending) = &mut self.router.waiting {
            is_being_taken = pending.order.takes(address);
            if is_being_taken || pending.order.leaves(address) {
                pending.lost.push((address, remover));
            }
        }
        let another_s = self.router.another_s(address).filter(|_| remover == Remover::Other);
        if another_s.is_some() {
            // The address becomes ours.
            self.put_out(Output::WriteJournal);
        }
        if !self.router.is_holding() {
            return;
        }
        if self.router.ledger.is_owned(address) {
            return self.take_again();
        }
        let lost = self.router.ledger.lose(address).or(another_s.filter(|_| !is_being_taken));
        let Some(lost) = lost else { return };
        if remover == Remover::Us {
            return self.take_now();
        }
        if let Some(more) = self.router.losses.admit(self.now.at, address) {
            self.log(Line::AddressLost(lost, more));
        }
        self.take_again();
    }

    /// Handles the state of another interface with addresses of the router; `None`: it is gone or was renamed.
    pub(super) fn other_interface(&mut self, name: String, interface: Option<Interface>) {
        let before = match interface.clone() {
            Some(now) => self.router.others.insert(name.clone(), now),
            None => self.router.others.remove(&name),
        };
        self.put_out(Output::WriteJournal);
        if before.is_some() && interface.is_none() && self.router.is_master() {
            self.log(Line::InterfaceMissing(name));
        }
        // A renamed interface still has the addresses.
        self.discard_stranded();
        let Some(now) = interface.filter(|_| self.router.is_holding()) else { return };
        // The kernel may notify of each requested address before the answer to the request.
        let is_requested = |resource: &Resource| match (resource, &self.router.waiting) {
            (Resource::Address(held), Some(pending)) => pending.order.takes_on(held.on, held.address.address),
            _ => false,
        };
        let is_missing = self.router.to_take_on(&now).any(|resource| !is_requested(&resource));
        if is_missing {
            self.take_again();
        } else if before.is_none_or(|before| now.is_up() && !before.is_up() || now.mac != before.mac) {
            self.router.enqueue(Action::AnnounceAddresses(Occasion::TakeOver));
            self.next(Task::Act);
        }
    }

    /// Restores everything that a Master holds: at once, or with backoff if it is removed repeatedly.
    pub(super) fn take_again(&mut self) {
        let Self { id, router, agenda, now, .. } = self;
        let at = *agenda.to_put_back.entry(*id).or_insert_with(|| router.back_off.again_at(now.at));
        if at <= now.at {
            agenda.to_put_back.remove(id);
            self.take_now();
        }
    }

    /// Restores it now, if the router is still Master.
    pub(super) fn take_now(&mut self) {
        if self.router.is_holding() {
            let interface = self.link.interface.as_ref();
            if interface.is_some_and(|interface| self.router.lacks_only_routing(interface)) {
                self.router.enqueue(Action::TakeAddresses);
            } else {
                self.router.take_again();
            }
            self.next(Task::Act);
        }
    }
}

impl Engine {
    /// Lets routers restore their routes and rules.
    pub(super) fn routing_lost(&mut self) {
        let has_routing = |router: &Router| router.is_holding() && router.ledger.has_any_routing();
        let who = self.routers.iter().filter(|(_, router)| has_routing(router));
        self.agenda.incoming.extend(who.map(|(id, _)| Work::Task(id, Task::TakeAgain)));
    }

    /// Tells a router that its interface has become usable or unusable, or has another source address.
    pub(super) fn check_usable(&mut self, id: RouterId) {
        let Self { routers, links, agenda, .. } = self;
        let Some(router) = routers.get(id) else { return };
        let Some(link) = links.get(router.link) else { return };
        if router.is_changing_mac() {
            // Setting the MAC address may have taken the interface down; it is checked again after that.
            return;
        }
        let usable = router.usable(link.interface.as_ref());
        if router.machine.interface() == usable {
            return;
        }
        let family = router.config.family;
        let is_used = |other: &RouterId| {
            let other = routers.get(*other);
            other.is_some_and(|other| other.config.family == family && other.machine.source().is_some())
        };
        if usable.is_ok() && !link.routers.iter().any(is_used) {
            agenda.outputs.push_back(Output::Rejoin(router.link, family));
        }
        let expected = Expected::of(usable.ok(), link.interface.as_ref());
        agenda.outputs.push_back(Output::Expect(id, usable.ok()));
        if let Some(router) = routers.get_mut(id) {
            router.expected = expected;
        }
        let event = usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp);
        agenda.work.push_front(Work::Task(id, Task::event(event)));
    }
}
