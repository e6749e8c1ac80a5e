//! Events and actions of a router.

use core::net::IpAddr;

use crate::advert::Advert;
use crate::mac::MacAddr;
use crate::params::{Interval, Priority};
use crate::time::Duration;

use super::fault::Faults;
use super::reason::Reason;
use super::state_name::StateName;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// Start.
    Startup,
    /// Stop.
    Shutdown,
    /// The deadline may have passed.
    Timer,
    /// A valid advert.
    Advert(Advert),
    /// The interface is usable, and this is the source address of adverts. Also when the address changes.
    InterfaceUp(IpAddr),
    /// The router cannot serve any more, or its faults have changed.
    InterfaceDown(Faults),
    /// Stay Backup as long as there is another master of any priority.
    StandBack(Origin),
    /// End that; preempt if the priority allows.
    Resume(Origin),
    /// Set this priority, 1 to 255.
    Priority(Priority),
    /// The system refused the virtual addresses of [`Action::TakeAddresses`]; no advert was sent yet.
    AddressesRefused,
    /// Virtual addresses of a reported Master are gone, and the system refuses to add them again.
    AddressesLost,
    /// Adverts may have been missed for an unknown time: the machine was suspended, or the data path failed.
    StoodStill,
    /// Every member of its [group](crate::group) is willing to be Master: become Master.
    GroupReady {
        /// How long to tolerate a better master before yielding to it.
        hold: Duration,
    },
    /// A member of its group is no longer Master: stop being Master.
    GroupYields,
    /// The script of [`Action::Prepare`] has ended or timed out.
    Prepared,
}

/// An action; actions are executed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Run the `prepare` script; [`Event::Prepared`] follows.
    Prepare,
    /// End that script: the router does not become Master.
    EndPreparation,
    /// Add the virtual addresses; further actions wait until they are there.
    TakeAddresses,
    /// Remove them.
    GiveUpAddresses,
    /// Send an advert with this priority.
    SendAdvert(Priority),
    /// Gratuitous ARP or unsolicited neighbour advertisement for each address.
    AnnounceAddresses(Occasion),
    /// The state has changed: log it, run scripts, notify clients.
    Transition(Transition),
    /// Log this.
    Notice(Notice),
}

/// Why the addresses are announced, in ascending order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Occasion {
    /// Refreshes the switches of other interfaces, where no adverts are sent.
    Elsewhere,
    /// Refreshes hosts and switches.
    Refresh,
    /// A router of lower priority advertised, and may have announced them as well.
    LowerMaster,
    /// The router has become Master, or the MAC address or location of the addresses has changed.
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
    /// The reason, for scripts and clients.
    pub reason: Reason,
    /// The other router that caused it, if any.
    pub cause: Option<Cause>,
}

/// A router whose advert, or silence, caused a transition of another one.
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
    /// The Master_Down timer was late by this much, so the router listens once more.
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
