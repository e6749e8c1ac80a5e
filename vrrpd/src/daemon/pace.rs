//! Announcements and the lines of transitions, as often as [`vrrpd_engine::pace`] has them.

use tracing::info;
use vrrpd_common::Instant;
use vrrpd_engine::RouterId;
use vrrpd_engine::pace::{Announced, CaughtUp};

use super::Daemon;
use super::act::announce;
use crate::clock;
use crate::config::VmacMode;
use crate::report::TransitionReport;
use crate::transmit::own_announcements;

impl Daemon {
    /// Tells hosts where the addresses of a router are: now, or as soon as it may be.
    pub(super) fn announce(&mut self, id: RouterId, announced: Announced) {
        let Some(router) = self.routers.get_mut(id) else { return };
        if !router.pace.announce(clock::now()) {
            self.put_off(id);
            return;
        }
        self.announce_now(id, announced);
    }

    fn announce_now(&mut self, id: RouterId, announced: Announced) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
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
        let Some(router) = self.routers.get_mut(id) else { return };
        if !router.pace.say_transition(clock::now()) {
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
        if let Some(at) = self.routers.get(id).and_then(|router| router.pace.due_at()) {
            self.put_off.insert(id, at);
        }
    }

    /// Does what was put off and is due.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let due: Vec<_> = self.put_off.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            let Some(router) = self.routers.get_mut(id) else { continue };
            let CaughtUp { unsaid: count, announces } = router.pace.catch_up(now);
            if count > 0 {
                let (state, reason) = (router.state_told().name(), router.reason_now().name());
                info!(router = %router.config.name(), count, state, reason, "more transitions");
            }
            if announces {
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
