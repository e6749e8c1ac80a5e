//! Why a router cannot serve: a set, since one fault may remain when another ends.

use super::Reason;

/// A fault, which keeps a router from serving. In the order of reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Fault {
    /// The interface is gone.
    InterfaceRemoved,
    /// Set down by an administrator.
    AdminDown,
    /// No carrier.
    LinkDown,
    /// It has no address to send from.
    NoAddress,
    /// The interface cannot send adverts: they exceed its MTU, or sending has failed for too long.
    AdvertUnsendable,
    /// A check without a weight has failed.
    TrackFailed,
}

/// The faults of a router: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u8", into = "u8"))]
pub struct Faults {
    first: Fault,
    /// A bit for each, by its index in [`Fault::ALL`].
    all: u8,
}

impl Fault {
    /// Every fault, in order.
    pub const ALL: [Self; 6] = [
        Self::InterfaceRemoved,
        Self::AdminDown,
        Self::LinkDown,
        Self::NoAddress,
        Self::AdvertUnsendable,
        Self::TrackFailed,
    ];

    /// The reason of a transition it causes.
    pub const fn reason(self) -> Reason {
        match self {
            Self::InterfaceRemoved => Reason::InterfaceRemoved,
            Self::AdminDown => Reason::AdminDown,
            Self::LinkDown => Reason::LinkDown,
            Self::NoAddress => Reason::NoAddress,
            Self::AdvertUnsendable => Reason::AdvertUnsendable,
            Self::TrackFailed => Reason::TrackFailed,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Faults {
    /// Only this fault.
    pub const fn of(fault: Fault) -> Self {
        Self { first: fault, all: fault.bit() }
    }

    /// These faults; `None`: there are none.
    pub fn all_of(faults: impl IntoIterator<Item = Fault>) -> Option<Self> {
        faults
            .into_iter()
            .fold(None, |all: Option<Self>, fault| Some(all.map_or(Self::of(fault), |all| all.and(fault))))
    }

    /// With this fault added.
    #[must_use]
    pub fn and(self, fault: Fault) -> Self {
        Self { first: self.first.min(fault), all: self.all | fault.bit() }
    }

    /// The most serious fault.
    pub const fn first(self) -> Fault {
        self.first
    }

    /// The reason of a transition that they cause.
    pub const fn reason(self) -> Reason {
        self.first.reason()
    }

    /// All faults, in order.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.all & fault.bit() != 0)
    }

    /// Whether a master can still resign: the link is up, and a resignation may be shorter than an advert.
    pub const fn allow_resignation(self) -> bool {
        match self.first {
            Fault::AdvertUnsendable | Fault::TrackFailed => true,
            Fault::InterfaceRemoved | Fault::AdminDown | Fault::LinkDown | Fault::NoAddress => false,
        }
    }
}

impl From<Faults> for u8 {
    /// A bit for each, by its index in [`Fault::ALL`].
    fn from(faults: Faults) -> Self {
        faults.all
    }
}

impl TryFrom<u8> for Faults {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        let faults = Self::all_of(Fault::ALL.into_iter().filter(|fault| bits & fault.bit() != 0));
        faults.filter(|faults| faults.all == bits).ok_or("not a set of faults")
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self::of(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn faults_are_listed_in_order_of_severity() {
        let faults = Faults::of(Fault::AdvertUnsendable).and(Fault::AdminDown).and(Fault::NoAddress);
        assert_eq!(faults.first(), Fault::AdminDown);
        assert_eq!(faults.reason(), Reason::AdminDown);
        let all = [Fault::AdminDown, Fault::NoAddress, Fault::AdvertUnsendable];
        assert_eq!(faults.iter().collect::<Vec<_>>(), all);
        assert_eq!(Faults::all_of(all), Some(faults));
        assert_eq!(Faults::all_of([]), None);
        assert_eq!(faults.and(Fault::AdminDown), faults);
    }

    #[test]
    fn every_fault_has_a_bit_and_a_reason_of_its_own_and_the_list_is_in_order() {
        let every = Faults::all_of(Fault::ALL).expect("there are some");
        assert_eq!(every.iter().collect::<Vec<_>>(), Fault::ALL);
        assert!(Fault::ALL.is_sorted());
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert!(Fault::ALL[index + 1..].iter().all(|other| other.reason() != fault.reason()));
            assert_eq!(Faults::of(fault).iter().collect::<Vec<_>>(), [fault]);
        }
    }

    #[test]
    fn a_faulty_master_resigns_unless_its_link_is_down() {
        for fault in Fault::ALL {
            let on_the_link = fault >= Fault::AdvertUnsendable;
            assert_eq!(Faults::of(fault).allow_resignation(), on_the_link, "{fault:?}");
            assert_eq!(
                Faults::of(fault).and(Fault::TrackFailed).allow_resignation(),
                on_the_link,
                "{fault:?}"
            );
        }
    }
}
