//! Carrying out the actions of routers, in their order.

use std::io;
use std::mem::discriminant;

use nix::errno::Errno;
use tracing::{error, warn};
use vrrpd_common::router::{Action, Event, Notice, StateName, Transition};
use vrrpd_common::wire::frame;
use vrrpd_common::{Instant, Priority};
use vrrpd_engine::pace::Announced;
use vrrpd_engine::{RouterId, Ticket, mismatch};

use super::Daemon;
use super::instance::{Instance, Pending, Task};
use super::link::Link;
use crate::config::{RouterConfig, VmacFallback, VmacMode};
use crate::interface::service::{Order, Request};
use crate::interface::{self, Hold, Outcome};
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
        let hold = Hold {
            index: interface.index,
            vmac: (!router.vmac.stands_on(interface))
                .then(|| router.vmac.wanted(&router.config, interface))
                .flatten(),
            or_without: router.config.vmac_fallback == VmacFallback::None,
            addresses: router.addresses_to_take(link),
            beside: router.beside(link),
            routed: match router.vmac.mode() {
                VmacMode::Macvlan => interface.subnets(),
                VmacMode::Interface | VmacMode::None => Vec::new(),
            },
        };
        if hold.vmac.is_some() || !hold.addresses.is_empty() || !hold.beside.interfaces.is_empty() {
            self.request(id, Task::Take, hold);
        }
    }

    /// Gives back what is held, where it was put, whatever that interface is called by now.
    fn release(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let (addresses, vmac) = (router.addresses_to_remove(link), router.vmac.held());
        let beside = router.beside(link);
        let index = match &vmac {
            Some(interface::Vmac::Interface(taken)) => Some(taken.index),
            Some(interface::Vmac::Macvlan(..)) | None => router.held_on,
        };
        if let Some(index) = index
            && (vmac.is_some() || !addresses.is_empty() || !beside.interfaces.is_empty())
        {
            self.request(id, Task::Release, Hold { vmac, addresses, beside, ..Hold::nothing(index) });
        }
    }

    /// Asks the netlink thread; what the router wants next waits for the answer.
    pub(super) fn request(&mut self, id: RouterId, task: Task, hold: Hold) {
        let Some(router) = self.routers.get_mut(id) else { return };
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, id);
        let order = match task {
            Task::Prepare => Order::Prepare(hold.clone()),
            Task::Take => Order::Take(hold.clone()),
            Task::Release => Order::Release(hold.clone()),
            Task::Discard => Order::Discard(hold.clone()),
        };
        router.waiting = Some(Box::new(Pending { ticket, task, hold, lost: Vec::new() }));
        self.service.request(Request { ticket, order });
    }

    /// The kernel has answered.
    pub(super) fn done(&mut self, ticket: Ticket, mut outcome: Outcome) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        let Some(router) = self.routers.get_mut(id) else { return };
        let answered = router.waiting.take_if(|pending| pending.ticket == ticket);
        let Some(Pending { task, hold, lost, .. }) = answered.map(|pending| *pending) else { return };
        if let (Some(made), Some(interface::Vmac::Macvlan(link, _))) = (outcome.made.take(), &hold.vmac) {
            router.vmac.made(made, link.parent);
        }
        match task {
            Task::Prepare => {
                // An interface that is gone refuses nothing.
                if let Some(Err(error)) = outcome.vmac
                    && errno(&error) != Some(Errno::ENODEV)
                {
                    router.vmac_refused(&error);
                }
            }
            Task::Take => {
                self.took(id, hold, outcome);
                for (address, remover) in lost {
                    self.address_lost(id, address, remover);
                }
            }
            Task::Release => self.released(id, &hold, outcome),
            Task::Discard => {
                if let Some(Err(error)) = outcome.vmac {
                    error!(router = %router.config.name(), %error, "the link of the virtual MAC address cannot be removed");
                }
                router.vmac.link_discarded();
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
            && router.vmac.is_stranded(link.interface.as_ref())
            && let Some(made) = router.vmac.made_link()
        {
            self.request(id, Task::Discard, Hold::nothing(made));
        }
    }

    fn took(&mut self, id: RouterId, hold: Hold, outcome: Outcome) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let mut refused = false;
        match (hold.vmac, outcome.vmac) {
            (Some(vmac), Some(Ok(()))) => router.vmac.taken(vmac, outcome.addr_gen_mode),
            (_, Some(Err(error))) => {
                // An interface that is gone refuses nothing; its own notification follows.
                if errno(&error) == Some(Errno::ENODEV) {
                    refused = true;
                } else {
                    refused = !hold.or_without;
                    router.vmac_refused(&error);
                }
            }
            (_, Some(Ok(())) | None) => {}
        }
        router.held_on = Some(outcome.index);
        if router.state_told() == StateName::Master {
            // What was missing is there again, or on another link.
            self.untold.insert(id);
        }
        for (address, result) in hold.addresses.into_iter().zip(outcome.addresses) {
            match result {
                Ok(()) => router.set_held(&address, true),
                // There already: one that a daemon of ours left behind, or that had not gone after all, or somebody
                // else's, who keeps it. On a link of our own everything is ours.
                Err(error) if errno(&error) == Some(Errno::EEXIST) => {
                    let there =
                        link.interface.as_ref().and_then(|interface| interface.address(address.address));
                    let was_ours = router.is_missing(&address);
                    let is_ours = match there {
                        Some(there) => there.ours || was_ours && !link.marks,
                        None => was_ours,
                    };
                    router.set_held(&address, router.vmac.is_link(outcome.index) || is_ours);
                }
                Err(error) => {
                    error!(router = %router.config.name(), %address, %error, "the address cannot be put on the interface");
                    refused = true;
                }
            }
        }
        if refused {
            let event = if router.drop_promotion() { Event::AddressesRefused } else { Event::AddressesLost };
            self.event(id, event, None);
        }
    }

    fn released(&mut self, id: RouterId, hold: &Hold, outcome: Outcome) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        for (address, result) in hold.addresses.iter().zip(outcome.addresses) {
            match result {
                Ok(()) => {
                    router.set_held(address, false);
                    link.address_is_off(hold.index, address);
                }
                // Somebody else was faster, or the interface is gone and its addresses with it.
                Err(error) if matches!(errno(&error), Some(Errno::EADDRNOTAVAIL | Errno::ENODEV)) => {
                    router.set_held(address, false);
                }
                Err(error) => {
                    error!(router = %router.config.name(), %address, %error, "the address cannot be removed");
                }
            }
        }
        match outcome.vmac {
            Some(Err(error)) if errno(&error) != Some(Errno::ENODEV) => {
                error!(router = %router.config.name(), %error, "the virtual MAC address cannot be given back");
            }
            Some(Ok(()) | Err(_)) => {
                router.vmac.released();
                match &hold.vmac {
                    Some(interface::Vmac::Interface(taken)) => {
                        link.own_mac_is_back(taken);
                        self.announce(id, Announced::Own);
                    }
                    // Hosts know the addresses that the interface owns by the virtual MAC address.
                    Some(interface::Vmac::Macvlan(above, _)) if !above.owned.is_empty() => {
                        self.announce(id, Announced::Own);
                    }
                    Some(interface::Vmac::Macvlan(..)) | None => {}
                }
            }
            None => {}
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

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
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
