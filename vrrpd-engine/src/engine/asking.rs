//! Requests to the system for a router, and its answers.

use vrrpd_common::Duration;
use vrrpd_common::router::{Event, StateName};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Line, Output};
use crate::config::{VirtualAddress, VmacFallback};
use crate::ids::Ticket;
use crate::ledger::{Cause, Order, Outcome, Resource, SystemError};
use crate::pace::Announced;
use crate::router::{Pending, Router};

/// Interval of retries for refused routes, rules, and addresses on other interfaces.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Turn<'_> {
    /// Sends a request to the system; the router's next action waits for the answer.
    pub(super) fn ask(&mut self, order: Order) {
        let ticket = self.agenda.tickets.issue(self.id);
        self.router.stop();
        self.router.waiting = Some(Box::new(Pending { ticket, order: order.clone(), lost: Vec::new() }));
        self.put_out(Output::Ask(ticket, order));
    }

    /// Sets the virtual MAC address and adds the addresses.
    pub(super) fn take(&mut self) {
        let Some(interface) = &self.link.interface else { return };
        let resources = self.router.to_take(interface);
        if self.router.state_told() != StateName::Master {
            let missing: Vec<_> = self.router.missing_interfaces().map(str::to_owned).collect();
            for interface in missing {
                self.log(Line::InterfaceMissing(interface));
            }
        }
        if !resources.is_empty() {
            let or_without = self.router.config.vmac_fallback == VmacFallback::None;
            self.ask(Order::Take { resources, or_without });
        }
    }

    /// Stops sending for a router that is no longer Master, and gives back what it holds, by interface index, since the
    /// interface may have been renamed.
    pub(super) fn release(&mut self) {
        self.put_out(Output::Withdraw(self.id));
        self.router.vmac.may_try_again();
        let Router { ledger, others, .. } = &mut *self.router;
        let resources = ledger.to_give_back(self.link.interface.as_ref(), others, self.marks);
        if !resources.is_empty() {
            self.ask(Order::Release(resources));
        }
    }

    /// Creates the macvlan link that the router's virtual MAC address needs.
    pub(super) fn prepare(&mut self) {
        let Some(interface) = &self.link.interface else { return };
        let router = &*self.router;
        if let Some(Resource::Link(link)) = router.vmac.wanted(&router.config, interface, &router.ledger)
            && link.made.is_none()
        {
            self.ask(Order::Prepare(link));
        }
    }

    /// Removes the macvlan link of the router, if it has one.
    pub(super) fn discard(&mut self) {
        if let Some(made) = self.router.ledger.link() {
            self.ask(Order::Discard(made));
        }
    }

    /// Removes what is in the wrong place or no longer wanted: an unused macvlan link that is not on the router's
    /// interface, addresses on an interface that was renamed, and an unwanted packet filter.
    pub(super) fn discard_stranded(&mut self) {
        if self.router.waiting.is_some() {
            return;
        }
        if self.router.ledger.is_stranded(self.link.interface.as_ref()) {
            return self.discard();
        }
        let mut unwanted = self.router.stranded_addresses();
        unwanted.extend(self.router.unwanted_filter());
        if !unwanted.is_empty() {
            self.ask(Order::Release(unwanted));
        }
    }

    /// Handles an answer of the system.
    pub(super) fn answered(&mut self, ticket: Ticket, mut outcome: Outcome) {
        let answered = self.router.waiting.take_if(|pending| pending.ticket == ticket);
        let Some(Pending { order, lost, .. }) = answered.map(|pending| *pending) else { return };
        // What cannot be removed is not retried at once.
        let is_stuck = matches!(order, Order::Release(_)) && outcome.failure().is_some();
        self.router.go_on();
        if let (Some(made), Some(link)) = (outcome.made.take(), order.link()) {
            self.router.ledger.prepared(made, link.parent);
        }
        match order {
            Order::Prepare(_) => {
                // A missing interface is not an error here.
                if let Some(Err(error)) = outcome.results.into_iter().next()
                    && error.cause != Cause::NoInterface
                {
                    let line = self.router.vmac_refused(error).map(Line::vmac_refused);
                    self.log(line);
                }
            }
            Order::Take { resources, or_without } => {
                self.took(resources, or_without, outcome);
            }
            Order::Release(resources) => self.released(&resources, &outcome),
            Order::Discard(_) => {
                if let Some(error) = outcome.failure() {
                    self.log(Line::LinkNotRemoved(error.clone()));
                }
                self.router.ledger.link_discarded();
            }
        }
        for (address, remover) in lost {
            self.then(Task::AddressLost(address, remover));
        }
        self.agenda.incoming.push_back(Work::CheckUsable(self.id));
        self.then(Task::Act);
        if !is_stuck {
            self.then(Task::DiscardStranded);
        }
    }

    fn took(&mut self, resources: Vec<Resource>, or_without: bool, outcome: Outcome) {
        if self.router.state_told() == StateName::Master {
            // Something missing was restored, possibly on another link.
            self.put_out(Output::TellGuardian(self.id));
        }
        for (resource, result) in resources.iter().zip(&outcome.results) {
            if result.is_ok() && self.router.ledger.has_routing(resource) {
                self.log(Line::RoutingRestored(resource.clone()));
            }
        }
        if outcome
            .results
            .iter()
            .any(|result| result.as_ref().is_err_and(|error| error.cause == Cause::Exists))
        {
            // The journal named an address that another program has added meanwhile.
            self.put_out(Output::WriteJournal);
        }
        let interface = self.link.interface.as_ref();
        let Router { ledger, others, .. } = &mut *self.router;
        let mut refused = ledger.took(resources, outcome, interface, others, self.marks);
        let is_elsewhere = |(address, _): &mut (VirtualAddress, _)| {
            self.router.config.address_interfaces.contains_key(&address.address)
        };
        // The router is Master without addresses on other interfaces.
        let elsewhere = refused.addresses.extract_if(.., is_elsewhere).collect();
        let is_decisive = refused.is_decisive(or_without);
        match refused.vmac {
            // Not an error: the notification of the removed interface follows.
            Some(error) if error.cause == Cause::NoInterface => {}
            Some(error) => {
                let line = self.router.vmac_refused(error).map(Line::vmac_refused);
                self.log(line);
            }
            None => self.router.vmac_taken(),
        }
        for (address, error) in refused.addresses {
            self.log(Line::AddressRefused(address, error));
        }
        self.filter_refused(refused.filter);
        self.refused_elsewhere(elsewhere);
        self.routing_refused(refused.routing);
        if is_decisive {
            let was_promoted = self.router.drop_promotion();
            let event = if was_promoted { Event::AddressesRefused } else { Event::AddressesLost };
            self.then(Task::event(event));
        }
    }

    /// Logs a refused packet filter once, and schedules a retry; until it succeeds, packets to the addresses are
    /// accepted.
    fn filter_refused(&mut self, refused: Option<SystemError>) {
        if let Some(error) = &refused {
            if self.router.refused_filter.as_ref() != Some(error) {
                self.log(Line::FilterRefused(error.clone()));
            }
            let at = self.now.at + TRY_AGAIN;
            self.agenda.to_put_back.entry(self.id).or_insert(at);
        }
        self.router.refused_filter = refused;
    }

    /// Logs refused addresses on other interfaces once, and schedules a retry. A missing interface is not an error.
    fn refused_elsewhere(&mut self, mut refused: Vec<(VirtualAddress, SystemError)>) {
        refused.retain(|(_, error)| error.cause != Cause::NoInterface);
        for refusal @ (address, error) in &refused {
            if !self.router.refused_elsewhere.contains(refusal) {
                self.log(Line::AddressRefused(*address, error.clone()));
            }
        }
        if !refused.is_empty() {
            let at = self.now.at + TRY_AGAIN;
            self.agenda.to_put_back.entry(self.id).or_insert(at);
        }
        self.router.refused_elsewhere = refused;
    }

    /// Logs refused routes and rules once, and schedules a retry.
    fn routing_refused(&mut self, refused: Vec<(Resource, SystemError)>) {
        for refusal @ (resource, error) in &refused {
            if !self.router.refused_routing.contains(refusal) {
                self.log(Line::RoutingRefused(resource.clone(), error.clone()));
            }
        }
        if !refused.is_empty() {
            let at = self.now.at + TRY_AGAIN;
            self.agenda.to_put_back.entry(self.id).or_insert(at);
        }
        self.router.refused_routing = refused;
    }

    fn released(&mut self, resources: &[Resource], outcome: &Outcome) {
        let mut tells_hosts = false;
        for (resource, result) in resources.iter().zip(&outcome.results) {
            let is_given_back = self.router.ledger.gave_back(resource, result);
            match (resource, result) {
                (Resource::Address(placed), Ok(())) => {
                    let index = placed.on.number(None);
                    self.link.address_is_off(index, &placed.address);
                    self.router
                        .others
                        .values_mut()
                        .for_each(|other| other.address_is_off(index, &placed.address));
                }
                (Resource::Address(placed), Err(error)) if !is_given_back => {
                    self.log(Line::AddressNotRemoved(placed.address, error.clone()));
                }
                (Resource::Mac(_) | Resource::Link(_), Err(error)) if !is_given_back => {
                    self.log(Line::MacNotRestored(error.clone()));
                }
                (Resource::Mac(taken), _) => {
                    self.link.own_mac_is_back(taken);
                    tells_hosts = true;
                }
                // Hosts use the virtual MAC address for addresses that the interface owns.
                (Resource::Link(above), _) => tells_hosts |= !above.owned.is_empty(),
                (Resource::Route(_) | Resource::Rule(_), Err(error)) if !is_given_back => {
                    self.log(Line::RoutingNotRemoved(resource.clone(), error.clone()));
                }
                (Resource::Filter(_), Err(error)) if !is_given_back => {
                    self.log(Line::FilterNotRemoved(error.clone()));
                }
                (
                    Resource::Address(_)
                    | Resource::Answers(_)
                    | Resource::Filter(_)
                    | Resource::Route(_)
                    | Resource::Rule(_),
                    _,
                ) => {}
            }
        }
        if tells_hosts {
            self.announce(Announced::Own);
        }
        if self.router.is_master() && !self.router.others.is_empty() {
            // The answer concerned an interface that has gone and may be back.
            self.then(Task::TakeNow);
        }
    }

    /// Queues a task for the router, after those queued in this turn and before older ones.
    fn then(&mut self, task: Task) {
        self.agenda.incoming.push_back(Work::Task(self.id, task));
    }
}
