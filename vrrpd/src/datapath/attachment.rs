//! The place of the program on an interface: in the driver, behind it, or where packets come in.

use std::os::fd::{AsFd, BorrowedFd};

use super::closing;
use super::refusal::{ForeignProgram, Refusal};
use super::tier::Tier;
use crate::config::Datapath;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// The program's place on an interface. Dropping it takes the program off; if we crash, the kernel does. The kernel takes ten
/// milliseconds for that. Nobody waits for a classifier, which takes nothing from others meanwhile; an XDP program is off when
/// this returns, since it takes adverts from the sockets that come after it, and leaves no place for another one.
#[derive(Debug)]
pub(super) struct Attachment {
    index: u32,
    tier: Tier,
    /// Why it is not a better tier.
    refused: Option<Refusal>,
    /// `None`: it goes.
    link: Option<Kept<Attached>>,
}

impl Attachment {
    /// Attaches the program to the interface of this number, in the best tier that can be had of those that are wanted.
    pub(super) fn make(
        program: BorrowedFd<'_>,
        keeper: &Keeper,
        index: u32,
        wanted: Datapath,
    ) -> Result<Self, Refusal> {
        let tiers: &[Tier] = match wanted {
            Datapath::Raw => &[],
            Datapath::Auto | Datapath::Tcx => &[Tier::Tcx],
            Datapath::Xdp => &[Tier::Native, Tier::Generic],
            Datapath::XdpNative => &[Tier::Native],
            Datapath::XdpGeneric => &[Tier::Generic],
        };
        let mut refused = Vec::new();
        for tier in tiers.iter().copied() {
            match bpf::attach(program, index, tier.hook(), tier.flags()) {
                Ok(link) => {
                    let refused = (!refused.is_empty()).then_some(Refusal::Tiers(refused));
                    return Ok(Self { index, tier, refused, link: Some(keeper.keep(link)) });
                }
                Err(error) => refused.push((tier, tier.refusal(error))),
            }
        }
        Err(Refusal::Tiers(refused))
    }

    /// Puts another program of the same kind in this place. Each frame is seen by one of the two.
    pub(super) fn exchange(&self, program: BorrowedFd<'_>) -> Result<(), Refusal> {
        let link = self.link.as_ref().ok_or(Refusal::TakenOff(self.tier))?;
        bpf::exchange(link.as_fd(), program).map_err(Refusal::of_attaching)
    }

    /// The number of the interface.
    pub(super) const fn interface(&self) -> u32 {
        self.index
    }

    /// Where the program runs.
    pub(super) const fn tier(&self) -> Tier {
        self.tier
    }

    /// Why it does not run in a better tier.
    pub(super) const fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Why `program`, which was attached here, may not see every advert by now: other processes may detach it, or put a
    /// classifier in front of it, and nobody is told. What cannot be found out is not held against it.
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
        let link = self.link.take();
        match self.tier {
            Tier::Tcx => closing::let_go(link),
            Tier::Native | Tier::Generic => drop(link),
        }
    }
}
