//! Routers whose adverts are handled in the kernel: it is told of every role, and its news become events.
//!
//! The state machine here and [`vrrpd_common::watch`] there reckon by the same rules. What the kernel has heard is fed
//! to the machine with the time at which it came, so both have the same deadline; the kernel watches it, and no timer
//! of ours runs for a Backup. While its master lives the kernel says nothing, so the machine is told what was heard before
//! anything else happens to it. [`vrrpd_common::watch`] says which races there are and who wins.
//!
//! Cards take the tag of a VLAN out of a frame and hand it on beside it, where a program does not see it. The interface is
//! left to raw sockets, which do, when it has VLANs, or when an advert comes from a subnet that is not on it.
//!
//! To a member of a group that would be Master if the others were ready, the kernel gives the role Master: there is no
//! deadline, and adverts are reported also if they say what the last one said, however long ago.
//!
//! A router with an Authentication Header is not among them: of it the kernel is only told that it is there, so that
//! adverts without that header are discarded and counted. It has the role Init there, whatever its state.

use std::net::IpAddr;

use tracing::{error, warn};
use vrrpd_common::abi::{self, EventKind, RouterRecord, slot};
use vrrpd_common::router::{Event, StateName};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::kernel::{Circumstances, KernelSide, Tell, Told};
use vrrpd_engine::{LinkId, RouterId};

use super::instance::Instance;
use super::link::Link;
use super::{Daemon, act};
use crate::clock;
use crate::datapath::refusal::Refusal;

/// Events taken at one go; an expiry of every router of an interface fits into the ring, and comes again if it must.
const MAX_EVENTS: usize = 1024;
/// How often it is looked whether programs are where they were put, while the daemon is awake for something else.
const LOOK_AFTER: Duration = Duration::from_secs(1);

impl Daemon {
    /// Handles what the kernel reports of an interface.
    pub(super) fn kernel_reports(&mut self, link: LinkId) {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.links.get_mut(link).and_then(|link| link.kernel()?.event()) else {
                return;
            };
            let router = abi::router_at(event.slot.into())
                .and_then(|(family, vrid)| self.links.get(link)?.table.router(family, vrid));
            let (Some(id), Some(kind)) = (router, event.kind()) else { continue };
            self.hear_kernel(id);
            match kind {
                EventKind::Advert => {}
                // Nothing was heard of the master, nor of anybody else.
                EventKind::Expired if !self.has_program(link) => return self.program_is_gone(link),
                // Void if an advert came after it: the machine's deadline is in the future by now.
                EventKind::Expired => self.event(id, Event::Timer, None),
            }
        }
    }

    /// The take-over of a Backup was held although the kernel had said that its time is up, and is not any more.
    pub(super) fn hold_is_over(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let link = router.link;
        // Not again, whatever comes of it.
        if let Some(at) = router.scheduled.take() {
            self.deadlines.remove(&(at, id));
        }
        self.hear_kernel(id);
        if !self.has_program(link) {
            return self.program_is_gone(link);
        }
        self.event(id, Event::Timer, None);
    }

    /// Feeds the state machine with the adverts that the kernel has noted since.
    pub(super) fn hear_kernel(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id) else { return };
        let (family, vrid, link_id) = (router.config.family, router.config.vrid, router.link);
        let Some(link) = self.links.get(link_id) else { return };
        let now = clock::now();
        let Some(record) = link.kernel_record(family, vrid) else { return };
        if let Some(router) = self.routers.get_mut(id) {
            router.kernel.read(now);
        }
        self.say_discarded(id, now, &record);
        match self.hear(id, &record) {
            Hearing::Nothing => {}
            Hearing::Something => self.correct_kernel(id, &record),
            Hearing::OtherSubnet(source) => {
                let Some(link) = self.links.get_mut(link_id) else { return };
                let pause = link.path.begin_absence(now);
                self.give_up_kernel(link_id, Refusal::OtherSubnet { source_address: source, pause });
                // Who else was heard meanwhile cannot be told.
                self.listen_again(id);
            }
        }
    }

    /// Feeds the state machine with what a record holds, in the order in which it came.
    fn hear(&mut self, id: RouterId, record: &RouterRecord) -> Hearing {
        let mut result = Hearing::Nothing;
        for heard in record.in_order() {
            let Some(router) = self.routers.get_mut(id) else { break };
            if !router.kernel.is_new(heard.at) {
                continue;
            }
            let number = slot(router.config.family, router.config.vrid);
            let Some((at, advert)) = heard.advert(number) else { continue };
            if !self.links.get(router.link).is_some_and(|link| is_on_link(link, router, advert.source)) {
                // One that neither puts a deadline off nor makes a Master yield does no harm where it does not belong.
                if [record.followed.at, record.resigned.at].contains(&heard.at) {
                    result = Hearing::OtherSubnet(advert.source);
                }
                continue;
            }
            if result == Hearing::Nothing {
                result = Hearing::Something;
            }
            self.event_at(id, at, Event::Advert(advert), None);
        }
        result
    }

    /// Tells the kernel the deadline of a Backup when it has another one than the state machine, which knows all that is in
    /// this record by now: an advert that came just before a command never brings its deadline forward.
    fn correct_kernel(&mut self, id: RouterId, record: &RouterRecord) {
        if let Some(now) = self.to_tell(id).filter(|now| now.corrects(record)) {
            self.command_kernel(id, now);
        }
    }

    /// Says how many adverts the kernel has discarded since it was said last, each reason at most once a second.
    fn say_discarded(&mut self, id: RouterId, now: Instant, record: &RouterRecord) {
        let Some(router) = self.routers.get_mut(id) else { return };
        if let Some((at, source, why)) = record.refused.rejection(router.config.family) {
            let warning = router.mismatches.rejected(&router.config, at, source, why);
            act::warn_of_mismatch(&router.config, warning);
        }
        let Some(link) = self.links.get_mut(router.link) else { return };
        let config = &router.config;
        router.kernel.discarded(&record.rejected, |reject, count| {
            let may_say = link.may_say_rejected(now, id, reject);
            if may_say {
                warn!(router = %config.name(), check = reject.name(), count, "adverts were discarded in the kernel");
            }
            may_say
        });
    }

    /// Tells the kernel what has changed; after that, what it heard meanwhile is gone through.
    ///
    /// `after` is the event that the router has just handled.
    pub(super) fn tell_kernel(&mut self, id: RouterId, after: Event) {
        let Some(now) = self.to_tell(id) else { return };
        let Some(router) = self.routers.get_mut(id) else { return };
        match router.kernel.tell(now, matches!(after, Event::Advert(_))) {
            Tell::Nothing => {}
            Tell::All => {
                if self.tell_virtual_addresses(id) {
                    self.command_kernel(id, now);
                }
            }
            Tell::Command => self.command_kernel(id, now),
        }
    }

    /// Tells the kernel all that it has to know of a router, whatever it was told before.
    pub(super) fn tell_kernel_all(&mut self, id: RouterId) {
        match self.routers.get(id).map(|router| router.kernel.is_told()) {
            Some(true) => {
                if let Some(now) = self.to_tell(id) {
                    self.command_kernel(id, now);
                }
            }
            Some(false) => self.tell_kernel(id, Event::Timer),
            None => {}
        }
    }

    /// An advert came by raw sockets while the program is to be put back: not yet, if it is from another subnet.
    pub(super) fn note_subnet(&mut self, id: RouterId, source: IpAddr) {
        let Some(router) = self.routers.get(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        if !is_on_link(link, router, source) {
            link.path.prolong_absence(clock::now());
        }
    }

    /// Tells the kernel the virtual addresses of a router; `false`: it does not take them, and was given up.
    fn tell_virtual_addresses(&mut self, id: RouterId) -> bool {
        let Some(router) = self.routers.get(id) else { return false };
        let (link_id, family, vrid) = (router.link, router.config.family, router.config.vrid);
        let told =
            self.links.get_mut(link_id).map_or(Ok(()), |link| link.tell_virtual_addresses(family, vrid));
        match told {
            Ok(()) => true,
            Err(refusal) => {
                self.give_up_kernel(link_id, refusal);
                false
            }
        }
    }

    /// Tells the kernel to which MAC addresses an interface takes in frames.
    pub(super) fn tell_stations(&mut self, link_id: LinkId) {
        let told = self.links.get_mut(link_id).map_or(Ok(()), Link::tell_stations);
        if let Err(refusal) = told {
            self.give_up_kernel(link_id, refusal);
        }
    }

    /// What the kernel has to know of a router; `None`: its adverts do not come by the kernel.
    fn to_tell(&self, id: RouterId) -> Option<Told> {
        let router = self.routers.get(id)?;
        let link = self.links.get(router.link).filter(|link| link.is_in_kernel())?;
        let expect = link.table.expected(router.config.family, router.config.vrid)?;
        let circumstances = Circumstances {
            is_verified_by_us: router.is_verified_by_us(),
            is_grouped: router.group.is_some(),
            preempts: router.config.preempt,
            passes_on: link.xdp_pass,
        };
        Some(Told::of(&router.machine, circumstances, &expect))
    }

    fn command_kernel(&mut self, id: RouterId, now: Told) {
        let Some(router) = self.routers.get(id) else { return };
        let link_id = router.link;
        let command = router.kernel.command(slot(router.config.family, router.config.vrid), now);
        let Some(kernel) = self.links.get_mut(link_id).and_then(Link::kernel) else { return };
        match kernel.command(command) {
            Ok(()) => self.hear_kernel(id),
            Err(refusal) => self.give_up_kernel(link_id, refusal),
        }
    }

    /// Has adverts of an interface come to user space, since the kernel cannot be relied on. What it has heard up to now
    /// counts.
    pub(super) fn give_up_kernel(&mut self, link_id: LinkId, why: Refusal) {
        let Some(link) = self.links.get_mut(link_id) else { return };
        let kernel = link.fall_back(link_id, why, &self.readiness).unwrap_or_else(|error| {
            error!(interface = link.name, %error, "raw sockets cannot be opened");
            None
        });
        for id in link.routers.clone() {
            let number = self.routers.get(id).map(|router| slot(router.config.family, router.config.vrid));
            if let Some(record) = kernel.as_ref().zip(number).and_then(|(kernel, slot)| kernel.record(slot))
                && let Hearing::OtherSubnet(_) = self.hear(id, &record)
            {
                self.listen_again(id);
            }
            self.schedule(id);
        }
        if let (Some(link), Some(kernel)) = (self.links.get_mut(link_id), &kernel) {
            link.carry_over(kernel);
        }
    }

    /// Looks from time to time whether programs are still where they were put, and what they have discarded.
    pub(super) fn look_after_programs(&mut self, now: Instant) {
        if now < self.programs_looked_after + LOOK_AFTER {
            return;
        }
        self.programs_looked_after = now;
        for link in self.links.ids().collect::<Vec<_>>() {
            if !self.has_program(link) {
                self.program_is_gone(link);
            }
            for id in self.links.get(link).map(|link| link.routers.clone()).unwrap_or_default() {
                let Some(router) = self.routers.get(id) else { continue };
                let (family, vrid) = (router.config.family, router.config.vrid);
                let record = self.links.get(link).and_then(|link| link.kernel_record(family, vrid));
                if let Some(record) = record {
                    self.say_discarded(id, now, &record);
                }
            }
        }
    }

    /// Whether the program of an interface is on it, if it has one.
    fn has_program(&mut self, link: LinkId) -> bool {
        let kernel = self.links.get_mut(link).and_then(Link::kernel);
        kernel.is_none_or(|kernel| kernel.is_attached())
    }

    /// Nothing was heard on an interface for a time that is not known.
    fn program_is_gone(&mut self, link: LinkId) {
        // With the interface it goes as well, of which a notification follows.
        let still_there = |link: &Link| link.interface.as_ref().is_some_and(|there| exists(there.index));
        if !self.links.get(link).is_some_and(still_there) {
            return;
        }
        self.give_up_kernel(link, Refusal::TakenOff);
        for id in self.links.get(link).map(|link| link.routers.clone()).unwrap_or_default() {
            self.listen_again(id);
        }
    }

    /// A Backup hears who is there before it acts. What has an Authentication Header was heard all the time.
    fn listen_again(&mut self, id: RouterId) {
        if self.routers.get(id).is_some_and(|router| {
            router.machine.state().name() == StateName::Backup && !router.is_verified_by_us()
        }) {
            self.event(id, Event::StoodStill, None);
        }
    }

    /// Whether the kernel watches the router's deadline.
    pub(super) fn kernel_watches(&self, id: RouterId) -> bool {
        self.routers.get(id).is_some_and(|router| {
            router.machine.state().name() == StateName::Backup
                && !router.is_verified_by_us()
                && self.links.get(router.link).is_some_and(Link::is_in_kernel)
        })
    }

    /// The kernel has forgotten everything: its program went with the interface.
    pub(super) fn forget_kernel(&mut self, link: LinkId) {
        for router in self.routers.values_mut() {
            if router.link == link {
                router.kernel = KernelSide::default();
            }
        }
    }
}

/// What a record held that the state machine had not been told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Nothing,
    Something,
    /// An advert that came from elsewhere, which the machine was not told of.
    OtherSubnet(IpAddr),
}

/// Whether adverts from this address may be expected on the interface: it is in a subnet of the interface, or of the
/// router's addresses. Nothing is known of an interface without addresses, nor of IPv6, where all have link-local ones.
fn is_on_link(link: &Link, router: &Instance, source: IpAddr) -> bool {
    let IpAddr::V4(source) = source else { return true };
    let Some(interface) = &link.interface else { return true };
    if !interface.addresses.iter().any(|there| there.address.is_ipv4()) {
        return true;
    }
    let own = interface.addresses.iter().map(|there| (there.address, there.prefix_len));
    let mut subnets =
        own.chain(router.config.addresses.iter().map(|there| (there.address, there.prefix_len)));
    subnets.any(|(address, prefix_len)| {
        let IpAddr::V4(address) = address else { return false };
        (address.to_bits() ^ source.to_bits()).leading_zeros() >= u32::from(prefix_len)
    })
}

/// Whether there is an interface of this number in our network namespace.
fn exists(index: u32) -> bool {
    nix::net::if_::if_indextoname(index).is_ok()
}
