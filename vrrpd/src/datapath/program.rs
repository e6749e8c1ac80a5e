//! Loads the program of the data path into the kernel.
//!
//! The verifier takes some ten milliseconds, longer than the master-down time of a Backup whose master advertises every
//! 10 ms. So once the daemon takes part, programs are loaded in another thread.

use std::fs;
use std::{panic, thread};

use aya::programs::{Program, ProgramFd};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use nix::errno::Errno;
use tracing::debug;

use super::names::PROGRAM;
use super::privileges;
use super::refusal::{Refusal, errno};
use super::tier::Kind;
use crate::sys::{bpf, memory, records};

/// The program for XDP, and as a classifier, built by `cargo xtask ebpf`; `build.rs` sets the path.
static XDP_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/vrrpd.bpf.o"));
static TCX_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/tcx.bpf.o"));
/// What runs when it is asked to.
pub(super) const COMMANDS: &str = "vrrpd_command";
/// The maps that have as many entries as there are places.
const PLACES: [&str; 6] = ["INDEX", "ROUTERS", "RECORDS", "REJECTS", "KNOWN", "STATIONS"];

/// Runs `load` in a thread of its own. Loading needs a megabyte in small pieces for a moment; memory of a thread goes back
/// to the system afterwards, and does not fragment the heap.
pub(super) fn aside<T: Send>(load: impl FnOnce() -> T + Send) -> T {
    let loaded = thread::scope(|scope| scope.spawn(load).join());
    memory::give_back();
    loaded.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Loads the program of this kind, with so many places in its maps.
pub(super) fn load(kind: Kind, places: u32) -> Result<Ebpf, Refusal> {
    try_load(kind, places).map_err(|why| explained(for_want_of_rights(why), kind))
}

/// The missing right if this process may not load programs, else `refusal`. Without CAP_PERFMON the kernel complains about
/// instructions, and without CAP_BPF the loader about the object.
pub(super) fn for_want_of_rights(refusal: Refusal) -> Refusal {
    let missing =
        privileges::missing_for_programs().map(Refusal::Capabilities).or_else(
            || match bpf::may_create_maps().map_err(|error| errno(&error)) {
                Err(Some(Errno::EPERM)) => Some(Refusal::Forbidden),
                Err(Some(Errno::ENOSYS)) => Some(Refusal::NoBpf),
                Ok(()) | Err(_) => None,
            },
        );
    match missing {
        Some(missing) => {
            debug!(reason = refusal.to_string(), "cannot load program");
            missing
        }
        None => refusal,
    }
}

fn try_load(kind: Kind, places: u32) -> Result<Ebpf, Refusal> {
    let object = match kind {
        Kind::Xdp => XDP_OBJECT,
        Kind::Classifier => TCX_OBJECT,
    };
    let mut loader = EbpfLoader::new();
    // The loader has read the types of the kernel, of which this needs nothing.
    loader.btf(None).verifier_log_level(VerifierLogLevel::empty());
    for map in PLACES {
        loader.map_max_entries(map, places);
    }
    loader.map_max_entries("EVENTS", ring_len(places));
    let mut ebpf = loader.load(object).map_err(|error| Refusal::of_loading(&error))?;
    for name in [PROGRAM, COMMANDS] {
        match program(&mut ebpf, name)? {
            Program::Xdp(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            _ => return Err(Refusal::NoProgram(name)),
        }
        .map_err(Refusal::of_program)?;
    }
    Ok(ebpf)
}

/// Adds to a reason that the kernel is too old for the program, if it is: the kernel itself does not say so.
fn explained(why: Refusal, kind: Kind) -> Refusal {
    let release = release();
    let (first, needs) = match kind {
        Kind::Xdp => TIMERS,
        Kind::Classifier => TCX,
    };
    if is_before(&release, first) {
        Refusal::TooOld { why: Box::new(why), needs, release: release.trim().to_owned() }
    } else {
        why
    }
}

/// The first release with timers in programs (`bpf_timer`), and what the program needs it for.
const TIMERS: ((u32, u32), &str) = ((5, 15), "Linux 5.15 for its timers");
/// The first release with links of classifiers.
const TCX: ((u32, u32), &str) = ((6, 6), "Linux 6.6 for tcx");

/// Whether the running kernel is older than a release.
pub(super) fn kernel_is_before(first: (u32, u32)) -> bool {
    is_before(&release(), first)
}

/// The release of the running kernel.
fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Whether a kernel of this release is older than the first of others.
fn is_before(release: &str, first: (u32, u32)) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < first)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Program, Refusal> {
    ebpf.program_mut(name).ok_or(Refusal::NoProgram(name))
}

/// The kernel's number of the program.
pub(super) fn number(ebpf: &mut Ebpf) -> Result<u32, Refusal> {
    Ok(program(ebpf, PROGRAM)?.info().map_err(Refusal::of_program)?.id())
}

/// The descriptor of a program that was loaded.
pub(super) fn fd<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a ProgramFd, Refusal> {
    program(ebpf, name)?.fd().map_err(Refusal::of_program)
}

/// Size of the ring buffer of an object with this number of places, in octets.
fn ring_len(places: u32) -> u32 {
    let places = usize::try_from(places).unwrap_or(usize::MAX);
    u32::try_from(vrrpd_common::abi::ring_len(places, records::page_size())).unwrap_or(1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_5_15_have_no_timers_and_those_before_6_6_no_tcx() {
        for (release, no_timers, no_tcx) in [
            ("5.10.0-46-cloud-amd64\n", true, true),
            ("4.19.0", true, true),
            ("5.15.0", false, true),
            ("6.1.0-56-amd64", false, true),
            ("6.6.0", false, false),
            ("6.12.117+deb12-cloud-amd64", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_before(release, TIMERS.0), no_timers, "{release}");
            assert_eq!(is_before(release, TCX.0), no_tcx, "{release}");
        }
    }
}
