//! Counters of received and rejected adverts.

use vrrpd_common::Reject;
use vrrpd_common::abi::KernelCounters;

/// Counters of a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Valid adverts.
    pub received: u64,
    /// Rejected adverts.
    pub rejected: RejectCounts,
}

/// Number of failures of each check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectCounts([u64; Reject::ALL.len()]);

impl From<KernelCounters> for RejectCounts {
    fn from(counters: KernelCounters) -> Self {
        Self(counters)
    }
}

impl RejectCounts {
    pub(super) fn add(&mut self, reject: Reject) {
        if let Some(count) = self.0.get_mut(reject as usize) {
            *count += 1;
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
        self
    }

    /// Each check with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Reject, u64)> {
        Reject::ALL.into_iter().zip(self.0)
    }
}
