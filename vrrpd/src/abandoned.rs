//! What a daemon that was killed has left on interfaces: found by its [journal](crate::journal), and taken off by its
//! guardian, or by the next start if both died.

use tracing::warn;
use vrrpd_common::MacAddr;

use vrrpd_engine::Ticket;

use crate::config::VirtualAddress;
use crate::datapath::own_mac;
use crate::interface::service::{Order, Request, Service};
use crate::interface::{Hold, Interface, OwnMac, Vmac};
use crate::journal::Journal;

/// The requests about what no router of ours has.
pub const TICKET: Ticket = Ticket(0);

/// Something that is there although a daemon died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// An address of the journal, on this interface.
    Address(&'a str, VirtualAddress),
    /// A virtual MAC address on this interface, whose own one is in the journal.
    Mac(&'a str),
    /// What had this interface take in frames to its own MAC address, in kernels before 6.6.
    Classifier(&'a str),
    /// A macvlan link of this router.
    Link {
        /// The router.
        owner: &'a str,
        /// Whether the journal has it.
        noted: bool,
    },
}

/// What is to be taken off.
#[derive(Debug, Default)]
pub struct Abandoned {
    orders: Vec<Order>,
    /// Interfaces that get their own MAC address back.
    macs: Vec<(Interface, MacAddr)>,
    /// Interfaces that may have a classifier, by name and number.
    classifiers: Vec<(String, u32)>,
}

impl Abandoned {
    /// Looks for what the journal says on these interfaces. Where the kernel keeps our `marks` with addresses, one without is
    /// another's that has come since. `stays` says what is not to be touched.
    pub fn of(
        journal: &Journal,
        interfaces: &[Interface],
        marks: bool,
        stays: impl Fn(Found<'_>) -> bool,
    ) -> Self {
        let mut abandoned = Self::default();
        for interface in interfaces {
            match &interface.vmac_of {
                Some(owner) => {
                    if !stays(Found::Link { owner, noted: journal.has_link_of(owner) }) {
                        warn!(
                            router = owner,
                            link = interface.name,
                            "removing a link that a vrrpd left behind"
                        );
                        abandoned.orders.push(Order::Discard(Hold::nothing(interface.index)));
                    }
                }
                None => abandoned.look_at(interface, journal, marks, &stays),
            }
        }
        abandoned
    }

    fn look_at(
        &mut self,
        interface: &Interface,
        journal: &Journal,
        marks: bool,
        stays: &impl Fn(Found<'_>) -> bool,
    ) {
        let addresses: Vec<_> = journal
            .on(&interface.name)
            .filter(|address| interface.may_be_ours(address, marks))
            .filter(|address| !stays(Found::Address(&interface.name, *address)))
            .collect();
        for address in &addresses {
            warn!(interface = interface.name, %address, "removing an address that a vrrpd left behind");
        }
        let own = journal.own_mac(&interface.name);
        // A Backup has one, too.
        if own.is_some() && !stays(Found::Classifier(&interface.name)) {
            self.classifiers.push((interface.name.clone(), interface.index));
        }
        let vmac = interface.mac.filter(|mac| mac.is_virtual_router()).zip(own);
        let vmac = vmac.filter(|_| !stays(Found::Mac(&interface.name)));
        if let Some((mac, own)) = vmac {
            warn!(interface = interface.name, %mac, "giving back a virtual MAC address that a vrrpd left behind");
            self.macs.push((interface.clone(), own));
        }
        if !addresses.is_empty() || vmac.is_some() {
            let vmac = vmac.map(|(mac, own)| Vmac::Interface(OwnMac::of(interface, own, mac)));
            let hold = Hold { vmac, addresses, ..Hold::nothing(interface.index) };
            self.orders.push(Order::Release(hold));
        }
    }

    /// Asks for it; returns how many answers come, all with [`TICKET`].
    pub fn ask(&mut self, service: &Service) -> usize {
        let orders = std::mem::take(&mut self.orders);
        let count = orders.len();
        for order in orders {
            service.request(Request { ticket: TICKET, order });
        }
        count
    }

    /// Takes classifiers off, which are of no use any more once the interfaces have their own MAC addresses back.
    pub fn remove_classifiers(&self) {
        for (interface, index) in &self.classifiers {
            if own_mac::remove_left(interface, *index) {
                warn!(interface, "removed a classifier that a vrrpd left behind");
            }
        }
    }

    /// The interfaces that get their own MAC address back, and that address.
    pub fn macs(&self) -> &[(Interface, MacAddr)] {
        &self.macs
    }
}
