//! What goes into the engine.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vrrpd_common::Rejection;
use vrrpd_common::abi::RouterRecord;
use vrrpd_common::group::{Message, PeerId};
use vrrpd_common::router::Event;

use super::sent::NotSent;
use crate::config::{GroupConfig, RouterConfig};
use crate::ids::{LinkId, RouterId, Ticket};
use crate::interface::{Interface, Remover};
use crate::ledger::Outcome;
use crate::priority::{Step, TrackId};
use crate::track::Finding;

/// What happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input<'a> {
    /// Something for the state machine of a router, now. Adverts come with their frame, if it is at hand.
    Event(RouterId, Event, #[serde(with = "frame")] Option<Cow<'a, [u8]>>),
    /// The answer to [`Output::ReadRecord`](super::Output::ReadRecord) and
    /// [`Output::CommandKernel`](super::Output::CommandKernel): what the kernel knows of the router; `None`: its adverts do not
    /// come by the kernel, or not any more. The time is from before it was read.
    Record(RouterId, Option<Box<RouterRecord>>),
    /// What the kernel has counted of a router, read without being asked for.
    Counted(RouterId, Box<RouterRecord>),
    /// What the kernel knew of a router before that began: the log has told of it.
    KernelBegins(RouterId, Box<RouterRecord>),
    /// What the kernel heard of a router until its program was given up.
    LastRecord(RouterId, Box<RouterRecord>),
    /// The answer to [`Output::Ask`](super::Output::Ask). One that is late, or comes twice, is harmless.
    Answered(Ticket, Outcome),
    /// The answer to [`Output::TrySending`](super::Output::TrySending): the advert went out, or did not.
    Tried(RouterId),
    /// An advert of a router went out.
    Sent(RouterId),
    /// The interface of a router did not take its advert.
    NotSent(RouterId, NotSent),
    /// An advert of a router did not go out to a peer.
    NotSentToPeer {
        /// The router.
        router: RouterId,
        /// The address of the peer.
        peer: IpAddr,
        /// The error, in the system's words.
        error: String,
    },
    /// An advert was discarded.
    Rejected {
        /// The interface that it came to.
        link: LinkId,
        /// Of this router, from this address; `None` when it cannot be told, or is none of ours.
        router: Option<(RouterId, IpAddr)>,
        /// Why.
        why: Rejection,
    },
    /// Adverts of a router cannot be sent.
    CannotSend(RouterId),
    /// Read what the kernel has heard of a router since.
    Hear(RouterId),
    /// The kernel is to know all of a router, whatever it was told before.
    TellKernel(RouterId),
    /// Somewhere a router's adverts were not heard for a time that is not known: a Backup hears who is there before it acts.
    ListenAgain(RouterId),
    /// The kernel watches the deadline of a router, or does not any more.
    Schedule(RouterId),
    /// A deadline of a router has passed and is not to pass again.
    Unschedule(RouterId),
    /// This address has gone from where a router has its addresses.
    AddressLost(RouterId, IpAddr, Remover),
    /// The interface of this name, which has addresses of a router beside its own, is like this; `None`: it is gone, or has
    /// another name.
    OtherInterface(RouterId, String, Option<Box<Interface>>),
    /// Others have removed routes or rules with our protocol number: the system says whose when they are added again.
    RoutingLost,
    /// An interface is like this, and open for the routers on it.
    LinkIs(LinkId, Box<Interface>),
    /// The interface of this number is gone.
    LinkGone(LinkId, u32),
    /// The macvlan link of a router is like this.
    MacvlanIs(RouterId, Box<Interface>),
    /// The macvlan link of a router is gone.
    MacvlanGone(RouterId),
    /// Adverts of the routers of an interface come by the kernel now, or do not.
    InKernel {
        /// The interface.
        link: LinkId,
        /// They do.
        in_kernel: bool,
        /// The program there is told the VLAN of each.
        sees_tags: bool,
    },
    /// The kernel has forgotten what it was told of the routers of an interface.
    KernelForgot(LinkId),
    /// The program of an interface cannot be put back now, since another one is on its way.
    ReturnLater(LinkId),
    /// The program of an interface is back.
    Returned(LinkId),
    /// The program of an interface could not be put back, for this reason.
    NotReturned(LinkId, String),
    /// A router goes on with another configuration, which [`RouterConfig::can_become`] allows.
    Exchange(RouterId, Box<RouterConfig>),
    /// A router tracks from now on what its configuration says.
    Track(RouterId),
    /// The groups are these, and no others.
    FormGroups {
        /// What is wanted. Members that are not there yet are left out.
        groups: Vec<GroupConfig>,
        /// Any number that no other process of any machine has.
        seed: u64,
    },
    /// Another process of the group said this.
    GroupPeerSaid(PeerId, Message),
    /// Another process of the group has gone.
    GroupPeerGone(PeerId),
    /// All that has arrived was handed over: groups hear how their members stand.
    SettleGroups,
    /// A router begins while the daemon runs: it does not wait as after the start of the machine.
    SkipStartDelay(RouterId),
    /// A router takes part: at once, or when there are first results of what it tracks.
    StartUp(RouterId),
    /// A check has looked.
    Found {
        /// The check.
        check: TrackId,
        /// What it found.
        finding: Finding,
        /// What was seen, in words; for people.
        detail: Cow<'a, str>,
    },
    /// The operator changes the priority of a router by a step.
    Step(RouterId, Step),
    /// A router is in the configuration no more: it gives back what it holds, and goes.
    Leave(RouterId),
    /// A router that leaves may be gone by now. What waits to be sent on its interface is sent if `is_spoken`.
    SeeOff {
        /// The router.
        router: RouterId,
        /// No advert of its interface waits.
        is_spoken: bool,
    },
    /// A router may need a macvlan link that is not there.
    Prepare(RouterId),
    /// A router does not need its macvlan link any more.
    Discard(RouterId),
}

/// A frame is written down in hexadecimal.
mod frame {
    use std::borrow::Cow;
    use std::fmt::Write;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(super) fn serialize<S: Serializer>(frame: &Option<Cow<'_, [u8]>>, to: S) -> Result<S::Ok, S::Error> {
        let text = frame.as_deref().map(|octets| {
            octets.iter().fold(String::new(), |mut text, octet| {
                // A string takes everything.
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
