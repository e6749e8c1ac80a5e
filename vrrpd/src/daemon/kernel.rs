//! Routers whose adverts are handled in the kernel: it is told of every role, and its news become events.
//!
//! The state machine here and [`vrrpd_common::watch`] there reckon by the same rules. What the kernel has heard is fed
//! to the machine with the time at which it came, so both have the same deadline; the kernel watches it, and no timer
//! of ours runs for a Backup. [`vrrpd_common::watch`] says which races there are and who wins.
//!
//! To a member of a group that would be Master if the others were ready, the kernel gives the role Master: there is no
//! deadline, and adverts are reported also if they say what the last one said, however long ago.
//!
//! A router with an Authentication Header is not among them: of it the kernel is only told that it is there, so that
//! adverts without that header are discarded and counted. It has the role Init there, whatever its state.

use tracing::error;
use vrrpd_common::Instant;
use vrrpd_common::abi::{self, Command, EventKind, Role, RouterConfig, flag, slot};
use vrrpd_common::router::{Event, State, StateName};

use super::Daemon;
use super::instance::Instance;
use super::link::LinkId;
use crate::clock;
use crate::datapath::RouterId;
use crate::datapath::program::Refusal;

/// Time between two reports of the kernel about one router that are not urgent: bounds what a flood of changing or lower
/// adverts costs. The record holds the newest state anyway.
const REPORT_SPACING: u64 = 500_000_000;
/// The same for a member of a group that is Master, or would be: the shortest interval of adverts. It may have to bear a
/// better master for some time, and to know at every advert whether that is still there.
const GROUP_REPORT_SPACING: u64 = 10_000_000;
/// Events taken at one go; an expiry of every router of an interface fits into the ring, and comes again if it must.
const MOST_EVENTS: usize = 1024;

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
}

/// Everything that a command says, but for what numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    config: RouterConfig,
    deadline: u64,
    master_interval: u16,
}

impl Told {
    /// What adverts have to look like, without what they do to whom.
    fn looks(&self) -> RouterConfig {
        let role = u8::from(self.config.role != 0);
        let mut looks = RouterConfig { role, priority: 0, report_spacing: 0, ..self.config };
        looks.set(flag::PREEMPT, false);
        looks
    }
}

impl Daemon {
    /// Handles what the kernel reports of an interface.
    pub(super) fn kernel_reports(&mut self, link: LinkId) {
        for _ in 0..MOST_EVENTS {
            let Some(event) = self.links.get_mut(link.0).and_then(|link| link.kernel()?.event()) else {
                return;
            };
            let router = abi::router_at(event.slot)
                .and_then(|(family, vrid)| self.links.get(link.0)?.table.router(family, vrid));
            let (Some(id), Some(kind)) = (router, event.kind()) else { continue };
            self.hear_kernel(id);
            match kind {
                EventKind::Advert => {}
                // Void if an advert came after it: the machine's deadline is in the future by now.
                EventKind::Expired => self.event(id, Event::Timer, None),
            }
        }
    }

    /// Feeds the state machine with the adverts that the kernel has noted since.
    pub(super) fn hear_kernel(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let (family, vrid) = (router.config.family, router.config.vrid);
        let Some(link) = self.links.get(router.link.0) else { return };
        let now = clock::now().as_nanos();
        let Some(record) = link.kernel_record(family, vrid) else { return };
        if let Some(router) = self.routers.get_mut(id.0) {
            router.kernel.read_at = now;
        }
        // In the order in which they came; they are the same when the last one was followed.
        for heard in [record.followed, record.heard] {
            let Some(router) = self.routers.get_mut(id.0) else { return };
            if heard.at <= router.kernel.fed_until {
                continue;
            }
            router.kernel.fed_until = heard.at;
            if let Some((at, advert)) = heard.advert(slot(family, vrid)) {
                self.event_at(id, at, Event::Advert(advert), None);
            }
        }
    }

    /// Tells the kernel what has changed; after that, what it heard meanwhile is gone through.
    ///
    /// `after` is the event that the router has just handled.
    pub(super) fn tell_kernel(&mut self, id: RouterId, after: Event) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let (family, vrid, link_id) = (router.config.family, router.config.vrid, router.link);
        let Some(link) = self.links.get_mut(link_id.0) else { return };
        let Some(expect) = link.table.expected(family, vrid) else { return };
        let pass_on = link.xdp_pass;
        let Some(kernel) = link.kernel() else { return };
        let mut now = router.told(pass_on);
        now.config = now.config.expecting(&expect);
        // An advert that the kernel has told us of has moved its deadline as it has moved ours.
        let moved_already = matches!(after, Event::Advert(_));
        let before = router.kernel.told.as_deref().copied();
        **router.kernel.told.get_or_insert_with(|| Box::new(now)) = now;
        if before.map(|before| before.looks()) != Some(now.looks()) {
            router.kernel.generation = router.kernel.generation.wrapping_add(1);
        }
        let generation = router.kernel.generation;
        if before == Some(now) || (moved_already && before.map(|before| before.config) == Some(now.config)) {
            return;
        }
        let command = Command {
            slot: slot(family, vrid),
            deadline: now.deadline,
            known_until: router.kernel.read_at,
            master_interval: now.master_interval,
            config: RouterConfig { generation, ..now.config },
            ..Command::default()
        };
        match kernel.command(command) {
            Ok(()) => self.hear_kernel(id),
            Err(Refusal(reason)) => self.give_up_kernel(link_id, &reason),
        }
    }

    /// Has adverts of an interface come to user space, since the kernel cannot be relied on.
    pub(super) fn give_up_kernel(&mut self, link_id: LinkId, reason: &str) {
        let Some(link) = self.links.get_mut(link_id.0) else { return };
        if let Err(error) = link.fall_back(link_id, reason, &self.readiness) {
            error!(interface = link.name, %error, "raw sockets cannot be opened");
        }
        for router in link.routers.clone() {
            self.schedule(router);
        }
    }

    /// Whether the kernel watches the router's deadline.
    pub(super) fn kernel_watches(&self, id: RouterId) -> bool {
        self.routers.get(id.0).is_some_and(|router| {
            router.machine.state().name() == StateName::Backup
                && !router.is_verified_by_us()
                && self.links.get(router.link.0).is_some_and(super::link::Link::is_in_kernel)
        })
    }

    /// The kernel has forgotten everything: its program went with the interface.
    pub(super) fn forget_kernel(&mut self, link: LinkId) {
        for router in &mut self.routers {
            if router.link == link {
                router.kernel = KernelSide::default();
            }
        }
    }
}

impl Instance {
    /// What the kernel has to know of the router now.
    fn told(&self, pass_on: bool) -> Told {
        let role = match self.machine.state().name() {
            _ if self.is_verified_by_us() => Role::Init,
            StateName::Init | StateName::Fault => Role::Init,
            // It has waited long enough, and any advert may change its mind, as with a Master.
            StateName::Backup if self.machine.is_willing() => Role::Master,
            StateName::Backup => Role::Backup,
            StateName::Master => Role::Master,
        };
        let mut config = RouterConfig {
            addresses: self.machine.config().addresses.to_bits(),
            report_spacing: if self.group.is_some() && role == Role::Master {
                GROUP_REPORT_SPACING
            } else {
                REPORT_SPACING
            },
            role: role as u8,
            priority: self.machine.priority().0,
            ..RouterConfig::default()
        };
        config.set(flag::PREEMPT, self.config.preempt && !self.machine.forced_backup());
        config.set(flag::PASS_ON, pass_on);
        let deadline = match self.machine.state() {
            State::Backup(backup) if role == Role::Backup => backup.master_down_at,
            State::Backup(_) | State::Initialize | State::Fault(_) | State::Master(_) => Instant::ZERO,
        };
        Told {
            config,
            deadline: deadline.as_nanos(),
            master_interval: self.machine.master_adver_interval().as_centis(),
        }
    }
}
