//! Frames to the MAC address that an interface had before it got a virtual one: a classifier in the kernel makes IP
//! accept them. So the machine stays reachable for hosts that cached the old address or have a static entry for it.

use std::fmt;

use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use vrrpd_common::MacAddr;

use super::classifier::{self, Classifier};
use super::clsact::Direction;
use super::names::OWN_MAC;
use super::program::{aside, for_want_of_rights};
use super::refusal::Refusal;
use crate::guardian::copies::Keeper;

/// The program, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/own_mac.bpf.o"));

/// The classifier on one interface; dropping it detaches it. If the daemon crashes, the kernel detaches it from Linux
/// 6.6 on; before, it stays until [`remove_left`].
pub struct OwnMacFrames {
    _classifier: Classifier,
    _ebpf: Ebpf,
}

impl OwnMacFrames {
    /// Makes the interface accept frames to its own MAC address.
    fn attach(wanted: &OwnMacWanted) -> Result<Self, Refusal> {
        let OwnMacWanted { index, mac, keeper } = wanted;
        let [a, b, c, d, e, f] = mac.0;
        let mut ebpf = EbpfLoader::new()
            // The program does not need the kernel's BTF types.
            .btf(None)
            .override_global("OWN_MAC", &[a, b, c, d, e, f, 0, 0], true)
            .load(OBJECT)
            .map_err(|error| Refusal::of_loading(&error))?;
        let classifier = Classifier::attach(&mut ebpf, OWN_MAC, *index, Direction::Ingress, OWN_MAC, keeper)?;
        Ok(Self { _classifier: classifier, _ebpf: ebpf })
    }
}

/// A change of the frames that an interface accepts. Each step waits for an RCU grace period.
#[derive(Debug)]
pub struct OwnMacChange {
    /// The classifier to detach first.
    pub before: Option<OwnMacFrames>,
    /// The classifier to attach then.
    pub wanted: Option<OwnMacWanted>,
}

/// A classifier to attach.
#[derive(Debug)]
pub struct OwnMacWanted {
    /// Index of the interface.
    pub index: u32,
    /// Destination MAC address of the frames.
    pub mac: MacAddr,
    /// Makes the guardian hold a copy of the descriptor, since the last close of it is slow.
    pub keeper: Keeper,
}

/// Result of the change.
#[derive(Debug)]
pub struct OwnMacChanged {
    /// Index of the interface.
    pub index: u32,
    /// Destination MAC address of the frames.
    pub mac: MacAddr,
    /// The attached classifier, or the reason of the failure.
    pub frames: Result<OwnMacFrames, Refusal>,
}

impl OwnMacChange {
    /// Makes the change; returns `None` if there is no classifier to attach.
    pub fn carry_out(self) -> Option<OwnMacChanged> {
        let Self { before, wanted } = self;
        drop(before);
        let wanted = wanted?;
        let frames = aside(|| OwnMacFrames::attach(&wanted).map_err(for_want_of_rights));
        Some(OwnMacChanged { index: wanted.index, mac: wanted.mac, frames })
    }
}

/// Detaches the classifier that a killed daemon left on this interface; returns whether it had one.
pub fn remove_left(index: u32) -> bool {
    classifier::remove_left_on(index, OWN_MAC)
}

impl fmt::Debug for OwnMacFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMacFrames").finish_non_exhaustive()
    }
}
