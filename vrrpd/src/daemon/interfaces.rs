//! Reports of the netlink thread: interfaces appear, change and disappear, and other programs remove what a Master has
//! there.

use std::io;
use std::net::IpAddr;

use tracing::error;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::engine::Concerned;
use vrrpd_engine::interface::Remover;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::link::{LoadStep, OpenStep};
use super::{Aside, Daemon};
use crate::clock;
use crate::config::Datapath;
use crate::datapath::closing;
use crate::datapath::loaded::{Loaded, Site};
use crate::datapath::object::Need;
use crate::datapath::own_mac::{OwnMacChange, OwnMacChanged};
use crate::datapath::refusal::Refusal;
use crate::datapath::vlans;
use crate::interface::Interface;
use crate::interface::service::Report;
use crate::sys::packet::RingSocket;

/// Interval of attempts to open an interface.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How long opening a new interface may wait for kernel memory.
const ASIDE: Duration = Duration::from_secs(1);

impl Daemon {
    /// Handles a report of the netlink thread.
    pub(super) fn report(&mut self, report: Report) {
        self.note_tracked(&report);
        match report {
            Report::Changed(interface) => self.interface_is(interface, None),
            Report::Removed(interface) => self.interface_gone(&interface),
            Report::Lost(interface, address, remover) => {
                self.interface_is(interface, Some((address, remover)));
            }
            Report::Followed(name) => self.reload.followed(&name),
            Report::RoutingLost => self.input(Input::RoutingLost),
            Report::Done(ticket, outcome) => self.input(Input::Answered(ticket, outcome)),
        }
    }

    /// Handles the state of an interface, from which this address was removed by another program, if any.
    fn interface_is(&mut self, interface: Interface, lost: Option<(IpAddr, Remover)>) {
        let holders = lost.map_or_else(Vec::new, |(address, _)| self.engine.holders(&interface, address));
        let tell_of_loss = |daemon: &mut Self, id: RouterId| {
            if let Some((address, remover)) = lost.filter(|_| holders.contains(&id)) {
                daemon.input(Input::AddressLost(id, address, remover));
            }
        };
        if self.others.note(&interface.name, Some(&interface)) {
            for id in self.engine.routers_elsewhere(&interface.name) {
                tell_of_loss(self, id);
                self.input(Input::OtherInterface(
                    id,
                    interface.name.clone(),
                    Some(Box::new(interface.clone())),
                ));
            }
        }
        match self.engine.concerned(&interface) {
            Some(Concerned::Router(id)) if lost.is_some() => tell_of_loss(self, id),
            Some(Concerned::Router(id)) => self.input(Input::MacvlanIs(id, Box::new(interface))),
            Some(Concerned::Link(id)) => {
                self.link_changed(id, &interface);
                for router in self.engine.routers_on(id) {
                    tell_of_loss(self, router);
                }
            }
            None => {}
        }
    }

    /// Handles that an interface is gone.
    fn interface_gone(&mut self, interface: &Interface) {
        if self.others.note(&interface.name, None) {
            for id in self.engine.routers_elsewhere(&interface.name) {
                self.input(Input::OtherInterface(id, interface.name.clone(), None));
            }
        }
        match self.engine.concerned(interface) {
            Some(Concerned::Router(id)) => self.input(Input::MacvlanGone(id)),
            Some(Concerned::Link(id)) => self.link_removed(id, interface.index),
            None => {}
        }
    }

    /// Handles the state of an interface; opens it first if routers need it.
    pub(super) fn link_changed(&mut self, id: LinkId, interface: &Interface) {
        if self.engine.routers_on(id).is_empty() {
            return self.input(Input::LinkIs(id, Box::new(interface.clone())));
        }
        let Some(link) = self.links.get_mut(id) else { return };
        let was_open = match link.arrives(interface) {
            OpenStep::IsOpen => true,
            OpenStep::Wait => return,
            OpenStep::Load => {
                let (routers, wanted) = ((link.router_count(), self.engine.routers().len()), link.wanted);
                let site = link.site(interface);
                return self.spawn_loading(id, wanted, routers, Some(site));
            }
            OpenStep::Attach(program) => {
                let site = link.site(interface);
                return self.spawn_program(id, "attaching", move || program.onto(&site));
            }
            OpenStep::Open(program) => {
                if let Err(error) = link.open(id, interface, program, &self.readiness) {
                    // The interface is gone again; its notification follows.
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
        let has_new_vlans = link.is_in_kernel() && !link.sees_tags() && vlans::are_on(&link.name);
        if !was_open {
            self.note_kernel(id);
        }
        if has_new_vlans {
            self.give_up_kernel(id, Refusal::NewVlans);
            if self.links.get(id).is_some_and(|link| link.wanted == Datapath::Xdp) {
                // A classifier is attached later.
                self.input(Input::ReturnLater(id));
            }
        }
        if !was_open || self.engine.interface(id) != Some(interface) {
            self.input(Input::LinkIs(id, Box::new(interface.clone())));
        }
    }

    /// Opens interfaces that could not be opened before; a temporary obstacle may be gone.
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

    /// Loads the program of an interface in another thread, so that routers on other interfaces can send meanwhile.
    /// `routers` is the number on this interface, `in_all` that of the process. Also attaches the program to the interface
    /// `onto`, if given.
    pub(super) fn spawn_loading(
        &mut self,
        id: LinkId,
        wanted: Datapath,
        (routers, in_all): (usize, usize),
        onto: Option<Site>,
    ) {
        let (objects, keeper) = (self.objects.clone(), self.guardian.keeper().clone());
        let need = Need { wanted, routers, in_all, patience: ASIDE };
        self.spawn_program(id, "loading", move || {
            let loaded = Loaded::load(need, objects, keeper)?;
            match onto {
                Some(site) => loaded.onto(&site),
                None => Ok(loaded),
            }
        });
    }

    /// Attaches, in another thread, programs that were loaded for new routers, for the data paths that `of` accepts;
    /// returns whether there are any.
    pub(super) fn attach_programs(&mut self, of: impl Fn(Datapath) -> bool) -> bool {
        self.take_off_programs();
        let engine = &self.engine;
        let attaching = self.links.iter_mut().filter_map(|(id, link)| {
            link.begin_attaching(engine.interface(id), &of).map(|program| (id, program))
        });
        let attaching: Vec<_> = attaching.collect();
        let are_some = !attaching.is_empty();
        for (id, (loaded, site)) in attaching {
            self.spawn_program(id, "attaching", move || loaded.onto(&site));
        }
        are_some
    }

    /// Does something with the program of an interface in another thread.
    fn spawn_program(
        &self,
        id: LinkId,
        doing: &str,
        job: impl FnOnce() -> Result<Loaded, Refusal> + Send + 'static,
    ) {
        let (done, lane) = (self.aside_in.clone(), self.lanes.programs.clone());
        let what = format!("{doing} the program for {}", self.links.get(id).map_or("", |link| &link.name));
        tokio::task::spawn_local(async move {
            let loaded = lane.run(what, job).await.unwrap_or_else(|error| Err(error.into()));
            // The receiver is gone when the daemon ends.
            let _ = done.send((id, Aside::Loaded(loaded)));
        });
    }

    /// Handles a loaded program.
    pub(super) fn loaded(&mut self, id: LinkId, program: Result<Loaded, Refusal>) {
        let Some(link) = self.links.get_mut(id) else { return };
        match link.loaded(program) {
            LoadStep::Keep => {}
            LoadStep::Open(interface) => self.link_changed(id, &interface),
            LoadStep::PutBack(program) => self.put_program_back(id, program),
        }
    }

    /// Makes the rings of sockets that were opened, in other threads: the kernel waits for all processors.
    pub(super) fn make_rings(&mut self) {
        for (id, link) in self.links.iter_mut() {
            for (family, order) in link.begin_rings() {
                let done = self.aside_in.clone();
                closing::aside("ring", move || {
                    // The receiver is gone when the daemon ends.
                    let _ = done.send((id, Aside::Ring((order.index(), family), order.make())));
                });
            }
        }
    }

    /// Uses a ring that was made.
    pub(super) fn put_ring(&mut self, id: LinkId, on: (u32, usize), ring: io::Result<RingSocket>) {
        if let Some(link) = self.links.get_mut(id) {
            link.put_ring(id, on, ring, &self.readiness);
        }
    }

    fn link_removed(&mut self, id: LinkId, index: u32) {
        if let Some(link) = self.links.get_mut(id) {
            link.path.removed(index);
        }
        self.input(Input::LinkGone(id, index));
    }

    /// Closes an interface that is gone. The kernel then loses its commands for the routers there.
    pub(super) fn close(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let remaining = link.gone();
        self.change_own_mac(id, remaining);
        self.note_kernel(id);
        self.engine.handle(clock::moment(), Input::KernelForgot(id));
    }

    /// Makes interfaces that get a virtual MAC address accept frames to their own one as well.
    pub(super) fn keep_own_macs(&mut self) {
        for (id, change) in self.own_mac_changes() {
            self.change_own_mac(id, Some(change));
        }
    }

    /// The changes that this needs.
    pub(super) fn own_mac_changes(&mut self) -> Vec<(LinkId, OwnMacChange)> {
        let mut changes = Vec::new();
        for (id, link) in self.links.iter_mut() {
            if let Some(interface) = self.engine.interface(id) {
                let own = self.engine.own_mac_to_keep(id);
                changes.extend(link.keep_own_mac(interface.index, own).map(|change| (id, change)));
            }
        }
        changes
    }

    /// Makes the change in another thread, after earlier ones.
    pub(super) fn change_own_mac(&mut self, id: LinkId, change: Option<OwnMacChange>) {
        let Some(change) = change else { return };
        let (before, done) = (self.own_macs_changed.remove(&id), self.aside_in.clone());
        let (lane, name) = (self.lanes.macs.clone(), self.links.get(id).map_or("", |link| &link.name));
        let what = format!("making {name} accept frames to its own MAC address");
        let changing = tokio::task::spawn_local(async move {
            // An earlier change that panicked has ended, too.
            if let Some(before) = before {
                let _ = before.await;
            }
            if let Ok(Some(changed)) = lane.run(what, move || change.carry_out()).await {
                // The receiver is gone when the daemon ends.
                let _ = done.send((id, Aside::OwnMac(changed)));
            }
        });
        self.own_macs_changed.insert(id, changing);
    }

    /// Handles the result of such a change.
    pub(super) fn own_mac_changed(&mut self, id: LinkId, changed: OwnMacChanged) {
        if let Some(link) = self.links.get_mut(id) {
            let superseded = link.own_mac_changed(self.engine.interface(id), changed);
            self.change_own_mac(id, superseded);
            self.tell_stations(id);
        }
    }
}
