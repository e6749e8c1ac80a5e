//! What happens to a router, and what it wants done.

use core::net::IpAddr;

use crate::advert::Advert;
use crate::mac::MacAddr;
use crate::params::{Interval, Priority};
use crate::time::Duration;

use super::{Faults, Reason, StateName};

/// What happens to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// Take part from now on.
    Startup,
    /// Leave.
    Shutdown,
    /// The deadline may have passed.
    Timer,
    /// An advert passed every check.
    Advert(Advert),
    /// The interface can be used, and adverts are to be sent from this address. Also when the address changes.
    InterfaceUp(IpAddr),
    /// The router cannot serve any more, or for other reasons than before.
    InterfaceDown(Faults),
    /// Be Backup as long as there is another master, whatever its priority.
    StandBack(Origin),
    /// Take part in elections again, and preempt if the priority allows.
    Resume(Origin),
    /// Take this priority, 1 to 255.
    Priority(Priority),
    /// The system refused the virtual addresses that [`Action::TakeAddresses`] asked for; no advert has gone out yet.
    AddressesRefused,
    /// Virtual addresses of a Master that has said so are gone, and the system refuses to take them back.
    AddressesLost,
    /// For a time that is not known nothing was heard: the machine was suspended, or what adverts come by has failed.
    StoodStill,
    /// Every member of its [group](crate::group) is willing to be Master: so become it.
    GroupReady {
        /// How long to bear a better master before yielding to it.
        hold: Duration,
    },
    /// A member of its group is not Master any more: so cease to be it.
    GroupYields,
    /// The script that [`Action::Prepare`] asked for has ended, or is waited for no longer.
    Prepared,
}

/// What is to be done, in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Run the script that prepares the router for being Master; [`Event::Prepared`] follows.
    Prepare,
    /// End that script: the router does not become Master.
    EndPreparation,
    /// Put the virtual addresses on the interface; what follows waits until they are there.
    TakeAddresses,
    /// Remove them.
    GiveUpAddresses,
    /// Send an advert with this priority.
    SendAdvert(Priority),
    /// Gratuitous ARP or unsolicited neighbour advertisement for each address.
    AnnounceAddresses(Occasion),
    /// The state has changed: log it, run scripts, notify clients.
    Transition(Transition),
    /// For the log.
    Notice(Notice),
}

/// Why the addresses are announced; the most urgent occasion is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Occasion {
    /// So that the switches of other interfaces, where no adverts are sent, do not forget them.
    Elsewhere,
    /// So that hosts and switches do not forget them.
    Refresh,
    /// A router of lower priority advertised, and may have announced them as well.
    LowerMaster,
    /// The router has become Master, or what the addresses depend on has changed.
    TakeOver,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transition {
    /// The state left.
    pub from: StateName,
    /// The state entered.
    pub to: StateName,
    /// Its reason, as scripts and clients receive it.
    pub reason: Reason,
    /// The other router that caused it, if one did.
    pub cause: Option<Cause>,
}

/// A router whose advert, or whose silence after it, made another one change its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cause {
    /// The advert's source address.
    pub source: IpAddr,
    /// Its priority; 0: it resigned.
    pub priority: Priority,
    /// The source MAC address of its frame.
    pub mac: MacAddr,
}

impl From<&Advert> for Cause {
    fn from(advert: &Advert) -> Self {
        Self { source: advert.source, priority: advert.priority, mac: advert.mac }
    }
}

/// An observation for the log that is not a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Notice {
    /// The master's interval is not ours; in version 3 it is adopted (RFC 9568 §6.4.2).
    IntervalDiffers(Advert),
    /// The master's interval is longer than the limit, which is used instead.
    IntervalExceedsLimit {
        /// The master's advert.
        advert: Advert,
        /// The limit.
        limit: Interval,
    },
    /// The master advertises other addresses than ours.
    AddressesDiffer(Advert),
    /// Advert from a lower-priority router while Master.
    LowerMaster(Advert),
    /// The Master_Down timer was handled this late (the machine was suspended): the router listens once more.
    ClockGap(Duration),
    /// The start delay begins: the router listens for this long before it may become Master.
    StartDelay(Duration),
    /// Damping holds the take-over for this long.
    TakeOverHeld(Duration),
}

/// The source of an operator's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Origin {
    /// The client.
    Operator,
    /// A signal.
    Signal,
}

impl Origin {
    /// The reason of a transition it causes.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Operator => Reason::Operator,
            Self::Signal => Reason::Signal,
        }
    }
}
