//! Attaching the program to an interface: in the driver, after it, or at the tcx hook.

use std::os::fd::{AsFd, BorrowedFd};

use vrrpd_common::Duration;

use super::detaching::Detaching;
use super::ports;
use super::refusal::{ForeignProgram, Refusal};
use super::tier::Tier;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// How long a program waits until the previous one of the interface is detached.
const PATIENCE: Duration = Duration::from_secs(1);

/// An attached program. It is detached by another thread on drop, or by the kernel after a crash. Until then it may still
/// run, so its maps must not name a router of the interface any more.
#[derive(Debug)]
pub(super) struct Attachment {
    index: u32,
    tier: Tier,
    /// Why it is not a better tier.
    refused: Option<Refusal>,
    /// `None`: it was handed over, or is being detached.
    link: Option<Kept<Attached>>,
    detaching: Detaching,
}

impl Attachment {
    /// Attaches the program to the interface with this index at a hook, once earlier programs of this process are detached
    /// from the interface.
    pub(super) fn make(
        program: BorrowedFd<'_>,
        keeper: &Keeper,
        detaching: &Detaching,
        index: u32,
        tier: Tier,
    ) -> Result<Self, Refusal> {
        if tier == Tier::Native && ports::are_below(index) {
            return Err(Refusal::Ports);
        }
        detaching.wait_for(index, PATIENCE);
        let link = bpf::attach(program, index, tier.hook(), tier.flags());
        let link = link.map_err(|error| Refusal::of_attaching_at(tier, error))?;
        Ok(Self { index, tier, refused: None, link: Some(keeper.keep(link)), detaching: detaching.clone() })
    }

    /// Notes why it is not at a better hook.
    pub(super) fn because(mut self, refused: Vec<(Tier, Refusal)>) -> Self {
        self.refused = (!refused.is_empty()).then_some(Refusal::Tiers(refused));
        self
    }

    /// Puts another program of the same kind in this place. Each frame is seen by one of the two.
    pub(super) fn exchange(&self, program: BorrowedFd<'_>) -> Result<(), Refusal> {
        let link = self.link.as_ref().ok_or(Refusal::TakenOff(self.tier))?;
        bpf::exchange(link.as_fd(), program).map_err(Refusal::of_attaching)
    }

    /// Hands over what keeps the program attached.
    pub(super) fn hand_over(&mut self) -> Self {
        let (link, detaching) = (self.link.take(), self.detaching.clone());
        Self { index: self.index, tier: self.tier, refused: None, link, detaching }
    }

    /// The number of the interface.
    pub(super) const fn interface(&self) -> u32 {
        self.index
    }

    /// The tier in use.
    pub(super) const fn tier(&self) -> Tier {
        self.tier
    }

    /// Why it is not a better tier.
    pub(super) const fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Why the attached `program` may miss adverts, if so: other processes may detach it, or place a classifier before
    /// it, without a notification. `None` if this cannot be determined.
    pub(super) fn trouble(&self, program: u32) -> Option<Refusal> {
        let is_off =
            |link: &Kept<Attached>| bpf::interface_of(link.as_fd()).is_ok_and(|interface| interface == 0);
        if self.link.as_ref().is_some_and(is_off) {
            return Some(Refusal::TakenOff(self.tier));
        }
        match self.tier {
            Tier::Native | Tier::Generic => None,
            Tier::Tcx => {
                let there = bpf::classifiers(self.index, self.tier.hook()).ok()?;
                let place = there.iter().position(|there| *there == program)?;
                let in_front = there.into_iter().take(place).map(ForeignProgram::of);
                in_front.into_iter().find(ForeignProgram::may_consume).map(Refusal::Behind)
            }
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.detaching.detach(self.index, link);
        }
    }
}
