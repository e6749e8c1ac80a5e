//! Carrying out the actions of routers, in their order.

use std::io;
use std::mem::discriminant;

use nix::errno::Errno;
use tracing::{error, info, warn};
use vrrpd_common::router::{Action, Event, Notice, StateName, Transition};
use vrrpd_common::wire::frame;
use vrrpd_common::{Instant, Priority};

use super::Daemon;
use super::instance::{Instance, Pending};
use crate::config::VirtualAddress;
use crate::datapath::RouterId;
use crate::interface::service::{Operation, Request, Ticket};
use crate::report::EventReport;

impl Daemon {
    /// Carries out what a router wants, up to where it has to wait for the kernel.
    pub(super) fn act(&mut self, id: RouterId) {
        while let Some(router) = self.routers.get_mut(id.0)
            && router.waiting.is_none()
            && let Some(action) = router.queue.pop_front()
        {
            let Some(link) = self.links.get_mut(router.link.0) else { return };
            match action {
                Action::TakeAddresses => {
                    let addresses = router.addresses_to_take(link);
                    self.request(id, Operation::Add, addresses);
                }
                Action::GiveUpAddresses => {
                    if let Some(transmitter) = link.transmitter() {
                        transmitter.withdraw(id);
                    }
                    let addresses = router.addresses_held();
                    self.request(id, Operation::Remove, addresses);
                }
                Action::SendAdvert(priority) => {
                    if let Some(mac) = link.interface.as_ref().and_then(|interface| interface.mac)
                        && let Some(frame) = router.advert_frame(mac, priority)
                        && let Some(transmitter) = link.transmitter()
                    {
                        transmitter.advert(id, frame, priority == Priority::RESIGN);
                        router.adverts_sent += 1;
                    }
                }
                Action::AnnounceAddresses => {
                    if let Some(mac) = link.interface.as_ref().and_then(|interface| interface.mac)
                        && let Some(transmitter) = link.transmitter()
                    {
                        let frames = router.announcements(mac);
                        for _ in 0..router.config.announce.count {
                            for frame in &frames {
                                transmitter.announcement(id, frame.clone());
                                router.garp_sent += 1;
                            }
                        }
                    }
                }
                Action::Transition(transition) => self.transition(id, transition),
                // Said as soon as it is known, see `Daemon::event`.
                Action::Notice(_) => {}
            }
        }
    }

    /// Asks the netlink thread; what the router wants next waits for the answer.
    fn request(&mut self, id: RouterId, operation: Operation, addresses: Vec<VirtualAddress>) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        // Addresses are removed where they were put, whatever that interface is called by now.
        let index = match operation {
            Operation::Add => self
                .links
                .get(router.link.0)
                .and_then(|link| link.interface.as_ref())
                .map(|there| there.index),
            Operation::Remove => router.held_on,
        };
        let (Some(index), false) = (index, addresses.is_empty()) else { return };
        if operation == Operation::Add {
            router.held_on = Some(index);
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.tickets.insert(ticket, id);
        router.waiting = Some(Pending { ticket, operation, addresses: addresses.clone() });
        self.service.request(Request { ticket, index, operation, addresses });
    }

    /// The kernel has answered.
    pub(super) fn done(&mut self, ticket: Ticket, results: Vec<io::Result<()>>) {
        let Some(id) = self.tickets.remove(&ticket) else { return };
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let Some(Pending { operation, addresses, .. }) =
            router.waiting.take_if(|pending| pending.ticket == ticket)
        else {
            return;
        };
        let interface = self.links.get(router.link.0).and_then(|link| link.interface.as_ref());
        let mut refused = false;
        for (address, result) in addresses.into_iter().zip(results) {
            let errno = result.as_ref().err().and_then(io::Error::raw_os_error).map(Errno::from_raw);
            match (operation, result, errno) {
                (Operation::Add, Ok(()), _) => router.set_held(&address, true),
                (Operation::Remove, Ok(()), _)
                // Somebody else was faster, or the interface is gone and its addresses with it.
                | (Operation::Remove, Err(_), Some(Errno::EADDRNOTAVAIL | Errno::ENODEV)) => {
                    router.set_held(&address, false);
                }
                // There already: one that a daemon of ours left behind, or somebody else's, who keeps it.
                (Operation::Add, Err(_), Some(Errno::EEXIST)) => {
                    let there = interface.and_then(|interface| interface.address(address.address));
                    router.set_held(&address, there.is_some_and(|there| there.ours));
                }
                (Operation::Add, Err(error), _) => {
                    error!(router = %router.config.name(), %address, %error, "the address cannot be put on the interface");
                    refused = true;
                }
                (Operation::Remove, Err(error), _) => {
                    error!(router = %router.config.name(), %address, %error, "the address cannot be removed");
                }
            }
        }
        if refused {
            router.drop_promotion();
            self.event(id, Event::AddressesRefused, None);
        }
        self.act(id);
    }

    fn transition(&mut self, id: RouterId, transition: Transition) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let Some((transition, report)) = router.record(transition) else { return };
        info!(
            router = %router.config.name(),
            from = report.from,
            to = report.to,
            reason = report.reason,
            master = report.master.as_deref().unwrap_or("-"),
            priority = router.machine.priority().0,
            "transition"
        );
        if let (Some(run), Some(runner)) = (router.script(transition), &router.scripts) {
            runner.run(run);
        }
        // Nobody listens: that is fine.
        let _ = self.events.send(EventReport {
            interface: router.config.interface.clone(),
            vrid: router.config.vrid.get(),
            family: router.config.family.name().to_owned(),
            priority: router.machine.priority().0,
            transition: report,
        });
        self.say_status();
    }

    /// Tells the service manager, in a line, how the routers are.
    fn say_status(&self) {
        if !self.supervisor.listens() {
            return;
        }
        let status = match &self.routers[..] {
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

/// Says what a router noticed, each kind at most once a second.
pub(super) fn notice(router: &mut Instance, now: Instant, notice: &Notice, frame: Option<&[u8]>) {
    let Some(untold) = router.notices.admit(now, discriminant(notice)) else { return };
    let name = router.config.name();
    match notice {
        Notice::IntervalDiffers(advert) => warn!(
            router = %name, master = %advert.source, theirs = %advert.interval, ours = %router.config.interval,
            more = untold, "the master's interval is not ours"
        ),
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
    }
}
