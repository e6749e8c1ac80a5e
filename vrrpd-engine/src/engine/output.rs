//! What comes out of the engine.

use std::net::IpAddr;

use vrrpd_common::abi::RouterRecord;
use vrrpd_common::router::{Event, Reason, StateName};
use vrrpd_common::{Duration, Priority};

use crate::ids::RouterId;
use crate::ledger::SystemError;
use crate::mismatch::Warning;
use crate::pace::Announced;
use crate::router::{Noticed, Past, WithoutVmac};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read what the kernel knows of a router; the answer is [`Input::Record`].
    ReadRecord(RouterId),
    /// The router has handled this event, of which the kernel may have to know: [`crate::kernel::KernelSide::tell`] says.
    TellKernel(RouterId, Event),
    /// The kernel reckons with another deadline of a Backup than this router, which has handled all that is in this record.
    CorrectKernel(RouterId, Box<RouterRecord>),
    /// An advert that counts comes from this address, which is not in a subnet of the interface: the program may hear adverts
    /// of a VLAN.
    HearsOtherSubnet(RouterId, IpAddr),
    /// A member of a group may stand in another way.
    Standing(RouterId),
    /// Put the virtual MAC address and the addresses in force; [`Input::Done`] follows.
    Take(RouterId),
    /// Take them away; [`Input::Done`] follows.
    Release(RouterId),
    /// Send an advert with this priority with the next ones.
    SendAdvert(RouterId, Priority),
    /// Send what waits now: it shows whether the router can be Master. The answer is [`Input::Tried`].
    TrySending(RouterId),
    /// Tell hosts where addresses are.
    Announce(RouterId, Announced),
    /// The router's state has changed, for all to be told.
    Transition {
        /// The router.
        router: RouterId,
        /// The change.
        past: Past,
        /// It has a line in the log.
        is_logged: bool,
    },
    /// Whether the router's interface can be used is to be looked at anew.
    CheckUsable(RouterId),
    /// Write to the log.
    Log(RouterId, Line),
}

/// A line of the log about a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The state machine noticed something. With it, the addresses that an advert announces, if they are at hand.
    Notice(Noticed, Vec<IpAddr>),
    /// The sender of an advert is set up in another way.
    Mismatch(Warning),
    /// So many transitions had no line of their own; now the router is in this state for this reason.
    MoreTransitions(u64, StateName, Reason),
    /// The virtual MAC address was refused, and this is what becomes of the router.
    VmacRefused(WithoutVmac, SystemError),
    /// Adverts cannot be sent; that is tried again after this time.
    CannotSend(Duration),
}
