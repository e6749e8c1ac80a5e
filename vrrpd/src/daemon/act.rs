//! Doing what the engine says, and what the system answers.

use tracing::{error, warn};
use vrrpd_common::router::{Event, StateName};
use vrrpd_common::{Duration, Priority};
use vrrpd_engine::ledger::{Cause, Order, Outcome, Resource};
use vrrpd_engine::pace::Announced;
use vrrpd_engine::router::{Past, Pending};
use vrrpd_engine::script;
use vrrpd_engine::{Input, Output, RouterId, Ticket};

use super::{Daemon, describe, log};
use crate::clock;
use crate::config::VmacFallback;
use crate::interface::service::Request;
use crate::report::{Happening, TransitionReport};
use crate::transmit::AdvertFrames;

/// When routes and rules that were refused are tried again.
const ROUTING_AGAIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// Does what the engine says, until nothing is left. What comes of one thing is done before the next.
    pub(super) fn perform_outputs(&mut self) {
        if std::mem::replace(&mut self.is_performing, true) {
            return;
        }
        let mut now = clock::moment();
        while let Some(output) = self.engine.next_output(now) {
            self.perform(output);
            now = clock::moment();
        }
        self.is_performing = false;
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::ReadRecord(id) => self.read_record(id),
            Output::TellKernel(id, after) => self.tell_kernel(id, &after),
            Output::CorrectKernel(id, record) => self.correct_kernel(id, &record),
            Output::HearsOtherSubnet(id, source) => self.hears_other_subnet(id, source),
            Output::Standing(id) => {
                if let Some(router) = self.engine.router(id)
                    && let Some(place) = router.group
                {
                    self.groups.note(place, &router.machine);
                }
            }
            Output::Take(id) => {
                self.take(id);
                self.go_on(id);
            }
            Output::Release(id) => {
                self.give_up(id);
                self.go_on(id);
            }
            Output::SendAdvert(id, priority) => self.send_advert(id, priority),
            Output::TrySending(id) => {
                self.flush();
                self.input(Input::Tried(id));
            }
            Output::Announce(id, announced) => self.announce(id, announced),
            Output::Transition { router, past, is_logged } => self.transition(router, past, is_logged),
            Output::CheckUsable(id) => self.check_usable(id),
            Output::Log(id, line) => self.log(id, line),
        }
    }

    /// The next action does not wait if nothing had to be asked.
    fn go_on(&mut self, id: RouterId) {
        if self.engine.router(id).is_some_and(|router| router.waiting.is_none()) {
            self.input(Input::Done(id));
        }
    }

    fn send_advert(&mut self, id: RouterId, priority: Priority) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let (Some(link), Some(handles)) = (self.links.get_mut(router.link), self.handles.get_mut(id)) else {
            return;
        };
        if let Some(mac) = router.source_mac(link.interface.as_ref())
            && let Some(advert) = router.advert(priority, link.sure_mtu())
            && let Some(frames) = handles.frames(router, mac, advert)
            && let Some(frames) = link.table.seal(&router.config, frames)
        {
            let resigns = priority == Priority::RESIGN;
            match frames {
                AdvertFrames::Group(frame) => {
                    if let Some(transmitter) = link.transmitter() {
                        transmitter.advert(id, frame, resigns);
                    }
                }
                AdvertFrames::Peers(packets) => link.peers.advert(id, packets, resigns),
            }
        }
    }

    /// Nothing more is sent of a router that is Master no more, and what it holds is given back.
    fn give_up(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        if let Some(link) = self.links.get_mut(router.link) {
            link.withdraw(id);
        }
        router.vmac.may_try_again();
        self.release(id);
    }

    /// Puts the virtual MAC address and the addresses in force.
    fn take(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let Some(interface) = &link.interface else { return };
        let resources = router.to_take(interface);
        if !resources.is_empty() {
            let or_without = router.config.vmac_fallback == VmacFallback::None;
            self.request(id, Order::Take { resources, or_without });
        }
    }

    /// Gives back what is held, where it was put, whatever that interface is called by now.
    fn release(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let resources = router.ledger.to_give_back(link.interface.as_ref(), link.marks);
        if !resources.is_empty() {
            self.request(id, Order::Release(resources));
        }
    }

    /// Asks the netlink thread; what the router wants next waits for the answer.
    pub(super) fn request(&mut self, id: RouterId, order: Order) {
        let Some(router) = self.engine.router_mut(id) else { return };
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, id);
        router.stop();
        router.waiting = Some(Box::new(Pending { ticket, order: order.clone(), lost: Vec::new() }));
        self.service.request(Request { ticket, order });
    }

    /// The kernel has answered.
    pub(super) fn done(&mut self, ticket: Ticket, mut outcome: Outcome) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        let Some(router) = self.engine.router_mut(id) else { return };
        let answered = router.waiting.take_if(|pending| pending.ticket == ticket);
        let Some(Pending { order, lost, .. }) = answered.map(|pending| *pending) else { return };
        router.go_on();
        if let (Some(made), Some(link)) = (outcome.made.take(), order.link()) {
            router.ledger.prepared(made, link.parent);
        }
        match order {
            Order::Prepare(_) => {
                // An interface that is gone refuses nothing.
                if let Some(Err(error)) = outcome.results.first()
                    && error.cause != Cause::NoInterface
                {
                    let line = router.vmac_refused(error.clone());
                    log::write(router, line);
                }
            }
            Order::Take { resources, or_without } => {
                self.took(id, resources, or_without, outcome);
                for (address, remover) in lost {
                    self.address_lost(id, address, remover);
                }
            }
            Order::Release(resources) => self.released(id, &resources, &outcome),
            Order::Discard(_) => {
                if let Some(error) = outcome.failure() {
                    error!(router = %router.config.title(), %error, "cannot remove macvlan link");
                }
                router.ledger.link_discarded();
            }
        }
        self.check_usable(id);
        self.input(Input::Act(id));
        self.discard_stranded(id);
    }

    /// Takes away the link of a virtual MAC address when it is not where its router is, once nothing is on it.
    pub(super) fn discard_stranded(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        if router.waiting.is_none()
            && router.ledger.is_stranded(link.interface.as_ref())
            && let Some(made) = router.ledger.link()
        {
            self.request(id, Order::Discard(made));
        }
    }

    fn took(&mut self, id: RouterId, resources: Vec<Resource>, or_without: bool, outcome: Outcome) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        if router.state_told() == StateName::Master {
            // What was missing is there again, or on another link.
            self.untold.insert(id);
        }
        for (resource, result) in resources.iter().zip(&outcome.results) {
            if result.is_ok() && router.ledger.has_routing(resource) {
                warn!(router = %router.config.title(), route = %resource.routing_text(), "route or rule was lost, restored");
            }
        }
        let refused = router.ledger.took(resources, outcome, link.interface.as_ref(), link.marks);
        match refused.vmac.clone() {
            // An interface that is gone refuses nothing; its own notification follows.
            Some(error) if error.cause == Cause::NoInterface => {}
            Some(error) => {
                let line = router.vmac_refused(error);
                log::write(router, line);
            }
            None => router.vmac_taken(),
        }
        for (address, error) in &refused.addresses {
            error!(router = %router.config.title(), %address, %error, "cannot add virtual address");
        }
        for refusal @ (resource, error) in &refused.routing {
            if !router.refused_routing.contains(refusal) {
                error!(router = %router.config.title(), route = %resource.routing_text(), %error, "cannot add route or rule");
            }
        }
        router.refused_routing.clone_from(&refused.routing);
        if !refused.routing.is_empty() {
            self.to_put_back.entry(id).or_insert_with(|| clock::now() + ROUTING_AGAIN);
        }
        if refused.is_decisive(or_without) {
            let event = if router.drop_promotion() { Event::AddressesRefused } else { Event::AddressesLost };
            self.event(id, event, None);
        }
    }

    fn released(&mut self, id: RouterId, resources: &[Resource], outcome: &Outcome) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        let name = router.config.title().into_owned();
        let mut tell_hosts = false;
        for (resource, result) in resources.iter().zip(&outcome.results) {
            let is_given_back = router.ledger.gave_back(resource, result);
            match (resource, result) {
                (Resource::Address(placed), Ok(())) => {
                    link.address_is_off(placed.on.number(None), &placed.address);
                }
                (Resource::Address(placed), Err(error)) if !is_given_back => {
                    let address = &placed.address;
                    error!(router = %name, %address, %error, "cannot remove virtual address");
                }
                (Resource::Mac(_) | Resource::Link(_), Err(error)) if !is_given_back => {
                    error!(router = %name, %error, "cannot restore MAC address");
                }
                (Resource::Mac(taken), _) => {
                    link.own_mac_is_back(taken);
                    tell_hosts = true;
                }
                // Hosts know the addresses that the interface owns by the virtual MAC address.
                (Resource::Link(above), _) => tell_hosts |= !above.owned.is_empty(),
                (Resource::Route(_) | Resource::Rule(_), Err(error)) if !is_given_back => {
                    error!(router = %name, route = %resource.routing_text(), %error, "cannot remove route or rule");
                }
                (Resource::Address(_) | Resource::Answers(_) | Resource::Route(_) | Resource::Rule(_), _) => {
                }
            }
        }
        if tell_hosts {
            self.input(Input::Announce(id, Announced::Own));
        }
    }

    fn transition(&mut self, id: RouterId, past: Past, is_logged: bool) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let transition = past.transition;
        if transition.from == StateName::Master || transition.to == StateName::Master {
            self.untold.insert(id);
        }
        if let (Some(call), Some(runner)) = (
            script::of_router(router, transition),
            self.handles.get(id).and_then(|handles| handles.scripts.as_ref()),
        ) {
            runner.run(call);
        }
        let report = TransitionReport::from(&past);
        self.followers.tell(|| describe::event(router, Happening::Transition(report.clone())));
        if is_logged {
            log::transition(router, &report);
        }
        if router.config.grouped {
            let name = router.config.name().to_string();
            let routers = self.engine.routers();
            self.group_scripts.follow(&name, transition.reason, |member| {
                let router = routers.values().find(|router| router.config.name().to_string() == member)?;
                Some(router.state_told())
            });
        }
        self.status_untold = true;
        self.check_presence(id);
    }

    /// Tells the service manager, in a line, how the routers are, if that is something new.
    pub(super) fn say_status(&mut self) {
        if !std::mem::take(&mut self.status_untold) || !self.supervisor.listens() {
            return;
        }
        let routers: Vec<_> = self.engine.routers().values().collect();
        let status = match &routers[..] {
            [router] => format!("{}: {}", router.config.title(), router.state_told().name()),
            routers => {
                let count = |state| routers.iter().filter(|router| router.state_told() == state).count();
                let of = |state: StateName| format!("{} {}", count(state), state.name());
                [StateName::Master, StateName::Backup, StateName::Fault].map(of).join(", ")
            }
        };
        self.supervisor.status(&status);
    }
}
