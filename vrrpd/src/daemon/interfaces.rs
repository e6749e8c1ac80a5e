//! What the netlink thread tells: interfaces come, change and go, and others take away what a Master has there.

use std::net::IpAddr;

use tracing::{error, warn};
use vrrpd_common::router::{Action, Event, StateName};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::interface::Remover;
use vrrpd_engine::router::Router;
use vrrpd_engine::vmac::VmacSide;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::link::{LoadStep, OpenStep};
use super::{Aside, Daemon, begin, log};
use crate::clock;
use crate::config::{VirtualAddress, VmacMode, Xdp};
use crate::datapath::own_mac::{OwnMacChange, OwnMacChanged};
use crate::datapath::program::Loaded;
use crate::datapath::refusal::Refusal;
use crate::datapath::vlans;
use crate::interface::Interface;
use crate::interface::service::Report;

/// When an interface that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How long an interface that comes may wait for the kernel to have memory at hand.
const ASIDE: Duration = Duration::from_secs(1);

impl Daemon {
    /// What the netlink thread says.
    pub(super) fn report(&mut self, report: Report) {
        self.note_tracked(&report);
        match report {
            Report::Changed(interface) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.vmac_link_changed(id, &interface);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                }
            }
            Report::Removed(interface) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.vmac_link_removed(id);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_removed(id, &interface);
                }
            }
            Report::Lost(interface, address, remover) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.address_lost(id, address, remover);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                    for router in self.links.get(id).map(|link| link.routers.clone()).unwrap_or_default() {
                        self.address_lost(router, address, remover);
                    }
                }
            }
            Report::Followed(name) => self.reload.followed(&name),
            Report::RoutingLost => self.routing_lost(),
            Report::Done(ticket, outcome) => self.done(ticket, outcome),
        }
    }

    pub(super) fn link_named(&self, name: &str) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(id, _)| id)
    }

    pub(super) fn link_changed(&mut self, id: LinkId, interface: &Interface) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.routers.is_empty() {
            link.interface = Some(interface.clone());
            return;
        }
        let was_open = match link.arrives(interface) {
            OpenStep::IsOpen => true,
            OpenStep::Wait => return,
            OpenStep::Load => {
                let (slots, wanted) = (link.slots(), link.xdp);
                return self.spawn_loading(id, slots, Some((interface.index, wanted)));
            }
            OpenStep::Open(program) => {
                if let Err(error) = link.open(id, interface, program, &self.readiness) {
                    // Gone again already: its own notification follows.
                    if error.raw_os_error() != Some(libc::ENODEV) {
                        error!(interface = link.name, %error, "cannot open interface, retrying");
                        link.path.failed(interface);
                        self.open_again_at = Some(clock::now() + OPEN_AGAIN);
                    }
                    return;
                }
                false
            }
        };
        if link.is_in_kernel() && vlans::are_on(&link.name) {
            self.give_up_kernel(id, Refusal::NewVlans);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        if was_open && link.interface.as_ref() == Some(interface) {
            return;
        }
        let came_up = interface.admin_up && link.interface.as_ref().is_none_or(|before| !before.admin_up);
        link.note_carrier(interface);
        let may_send_again = link.interface.as_ref().is_none_or(|before| {
            before.mtu != interface.mtu
                || interface.carrier && !before.carrier
                || interface.admin_up && !before.admin_up
        });
        let other_mac = link.interface.as_ref().is_none_or(|before| before.mac != interface.mac);
        let is_link_event = link
            .interface
            .as_ref()
            .is_some_and(|before| before.addresses == interface.addresses && before != interface);
        let has_news_beside = link.interface.as_ref().is_some_and(|before| before.beside != interface.beside);
        link.interface = Some(interface.clone());
        if came_up {
            link.join();
        }
        let routers = link.routers.clone();
        for id in &routers {
            if let Some(router) = self.engine.router_mut(*id) {
                let line = router.meet(interface);
                log::write(router, line);
            }
        }
        if may_send_again {
            link.mtu_is_known();
            for id in &routers {
                self.input(Input::MaySendAgain(*id));
            }
        }
        if has_news_beside {
            self.write_journal();
        }
        if other_mac {
            for id in &routers {
                if let Some(router) = self.engine.router_mut(*id) {
                    router.vmac.note_own(interface);
                }
            }
            self.write_journal();
            self.keep_own_macs();
            for router in &routers {
                self.tell_of_other_mac(*router);
            }
        }
        self.tell_stations(id);
        for router in routers {
            self.check_vmac(router);
            self.check_usable(router);
            self.check_presence(router);
            if is_link_event || has_news_beside {
                self.enforce_settings(router);
            }
        }
    }

    /// Opens interfaces that could not be opened before: something was lacking that may be there by now.
    pub(super) fn open_again(&mut self, now: Instant) {
        if self.open_again_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        for id in self.links.ids().collect::<Vec<_>>() {
            if let Some(interface) = self.links.get_mut(id).and_then(|link| link.path.again()) {
                self.link_changed(id, &interface);
            }
        }
    }

    /// Loads the program for an interface aside: routers on other interfaces have adverts to send. It also goes onto the
    /// interface of this number there, if one is given.
    pub(super) fn spawn_loading(&mut self, id: LinkId, slots: Vec<u32>, onto: Option<(u32, Xdp)>) {
        let (done, lane) = (self.aside_in.clone(), self.lanes.programs.clone());
        let keeper = self.guardian.keeper().clone();
        let what =
            format!("loading the XDP program for {}", self.links.get(id).map_or("", |link| &link.name));
        let job = move || {
            Loaded::load(slots, ASIDE, keeper).and_then(|loaded| match onto {
                Some((index, wanted)) => loaded.onto(index, wanted),
                None => Ok(loaded),
            })
        };
        tokio::task::spawn_local(async move {
            let loaded = lane.run(what, job).await.unwrap_or_else(|error| Err(error.into()));
            // Nobody listens when the daemon leaves.
            let _ = done.send((id, Aside::Loaded(loaded)));
        });
    }

    /// The program for an interface is there.
    pub(super) fn loaded(&mut self, id: LinkId, program: Result<Loaded, Refusal>) {
        let Some(link) = self.links.get_mut(id) else { return };
        match link.loaded(program) {
            LoadStep::Keep => {}
            LoadStep::Open(interface) => self.link_changed(id, &interface),
            LoadStep::PutBack(program) => self.put_program_back(id, program),
        }
    }

    pub(super) fn link_removed(&mut self, id: LinkId, gone: &Interface) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.path.removed(gone.index);
        if link.interface.as_ref().is_none_or(|interface| interface.index != gone.index) {
            return;
        }
        let remaining = link.gone(&self.readiness);
        let routers = link.routers.clone();
        self.change_own_mac(id, remaining);
        self.forget_kernel(id);
        for router in routers {
            self.check_usable(router);
            self.discard_stranded(router);
        }
    }

    /// An address has gone from where a router has its addresses. A Master has it, so it goes back, also if another program had
    /// put it there before: at once if we have removed it ourselves, which the kernel may say when it is there again.
    pub(super) fn address_lost(&mut self, id: RouterId, address: IpAddr, remover: Remover) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let pending = router.waiting.as_mut().filter(|pending| pending.order.takes(address));
        let is_being_taken = pending.is_some();
        if let Some(pending) = pending {
            pending.lost.push((address, remover));
        }
        let another_s = router.another_s(address).filter(|_| remover == Remover::Other);
        if another_s.is_some() {
            // It will be ours.
            self.write_journal();
        }
        let Some(router) = self.engine.router_mut(id) else { return };
        if !router.is_holding() {
            return;
        }
        if router.ledger.is_owned(address) {
            return self.take_again(id);
        }
        let lost = router.ledger.lose(address).or(another_s.filter(|_| !is_being_taken));
        let Some(lost) = lost else { return };
        if remover == Remover::Us {
            return self.take_now(id);
        }
        if let Some(more) = router.losses.admit(clock::now(), address) {
            warn!(router = %router.config.title(), address = %lost, more, "virtual address lost, restoring");
        }
        self.take_again(id);
    }

    /// The router whose macvlan link this is.
    pub(super) fn router_of_link(&self, interface: &Interface) -> Option<RouterId> {
        interface.vmac_of.as_ref()?;
        self.engine
            .routers()
            .iter()
            .find(|(_, router)| router.ledger.link() == Some(interface.index))
            .map(|(id, _)| id)
    }

    pub(super) fn vmac_link_changed(&mut self, id: RouterId, interface: &Interface) {
        let Some(router) = self.engine.router_mut(id) else { return };
        if !router.is_settled_master() {
            return;
        }
        if !interface.admin_up {
            warn!(router = %router.config.title(), link = interface.name, "macvlan link down, setting it up");
            // The kernel has forgotten IPv6 addresses with that; those that it has not are found to be there.
            router.ledger.forget_addresses();
        } else if !router.vmac.is_on(interface) {
            warn!(
                router = %router.config.title(), link = interface.name,
                "MAC address of macvlan link changed, restoring"
            );
        } else {
            return;
        }
        self.take_again(id);
    }

    pub(super) fn vmac_link_removed(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let was_master = router.is_settled_master();
        router.ledger.link_gone();
        if was_master {
            warn!(router = %router.config.title(), "macvlan link lost, recreating");
            self.take_again(id);
        } else if router.waiting.is_none() && router.machine.state().name() != StateName::Init {
            // Its alias was to say how the settings of the interface below were; so it is there until we leave.
            self.prepare_vmac(id);
        }
    }

    /// Puts in force again what a Master has to have: at once, or after a while where somebody takes it away again and
    /// again.
    pub(super) fn take_again(&mut self, id: RouterId) {
        let now = clock::now();
        let Some(router) = self.engine.router_mut(id) else { return };
        self.to_put_back.entry(id).or_insert_with(|| router.back_off.again_at(now));
        self.put_back(now);
    }

    /// Others have removed routes or rules with our protocol number: whose, the kernel says when they are added again.
    fn routing_lost(&mut self) {
        let now = clock::now();
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            let Some(router) = self.engine.router_mut(id) else { continue };
            if router.is_holding() && router.ledger.has_any_routing() {
                self.to_put_back.entry(id).or_insert_with(|| router.back_off.again_at(now));
            }
        }
        self.put_back(now);
    }

    /// Puts back what is due.
    pub(super) fn put_back(&mut self, now: Instant) {
        let due: Vec<_> = self.to_put_back.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            if self.engine.router(id).is_some_and(Router::is_holding) {
                self.take_now(id);
            }
        }
    }

    pub(super) fn take_now(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let interface = self.links.get(router.link).and_then(|link| link.interface.as_ref());
        if interface.is_some_and(|interface| router.lacks_only_routing(interface)) {
            router.enqueue(Action::TakeAddresses);
        } else {
            router.take_again();
        }
        self.input(Input::Act(id));
    }

    /// Has interfaces that get a virtual MAC address take in frames to their own one as well.
    pub(super) fn keep_own_macs(&mut self) {
        for (id, change) in self.own_mac_changes() {
            self.change_own_mac(id, Some(change));
        }
    }

    /// What is to be done for that.
    pub(super) fn own_mac_changes(&mut self) -> Vec<(LinkId, OwnMacChange)> {
        let mut changes = Vec::new();
        for (id, link) in self.links.iter_mut() {
            let of_link = |router: &&Router| router.link == id;
            let own = self.engine.routers().values().filter(of_link).find_map(|router| router.vmac.own_mac());
            changes.extend(link.keep_own_mac(own).map(|change| (id, change)));
        }
        changes
    }

    /// Does it aside, behind what was to be done before.
    pub(super) fn change_own_mac(&mut self, id: LinkId, change: Option<OwnMacChange>) {
        let Some(change) = change else { return };
        let (before, done) = (self.own_macs_changed.remove(&id), self.aside_in.clone());
        let (lane, name) = (self.lanes.macs.clone(), self.links.get(id).map_or("", |link| &link.name));
        let what = format!("having {name} take in frames to its own MAC address");
        let changing = tokio::task::spawn_local(async move {
            // One that panicked is over as well.
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Ok(Some(changed)) = lane.run(what, move || change.carry_out()).await {
                // Nobody listens when the daemon leaves.
                let _ = done.send((id, Aside::OwnMac(changed)));
            }
        });
        self.own_macs_changed.insert(id, changing);
    }

    /// That has been done.
    pub(super) fn own_mac_changed(&mut self, id: LinkId, changed: OwnMacChanged) {
        if let Some(link) = self.links.get_mut(id) {
            let superseded = link.own_mac_changed(changed);
            self.change_own_mac(id, superseded);
            self.tell_stations(id);
        }
    }

    /// Whoever manages links may have set what decides who answers for the addresses on a macvlan link, and with what.
    pub(super) fn enforce_settings(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let has_others_beside = link.interface.as_ref().is_some_and(|there| !there.beside.is_empty());
        if router.is_settled_master() && (router.vmac.mode() == VmacMode::Macvlan || has_others_beside) {
            router.enqueue(Action::TakeAddresses);
            self.input(Input::Act(id));
        }
    }

    /// Somebody may have given the interface another MAC address while a router had the virtual one there.
    pub(super) fn check_vmac(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let Some(interface) = self.links.get(router.link).and_then(|link| link.interface.as_ref()) else {
            return;
        };
        if router.is_settled_master() && router.ledger.has_lost_mac(interface) {
            warn!(
                router = %router.config.title(), interface = interface.name,
                "MAC address of the interface changed, restoring"
            );
            self.take_again(id);
        } else if router.is_settled_master()
            && VmacSide::owns_others(&router.config, interface, &router.ledger)
        {
            self.take_again(id);
        }
    }

    /// Hosts and peers learn at once of another MAC address of the interface that a Master without a virtual one answers with.
    fn tell_of_other_mac(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        if !router.is_holding() || router.ledger.vmac().is_some() {
            return;
        }
        let priority = router.machine.priority();
        router.enqueue(Action::SendAdvert(priority));
        router.enqueue(Action::AnnounceAddresses);
        // The guardian would resign with the old one.
        self.untold.insert(id);
        self.input(Input::Act(id));
    }

    /// Says once of a router that is not Master that the interface has addresses of it all the same.
    pub(super) fn check_presence(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let Some(link) = self.links.get(router.link) else { return };
        let present = router.addresses_present(link.interface.as_ref());
        if !present.is_empty() && !router.presence_said {
            let addresses: Vec<_> = present.iter().map(VirtualAddress::to_string).collect();
            warn!(
                router = %router.config.title(), addresses = addresses.join(" "),
                "virtual address present on a router that is not master"
            );
        }
        router.presence_said = !present.is_empty();
    }

    /// Tells a router when its interface has become usable or unusable, or has another address to send from.
    pub(super) fn check_usable(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        if router.is_changing_mac() {
            // The interface may be down for that; it is looked at when that is done.
            return;
        }
        let usable = begin::usable(router, link);
        if router.machine.interface() == usable {
            return;
        }
        let family = router.config.family;
        let is_used = |other: &RouterId| {
            let other = self.engine.router(*other);
            other.is_some_and(|other| other.config.family == family && other.machine.source().is_some())
        };
        if usable.is_ok() && !link.routers.iter().any(is_used) {
            link.rejoin(family);
        }
        if let Some(handles) = self.handles.get(id) {
            begin::expect(router, &handles.authentication, id, link, usable.ok());
        }
        self.event(id, usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp), None);
    }
}
