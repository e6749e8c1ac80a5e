//! What comes out of the engine.

use std::net::IpAddr;

use vrrpd_common::abi::KernelCommand;
use vrrpd_common::group::Message;
use vrrpd_common::router::{Reason, StateName};
use vrrpd_common::{Duration, Family, MacAddr, Priority, Reject, Rejection};

use super::sent::NotSent;
use super::tracking::CheckChanged;
use crate::config::VirtualAddress;
use crate::ids::{LinkId, RouterId, Ticket};
use crate::ledger::{Order, Resource, SystemError};
use crate::mismatch::Warning;
use crate::pace::Announced;
use crate::router::{Noticed, Past, WithoutVmac};
use crate::script::Call;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read what the kernel knows of a router; the answer is [`Input::Record`](super::Input::Record).
    ReadRecord(RouterId),
    /// Give the kernel a command about a router, and read what it knows of it then: the answer is
    /// [`Input::Record`](super::Input::Record). What the kernel does not take has it given up.
    CommandKernel {
        /// The router.
        router: RouterId,
        /// The command, with zero for the secret of adverts.
        command: Box<KernelCommand>,
        /// The virtual addresses, which the kernel is to know before.
        addresses: Option<Vec<IpAddr>>,
    },
    /// Leave an interface to packet sockets: an advert that counts comes from an address which is not in a subnet of the
    /// interface, so the program may hear adverts of a VLAN.
    GiveUpProgram {
        /// The router that heard it.
        router: RouterId,
        /// The source of the advert.
        source: IpAddr,
        /// For so long at least.
        pause: Duration,
    },
    /// Load the program of an interface that was left to packet sockets, and put it back.
    ReturnProgram(LinkId),
    /// Write to the log that it could not be put back.
    NotReturned {
        /// The interface.
        link: LinkId,
        /// Why.
        reason: String,
        /// When that is tried again.
        again_in: Duration,
    },
    /// Tell the other processes of the group.
    TellGroupPeers(Message),
    /// Run these scripts of the group of this name, behind those that it runs already.
    RunGroupScripts(String, Call),
    /// Run the script that prepares a router for being Master; [`Event::Prepared`] follows.
    StartPreparation(RouterId),
    /// End that script.
    EndPreparation(RouterId),
    /// Ask the system for this; the answer is [`Input::Answered`](super::Input::Answered) with the same ticket.
    Ask(Ticket, Order),
    /// Do not send what still waits to be sent of a router.
    Withdraw(RouterId),
    /// Send an advert with this priority with the next ones.
    SendAdvert(RouterId, Priority),
    /// Send what waits now: it shows whether the router can be Master. The answer is [`Input::Tried`](super::Input::Tried).
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
    /// An interface cannot tell its carrier, which counts as there: write that to the log.
    CarrierUnknown(LinkId),
    /// Close what is open on an interface that is gone.
    Close(LinkId),
    /// Join the multicast groups on an interface that was set up.
    Join(LinkId),
    /// An interface may have to take in frames to its own MAC address beside the virtual one, or not any more.
    KeepOwnMacs,
    /// Tell the kernel to which MAC addresses an interface takes in frames.
    TellStations(LinkId),
    /// Join the multicast group of this family anew on the interface, which has become usable for it.
    Rejoin(LinkId, Family),
    /// Adverts of other routers are to be checked as this one expects them, which sends from this address.
    Expect(RouterId, Option<IpAddr>),
    /// What the guardian has to do for a Master is another thing than it was told.
    TellGuardian(RouterId),
    /// What has to be undone after a crash may be another thing than the journal says.
    WriteJournal,
    /// A router that leaves has given back all that it held: nothing of it is needed any more.
    Forget(RouterId),
    /// A check has another outcome: write that to the log.
    CheckChanged(CheckChanged),
    /// Write to the log that an advert on an interface was discarded that is of no router of ours, nor were so many before it.
    Rejected(LinkId, Rejection, u64),
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
    /// An advert was discarded, and so many before it were not told of.
    Rejected(Rejection, u64),
    /// The program in the kernel has discarded so many adverts for this reason.
    RejectedByKernel(Reject, u64),
    /// So many transitions had no line of their own; now the router is in this state for this reason.
    MoreTransitions(u64, StateName, Reason),
    /// The magic packet comes from this address, which is none of the router.
    MagicSource(IpAddr),
    /// An earlier daemon has left this address on the interface; it is removed.
    AddressLeft(VirtualAddress),
    /// An earlier daemon has left this virtual MAC address on the interface; it is removed.
    MacLeft(MacAddr),
    /// Something that the router tracks has another outcome: clients are told of it, the log was already.
    CheckChanged(CheckChanged),
    /// The interface of a router that is not Master has these addresses of it.
    AddressesPresent(Vec<VirtualAddress>),
    /// The macvlan link of this name was set down by others; it is set up again.
    MacvlanDown(String),
    /// The macvlan link of this name was given another MAC address by others; it gets its own one back.
    MacvlanMacChanged(String),
    /// The macvlan link was removed by others; it is made again.
    MacvlanLost,
    /// The interface of this name was given another MAC address by others; it gets the virtual one back.
    MacChanged(String),
    /// The priority is another one now.
    PriorityChanged(Priority, Priority),
    /// The virtual MAC address was refused, and this is what becomes of the router.
    VmacRefused(WithoutVmac, SystemError),
    /// An address of a Master was removed by others, so many times more than was said; it is put back.
    AddressLost(VirtualAddress, u64),
    /// An interface that is to have addresses of a Master is not there.
    InterfaceMissing(String),
    /// The system did not add this address.
    AddressRefused(VirtualAddress, SystemError),
    /// Packets to the addresses are accepted, since the system does not drop them.
    FilterRefused(SystemError),
    /// Packets to the addresses are still dropped.
    FilterNotRemoved(SystemError),
    /// A route or rule was removed by others, and was added again.
    RoutingRestored(Resource),
    /// The system did not add this route or rule.
    RoutingRefused(Resource, SystemError),
    /// The system did not remove this route or rule.
    RoutingNotRemoved(Resource, SystemError),
    /// The system did not remove this address.
    AddressNotRemoved(VirtualAddress, SystemError),
    /// The interface did not get its own MAC address back.
    MacNotRestored(SystemError),
    /// The macvlan link could not be removed.
    LinkNotRemoved(SystemError),
    /// An advert was not taken by the interface, nor were so many before it.
    NotSent(NotSent, u64),
    /// An advert did not go out to a peer.
    NotSentToPeer {
        /// The address of the peer.
        peer: IpAddr,
        /// How many more did not go out.
        more: u64,
        /// The error, in the system's words.
        error: String,
    },
    /// Adverts cannot be sent; that is tried again after this time.
    CannotSend(Duration),
}
