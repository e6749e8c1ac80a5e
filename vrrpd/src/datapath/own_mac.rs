//! Frames to the MAC address that an interface had before it got a virtual one: a classifier in the kernel has IP take
//! them in. Hosts that know the old address, or were told of it by hand, so do not lose the machine.

use std::fmt;

use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use vrrpd_common::MacAddr;

use super::classifier::{self, Classifier, Direction};
use super::program::{aside, for_want_of_rights};
use super::refusal::Refusal;
use crate::guardian::copies::Keeper;

/// The program, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/own_mac.bpf.o"));
/// The program, and its filter in kernels before 6.6. One daemon at a time replaces the address of an interface.
pub(super) const NAME: &str = "own_mac";

/// The classifier on one interface; dropping it takes it away. If we crash, the kernel does, from 6.6 on; before, it stays
/// until [`remove_left`].
pub struct OwnMacFrames {
    _classifier: Classifier,
    _ebpf: Ebpf,
}

impl OwnMacFrames {
    /// Has the interface take in what is for its own MAC address.
    fn attach(wanted: &OwnMacWanted) -> Result<Self, Refusal> {
        let OwnMacWanted { index, mac, keeper } = wanted;
        let [a, b, c, d, e, f] = mac.0;
        let mut ebpf = EbpfLoader::new()
            // The loader has read the types of the kernel, of which this needs nothing.
            .btf(None)
            .override_global("OWN_MAC", &[a, b, c, d, e, f, 0, 0], true)
            .load(OBJECT)
            .map_err(|error| Refusal::of_loading(&error))?;
        let classifier = Classifier::attach(&mut ebpf, NAME, *index, Direction::Ingress, NAME, keeper)?;
        Ok(Self { _classifier: classifier, _ebpf: ebpf })
    }
}

/// What an interface is to take in from now on. The kernel waits for all processors with each step.
#[derive(Debug)]
pub struct OwnMacChange {
    /// Goes first.
    pub before: Option<OwnMacFrames>,
    /// Comes then.
    pub wanted: Option<OwnMacWanted>,
}

/// What an interface is to take in.
#[derive(Debug)]
pub struct OwnMacWanted {
    /// The interface's number.
    pub index: u32,
    /// The address of the frames.
    pub mac: MacAddr,
    /// Holds a copy of what the kernel is slow to let go of.
    pub keeper: Keeper,
}

/// What came of it.
#[derive(Debug)]
pub struct OwnMacChanged {
    /// On the interface of this number,
    pub index: u32,
    /// for this MAC address,
    pub mac: MacAddr,
    /// this, or why not.
    pub frames: Result<OwnMacFrames, Refusal>,
}

impl OwnMacChange {
    /// Makes the change; `None` when nothing was wanted.
    pub fn carry_out(self) -> Option<OwnMacChanged> {
        let Self { before, wanted } = self;
        drop(before);
        let wanted = wanted?;
        let frames = aside(|| OwnMacFrames::attach(&wanted).map_err(for_want_of_rights));
        Some(OwnMacChanged { index: wanted.index, mac: wanted.mac, frames })
    }
}

/// Takes away the classifier that a killed daemon left on this interface; says whether there was one.
pub fn remove_left(index: u32) -> bool {
    classifier::remove_left_on(index, NAME)
}

impl fmt::Debug for OwnMacFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMacFrames").finish_non_exhaustive()
    }
}
