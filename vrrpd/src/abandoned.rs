//! Undoing what a daemon that was killed has left on interfaces: its guardian does so, or the next start if both processes
//! were killed. [`vrrpd_engine::ledger::Undo`] says what; this carries it out.

use nix::net::if_::if_indextoname;
use tracing::warn;
use vrrpd_engine::Ticket;
use vrrpd_engine::ledger::{Journal, Leftover, Undo};

use crate::datapath::{classifier, own_mac};
use crate::interface::service::{Request, Service};
use crate::rundir::Directory;

/// The requests about what no router of ours has.
pub const TICKET: Ticket = Ticket(0);

/// Reads the journal of this name, which a daemon that ended well has removed.
pub fn read_journal(directory: &Directory, name: &str) -> Journal {
    Journal::parse(&directory.read(name).unwrap_or_default())
}

/// Says what is undone and asks for it; returns how many answers come, all with [`TICKET`].
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

/// Takes classifiers off, which are of no use any more once the interfaces have their own MAC addresses back.
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
