//! What an earlier daemon could not give back, since it was killed: found at the start, and given back now.

use tracing::warn;
use vrrpd_common::MacAddr;
use vrrpd_common::router::Action;
use vrrpd_engine::ledger::{Journal, LeftMac, Leftover};
use vrrpd_engine::link::Link;
use vrrpd_engine::router::Router;
use vrrpd_engine::{RouterId, Slots};

use super::start_error::StartError;
use crate::config::VmacMode;

/// What is on an interface before we have put it there was left by a daemon that could not clean up.
pub(super) fn addresses(router: &mut Router, link: &Link, marks: bool, journal: &Journal) {
    let Some(interface) = &link.interface else { return };
    let left = router.adopt(interface, marks, journal);
    for address in &left {
        warn!(router = %router.config.title(), %address, "removing leftover virtual address");
    }
    if !left.is_empty() {
        router.enqueue(Action::GiveUpAddresses);
    }
}

/// Whether something that a daemon before us may have left behind is not to be taken off now: a router of ours has it, and
/// sees to it itself.
pub(super) fn is_ours(routers: &Slots<RouterId, Router>, found: &Leftover) -> bool {
    let mut routers = routers.values().map(|router| &router.config);
    match found {
        Leftover::Address { interface, address } => routers.any(|router| {
            router.interface == *interface && router.held_addresses().any(|held| held == address)
        }),
        Leftover::Mac { interface, .. } => routers.any(|router| router.interface == *interface),
        Leftover::Link { router, noted, .. } => routers
            .find(|there| there.name().to_string() == *router)
            .map_or(!noted, |there| there.vmac == VmacMode::Macvlan),
    }
}

/// A virtual MAC address that is on the interface before we put it there is one that a crash left, or another router's.
pub(super) fn vmac(router: &mut Router, link: &Link, journal: &Journal) -> Result<(), StartError> {
    let Some(interface) = &link.interface else { return Ok(()) };
    router.vmac.note_own(interface);
    if let Some((mac, own)) = left_vmac(router, link, journal)? {
        warn!(router = %router.config.title(), %mac, "removing leftover virtual MAC address");
        let left = router.vmac.left(interface, own);
        router.ledger.adopt_mac(left);
        router.enqueue(Action::GiveUpAddresses);
    }
    Ok(())
}

/// A virtual MAC address on the interface that is the router's to give back, and the interface's own one.
pub(super) fn left_vmac(
    router: &Router,
    link: &Link,
    journal: &Journal,
) -> Result<Option<(MacAddr, MacAddr)>, StartError> {
    let Some(interface) = &link.interface else { return Ok(None) };
    let name = || link.name.clone();
    match LeftMac::on(interface, router.vmac.address(), router.vmac.mode(), journal) {
        LeftMac::None => Ok(None),
        LeftMac::Ours { mac, own } => Ok(Some((mac, own))),
        LeftMac::Taken(mac) => Err(StartError::VmacTaken { interface: name(), holder: format!(", {mac}") }),
        LeftMac::OwnUnknown(mac) => Err(StartError::OwnMacUnknown { interface: name(), mac }),
    }
}
