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
use vrrpd_common::abi::{
    self, EventKind, KernelCommand, KernelConfig, KernelCounters, KernelRole, RouterRecord, flag, slot,
};
use vrrpd_common::router::{Event, State, StateName};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::{LinkId, RouterId};

use super::instance::Instance;
use super::link::Link;
use super::{Daemon, act};
use crate::clock;
use crate::datapath::RejectCounts;
use crate::datapath::refusal::Refusal;

/// Time between two reports of the kernel about one router that are not urgent: bounds what a flood of changing or lower
/// adverts costs. The record holds the newest state anyway.
const REPORT_SPACING: u64 = 500_000_000;
/// The same for a member of a group that is Master, or would be: the shortest interval of adverts. It may have to bear a
/// better master for some time, and to know at every advert whether that is still there.
const GROUP_REPORT_SPACING: u64 = 10_000_000;
/// Events taken at one go; an expiry of every router of an interface fits into the ring, and comes again if it must.
const MAX_EVENTS: usize = 1024;
/// How often it is looked whether programs are where they were put, while the daemon is awake for something else.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// What the kernel was told of a router, and what it told.
#[derive(Debug, Default)]
pub(super) struct KernelSide {
    /// Boxed: there is none without a program in the kernel.
    told: Option<Box<Told>>,
    /// Counts what adverts have to look like.
    generation: u32,
    /// The newest advert of the kernel's that the state machine has seen.
    fed_until: u64,
    /// When the record was read last.
    read_at: u64,
    /// Discarded adverts that were spoken of. Boxed: mostly there are none.
    rejected: Option<Box<KernelCounters>>,
}

impl KernelSide {
    /// The record is older than the router: of what was discarded before has been spoken.
    pub(super) fn begin_with(&mut self, record: &RouterRecord) {
        self.rejected = Some(Box::new(record.rejected));
    }
}

/// Everything that a command says, but for what numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    config: KernelConfig,
    deadline: u64,
    master_interval: u16,
}

impl Told {
    /// What adverts have to look like, without what they do to whom.
    fn looks(&self) -> KernelConfig {
        let role = u8::from(self.config.role != 0);
        let mut looks =
            KernelConfig { role, priority: 0, report_spacing: 0, max_learned_interval: 0, ..self.config };
        looks.set(flag::PREEMPT, false);
        looks
    }
}

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
            router.kernel.read_at = now.as_nanos();
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
            if heard.at <= router.kernel.fed_until {
                continue;
            }
            router.kernel.fed_until = heard.at;
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
        let is_backup = |role: u8| KernelRole::from_number(role) == KernelRole::Backup;
        if is_backup(record.role)
            && let Some(now) = self.to_tell(id)
            && is_backup(now.config.role)
            && now.deadline != record.deadline
        {
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
        if record.rejected == router.kernel.rejected.as_deref().copied().unwrap_or_default() {
            return;
        }
        let Some(link) = self.links.get_mut(router.link) else { return };
        let counted = RejectCounts::from(record.rejected);
        for ((reject, count), said) in
            counted.iter().zip(router.kernel.rejected.get_or_insert_default().iter_mut())
        {
            if count > *said && link.may_say_rejected(now, id, reject) {
                warn!(
                    router = %router.config.name(), check = reject.name(), count = count - *said,
                    "adverts were discarded in the kernel"
                );
                *said = count;
            }
        }
    }

    /// Tells the kernel what has changed; after that, what it heard meanwhile is gone through.
    ///
    /// `after` is the event that the router has just handled.
    pub(super) fn tell_kernel(&mut self, id: RouterId, after: Event) {
        let Some(now) = self.to_tell(id) else { return };
        let Some(router) = self.routers.get_mut(id) else { return };
        // An advert that the kernel has told us of has moved its deadline as it has moved ours.
        let moved_already = matches!(after, Event::Advert(_));
        let before = router.kernel.told.as_deref().copied();
        **router.kernel.told.get_or_insert_with(|| Box::new(now)) = now;
        if before.map(|before| before.looks()) != Some(now.looks()) {
            router.kernel.generation = router.kernel.generation.wrapping_add(1);
        }
        if before.is_none() && !self.tell_virtual_addresses(id) {
            return;
        }
        if before == Some(now) || (moved_already && before.map(|before| before.config) == Some(now.config)) {
            return;
        }
        self.command_kernel(id, now);
    }

    /// Tells the kernel all that it has to know of a router, whatever it was told before.
    pub(super) fn tell_kernel_all(&mut self, id: RouterId) {
        match self.routers.get(id).map(|router| router.kernel.told.is_some()) {
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
        let mut told = router.told(link.xdp_pass);
        told.config = told.config.expecting(&expect);
        Some(told)
    }

    fn command_kernel(&mut self, id: RouterId, now: Told) {
        let Some(router) = self.routers.get(id) else { return };
        let link_id = router.link;
        let command = KernelCommand {
            slot: slot(router.config.family, router.config.vrid),
            deadline: now.deadline,
            known_until: router.kernel.read_at,
            master_interval: now.master_interval,
            config: KernelConfig { generation: router.kernel.generation, ..now.config },
            ..KernelCommand::default()
        };
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

impl Instance {
    /// What the kernel has to know of the router now.
    fn told(&self, pass_on: bool) -> Told {
        let role = match self.machine.state().name() {
            _ if self.is_verified_by_us() => KernelRole::Init,
            StateName::Init | StateName::Fault => KernelRole::Init,
            // It has waited long enough, and any advert may change its mind, as with a Master.
            StateName::Backup if self.machine.is_willing() => KernelRole::Master,
            StateName::Backup => KernelRole::Backup,
            StateName::Master => KernelRole::Master,
        };
        let mut config = KernelConfig {
            addresses: self.machine.config().addresses.to_bits(),
            report_spacing: if self.group.is_some() && role == KernelRole::Master {
                GROUP_REPORT_SPACING
            } else {
                REPORT_SPACING
            },
            role: role as u8,
            priority: self.machine.priority().0,
            max_learned_interval: self.machine.config().max_learned_interval.as_centis(),
            ..KernelConfig::default()
        };
        config.set(flag::PREEMPT, self.config.preempt && !self.machine.forced_backup());
        config.set(flag::PASS_ON, pass_on);
        let deadline = match self.machine.state() {
            State::Backup(backup) if role == KernelRole::Backup => backup.master_down_at,
            State::Backup(_) | State::Initialize | State::Fault(_) | State::Master(_) => Instant::ZERO,
        };
        Told {
            config,
            deadline: deadline.as_nanos(),
            master_interval: self.machine.master_adver_interval().as_centis(),
        }
    }
}
