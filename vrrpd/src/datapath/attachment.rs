//! Attaching the program to an interface: in the driver, after it, or at the tcx hook.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use vrrpd_common::Duration;

use super::closing;
use super::ports;
use super::refusal::{ForeignProgram, Refusal};
use super::tier::Tier;
use crate::clock;
use crate::config::Datapath;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// Pause between two attempts to attach a classifier.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// An attached program. It is detached on drop, or by the kernel after a crash. That takes the kernel ten milliseconds.
/// A classifier is detached in another thread, since it consumes nothing meanwhile; an XDP program is detached
/// synchronously, since it would consume adverts for the next sockets, and occupies the hook.
#[derive(Debug)]
pub(super) struct Attachment {
    index: u32,
    tier: Tier,
    /// Why it is not a better tier.
    refused: Option<Refusal>,
    /// `None`: it is being detached.
    link: Option<Kept<Attached>>,
}

impl Attachment {
    /// Attaches the program to the interface with this index, in the best available tier among the requested ones.
    pub(super) fn make(
        program: BorrowedFd<'_>,
        keeper: &Keeper,
        index: u32,
        wanted: Datapath,
        patience: Duration,
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
            if tier == Tier::Native && ports::are_below(index) {
                refused.push((tier, Refusal::Ports));
                continue;
            }
            match attach(program, index, tier, patience) {
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

/// Attaches the program. If the same classifier is still attached, waits until it is gone: the kernel takes some ten
/// milliseconds to remove one, and does so in another thread.
fn attach(program: BorrowedFd<'_>, index: u32, tier: Tier, patience: Duration) -> io::Result<Attached> {
    let until = clock::now() + patience;
    loop {
        match bpf::attach(program, index, tier.hook(), tier.flags()) {
            Err(error)
                if tier == Tier::Tcx
                    && error.raw_os_error() == Some(libc::EEXIST)
                    && clock::now() < until =>
            {
                thread::sleep(PAUSE);
            }
            attached => return attached,
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
