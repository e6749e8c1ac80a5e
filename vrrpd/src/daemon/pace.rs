//! How often a router announces its addresses and has its transitions in the log: limits that hold whatever makes it.
//!
//! What is put off comes when there is room again: hosts are always told in the end, and the log says how many
//! transitions it has no lines for. Take-overs are damped by the state machine, scripts have a limit of their own.

use tracing::info;
use vrrpd_common::{Duration, Instant};

use super::Daemon;
use super::act::announce;
use crate::budget::Budget;
use crate::clock;
use crate::config::{RouterConfig, VmacMode};
use crate::datapath::RouterId;
use crate::report::TransitionReport;
use crate::transmit::own_announcements;

/// Transitions with a line each, at once.
const LINES: u64 = 10;
/// Announcements of all addresses at once.
const ANNOUNCEMENTS: u64 = 5;
/// Then one of each comes this often.
const EVERY: Duration = Duration::from_secs(1);

/// The limits of a router.
#[derive(Debug)]
pub(super) struct Pace {
    lines: Budget,
    /// Transitions that have no line.
    unsaid: u64,
    announcements: Budget,
    /// One was put off.
    owes_announcement: bool,
}

/// Of which addresses hosts are told where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// The virtual ones, and the interface's own where they share a MAC address.
    All,
    /// The interface's own: its MAC address is back.
    Own,
}

impl Pace {
    pub(super) fn new(config: &RouterConfig) -> Self {
        // What the user asked for is not held back.
        let repeated = config.announce.times.then_every.unwrap_or(EVERY);
        Self {
            lines: Budget::new(LINES, EVERY),
            unsaid: 0,
            announcements: Budget::new(ANNOUNCEMENTS, EVERY.min(repeated)),
            owes_announcement: false,
        }
    }

    /// When something that was put off is due.
    fn due_at(&self) -> Option<Instant> {
        let line = (self.unsaid > 0).then(|| self.lines.next_at());
        line.into_iter().chain(self.owes_announcement.then(|| self.announcements.next_at())).min()
    }
}

impl Daemon {
    /// Tells hosts where the addresses of a router are: now, or as soon as it may be.
    pub(super) fn announce(&mut self, id: RouterId, announced: Announced) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        if router.pace.owes_announcement || !router.pace.announcements.take(clock::now()) {
            router.pace.owes_announcement = true;
            self.put_off(id);
            return;
        }
        self.announce_now(id, announced);
    }

    fn announce_now(&mut self, id: RouterId, announced: Announced) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let Some(link) = self.links.get_mut(router.link.0) else { return };
        let Some(mac) = router.source_mac(link) else { return };
        let mut frames = match announced {
            Announced::All => router.announcements(mac),
            Announced::Own => Vec::new(),
        };
        if let Some(interface) = &link.interface {
            frames.extend(match (router.vmac.mode(), announced) {
                (VmacMode::Interface, _) => own_announcements(interface, mac, |_| false),
                // Hosts know what an owner owns by the virtual MAC address, and the rest by the interface's own.
                (VmacMode::Macvlan, Announced::Own) => own_announcements(interface, mac, |address| {
                    router.config.addresses.iter().all(|owned| owned.address != address)
                }),
                (VmacMode::Macvlan | VmacMode::None, _) => Vec::new(),
            });
        }
        announce(router, id, link, &frames);
        if announced == Announced::All {
            router.send_magic();
        }
    }

    /// Writes a transition to the log, or counts it.
    pub(super) fn log_transition(&mut self, id: RouterId, report: &TransitionReport) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        if router.pace.unsaid > 0 || !router.pace.lines.take(clock::now()) {
            router.pace.unsaid += 1;
            self.put_off(id);
            return;
        }
        let cause = report.cause.as_ref();
        info!(
            router = %router.config.name(),
            from = report.from,
            to = report.to,
            reason = report.reason,
            master = report.master.as_deref().unwrap_or("-"),
            cause = cause.map(|cause| cause.address.as_str()),
            cause_priority = cause.map(|cause| cause.priority),
            cause_mac = cause.map(|cause| cause.mac.as_str()),
            priority = router.machine.priority().0,
            "transition"
        );
    }

    fn put_off(&mut self, id: RouterId) {
        if let Some(at) = self.routers.get(id.0).and_then(|router| router.pace.due_at()) {
            self.put_off.insert(id, at);
        }
    }

    /// Does what was put off and is due.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let due: Vec<_> = self.put_off.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            let Some(router) = self.routers.get_mut(id.0) else { continue };
            if router.pace.unsaid > 0 && router.pace.lines.take(now) {
                let count = std::mem::take(&mut router.pace.unsaid);
                let (state, reason) = (router.state_told().name(), router.reason_now().name());
                info!(router = %router.config.name(), count, state, reason, "more transitions");
            }
            if router.pace.owes_announcement && router.pace.announcements.take(now) {
                router.pace.owes_announcement = false;
                // Of one that becomes Master or ceases to be it, the announcement follows anyway.
                let (is_busy, is_master) = (router.is_busy(), router.is_settled_master());
                if !is_busy {
                    self.announce_now(id, if is_master { Announced::All } else { Announced::Own });
                }
            }
            self.put_off(id);
        }
    }
}
