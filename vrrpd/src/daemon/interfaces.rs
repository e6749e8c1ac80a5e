//! What the netlink thread tells: interfaces come, change and go, and others take away what a Master has there.

use tracing::{error, info, warn};
use vrrpd_common::router::{Action, StateName};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::router::Router;
use vrrpd_engine::vmac::VmacSide;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::link::{LoadStep, OpenStep};
use super::{Aside, Daemon, log};
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
                } else if let Some(id) = self.engine.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                }
            }
            Report::Removed(interface) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.vmac_link_removed(id);
                } else if let Some(id) = self.engine.link_named(&interface.name) {
                    self.link_removed(id, &interface);
                }
            }
            Report::Lost(interface, address, remover) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.input(Input::AddressLost(id, address, remover));
                } else if let Some(id) = self.engine.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                    for router in self.engine.routers_on(id) {
                        self.input(Input::AddressLost(router, address, remover));
                    }
                }
            }
            Report::Followed(name) => self.reload.followed(&name),
            Report::RoutingLost => self.input(Input::RoutingLost),
            Report::Done(ticket, outcome) => self.input(Input::Answered(ticket, outcome)),
        }
    }

    pub(super) fn link_changed(&mut self, id: LinkId, interface: &Interface) {
        let (Some(there), Some(link)) = (self.engine.link_mut(id), self.links.get_mut(id)) else { return };
        if there.routers.is_empty() {
            there.interface = Some(interface.clone());
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
                    return self.note_kernel(id);
                }
                false
            }
        };
        let has_new_vlans = link.is_in_kernel() && vlans::are_on(&link.name);
        if !was_open {
            self.note_kernel(id);
        }
        if has_new_vlans {
            self.give_up_kernel(id, Refusal::NewVlans);
        }
        let (Some(there), Some(link)) = (self.engine.link_mut(id), self.links.get_mut(id)) else { return };
        if was_open && there.interface.as_ref() == Some(interface) {
            return;
        }
        let came_up = interface.admin_up && there.interface.as_ref().is_none_or(|before| !before.admin_up);
        if there.assumes_carrier(interface) {
            info!(interface = there.name, "carrier state unknown, assuming up");
        }
        let may_send_again = there.interface.as_ref().is_none_or(|before| {
            before.mtu != interface.mtu
                || interface.carrier && !before.carrier
                || interface.admin_up && !before.admin_up
        });
        let other_mac = there.interface.as_ref().is_none_or(|before| before.mac != interface.mac);
        let is_link_event = there
            .interface
            .as_ref()
            .is_some_and(|before| before.addresses == interface.addresses && before != interface);
        let has_news_beside =
            there.interface.as_ref().is_some_and(|before| before.beside != interface.beside);
        there.interface = Some(interface.clone());
        let routers = there.routers.clone();
        if may_send_again {
            there.mtu_is_known();
        }
        if came_up {
            link.join();
        }
        for id in &routers {
            if let Some(router) = self.engine.router_mut(*id) {
                let line = router.meet(interface);
                log::write(router, line);
            }
        }
        if may_send_again {
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
            self.input(Input::CheckUsable(router));
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
        let (Some(there), Some(link)) = (self.engine.link_mut(id), self.links.get_mut(id)) else { return };
        link.path.removed(gone.index);
        if there.interface.take_if(|interface| interface.index == gone.index).is_none() {
            return;
        }
        let remaining = link.gone(&self.readiness);
        let routers = there.routers.clone();
        self.change_own_mac(id, remaining);
        self.note_kernel(id);
        self.engine.handle(clock::moment(), Input::KernelForgot(id));
        for router in routers {
            self.input(Input::CheckUsable(router));
            self.input(Input::DiscardStranded(router));
        }
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
        self.input(Input::TakeAgain(id));
    }

    pub(super) fn vmac_link_removed(&mut self, id: RouterId) {
        let Some(router) = self.engine.router_mut(id) else { return };
        let was_master = router.is_settled_master();
        router.ledger.link_gone();
        if was_master {
            warn!(router = %router.config.title(), "macvlan link lost, recreating");
            self.input(Input::TakeAgain(id));
        } else if router.waiting.is_none() && router.machine.state().name() != StateName::Init {
            // Its alias was to say how the settings of the interface below were; so it is there until we leave.
            self.input(Input::Prepare(id));
        }
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
            if let Some(interface) = self.engine.interface(id) {
                changes.extend(link.keep_own_mac(interface.index, own).map(|change| (id, change)));
            }
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
            let superseded = link.own_mac_changed(self.engine.interface(id), changed);
            self.change_own_mac(id, superseded);
            self.tell_stations(id);
        }
    }

    /// Whoever manages links may have set what decides who answers for the addresses on a macvlan link, and with what.
    pub(super) fn enforce_settings(&mut self, id: RouterId) {
        let Some((router, link)) = self.engine.router_on_link(id) else { return };
        let has_others_beside = link.interface.as_ref().is_some_and(|there| !there.beside.is_empty());
        if router.is_settled_master() && (router.vmac.mode() == VmacMode::Macvlan || has_others_beside) {
            router.enqueue(Action::TakeAddresses);
            self.input(Input::Act(id));
        }
    }

    /// Somebody may have given the interface another MAC address while a router had the virtual one there.
    pub(super) fn check_vmac(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let Some(interface) = self.engine.interface(router.link) else { return };
        if router.is_settled_master() && router.ledger.has_lost_mac(interface) {
            warn!(
                router = %router.config.title(), interface = interface.name,
                "MAC address of the interface changed, restoring"
            );
            self.input(Input::TakeAgain(id));
        } else if router.is_settled_master()
            && VmacSide::owns_others(&router.config, interface, &router.ledger)
        {
            self.input(Input::TakeAgain(id));
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
        let Some((router, link)) = self.engine.router_on_link(id) else { return };
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
}
