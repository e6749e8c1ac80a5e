//! What an earlier daemon could not give back, since it was killed: found at the start, and given back now.

use tracing::warn;
use vrrpd_common::MacAddr;
use vrrpd_common::router::Action;
use vrrpd_engine::{RouterId, Slots};

use super::instance::Instance;
use super::link::Link;
use super::start_error::StartError;
use crate::abandoned::Found;
use crate::config::{VirtualAddress, VmacMode};
use crate::journal::Journal;

/// What is on an interface before we have put it there was left by a daemon that could not clean up: it has our mark, or
/// stands in the journal where the kernel keeps no marks.
pub(super) fn addresses(router: &mut Instance, link: &Link, journal: &Journal) {
    let Some(interface) = &link.interface else { return };
    let was_ours = |address: &VirtualAddress| {
        interface.may_be_ours(address, link.marks)
            && (link.marks || journal.on(&interface.name).any(|noted| noted == *address))
    };
    let left: Vec<_> = router.config.addresses.iter().filter(|address| was_ours(address)).copied().collect();
    if left.is_empty() {
        return;
    }
    for address in &left {
        warn!(router = %router.config.name(), %address, "removing an address that an earlier vrrpd left behind");
        router.set_held(address, true);
    }
    router.held_on = Some(interface.index);
    router.queue.push_back(Action::GiveUpAddresses);
}

/// Whether something that a daemon before us may have left behind is not to be taken off now: a router of ours has it, and
/// sees to it itself.
pub(super) fn is_ours(routers: &Slots<RouterId, Instance>, found: Found<'_>) -> bool {
    match found {
        Found::Address(interface, address) => routers
            .values()
            .any(|router| router.config.interface == interface && router.config.addresses.contains(&address)),
        Found::Mac(interface) => routers.values().any(|router| router.config.interface == interface),
        Found::Classifier(interface) => routers
            .values()
            .any(|router| router.config.interface == interface && router.config.vmac == VmacMode::Interface),
        Found::Link { owner, noted } => routers
            .values()
            .find(|router| router.config.name().to_string() == owner)
            .map_or(!noted, |router| router.config.vmac == VmacMode::Macvlan),
    }
}

/// A virtual MAC address that is on the interface before we put it there is one that a crash left, or another router's.
pub(super) fn vmac(router: &mut Instance, link: &Link, journal: &Journal) -> Result<(), StartError> {
    let Some(interface) = &link.interface else { return Ok(()) };
    router.vmac.note_own(interface);
    if let Some((mac, own)) = left_vmac(router, link, journal)? {
        warn!(router = %router.config.name(), %mac, "giving back a virtual MAC address that an earlier vrrpd left behind");
        router.vmac.adopt(interface, own);
        router.queue.push_back(Action::GiveUpAddresses);
    }
    Ok(())
}

/// A virtual MAC address on the interface that is the router's to give back, and the interface's own one.
pub(super) fn left_vmac(
    router: &Instance,
    link: &Link,
    journal: &Journal,
) -> Result<Option<(MacAddr, MacAddr)>, StartError> {
    let Some(interface) = &link.interface else { return Ok(None) };
    let Some(mac) = interface.mac.filter(|mac| mac.is_virtual_router()) else { return Ok(None) };
    let noted = journal.own_mac(&link.name);
    let permanent = interface.permanent_mac.filter(|mac| !mac.is_virtual_router());
    let own = match (router.vmac.is_on(interface), router.vmac.mode()) {
        (true, _) => noted.or(permanent),
        // Nobody else has it, since the interface is ours to give a MAC address to: it is from another router of an
        // earlier daemon of our name.
        (false, VmacMode::Interface) if noted.is_some() => noted,
        (false, VmacMode::Interface) => {
            let holder = format!(", {mac}");
            return Err(StartError::VmacTaken { interface: link.name.clone(), holder });
        }
        (false, VmacMode::Macvlan | VmacMode::None) => return Ok(None),
    };
    let own = own.ok_or_else(|| StartError::OwnMacUnknown { interface: link.name.clone(), mac })?;
    Ok(Some((mac, own)))
}
