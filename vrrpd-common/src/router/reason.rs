//! Reasons of transitions.

use core::fmt;

/// The reason of a transition, with one name for log, JSON and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// The daemon started.
    StartUp,
    /// The master was not heard for Master_Down_Interval.
    MasterDownTimer,
    /// A master of higher priority was heard.
    HigherPriorityAdvert,
    /// The master resigned.
    MasterResigned,
    /// A master of lower priority was heard long enough.
    Preempted,
    /// A master of the same priority and a greater address was heard.
    EqualPriorityHigherAddress,
    /// A command of the client.
    Operator,
    /// A signal.
    Signal,
    /// The interface has no carrier.
    LinkDown,
    /// The interface is usable again.
    LinkUp,
    /// The interface was set down.
    AdminDown,
    /// The interface is gone.
    InterfaceRemoved,
    /// The interface has no address to send from.
    NoAddress,
    /// The interface cannot send our adverts.
    AdvertUnsendable,
    /// A check without a weight has failed.
    TrackFailed,
    /// All checks without a weight hold again.
    TrackRecovered,
    /// The system refused the virtual addresses.
    AddressRefused,
    /// The machine was stopped for longer than the protocol tolerates.
    ClockGap,
    /// Another member of its group is no longer Master.
    Group,
    /// The daemon ends.
    Shutdown,
    /// The daemon was killed or crashed; its guardian or the next start has given everything back.
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

    /// Whether another router caused it, by an advert or by silence.
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

    /// Whether a router starts for this reason, or recovers from a fault.
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
