//! The program of the data path, loaded into the kernel, and attached to an interface when one needs it.
//!
//! The verifier takes some ten milliseconds, longer than the master-down time of a Backup whose master advertises every
//! 10 ms. So once the daemon takes part, programs are loaded in another thread.

use std::fmt;
use std::fs;
use std::os::fd::AsFd as _;
use std::{panic, thread};

use aya::programs::{Program, ProgramFd};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use nix::errno::Errno;
use tracing::debug;

use vrrpd_common::Duration;

use super::attachment::Attachment;
use super::object::{Objects, Room, ring_len};
use super::privileges;
use super::refusal::{Refusal, errno};
use super::tier::{Kind, Tier};
use crate::config::Datapath;
use crate::guardian::copies::Keeper;
use crate::sys::{bpf, memory};

/// The program for XDP, and as a classifier, built by `cargo xtask ebpf`; `build.rs` sets the path.
static XDP_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/vrrpd.bpf.o"));
static TCX_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/tcx.bpf.o"));
/// The program that runs on each frame.
pub(super) const PROGRAM: &str = "vrrpd";
/// What runs when it is asked to.
pub(super) const COMMANDS: &str = "vrrpd_command";
/// The maps that have as many entries as there are places.
const PLACES: [&str; 5] = ["INDEX", "ROUTERS", "RECORDS", "REJECTS", "STATIONS"];

/// What a program is loaded for.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The data path of the interface.
    pub wanted: Datapath,
    /// Number of routers on the interface.
    pub routers: usize,
    /// Number of routers of the process.
    pub in_all: usize,
    /// How long to wait for kernel memory.
    pub patience: Duration,
}

/// An interface that a program is to be attached to.
#[derive(Clone, Debug)]
pub struct Site {
    /// Index of the interface.
    pub index: u32,
    /// Why the interface cannot have an XDP program, as far as known before attaching one.
    pub no_xdp: Option<Refusal>,
}

/// The program, in an object that has room for the routers of an interface.
pub struct Loaded {
    need: Need,
    /// Has another object, if the program cannot be attached and one of another kind is tried.
    objects: Objects,
    room: Room,
    /// Where it is already, if it is.
    attachment: Option<Attachment>,
    /// Makes the guardian hold a copy of the descriptor, since the last close of it is slow.
    keeper: Keeper,
}

impl Loaded {
    /// Loads the program that is tried first for a data path, unless it is loaded.
    ///
    /// # Errors
    /// The reason why it cannot be loaded.
    pub fn load(need: Need, objects: Objects, keeper: Keeper) -> Result<Self, Refusal> {
        let first = Tier::of(need.wanted).first().ok_or(Refusal::NotWanted)?;
        let room = objects.room(first.kind(), need)?;
        Ok(Self { need, objects, room, attachment: None, keeper })
    }

    /// Attaches the program to an interface, which takes some drivers long.
    pub fn onto(mut self, site: &Site) -> Result<Self, Refusal> {
        self.attachment = Some(self.attach(site)?);
        Ok(self)
    }

    /// The data path this program was loaded for.
    pub const fn wanted(&self) -> Datapath {
        self.need.wanted
    }

    /// Index of the interface that the program is attached to.
    pub fn interface(&self) -> Option<u32> {
        self.attachment.as_ref().map(Attachment::interface)
    }

    /// Detaches the program.
    pub fn off(&mut self) {
        self.attachment = None;
    }

    /// The kernel's number of the program.
    pub fn number(&self) -> u32 {
        self.room.object().number()
    }

    /// The program on an interface, to which it is attached unless it is there.
    pub(super) fn into_parts(mut self, site: &Site) -> Result<(Room, Attachment), Refusal> {
        let there = self.attachment.take().filter(|attachment| attachment.interface() == site.index);
        let attachment = match there {
            Some(there) => there,
            None => self.attach(site)?,
        };
        Ok((self.room, attachment))
    }

    /// The room in its object, for a program that is attached already.
    pub(super) fn into_room(self) -> Room {
        self.room
    }

    /// What keeps the program attached, if it is.
    pub(super) fn into_attachment(self) -> Option<Attachment> {
        self.attachment
    }

    /// Attaches the program at the best hook of the data path that can be had.
    fn attach(&mut self, site: &Site) -> Result<Attachment, Refusal> {
        let mut refused = Vec::new();
        for tier in Tier::of(self.need.wanted).iter().copied() {
            match self.attach_at(tier, site) {
                Ok(attachment) => return Ok(attachment.because(refused)),
                Err(why) => refused.push((tier, why)),
            }
        }
        Err(Refusal::Tiers(refused))
    }

    fn attach_at(&mut self, tier: Tier, site: &Site) -> Result<Attachment, Refusal> {
        let kind = tier.kind();
        if let Some(why) = site.no_xdp.as_ref().filter(|_| kind == Kind::Xdp) {
            return Err(why.clone());
        }
        if self.room.object().kind() != kind {
            self.room = self.objects.room(kind, self.need)?;
        }
        let object = self.room.object();
        Attachment::make(object.program().as_fd(), &self.keeper, object.detaching(), site.index, tier)
    }
}

/// Loads something in a thread of its own: a megabyte of small pieces that is needed for a moment only is taken from memory of
/// that thread, with little between them that is kept, and is given back.
pub(super) fn aside<T: Send>(load: impl FnOnce() -> T + Send) -> T {
    let loaded = thread::scope(|scope| scope.spawn(load).join());
    memory::give_back();
    loaded.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// Loads the program of this kind, with so many places in its maps.
pub(super) fn load(kind: Kind, places: u32) -> Result<Ebpf, Refusal> {
    try_load(kind, places).map_err(|why| explained(for_want_of_rights(why), kind))
}

/// Why a program cannot be loaded, where this process is not permitted to; otherwise the reason there is. Without
/// CAP_PERFMON the kernel finds fault with the instructions, and without CAP_BPF the loader with the object.
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

/// The reason why the program cannot be loaded, and that the kernel is too old for it where that is so: the kernel itself
/// only says that it does not understand.
fn explained(why: Refusal, kind: Kind) -> Refusal {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
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

/// The release that is the first with timers in programs (`bpf_timer`), in words too.
const TIMERS: ((u32, u32), &str) = ((5, 15), "Linux 5.15 for its timers");
/// The first with links of classifiers.
const TCX: ((u32, u32), &str) = ((6, 6), "Linux 6.6 for tcx");

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

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
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
