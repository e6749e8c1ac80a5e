//! Inputs of the engine.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::abi::RouterRecord;
use vrrpd_common::group::{Message, PeerId};
use vrrpd_common::router::Event;
use vrrpd_common::{Instant, Rejection};

use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{LinkId, RouterId, Ticket};
use crate::interface::{Interface, Remover};
use crate::ledger::Outcome;
use crate::priority::{Step, TrackId};
use crate::router::TimeOfDay;
use crate::track::Finding;

/// The time of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Monotonic time, used for all decisions.
    pub at: Instant,
    /// Wall-clock time, used in state and logs.
    pub time_of_day: TimeOfDay,
}

/// An input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input<'a> {
    /// An event for the state machine of a router, now. Adverts come with their frame, if it is available.
    Event(RouterId, Event, #[serde(with = "frame")] Option<Cow<'a, [u8]>>),
    /// The answer to [`Output::ReadRecord`](super::Output::ReadRecord) and
    /// [`Output::CommandKernel`](super::Output::CommandKernel): the kernel's record of the router; `None`: its adverts
    /// do not come through the kernel data path (any more). The time of the input is from before the record was read.
    Record(RouterId, Option<Box<RouterRecord>>),
    /// The kernel's record of a router, read for its counters without a request of the engine.
    Counted(RouterId, Box<RouterRecord>),
    /// The kernel's last record of a router before the data path was given up.
    LastRecord(RouterId, Box<RouterRecord>),
    /// The answer to [`Output::Ask`](super::Output::Ask). A late or repeated answer is harmless.
    Answered(Ticket, Outcome),
    /// The answer to [`Output::TrySending`](super::Output::TrySending): whether the advert was sent.
    Tried(RouterId),
    /// An advert of a router was sent.
    Sent(RouterId),
    /// An advert of a router could not be sent on its interface.
    NotSent(RouterId, NotSent),
    /// An advert of a router could not be sent to a peer.
    NotSentToPeer {
        /// The router.
        router: RouterId,
        /// The address of the peer.
        peer: IpAddr,
        /// The error of the system.
        error: String,
    },
    /// An advert was discarded.
    Rejected {
        /// The interface that received it.
        link: LinkId,
        /// The router of ours that it is for, and its source address; `None` if unknown, or if it is for no router of
        /// ours.
        router: Option<(RouterId, IpAddr)>,
        /// The reason.
        why: Rejection,
    },
    /// Adverts of a router cannot be sent.
    CannotSend(RouterId),
    /// The kernel's record of a router has to be read.
    Hear(RouterId),
    /// The kernel has to be told all parameters of a router again.
    TellKernel(RouterId),
    /// A router did not hear adverts for an unknown time: a Backup listens before it acts.
    ListenAgain(RouterId),
    /// The kernel has started or stopped monitoring the deadline of a router.
    Schedule(RouterId),
    /// A deadline that [`Engine::due`](super::Engine::due) returned has passed, and all received frames were handled.
    Due(RouterId),
    /// The timer of the kernel program for a router has expired.
    KernelExpired(RouterId),
    /// An address was removed from an interface that has addresses of the router.
    AddressLost(RouterId, IpAddr, Remover),
    /// State of another interface with addresses of a router, by name; `None`: it is gone or was renamed.
    OtherInterface(RouterId, String, Option<Box<Interface>>),
    /// Routes or rules with our protocol number were removed by others. The answers to adding them again tell which
    /// ones.
    RoutingLost,
    /// State of an interface that is open for its routers.
    LinkIs(LinkId, Box<Interface>),
    /// The interface with this index is gone.
    LinkGone(LinkId, u32),
    /// State of a router's macvlan link.
    MacvlanIs(RouterId, Box<Interface>),
    /// A router's macvlan link is gone.
    MacvlanGone(RouterId),
    /// Whether adverts for an interface come through the kernel data path.
    InKernel {
        /// The interface.
        link: LinkId,
        /// They do.
        in_kernel: bool,
        /// The program sees the VLAN tag of each advert.
        sees_tags: bool,
    },
    /// The kernel lost the commands for the routers of an interface.
    KernelForgot(LinkId),
    /// The program of an interface cannot be attached now, since it is being replaced.
    ReturnLater(LinkId),
    /// The program of an interface is attached again.
    Returned(LinkId),
    /// The program of an interface could not be attached again, for this reason.
    NotReturned(LinkId, String),
    /// A router changes to another configuration, which [`RouterConfig::can_become`] allows.
    Exchange(RouterId, Box<RouterConfig>),
    /// A router starts to use the checks of its configuration.
    Track(RouterId),
    /// Replaces all groups.
    FormGroups {
        /// Their configuration. Members that do not exist yet are left out.
        groups: Vec<GroupConfig>,
        /// A random number, unique among all processes and machines.
        seed: u64,
    },
    /// A message from another process of the group.
    GroupPeerSaid(PeerId, Message),
    /// Another process of the group has ended.
    GroupPeerGone(PeerId),
    /// All messages that have arrived were handed over: groups evaluate the state of their members.
    SettleGroups,
    /// A router is added while the daemon runs: its start delay is skipped.
    SkipStartDelay(RouterId),
    /// A router starts, at once or when its checks have first results.
    StartUp(RouterId),
    /// Result of a check.
    Found {
        /// The check.
        check: TrackId,
        /// The result.
        finding: Finding,
        /// Details for people.
        detail: Cow<'a, str>,
    },
    /// The operator changes the priority of a router by one step.
    Step(RouterId, Step),
    /// A router was removed from the configuration: it gives back what it holds, and leaves.
    Leave(RouterId),
    /// A leaving router may have finished. If not `is_spoken`, queued adverts of its interface are sent first.
    SeeOff {
        /// The router.
        router: RouterId,
        /// No advert is queued on its interface.
        is_spoken: bool,
    },
    /// A router may need a macvlan link that does not exist.
    Prepare(RouterId),
    /// A router does not need its macvlan link any more.
    Discard(RouterId),
}

/// Why an advert could not be sent on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSent {
    /// Length of the frame in octets.
    pub octets: usize,
    /// The packet exceeds the MTU of the interface.
    pub is_too_long: bool,
    /// The error of the system.
    pub error: String,
}

/// Serializes a frame in hexadecimal.
mod frame {
    use std::borrow::Cow;
    use std::fmt::Write;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(super) fn serialize<S: Serializer>(frame: &Option<Cow<'_, [u8]>>, to: S) -> Result<S::Ok, S::Error> {
        let text = frame.as_deref().map(|octets| {
            octets.iter().fold(String::new(), |mut text, octet| {
                // Writing to a string cannot fail.
                let _ = write!(text, "{octet:02x}");
                text
            })
        });
        text.serialize(to)
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Cow<'a, [u8]>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let octet = |pair: &[u8]| {
            let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        };
        let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(octet).collect();
        octets.map(|octets| Some(Cow::Owned(octets))).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}
