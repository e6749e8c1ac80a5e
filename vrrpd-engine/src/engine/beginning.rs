//! Routers come and leave: whether one can run on its interface, how it starts, and when it has left.

use std::net::IpAddr;

use vrrpd_common::router::{Action, Event};
use vrrpd_common::{Duration, MacAddr, Priority};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Engine, Line, Now, Output};
use crate::config::{RouterConfig, VmacMode};
use crate::expected::Expected;
use crate::ids::RouterId;
use crate::interface::{Interface, OtherInterfaces};
use crate::ledger::{Journal, LeftMac, Leftover};
use crate::link::Link;
use crate::priority::Step;
use crate::router::{Router, TrackedOutcome};

/// Why a router cannot run on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inadmissible {
    /// The interface does not exist.
    NoInterface,
    /// The interface is not Ethernet.
    NotEthernet,
    /// The advert exceeds the MTU; adverts must not be fragmented.
    TooManyAddresses {
        /// Number of addresses.
        count: usize,
        /// Length of the IP packet in octets.
        octets: usize,
        /// MTU of the interface in octets.
        mtu: u32,
    },
    /// The peer address belongs to this machine.
    MisplacedPeer(IpAddr),
    /// The interface has the virtual MAC address of another router.
    VmacTaken(MacAddr),
    /// A crash left the virtual MAC address, and the interface's own one is not known.
    OwnMacUnknown(MacAddr),
}

impl Engine {
    /// Whether a router could run on its interface in its present state, once the leaving routers have left. A missing
    /// interface is accepted if it `is_awaited` or routers are on it.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
    pub fn admit(
        &self,
        now: Now,
        config: &RouterConfig,
        is_awaited: bool,
        journal: &Journal,
    ) -> Result<(), Inadmissible> {
        let Some(id) = self.link_named(&config.interface) else { return Err(Inadmissible::NoInterface) };
        let Some(link) = self.link(id) else { return Err(Inadmissible::NoInterface) };
        let Some(interface) = &link.interface else {
            let comes_back = is_awaited || !link.routers.is_empty();
            return if comes_back { Ok(()) } else { Err(Inadmissible::NoInterface) };
        };
        let router = Router::new(config.clone(), id, now.time_of_day);
        check(&router, link)?;
        let gives_back = |router: &Router| {
            router.link == id && router.config.vmac == VmacMode::Interface && router.vmac.is_on(interface)
        };
        if !self.routers().values().any(gives_back) {
            left_mac(&router, interface, journal)?;
        }
        Ok(())
    }

    /// Whether a running router can change to this configuration.
    ///
    /// # Errors
    ///
    /// The reason why it cannot.
    pub fn admit_exchange(&self, id: RouterId, config: &RouterConfig) -> Result<(), Inadmissible> {
        let link = self.router(id).and_then(|router| self.link(router.link));
        link.map_or(Ok(()), |link| check_peers(config, link))
    }

    /// Creates a router on its interface, adopting what an earlier daemon left there and on `others`, the other
    /// interfaces with its addresses. The router waits for its start.
    ///
    /// # Errors
    ///
    /// The reason why it cannot run; nothing has changed then.
    pub fn begin(
        &mut self,
        now: Now,
        config: RouterConfig,
        others: OtherInterfaces,
        journal: &Journal,
    ) -> Result<RouterId, Inadmissible> {
        self.now = now;
        let id = self.link_named(&config.interface).ok_or(Inadmissible::NoInterface)?;
        let link = self.links.get(id).ok_or(Inadmissible::NoInterface)?;
        let mut router = Router::new(config, id, now.time_of_day);
        router.others = others;
        check(&router, link)?;
        let mut lines = Vec::new();
        if let Some(magic) = &router.config.magic
            && !router.config.holds(magic.source)
        {
            lines.push(Line::MagicSource(magic.source));
        }
        if let Some(interface) = &link.interface {
            lines.extend(router.meet(interface).map(Line::vmac_refused));
            let left = router.adopt(interface, self.marks, journal);
            let has_addresses_left = !left.is_empty();
            lines.extend(left.into_iter().map(Line::AddressLeft));
            router.vmac.note_own(interface);
            let mac = left_mac(&router, interface, journal)?;
            if let Some((mac, own)) = mac {
                lines.push(Line::MacLeft(mac));
                let left = router.vmac.left(interface, own);
                router.ledger.adopt_mac(left);
            }
            if has_addresses_left || mac.is_some() {
                router.enqueue(Action::GiveUpAddresses);
            }
        }
        let usable = router.usable(link.interface.as_ref());
        let event = usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp);
        // Nothing is reported before the start.
        router.handle(now.at, event, &mut |_| {});
        router.expected = Expected::of(usable.ok(), link.interface.as_ref());
        let id = self.add(router);
        self.agenda.outputs.extend(lines.into_iter().map(|line| Output::Log(id, line)));
        self.agenda.outputs.push_back(Output::Expect(id, usable.ok()));
        Ok(id)
    }

    /// Whether a router handles this leftover of an earlier daemon itself.
    pub fn sees_to(&self, found: &Leftover) -> bool {
        let mut routers = self.routers().values().map(|router| &router.config);
        match found {
            Leftover::Address { interface, address } => {
                routers.any(|router| router.addresses_on(interface).any(|held| held == address))
            }
            Leftover::Mac { interface, .. } => routers.any(|router| router.interface == *interface),
            Leftover::Link { router, noted, .. } => routers
                .find(|there| there.name().to_string() == *router)
                .map_or(!noted, |there| there.vmac == VmacMode::Macvlan),
        }
    }
}

impl Turn<'_> {
    /// The router gives back what it holds, and leaves.
    pub(super) fn leave(&mut self) {
        self.router.leave();
        self.next(Task::event(Event::Shutdown));
    }

    /// The router changes to a configuration that [`RouterConfig::can_become`] allows, with these checks.
    pub(super) fn exchange(&mut self, config: RouterConfig, tracked: &[TrackedOutcome]) {
        let leaves_group = self.router.config.grouped && !config.grouped;
        let has_other_priority = self.router.config.priority != config.priority;
        if self.router.config.peers() != config.peers() {
            self.router.kernel.tell_again();
        }
        self.router.exchange(config);
        let source = self.router.machine.source();
        self.router.expected = Expected::of(source, self.link.interface.as_ref());
        self.put_out(Output::Expect(self.id, source));
        self.router.track(tracked);
        if leaves_group {
            // The router may have waited for the other members.
            self.next(Task::event(Event::GroupReady { hold: Duration::ZERO }));
        }
        self.next(Task::Exchanged { has_other_priority });
        if self.router.is_holding() {
            // Turns the packet filter on or off.
            self.router.enqueue(Action::TakeAddresses);
            self.next(Task::Act);
        }
        self.next(Task::DiscardStranded);
        self.agenda.work.push_front(Work::CheckUsable(self.id));
    }

    /// Applies the priority of the new configuration.
    pub(super) fn exchanged(&mut self, has_other_priority: bool) {
        let priority = self.router.policy.priority();
        if has_other_priority || self.router.machine.priority() != priority {
            self.next(Task::event(Event::Priority(priority)));
        } else {
            // The state did not change, but the kernel may need new parameters for adverts.
            self.next(Task::Tell { was_reported: false });
            self.next(Task::Hear);
        }
    }

    /// Sets the checks of the router.
    pub(super) fn track(&mut self, tracked: &[TrackedOutcome]) {
        self.router.track(tracked);
        self.next(Task::ApplyPriority);
        self.agenda.work.push_front(Work::CheckUsable(self.id));
    }

    /// Applies the priority that results from the checks.
    pub(super) fn apply_priority(&mut self) {
        let (from, to) = (self.router.machine.priority(), self.router.policy.priority());
        if from != to {
            self.change_priority(from, to);
        }
    }

    /// The operator changes the priority by a step.
    pub(super) fn step(&mut self, step: Step) {
        self.router.policy.step(step);
        self.change_priority(self.router.machine.priority(), self.router.policy.priority());
    }

    fn change_priority(&mut self, from: Priority, to: Priority) {
        self.log(Line::PriorityChanged(from, to));
        self.next(Task::event(Event::Priority(to)));
    }

    /// Removes a leaving router that has nothing left to do. With the last router its interface's sockets close and
    /// queued frames are lost, so that waits until the final adverts are sent (`is_spoken`).
    pub(super) fn see_off(&mut self, is_spoken: bool) {
        let is_last = self.link.routers.len() == 1;
        if !self.router.is_leaving() || self.router.is_busy() || is_last && !is_spoken {
            return;
        }
        if self.router.ledger.link().is_some() {
            self.discard();
        } else {
            self.put_out(Output::Forget(self.id));
        }
    }
}

fn check(router: &Router, link: &Link) -> Result<(), Inadmissible> {
    if link.interface.as_ref().is_some_and(|interface| interface.mac.is_none()) {
        return Err(Inadmissible::NotEthernet);
    }
    let mtu = link.mtu();
    if !router.advert_fits(mtu) {
        let (count, octets) = (router.config.addresses.len(), router.packet_len());
        return Err(Inadmissible::TooManyAddresses { count, octets, mtu });
    }
    check_peers(&router.config, link)
}

fn check_peers(config: &RouterConfig, link: &Link) -> Result<(), Inadmissible> {
    let misplaced = link.interface.as_ref().and_then(|interface| interface.misplaced_peer(config));
    misplaced.map_or(Ok(()), |peer| Err(Inadmissible::MisplacedPeer(peer)))
}

/// The virtual MAC address that the router must remove from the interface, and the interface's own one.
fn left_mac(
    router: &Router,
    interface: &Interface,
    journal: &Journal,
) -> Result<Option<(MacAddr, MacAddr)>, Inadmissible> {
    match LeftMac::on(interface, router.vmac.address(), router.vmac.mode(), journal) {
        LeftMac::None => Ok(None),
        LeftMac::Ours { mac, own } => Ok(Some((mac, own))),
        LeftMac::Taken(mac) => Err(Inadmissible::VmacTaken(mac)),
        LeftMac::OwnUnknown(mac) => Err(Inadmissible::OwnMacUnknown(mac)),
    }
}
