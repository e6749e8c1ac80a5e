//! Undoes what a killed daemon left on interfaces, in its guardian or, if both processes were killed, at the next
//! start. [`vrrpd_engine::ledger::Undo`] is the plan; this module executes it.

use nix::net::if_::if_indextoname;
use tracing::warn;
use vrrpd_engine::Ticket;
use vrrpd_engine::ledger::{Journal, Leftover, Undo};

use crate::datapath::{classifier, own_mac};
use crate::interface::service::{Request, Service};
use crate::rundir::Directory;

/// The ticket of requests that belong to no router.
pub const TICKET: Ticket = Ticket(0);

/// Reads the journal of this name; a daemon that ended normally has removed it.
pub fn read_journal(directory: &Directory, name: &str) -> Journal {
    Journal::parse(&directory.read(name).unwrap_or_default())
}

/// Logs what is undone and requests it; returns the number of answers to expect, all with [`TICKET`].
pub fn ask(undo: &Undo, service: &Service) -> usize {
    for leftover in &undo.leftovers {
        match leftover {
            Leftover::Address { interface, address } => {
                warn!(interface, %address, "removing leftover virtual address");
            }
            Leftover::Mac { interface, mac } => {
                warn!(interface, %mac, "removing leftover virtual MAC address");
            }
            Leftover::Link { router, link, .. } => {
                warn!(router, link, "removing leftover macvlan link");
            }
        }
    }
    for order in &undo.orders {
        service.request(Request { ticket: TICKET, order: order.clone() });
    }
    undo.orders.len()
}

/// Removes classifiers, which are not needed once the interfaces have their own MAC addresses again.
pub fn remove_classifiers(undo: &Undo) {
    for (interface, index) in &undo.own_mac_classifiers {
        if own_mac::remove_left(*index) {
            warn!(interface, "leftover classifier removed");
        }
    }
    if !undo.routers_with_classifiers.is_empty() {
        for index in classifier::remove_left(&undo.routers_with_classifiers) {
            let interface = if_indextoname(index).unwrap_or_default();
            warn!(interface = %interface.to_string_lossy(), "leftover classifier removed");
        }
    }
}
