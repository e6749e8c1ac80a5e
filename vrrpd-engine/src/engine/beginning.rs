//! Routers come and leave: what one has to find on its interface, how it begins, and when it is gone.

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

/// Why a router cannot begin on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inadmissible {
    /// There is no such interface.
    NoInterface,
    /// VRRP is defined for Ethernet here.
    NotEthernet,
    /// An advert is not divided.
    TooManyAddresses {
        /// Its addresses.
        count: usize,
        /// Octets of the IP packet.
        octets: usize,
        /// What the interface takes.
        mtu: u32,
    },
    /// A peer is another host.
    MisplacedPeer(IpAddr),
    /// The interface has the virtual MAC address of another router.
    VmacTaken(MacAddr),
    /// A crash has left the virtual MAC address, and what the interface had before is not known.
    OwnMacUnknown(MacAddr),
}

impl Engine {
    /// Whether a router could begin on its interface as that is now, once those have left that leave. An interface that is
    /// not there is one that comes back if it `is_awaited`, or if routers are on it.
    ///
    /// # Errors
    ///
    /// Why it could not.
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

    /// Whether a router can go on with this configuration.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn admit_exchange(&self, id: RouterId, config: &RouterConfig) -> Result<(), Inadmissible> {
        let link = self.router(id).and_then(|router| self.link(router.link));
        link.map_or(Ok(()), |link| check_peers(config, link))
    }

    /// Makes a router on its interface, with what an earlier daemon has left there and on `others` that have addresses of it;
    /// it waits for its start.
    ///
    /// # Errors
    ///
    /// Why it cannot be. Nothing has changed then.
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
            lines.extend(router.meet(interface));
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
        // Nothing is noticed before the start.
        router.handle(now.at, event, &mut |_| {});
        router.expected = Expected::of(usable.ok(), link.interface.as_ref());
        let id = self.add(router);
        self.agenda.outputs.extend(lines.into_iter().map(|line| Output::Log(id, line)));
        self.agenda.outputs.push_back(Output::Expect(id, usable.ok()));
        Ok(id)
    }

    /// Whether a router has what an earlier daemon may have left behind, and sees to it itself.
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
    /// The router gives back what it holds, and goes.
    pub(super) fn leave(&mut self) {
        self.router.leave();
        self.next(Task::event(Event::Shutdown));
    }

    /// The router goes on with a configuration that [`RouterConfig::can_become`] allows, and tracks these checks.
    pub(super) fn exchange(&mut self, config: RouterConfig, tracked: &[TrackedOutcome]) {
        let leaves_group = self.router.config.grouped && !config.grouped;
        let has_other_priority = self.router.config.priority != config.priority;
        self.router.exchange(config);
        let source = self.router.machine.source();
        self.router.expected = Expected::of(source, self.link.interface.as_ref());
        self.put_out(Output::Expect(self.id, source));
        self.router.track(tracked);
        if leaves_group {
            // It may have waited for the others.
            self.next(Task::event(Event::GroupReady { hold: Duration::ZERO }));
        }
        self.next(Task::Exchanged { has_other_priority });
        if self.router.is_holding() {
            // Packets to its addresses are dropped from now on, or no more.
            self.router.enqueue(Action::TakeAddresses);
            self.next(Task::Act);
        }
        self.next(Task::DiscardStranded);
        self.agenda.work.push_front(Work::CheckUsable(self.id));
    }

    /// The priority that follows from the new configuration is put in force.
    pub(super) fn exchanged(&mut self, has_other_priority: bool) {
        let priority = self.router.policy.priority();
        if has_other_priority || self.router.machine.priority() != priority {
            self.next(Task::event(Event::Priority(priority)));
        } else {
            // Nothing has happened to it, but the kernel may have to look at adverts in another way.
            self.next(Task::Tell { was_reported: false });
            self.next(Task::Hear);
        }
    }

    /// The router tracks these checks from now on.
    pub(super) fn track(&mut self, tracked: &[TrackedOutcome]) {
        self.router.track(tracked);
        self.next(Task::ApplyPriority);
        self.agenda.work.push_front(Work::CheckUsable(self.id));
    }

    /// The priority that follows from what is tracked is put in force.
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

    /// The router is gone if it and has nothing left to do. With the last one the sockets of its interface go, and
    /// what waits there to be sent: not before its last words are `spoken`.
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

/// A virtual MAC address on the interface that is the router's to give back, and the interface's own one.
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
