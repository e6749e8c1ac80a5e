//! What goes into the engine.

use vrrpd_common::abi::RouterRecord;
use vrrpd_common::router::Event;

use crate::ids::RouterId;
use crate::interface::Interface;
use crate::pace::Announced;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Something for the state machine of a router, now. Adverts come with their frame, if it is at hand.
    Event(RouterId, Event, Option<&'a [u8]>),
    /// The answer to [`Output::ReadRecord`]: what the kernel knows of the router; `None`: its adverts do not come by the kernel.
    /// The interface is the one that the router runs on.
    Record(RouterId, Option<&'a RouterRecord>, Option<&'a Interface>),
    /// What the kernel heard of a router until its program was given up.
    LastRecord(RouterId, &'a RouterRecord, Option<&'a Interface>),
    /// The system has done what the router's next action waited for.
    Done(RouterId),
    /// The answer to [`Output::TrySending`]: the advert went out, or did not.
    Tried(RouterId),
    /// Adverts of a router cannot be sent.
    CannotSend(RouterId),
    /// What may have kept a router from sending has changed.
    MaySendAgain(RouterId),
    /// Hosts are to be told where addresses of a router are.
    Announce(RouterId, Announced),
    /// The router's actions were added to.
    Act(RouterId),
    /// Read what the kernel has heard of a router since.
    Hear(RouterId),
    /// Somewhere a router's adverts were not heard for a time that is not known: a Backup hears who is there before it acts.
    ListenAgain(RouterId),
    /// The kernel may have to know something else of a router than it was told.
    Tell(RouterId),
    /// The kernel watches the deadline of a router, or does not any more.
    Schedule(RouterId),
    /// A deadline of a router has passed and is not to pass again.
    Unschedule(RouterId),
}
