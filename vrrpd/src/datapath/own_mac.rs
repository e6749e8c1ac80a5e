//! Frames to the MAC address that an interface had before it got a virtual one: a classifier in the kernel has IP take
//! them in. Hosts that know the old address, or were told of it by hand, so do not lose the machine.

use std::fmt;

use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::{LinkOrder, ProgramError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use vrrpd_common::MacAddr;

use super::xdp::{Refusal, chain, refusal};

/// The program, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/own_mac.bpf.o"));
const PROGRAM: &str = "own_mac";

/// The classifier on one interface; dropping it takes it away, and if we crash, the kernel does.
pub struct OwnMacFrames {
    _ebpf: Ebpf,
}

impl OwnMacFrames {
    /// Has the interface of this name take in what is for `mac`. Needs kernel 6.6: what older ones have for it outlives
    /// whoever put it there.
    pub fn attach(interface: &str, mac: MacAddr) -> Result<Self, Refusal> {
        let [a, b, c, d, e, f] = mac.0;
        let mut ebpf = EbpfLoader::new()
            // It needs nothing of the kernel's types, which take long to read.
            .btf(None)
            .override_global("OWN_MAC", &[a, b, c, d, e, f, 0, 0], true)
            .load(OBJECT)
            .map_err(|error| Refusal(chain(&error)))?;
        let program: &mut SchedClassifier = ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| Refusal(format!("the object has no program {PROGRAM}")))?
            .try_into()
            .map_err(|error: ProgramError| refusal(&error))?;
        program.load().map_err(|error| refusal(&error))?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        program
            .attach_with_options(interface, TcAttachType::Ingress, first)
            .map_err(|error| refusal(&error))?;
        Ok(Self { _ebpf: ebpf })
    }
}

impl fmt::Debug for OwnMacFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMacFrames").finish_non_exhaustive()
    }
}
