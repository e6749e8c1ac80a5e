//! Why a router changed its state.

use core::fmt;

/// Why a router changed its state: one name for log, JSON and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// The daemon started.
    StartUp,
    /// The master was not heard for Master_Down_Interval.
    MasterDownTimer,
    /// A master of higher priority was heard.
    HigherPriorityAdvert,
    /// The master said that it leaves.
    MasterResigned,
    /// A master of lower priority was heard long enough.
    Preempted,
    /// A master of the same priority and a greater address was heard.
    EqualPriorityHigherAddress,
    /// The client asked for it.
    Operator,
    /// A signal asked for it.
    Signal,
    /// The interface has no carrier.
    LinkDown,
    /// The interface can be used again.
    LinkUp,
    /// The interface was set down.
    AdminDown,
    /// The interface is gone.
    InterfaceRemoved,
    /// The interface has no address to send from.
    NoAddress,
    /// The interface does not take our adverts.
    AdvertUnsendable,
    /// Something that the router tracks has failed.
    TrackFailed,
    /// All that the router tracks holds again.
    TrackRecovered,
    /// The system refused the virtual addresses.
    AddressRefused,
    /// The machine stood still for longer than the protocol bears.
    ClockGap,
    /// Another member of its group is not Master any more.
    Group,
    /// The daemon ends.
    Shutdown,
    /// The daemon was killed, or died of a fault of its own; what it had was given back in its place.
    Crash,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 21] = [
        Self::StartUp,
        Self::MasterDownTimer,
        Self::HigherPriorityAdvert,
        Self::MasterResigned,
        Self::Preempted,
        Self::EqualPriorityHigherAddress,
        Self::Operator,
        Self::Signal,
        Self::LinkDown,
        Self::LinkUp,
        Self::AdminDown,
        Self::InterfaceRemoved,
        Self::NoAddress,
        Self::AdvertUnsendable,
        Self::TrackFailed,
        Self::TrackRecovered,
        Self::AddressRefused,
        Self::ClockGap,
        Self::Group,
        Self::Shutdown,
        Self::Crash,
    ];

    /// Whether it is what another router said, or that it fell silent.
    pub const fn is_another_router(self) -> bool {
        match self {
            Self::MasterDownTimer
            | Self::HigherPriorityAdvert
            | Self::MasterResigned
            | Self::Preempted
            | Self::EqualPriorityHigherAddress => true,
            Self::StartUp
            | Self::Operator
            | Self::Signal
            | Self::LinkDown
            | Self::LinkUp
            | Self::AdminDown
            | Self::InterfaceRemoved
            | Self::NoAddress
            | Self::AddressRefused
            | Self::AdvertUnsendable
            | Self::TrackFailed
            | Self::TrackRecovered
            | Self::ClockGap
            | Self::Group
            | Self::Shutdown
            | Self::Crash => false,
        }
    }

    /// Whether a router begins for this reason, at its start or after a fault.
    pub const fn is_beginning(self) -> bool {
        matches!(self, Self::StartUp | Self::LinkUp | Self::TrackRecovered)
    }

    /// The name in logs, JSON and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::MasterDownTimer => "master-down-timer",
            Self::HigherPriorityAdvert => "higher-priority-advert",
            Self::MasterResigned => "master-resigned",
            Self::Preempted => "preempted",
            Self::EqualPriorityHigherAddress => "equal-priority-higher-address",
            Self::Operator => "operator",
            Self::Signal => "signal",
            Self::LinkDown => "link-down",
            Self::LinkUp => "link-up",
            Self::AdminDown => "admin-down",
            Self::InterfaceRemoved => "interface-removed",
            Self::NoAddress => "no-address",
            Self::AdvertUnsendable => "advert-unsendable",
            Self::TrackFailed => "track-failed",
            Self::TrackRecovered => "track-recovered",
            Self::AddressRefused => "address-refused",
            Self::ClockGap => "clock-gap",
            Self::Group => "group",
            Self::Shutdown => "shutdown",
            Self::Crash => "crash",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
