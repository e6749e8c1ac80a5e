//! Frames to the MAC address that an interface had before it got a virtual one: a classifier in the kernel has IP take
//! them in. Hosts that know the old address, or were told of it by hand, so do not lose the machine.

use std::fmt;

use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::{LinkOrder, ProgramError};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nix::errno::Errno;
use vrrpd_common::MacAddr;

use super::clsact::{self, Clsact};
use super::program::{Refusal, aside, chain, errno, refusal};

/// The program, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/own_mac.bpf.o"));
const PROGRAM: &str = "own_mac";

/// The classifier on one interface; dropping it takes it away. If we crash, the kernel does, from 6.6 on; before, it stays
/// until [`remove_left`].
pub struct OwnMacFrames {
    _ebpf: Ebpf,
    /// What it hangs on in kernels before 6.6; goes after it.
    _clsact: Option<Clsact>,
}

impl OwnMacFrames {
    /// Has the interface of this name and number take in what is for `mac`.
    fn attach(interface: &str, index: u32, mac: MacAddr) -> Result<Self, Refusal> {
        let [a, b, c, d, e, f] = mac.0;
        let mut ebpf = EbpfLoader::new()
            // The loader has read the types of the kernel, of which this needs nothing.
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
        let clsact = match program.attach_with_options(interface, TcAttachType::Ingress, first) {
            Ok(_) => None,
            // A kernel before 6.6 does not know links of this kind.
            Err(error) if errno(&error) == Some(Errno::EINVAL) => {
                let clsact = Clsact::on(interface, index)?;
                let filter = TcAttachOptions::Netlink(clsact.filter());
                program
                    .attach_with_options(interface, TcAttachType::Ingress, filter)
                    .map_err(|error| refusal(&error))?;
                Some(clsact)
            }
            Err(error) => return Err(refusal(&error)),
        };
        Ok(Self { _ebpf: ebpf, _clsact: clsact })
    }
}

/// What an interface is to take in from now on. The kernel waits for all processors with each step.
#[derive(Debug)]
pub struct OwnMacChange {
    /// Goes first.
    pub before: Option<OwnMacFrames>,
    /// Comes then: for this MAC address of the interface of this name and number.
    pub wanted: Option<(String, u32, MacAddr)>,
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
        let (interface, index, mac) = wanted?;
        let frames = aside(|| OwnMacFrames::attach(&interface, index, mac));
        Some(OwnMacChanged { index, mac, frames })
    }
}

/// Takes away the classifier that a killed daemon left on this interface; says whether there was one.
pub fn remove_left(interface: &str, index: u32) -> bool {
    clsact::remove_left(interface, index)
}

impl fmt::Debug for OwnMacFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMacFrames").finish_non_exhaustive()
    }
}
