//! Frames to the MAC address that an interface had before it got a virtual one: a classifier in the kernel has IP take
//! them in. Hosts that know the old address, or were told of it by hand, so do not lose the machine.

use std::fmt;
use std::os::fd::AsFd as _;

use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nix::errno::Errno;
use vrrpd_common::MacAddr;

use super::clsact::{self, Clsact};
use super::program::{aside, for_want_of_rights};
use super::refusal::Refusal;
use crate::guardian::copies::{Keeper, Kept};
use crate::sys::bpf::{self, Attached};

/// The program, built by `cargo xtask ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/own_mac.bpf.o"));
const PROGRAM: &str = "own_mac";

/// The classifier on one interface; dropping it takes it away. If we crash, the kernel does, from 6.6 on; before, it stays
/// until [`remove_left`].
pub struct OwnMacFrames {
    _link: Option<Kept<Attached>>,
    _ebpf: Ebpf,
    /// What it hangs on in kernels before 6.6; goes after it.
    _clsact: Option<Clsact>,
}

impl OwnMacFrames {
    /// Has the interface of this name and number take in what is for `mac`.
    fn attach(wanted: &OwnMacWanted) -> Result<Self, Refusal> {
        let OwnMacWanted { interface, index, mac, keeper } = wanted;
        let [a, b, c, d, e, f] = mac.0;
        let mut ebpf = EbpfLoader::new()
            // The loader has read the types of the kernel, of which this needs nothing.
            .btf(None)
            .override_global("OWN_MAC", &[a, b, c, d, e, f, 0, 0], true)
            .load(OBJECT)
            .map_err(|error| Refusal::of_loading(&error))?;
        let program: &mut SchedClassifier = ebpf
            .program_mut(PROGRAM)
            .ok_or(Refusal::NoProgram(PROGRAM))?
            .try_into()
            .map_err(Refusal::of_program)?;
        program.load().map_err(Refusal::of_program)?;
        let number = program.fd().map_err(Refusal::of_program)?.as_fd();
        match bpf::attach(number, *index, bpf::TCX_INGRESS, bpf::TCX_FIRST) {
            Ok(link) => Ok(Self { _link: Some(keeper.keep(link)), _ebpf: ebpf, _clsact: None }),
            // A kernel before 6.6 does not know links of this kind.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                let clsact = Clsact::on(interface, *index)?;
                let filter = TcAttachOptions::Netlink(clsact.filter());
                program
                    .attach_with_options(interface, TcAttachType::Ingress, filter)
                    .map_err(Refusal::of_program)?;
                Ok(Self { _link: None, _ebpf: ebpf, _clsact: Some(clsact) })
            }
            Err(error) => Err(Refusal::of_attaching(error)),
        }
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
    /// The interface's name,
    pub interface: String,
    /// and its number.
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
pub fn remove_left(interface: &str, index: u32) -> bool {
    clsact::remove_left(interface, index)
}

impl fmt::Debug for OwnMacFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMacFrames").finish_non_exhaustive()
    }
}
