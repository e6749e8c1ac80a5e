//! Log lines about routers.

use std::net::IpAddr;

use tracing::{debug, error, info, warn};
use vrrpd_common::router::Notice;
use vrrpd_common::{Duration, Reject, Rejection};
use vrrpd_engine::RouterId;
use vrrpd_engine::engine::{CheckChanged, Line, NotSent};
use vrrpd_engine::mismatch;
use vrrpd_engine::router::{Noticed, Router};
use vrrpd_engine::vmac::WithoutVmac;

use super::{Daemon, describe};
use crate::config::{Settings, VirtualAddress};
use crate::report::{Happening, NoticeReport, TransitionReport};

impl Daemon {
    /// Logs a line about a router. Some lines are also sent to clients.
    pub(super) fn log(&mut self, id: RouterId, line: Line) {
        let Some(router) = self.engine.router(id) else { return };
        if let Some(happening) = write(router, Some(line)) {
            self.followers.tell(|| describe::event(router, happening));
        }
    }
}

/// Logs a line about a router; returns the event for clients, if any.
pub(super) fn write(router: &Router, line: Option<Line>) -> Option<Happening> {
    let name = router.config.title();
    match line? {
        Line::Notice(noticed, theirs) => return notice(router, &noticed, &theirs),
        Line::Mismatch(warning) => warn_of_mismatch(&router.config, &warning),
        Line::Rejected(why, more) => {
            warn!(router = %name, check = why.reject.name(), %why, more, "advertisement rejected");
        }
        Line::RejectedByKernel(reject, count) => warn!(
            router = %name, check = reject.name(), count,
            "advertisements rejected in the kernel"
        ),
        Line::MoreTransitions(count, state, reason) => {
            let (state, reason) = (state.name(), reason.name());
            info!(router = %name, count, state, reason, "more transitions");
        }
        Line::MagicSource(source) => warn!(
            router = %name, %source,
            "magic source is not a virtual address of the router"
        ),
        Line::AddressLeft(address) => warn!(router = %name, %address, "removing leftover virtual address"),
        Line::MacLeft(mac) => warn!(router = %name, %mac, "removing leftover virtual MAC address"),
        Line::CheckChanged(CheckChanged { name, kind, from, to, detail }) => {
            return Some(Happening::Notice(NoticeReport::check_changed(&name, &kind, from, to, &detail)));
        }
        Line::AddressesPresent(present) => {
            let addresses: Vec<_> = present.iter().map(VirtualAddress::to_string).collect();
            warn!(
                router = %name, addresses = addresses.join(" "),
                "virtual address present on a router that is not master"
            );
        }
        Line::MacvlanDown(link) => warn!(router = %name, link, "macvlan link down, setting it up"),
        Line::MacvlanMacChanged(link) => {
            warn!(router = %name, link, "MAC address of macvlan link changed, restoring");
        }
        Line::MacvlanLost => warn!(router = %name, "macvlan link lost, recreating"),
        Line::MacChanged(interface) => {
            warn!(router = %name, interface, "MAC address of the interface changed, restoring");
        }
        Line::PriorityChanged(from, to) => {
            info!(router = %name, from = from.0, to = to.0, "priority changed");
        }
        Line::VmacRefused(WithoutVmac::GoesOn, error) => warn!(
            router = %name, %error,
            "cannot set virtual MAC address, continuing without it"
        ),
        Line::VmacRefused(WithoutVmac::StaysBackup, error) => error!(
            router = %name, %error, hint = "use -n or --vmac-fallback none to continue without it",
            "cannot set virtual MAC address, not becoming master"
        ),
        Line::AddressLost(address, more) => {
            warn!(router = %name, %address, more, "virtual address lost, restoring");
        }
        Line::FilterRefused(error) => {
            error!(router = %name, %error, "cannot drop packets to virtual addresses, accepting them");
        }
        Line::FilterNotRemoved(error) => {
            error!(router = %name, %error, "cannot stop dropping packets to virtual addresses");
        }
        Line::InterfaceMissing(interface) => {
            warn!(router = %name, interface, "interface of virtual addresses missing");
        }
        Line::AddressRefused(address, error) => {
            error!(router = %name, %address, %error, "cannot add virtual address");
        }
        Line::AddressNotRemoved(address, error) => {
            error!(router = %name, %address, %error, "cannot remove virtual address");
        }
        Line::RoutingRestored(routing) => {
            warn!(router = %name, route = %routing.routing_text(), "route or rule was lost, restored");
        }
        Line::RoutingRefused(routing, error) => {
            error!(router = %name, route = %routing.routing_text(), %error, "cannot add route or rule");
        }
        Line::RoutingNotRemoved(routing, error) => {
            error!(router = %name, route = %routing.routing_text(), %error, "cannot remove route or rule");
        }
        Line::MacNotRestored(error) => error!(router = %name, %error, "cannot restore MAC address"),
        Line::LinkNotRemoved(error) => error!(router = %name, %error, "cannot remove macvlan link"),
        Line::NotSent(NotSent { octets, error, .. }, more) => {
            error!(router = %name, octets, more, %error, "cannot send advertisement");
        }
        Line::NotSentToPeer { peer, more, error } => {
            warn!(router = %name, %peer, more, error, "cannot send advertisement to peer");
        }
        Line::CannotSend(pause) => {
            error!(router = %name, again_in = %pause, "advertisements cannot be sent, giving up master");
        }
    }
    None
}

/// Logs that the program of an interface could not be attached again.
pub(super) fn not_returned(interface: &str, reason: &str, again_in: Duration) {
    warn!(interface, reason, %again_in, "cannot reattach the XDP program");
}

/// Logs a discarded advert that is for no router of ours.
pub(super) fn rejected(interface: &str, why: &Rejection, more: u64) {
    let check = why.reject.name();
    if why.reject == Reject::NotOurs {
        // Not a fault: it is for another router.
        debug!(interface, check, %why, more, "advertisement for another virtual router");
    } else {
        warn!(interface, check, %why, more, "advertisement rejected");
    }
}

/// Logs that the carrier of an interface is unknown and assumed up.
pub(super) fn carrier_unknown(interface: &str) {
    info!(interface, "carrier state unknown, assuming up");
}

/// Logs a transition.
pub(super) fn transition(router: &Router, report: &TransitionReport) {
    let cause = report.cause.as_ref();
    info!(
        router = %router.config.title(),
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

/// Logs a configuration mismatch with another router.
fn warn_of_mismatch(config: &Settings, warning: &mismatch::Warning) {
    let mismatch::Warning { words, more } = warning;
    warn!(
        router = %config.title(), check = words.check, source = %words.source, theirs = words.theirs, ours = words.ours,
        advice = words.advice, more, "configuration mismatch with another router"
    );
}

/// Logs a notice of a router; returns the event for clients, if any.
fn notice(router: &Router, noticed: &Noticed, theirs: &[IpAddr]) -> Option<Happening> {
    let Noticed { notice, more: untold } = noticed;
    let name = router.config.title();
    match notice {
        Notice::IntervalDiffers(advert) => warn!(
            router = %name, master = %advert.source, theirs = %advert.interval, ours = %router.config.interval,
            more = untold, "advertisement interval of the master differs"
        ),
        Notice::IntervalExceedsLimit { advert, limit } => {
            warn!(
                router = %name, master = %advert.source, priority = advert.priority.0, mac = %advert.mac,
                interval = %advert.interval, limit = %limit, more = untold,
                "learned interval limited by --max-learned-interval"
            );
            return Some(Happening::Notice(NoticeReport::interval_exceeds_limit(advert, *limit)));
        }
        Notice::AddressesDiffer(advert) => {
            let theirs: Vec<_> = theirs.iter().map(IpAddr::to_string).collect();
            let ours: Vec<_> = router.config.addresses.iter().map(|a| a.address.to_string()).collect();
            warn!(
                router = %name, master = %advert.source, theirs = theirs.join(" "), ours = ours.join(" "),
                more = untold, "address list of the master differs"
            );
        }
        Notice::LowerMaster(advert) => warn!(
            router = %name, other = %advert.source, priority = advert.priority.0,
            more = untold, "advertisement from a lower-priority router while master"
        ),
        Notice::ClockGap(late) => {
            warn!(router = %name, late = %late, "timer late, listening before take-over");
        }
        Notice::StartDelay(delay) => {
            info!(router = %name, delay = %delay, "start delay, listening before becoming master");
        }
        Notice::TakeOverHeld(left) => {
            warn!(
                router = %name, left = %left, more = untold, hint = "atropos --master takes over at once",
                "take-over held (damping)"
            );
            return Some(Happening::Notice(NoticeReport::take_over_held(*left)));
        }
    }
    None
}
