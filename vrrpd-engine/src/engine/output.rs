//! Outputs of the engine.

use std::net::IpAddr;

use vrrpd_common::abi::KernelCommand;
use vrrpd_common::group::Message;
use vrrpd_common::router::{Reason, StateName};
use vrrpd_common::{Duration, Family, MacAddr, Priority, Reject, Rejection};

use super::input::NotSent;
use crate::config::VirtualAddress;
use crate::ids::{LinkId, RouterId, Ticket};
use crate::ledger::{Order, Resource, SystemError};
use crate::mismatch::Warning;
use crate::pace::Announced;
use crate::priority::Outcome;
use crate::router::{Noticed, Past};
use crate::script::Call;
use crate::vmac::WithoutVmac;

/// What the daemon is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read the kernel's record of a router; the answer is [`Input::Record`](super::Input::Record).
    ReadRecord(RouterId),
    /// Send the kernel the virtual addresses and peers of a router and a command for it, then read its record: the answer
    /// is [`Input::Record`](super::Input::Record). If the kernel refuses, the kernel data path is given up.
    CommandKernel {
        /// The router.
        router: RouterId,
        /// The command, with the secret of adverts set to zero.
        command: Box<KernelCommand>,
    },
    /// Check whether the kernel program that receives adverts of a router is still attached. If it is, or if there is none,
    /// [`Event::Timer`] follows. Otherwise the interface changes to raw sockets, and
    /// [`Input::ListenAgain`](super::Input::ListenAgain) follows for each router on it.
    CheckProgram(RouterId),
    /// Switch an interface to raw sockets: an advert that counts has a source address in no subnet of the interface, so
    /// the program may receive adverts of a VLAN.
    GiveUpProgram {
        /// The router that the advert is for.
        router: RouterId,
        /// The source of the advert.
        source: IpAddr,
        /// Minimum time until the program is attached again.
        pause: Duration,
    },
    /// Attach again the program of an interface that was switched to raw sockets.
    ReturnProgram(LinkId),
    /// Log that the program could not be attached again.
    NotReturned {
        /// The interface.
        link: LinkId,
        /// Why.
        reason: String,
        /// Time until the next attempt.
        again_in: Duration,
    },
    /// Send a message to the other processes of the group.
    TellGroupPeers(Message),
    /// Queue these scripts of the group of this name.
    RunGroupScripts(String, Call),
    /// Run the `prepare` script of a router; [`Event::Prepared`] follows.
    StartPreparation(RouterId),
    /// End the `prepare` script.
    EndPreparation(RouterId),
    /// Request something from the system; the answer is [`Input::Answered`](super::Input::Answered) with the same
    /// ticket.
    Ask(Ticket, Order),
    /// Drop the queued frames of a router.
    Withdraw(RouterId),
    /// Queue an advert with this priority.
    SendAdvert(RouterId, Priority),
    /// Send queued frames now, which shows whether the router can be Master. The answer is
    /// [`Input::Tried`](super::Input::Tried).
    TrySending(RouterId),
    /// Announce addresses to hosts.
    Announce(RouterId, Announced),
    /// Report a transition of the router.
    Transition {
        /// The router.
        router: RouterId,
        /// The transition.
        past: Past,
        /// Whether to log it.
        is_logged: bool,
    },
    /// Log that the carrier of an interface is unknown and assumed up.
    CarrierUnknown(LinkId),
    /// Close the sockets of an interface that is gone.
    Close(LinkId),
    /// Join the multicast groups on an interface that was set up.
    Join(LinkId),
    /// Check whether an interface with the virtual MAC address has to accept frames to its own one as well.
    KeepOwnMacs,
    /// Tell the kernel data path the MAC addresses that an interface accepts.
    TellStations(LinkId),
    /// Join again the multicast group of this family on an interface, which has become usable for it.
    Rejoin(LinkId, Family),
    /// Validate adverts of other routers against this router, which sends from this address.
    Expect(RouterId, Option<IpAddr>),
    /// Update the guardian's instructions for a Master.
    TellGuardian(RouterId),
    /// Update the journal, since what has to be undone after a crash may have changed.
    WriteJournal,
    /// A leaving router has given back everything: remove it.
    Forget(RouterId),
    /// Log that the result of a check has changed.
    CheckChanged(CheckChanged),
    /// Log that an advert on an interface was discarded that is for no router of ours, and the number of unlogged ones
    /// before it.
    Rejected(LinkId, Rejection, u64),
    /// Write a line to the log.
    Log(RouterId, Line),
}

/// A log line about a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A notice of the state machine. With the addresses of the advert, if they are available.
    Notice(Noticed, Vec<IpAddr>),
    /// The sender of an advert has a different configuration.
    Mismatch(Warning),
    /// An advert was discarded, with the number of unlogged ones before it.
    Rejected(Rejection, u64),
    /// The kernel has discarded this number of adverts for this reason.
    RejectedByKernel(Reject, u64),
    /// This number of transitions had no line of their own; the state and reason are the last ones.
    MoreTransitions(u64, StateName, Reason),
    /// The source of magic packets is not an address of the router.
    MagicSource(IpAddr),
    /// An earlier daemon left this address on the interface; it is removed.
    AddressLeft(VirtualAddress),
    /// An earlier daemon left this virtual MAC address on the interface; it is removed.
    MacLeft(MacAddr),
    /// The result of a check has changed: notify clients (it is logged already).
    CheckChanged(CheckChanged),
    /// The router is not Master, but its interface has these virtual addresses.
    AddressesPresent(Vec<VirtualAddress>),
    /// The macvlan link of this name was set down; it is set up again.
    MacvlanDown(String),
    /// The MAC address of the macvlan link of this name was changed; it is restored.
    MacvlanMacChanged(String),
    /// The macvlan link was removed; it is created again.
    MacvlanLost,
    /// The MAC address of the interface of this name was changed; the virtual one is restored.
    MacChanged(String),
    /// The priority has changed, from and to these values.
    PriorityChanged(Priority, Priority),
    /// The virtual MAC address was refused, and the consequence.
    VmacRefused(WithoutVmac, SystemError),
    /// An address of a Master was removed by others, with the number of unlogged times before; it is restored.
    AddressLost(VirtualAddress, u64),
    /// An interface that is to have addresses of a Master does not exist.
    InterfaceMissing(String),
    /// The system refused this address.
    AddressRefused(VirtualAddress, SystemError),
    /// The system refused the packet filter, so packets to the addresses are accepted.
    FilterRefused(SystemError),
    /// The packet filter could not be removed, so packets to the addresses are still dropped.
    FilterNotRemoved(SystemError),
    /// A route or rule was removed by others, and was restored.
    RoutingRestored(Resource),
    /// The system refused this route or rule.
    RoutingRefused(Resource, SystemError),
    /// This route or rule could not be removed.
    RoutingNotRemoved(Resource, SystemError),
    /// This address could not be removed.
    AddressNotRemoved(VirtualAddress, SystemError),
    /// The MAC address of the interface could not be restored.
    MacNotRestored(SystemError),
    /// The macvlan link could not be removed.
    LinkNotRemoved(SystemError),
    /// An advert could not be sent, with the number of unlogged ones before it.
    NotSent(NotSent, u64),
    /// An advert could not be sent to a peer.
    NotSentToPeer {
        /// The address of the peer.
        peer: IpAddr,
        /// Number of unlogged ones before it.
        more: u64,
        /// The error of the system.
        error: String,
    },
    /// Adverts cannot be sent; the next attempt is after this time.
    CannotSend(Duration),
}

impl Line {
    /// A refused virtual MAC address, and the consequence.
    pub(super) fn vmac_refused((consequence, error): (WithoutVmac, SystemError)) -> Self {
        Self::VmacRefused(consequence, error)
    }
}

/// The result of a check has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckChanged {
    /// The name of the check.
    pub name: String,
    /// The kind of the check.
    pub kind: String,
    /// The previous result.
    pub from: Outcome,
    /// The new result.
    pub to: Outcome,
    /// Details for people.
    pub detail: String,
}
