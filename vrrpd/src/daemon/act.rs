//! Carrying out the actions of routers, in their order.

use std::mem::discriminant;

use tracing::{error, warn};
use vrrpd_common::router::{Action, Event, Notice, StateName, Transition};
use vrrpd_common::wire::frame;
use vrrpd_common::{Instant, Priority};
use vrrpd_engine::ledger::{Cause, Order, Outcome, Resource};
use vrrpd_engine::pace::Announced;
use vrrpd_engine::{RouterId, Ticket, mismatch};

use super::Daemon;
use super::instance::{Instance, Pending};
use super::link::Link;
use crate::config::{RouterConfig, VmacFallback};
use crate::interface::service::Request;
use crate::report::{Happening, NoticeReport};
use crate::sys::packet::Frame;

impl Daemon {
    /// Carries out what a router wants, up to where it has to wait for the kernel.
    pub(super) fn act(&mut self, id: RouterId) {
        while let Some(router) = self.routers.get_mut(id)
            && router.waiting.is_none()
            && let Some(action) = router.queue.pop_front()
        {
            let Some(link) = self.links.get_mut(router.link) else { return };
            match action {
                Action::TakeAddresses => self.take(id),
                Action::GiveUpAddresses => {
                    if let Some(transmitter) = link.transmitter() {
                        transmitter.withdraw(id);
                    }
                    router.vmac.may_try_again();
                    self.release(id);
                }
                Action::SendAdvert(priority) => {
                    if let Some(mac) = router.source_mac(link)
                        && let Some(frame) = router.advert_frame(mac, priority, link.sure_mtu())
                        && let Some(frame) = link.table.seal(&router.config, frame)
                        && let Some(transmitter) = link.transmitter()
                    {
                        transmitter.advert(id, frame, priority == Priority::RESIGN);
                    }
                    if priority != Priority::RESIGN && router.sending.is_on_trial() {
                        self.try_sending(id);
                    }
                }
                Action::AnnounceAddresses => self.announce(id, Announced::All),
                Action::Transition(transition) => self.transition(id, transition),
                // Said as soon as it is known, see `Daemon::event`.
                Action::Notice(_) => {}
            }
        }
    }

    /// Puts the virtual MAC address and the addresses in force.
    fn take(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id) else { return };
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
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let resources = router.ledger.to_give_back(link.interface.as_ref(), link.marks);
        if !resources.is_empty() {
            self.request(id, Order::Release(resources));
        }
    }

    /// Asks the netlink thread; what the router wants next waits for the answer.
    pub(super) fn request(&mut self, id: RouterId, order: Order) {
        let Some(router) = self.routers.get_mut(id) else { return };
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, id);
        router.waiting = Some(Box::new(Pending { ticket, order: order.clone(), lost: Vec::new() }));
        self.service.request(Request { ticket, order });
    }

    /// The kernel has answered.
    pub(super) fn done(&mut self, ticket: Ticket, mut outcome: Outcome) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        let Some(router) = self.routers.get_mut(id) else { return };
        let answered = router.waiting.take_if(|pending| pending.ticket == ticket);
        let Some(Pending { order, lost, .. }) = answered.map(|pending| *pending) else { return };
        if let (Some(made), Some(link)) = (outcome.made.take(), order.link()) {
            router.ledger.prepared(made, link.parent);
        }
        match order {
            Order::Prepare(_) => {
                // An interface that is gone refuses nothing.
                if let Some(Err(error)) = outcome.results.first()
                    && error.cause != Cause::NoInterface
                {
                    router.vmac_refused(error);
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
                    error!(router = %router.config.name(), %error, "the link of the virtual MAC address cannot be removed");
                }
                router.ledger.link_discarded();
            }
        }
        self.check_usable(id);
        self.act(id);
        self.discard_stranded(id);
    }

    /// Takes away the link of a virtual MAC address when it is not where its router is, once nothing is on it.
    pub(super) fn discard_stranded(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        if router.waiting.is_none()
            && router.ledger.is_stranded(link.interface.as_ref())
            && let Some(made) = router.ledger.link()
        {
            self.request(id, Order::Discard(made));
        }
    }

    fn took(&mut self, id: RouterId, resources: Vec<Resource>, or_without: bool, outcome: Outcome) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        if router.state_told() == StateName::Master {
            // What was missing is there again, or on another link.
            self.untold.insert(id);
        }
        let refused = router.ledger.took(resources, outcome, link.interface.as_ref(), link.marks);
        match &refused.vmac {
            // An interface that is gone refuses nothing; its own notification follows.
            Some(error) if error.cause == Cause::NoInterface => {}
            Some(error) => router.vmac_refused(error),
            None => router.vmac_taken(),
        }
        for (address, error) in &refused.addresses {
            error!(router = %router.config.name(), %address, %error, "the address cannot be put on the interface");
        }
        if refused.is_decisive(or_without) {
            let event = if router.drop_promotion() { Event::AddressesRefused } else { Event::AddressesLost };
            self.event(id, event, None);
        }
    }

    fn released(&mut self, id: RouterId, resources: &[Resource], outcome: &Outcome) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        let name = router.config.name();
        let mut tell_hosts = false;
        for (resource, result) in resources.iter().zip(&outcome.results) {
            let is_given_back = router.ledger.gave_back(resource, result);
            match (resource, result) {
                (Resource::Address(placed), Ok(())) => {
                    link.address_is_off(placed.on.number(None), &placed.address);
                }
                (Resource::Address(placed), Err(error)) if !is_given_back => {
                    error!(router = %name, address = %placed.address, %error, "the address cannot be removed");
                }
                (Resource::Mac(_) | Resource::Link(_), Err(error)) if !is_given_back => {
                    error!(router = %name, %error, "the virtual MAC address cannot be given back");
                }
                (Resource::Mac(taken), _) => {
                    link.own_mac_is_back(taken);
                    tell_hosts = true;
                }
                // Hosts know the addresses that the interface owns by the virtual MAC address.
                (Resource::Link(above), _) => tell_hosts |= !above.owned.is_empty(),
                (Resource::Address(_) | Resource::Answers(_), _) => {}
            }
        }
        if tell_hosts {
            self.announce(id, Announced::Own);
        }
    }

    fn transition(&mut self, id: RouterId, transition: Transition) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some((transition, report)) = router.record(transition) else { return };
        if transition.from == StateName::Master || transition.to == StateName::Master {
            self.untold.insert(id);
        }
        if let (Some(run), Some(runner)) = (router.script(transition), &router.scripts) {
            runner.run(run);
        }
        self.followers.tell(|| router.event(Happening::Transition(report.clone())));
        self.log_transition(id, &report);
        self.status_untold = true;
        self.check_presence(id);
    }

    /// Tells the service manager, in a line, how the routers are, if that is something new.
    pub(super) fn say_status(&mut self) {
        if !std::mem::take(&mut self.status_untold) || !self.supervisor.listens() {
            return;
        }
        let routers: Vec<_> = self.routers.values().collect();
        let status = match &routers[..] {
            [router] => format!("{}: {}", router.config.name(), router.state_told().name()),
            routers => {
                let count = |state| routers.iter().filter(|router| router.state_told() == state).count();
                let of = |state: StateName| format!("{} {}", count(state), state.name());
                [StateName::Master, StateName::Backup, StateName::Fault].map(of).join(", ")
            }
        };
        self.supervisor.status(&status);
    }
}

/// Puts announcements in the queue, as often as the router wants each.
pub(super) fn announce(router: &mut Instance, id: RouterId, link: &mut Link, frames: &[Frame]) {
    let Some(transmitter) = link.transmitter() else { return };
    for _ in 0..router.config.announce.count {
        for frame in frames {
            transmitter.announcement(id, frame.clone());
            router.done.garp_sent += 1;
        }
    }
}

/// Says that another router does not fit to this one.
pub(super) fn warn_of_mismatch(config: &RouterConfig, warning: Option<mismatch::Warning>) {
    let Some(mismatch::Warning { words, more }) = warning else { return };
    warn!(
        router = %config.name(), check = words.check, source = %words.source, theirs = words.theirs, ours = words.ours,
        advice = words.advice, more, "another router is not set up as this one"
    );
}

/// Says what a router noticed, each kind at most once a second; what clients are told as well is returned.
pub(super) fn notice(
    router: &mut Instance,
    now: Instant,
    notice: &Notice,
    frame: Option<&[u8]>,
) -> Option<Happening> {
    let untold = router.notices.admit(now, discriminant(notice))?;
    let name = router.config.name();
    match notice {
        Notice::IntervalDiffers(advert) => warn!(
            router = %name, master = %advert.source, theirs = %advert.interval, ours = %router.config.interval,
            more = untold, "the master's interval is not ours"
        ),
        Notice::IntervalExceedsLimit { advert, limit } => {
            warn!(
                router = %name, master = %advert.source, priority = advert.priority.0, mac = %advert.mac, more = untold,
                "the master's interval {} exceeds --max-learned-interval {limit}; it is followed while it is heard \
                 within that interval's Master_Down_Interval",
                advert.interval
            );
            return Some(Happening::Notice(NoticeReport::interval_exceeds_limit(advert, *limit)));
        }
        Notice::AddressesDiffer(advert) => {
            let theirs: Vec<_> = frame
                .and_then(frame::addresses)
                .map(|addresses| addresses.iter().map(|address| address.to_string()).collect())
                .unwrap_or_default();
            let ours: Vec<_> = router.config.addresses.iter().map(|a| a.address.to_string()).collect();
            warn!(
                router = %name, master = %advert.source, theirs = theirs.join(" "), ours = ours.join(" "),
                more = untold, "the master announces other addresses than ours"
            );
        }
        Notice::LowerMaster(advert) => warn!(
            router = %name, other = %advert.source, priority = advert.priority.0,
            more = untold, "another router of lower right sends adverts while we are master"
        ),
        Notice::ClockGap(late) => {
            warn!(router = %name, late = %late, "the machine stood still; listening before acting");
        }
        Notice::TakeOverHeld(left) => {
            warn!(
                router = %name, left = %left, more = untold,
                "too many take-overs; the next one is held, atropos --master makes it at once"
            );
            return Some(Happening::Notice(NoticeReport::take_over_held(*left)));
        }
    }
    None
}
