//! Whether an interface accepts frames to its own MAC address while it has a virtual one.

use vrrpd_common::MacAddr;

/// The state of that, with `F` for the classifier.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OwnMacState<F> {
    /// It never has a virtual one.
    Unneeded,
    /// Needed for this address; or failed, and not tried again.
    Wanted(MacAddr),
    /// In effect.
    Kept(MacAddr, F),
}

/// A change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replacement<F> {
    /// To be removed first.
    pub(super) before: Option<F>,
    /// The address needed then.
    pub(super) wanted: Option<MacAddr>,
}

impl<F> OwnMacState<F> {
    /// Sets the address to accept in addition to a virtual one; `None`: none. Returns the change.
    pub(super) fn want(&mut self, mac: Option<MacAddr>) -> Option<Replacement<F>> {
        let known = match self {
            Self::Unneeded => None,
            Self::Wanted(known) | Self::Kept(known, _) => Some(*known),
        };
        if known == mac {
            return None;
        }
        let before = self.end();
        if let Some(mac) = mac {
            *self = Self::Wanted(mac);
        }
        Some(Replacement { before, wanted: mac })
    }

    /// Handles that it is in effect for this address; returns what is to be removed, if it is not needed any more.
    pub(super) fn done(&mut self, mac: MacAddr, frames: F) -> Option<F> {
        match std::mem::replace(self, Self::Unneeded) {
            Self::Wanted(wanted) if wanted == mac => {
                *self = Self::Kept(mac, frames);
                None
            }
            Self::Kept(wanted, before) if wanted == mac => {
                *self = Self::Kept(mac, frames);
                Some(before)
            }
            other => {
                *self = other;
                Some(frames)
            }
        }
    }

    /// Ends it; returns what is to be removed.
    pub(super) fn end(&mut self) -> Option<F> {
        match std::mem::replace(self, Self::Unneeded) {
            Self::Kept(_, frames) => Some(frames),
            Self::Unneeded | Self::Wanted(_) => None,
        }
    }

    /// The address that is accepted.
    pub(super) const fn kept(&self) -> Option<MacAddr> {
        match self {
            Self::Kept(mac, _) => Some(*mac),
            Self::Unneeded | Self::Wanted(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn own_mac_exceptions_are_set_once_per_address_and_removed_first() {
        let mut state = OwnMacState::Unneeded;
        assert_eq!(state.want(None), None);
        assert_eq!(state.want(Some(A)), Some(Replacement { before: None, wanted: Some(A) }));
        assert_eq!(state.want(Some(A)), None, "it is being done");
        assert_eq!(state.done(A, "of A"), None);
        assert_eq!((state.want(Some(A)), state.kept()), (None, Some(A)));
        assert_eq!(state.want(Some(B)), Some(Replacement { before: Some("of A"), wanted: Some(B) }));
        assert_eq!(state.kept(), None);
        assert_eq!(state.want(None), Some(Replacement { before: None, wanted: None }));
    }

    #[test]
    fn a_late_change_is_undone() {
        let mut state = OwnMacState::Wanted(B);
        assert_eq!(state.done(A, "of A"), Some("of A"));
        assert_eq!(state, OwnMacState::Wanted(B));
        assert_eq!(state.done(B, "of B"), None);
        assert_eq!(state.done(B, "again"), Some("of B"));
        assert_eq!(state.end(), Some("again"));
        assert_eq!(state.done(B, "of B"), Some("of B"), "it is not needed any more");
        assert_eq!(state.end(), None);
    }
}
