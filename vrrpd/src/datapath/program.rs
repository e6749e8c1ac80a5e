//! The program of the data path, loaded into the kernel, and on no interface unless one waits for it.
//!
//! Loading takes the kernel's verifier some ten milliseconds, longer than a Backup waits for a master that says something
//! every 10 ms. So once the daemon takes part it is done in a thread of its own.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::{panic, thread};

use aya::maps::Map;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use nix::errno::Errno;
use tracing::debug;
use vrrpd_common::Duration;

use super::commands::Commands;
use super::privileges;
use super::xdp::Attachment;
use crate::guardian::copies::Keeper;
use crate::sys::{bpf, memory};

/// The program, built by `cargo xtask ebpf`; `build.rs` says where it is.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("VRRPD_BPF_OBJECTS"), "/vrrpd.bpf.o"));
/// What runs on each frame.
pub(super) const PROGRAM: &str = "vrrpd";
/// What runs when it is asked to.
const COMMANDS: &str = "vrrpd_command";

/// The program with its maps.
pub struct Loaded {
    commands: Commands,
    /// Where it is already, if it is.
    pub(super) attachment: Option<Attachment>,
    /// Holds a copy of that.
    pub(super) keeper: Keeper,
    ebpf: Ebpf,
}

/// Why adverts cannot be handled in the kernel, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl Loaded {
    /// Loads the program, and makes these slots ready. `patience` is how long the kernel's memory may be waited for.
    pub fn load(
        slots: impl IntoIterator<Item = u32>,
        patience: Duration,
        keeper: Keeper,
    ) -> Result<Self, Refusal> {
        let mut ebpf = aside(load).map_err(explained)?;
        let commands = program(&mut ebpf, COMMANDS)?.fd().and_then(|fd| Ok(fd.try_clone()?));
        let timers = take(&mut ebpf, "ROUTERS")?;
        let commands = Commands::new(commands.map_err(|error| refusal(&error))?, timers);
        for slot in slots {
            commands.prepare(slot, patience)?;
        }
        Ok(Self { commands, attachment: None, keeper, ebpf })
    }

    /// One of its programs.
    pub(super) fn program(&mut self, name: &str) -> Result<&mut Xdp, Refusal> {
        program(&mut self.ebpf, name)
    }

    /// One of its maps, which can be had once.
    pub(super) fn map(&mut self, name: &str) -> Result<Map, Refusal> {
        take(&mut self.ebpf, name)
    }

    /// Begins to read its log.
    #[cfg(feature = "debug-log")]
    pub(super) fn log(&mut self, interface: &str) -> Result<super::kernel_log::KernelLog, Refusal> {
        super::kernel_log::KernelLog::read(&mut self.ebpf, interface)
    }

    /// The way to ask it for something. Its maps and programs stay while somebody else holds them.
    pub(super) fn into_commands(self) -> Commands {
        self.commands
    }
}

/// Loads something in a thread of its own: a megabyte of small pieces that is needed for a moment only is taken from memory of
/// that thread, with little between them that is kept, and is given back.
pub(super) fn aside<T: Send>(load: impl FnOnce() -> T + Send) -> T {
    let loaded = thread::scope(|scope| scope.spawn(load).join());
    memory::give_back();
    loaded.unwrap_or_else(|panic| panic::resume_unwind(panic))
}

fn load() -> Result<Ebpf, Refusal> {
    try_load().map_err(for_want_of_rights)
}

/// Why a program cannot be loaded, where this process is not permitted to; otherwise the reason there is. Without
/// CAP_PERFMON the kernel finds fault with the instructions, and without CAP_BPF the loader with the object.
pub(super) fn for_want_of_rights(Refusal(reason): Refusal) -> Refusal {
    let missing = privileges::missing_for_programs()
        .map(|missing| format!("{missing}: needed to load programs into the kernel"))
        .or_else(|| match bpf::may_create_maps().map_err(|error| errno_of(&error)) {
            Err(Some(Errno::EPERM)) => Some(NOT_PERMITTED.to_owned()),
            Err(Some(Errno::ENOSYS)) => Some("the kernel was built without BPF".to_owned()),
            Ok(()) | Err(_) => None,
        });
    match missing {
        Some(missing) => {
            debug!(reason, "the program cannot be loaded");
            Refusal(missing)
        }
        None => Refusal(reason),
    }
}

/// This process has all the capabilities, and the kernel refuses nevertheless.
const NOT_PERMITTED: &str = "the kernel does not permit programs here, though no capability is missing: the user namespace or the seccomp profile of a container, or kernel lockdown, forbids it";

fn errno_of(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn try_load() -> Result<Ebpf, Refusal> {
    let mut ebpf = EbpfLoader::new()
        // The loader has read the types of the kernel, of which this needs nothing.
        .btf(None)
        .verifier_log_level(VerifierLogLevel::empty())
        .load(OBJECT)
        .map_err(|error| not_loaded(&error))?;
    for name in [PROGRAM, COMMANDS] {
        program(&mut ebpf, name)?.load().map_err(|error| refusal(&error))?;
    }
    Ok(ebpf)
}

/// The reason why the program cannot be loaded, and that the kernel is too old for it where that is so: the kernel itself
/// only says that it does not understand.
fn explained(Refusal(reason): Refusal) -> Refusal {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Refusal(if is_too_old(&release) {
        format!("{reason}; the program needs Linux 5.15 for its timers, and this is {}", release.trim())
    } else {
        reason
    })
}

/// Whether a kernel of this release is older than timers in programs (`bpf_timer`).
fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (5, 15))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, Refusal> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| Refusal(format!("the object has no program {name}")))?;
    program.try_into().map_err(|error: ProgramError| refusal(&error))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, Refusal> {
    ebpf.take_map(name).ok_or_else(|| Refusal(format!("the object has no map {name}")))
}

/// Why a call about a program failed, for a person: what is missing rather than which call it was, where that is known.
pub(super) fn refusal(error: &ProgramError) -> Refusal {
    match (error, errno(error)) {
        (_, Some(Errno::EPERM)) => not_allowed(),
        (ProgramError::LoadError { io_error, verifier_log }, _) => {
            debug!(log = %verifier_log, "the kernel refuses the program");
            Refusal(format!("the kernel refuses the program: {io_error}"))
        }
        (_, Some(Errno::EOPNOTSUPP)) => Refusal("the driver does not support it".to_owned()),
        _ => Refusal(chain(error)),
    }
}

/// Why a program cannot be put on an interface.
pub(super) fn not_attached(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => not_allowed(),
        Some(Errno::EBUSY | Errno::EEXIST) => {
            Refusal("the interface has an XDP program of somebody else already".to_owned())
        }
        Some(Errno::EOPNOTSUPP) => Refusal("the driver does not support it".to_owned()),
        _ => Refusal(format!("the program cannot be put on the interface: {error}")),
    }
}

fn not_allowed() -> Refusal {
    Refusal("the kernel does not permit it".to_owned())
}

/// Why an object cannot be loaded; what the loader says of its own affairs goes to the log.
pub(super) fn not_loaded(error: &EbpfError) -> Refusal {
    debug!(error = chain(error), "the program cannot be loaded");
    match errno(error) {
        Some(Errno::EPERM) => not_allowed(),
        Some(errno) => Refusal(format!("the kernel refuses the program: {}", errno.desc())),
        None => Refusal("the program does not suit this kernel".to_owned()),
    }
}

/// The system's error at the bottom of an error.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut cause = Some(error);
    while let Some(this) = cause {
        if let Some(code) = this.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(code));
        }
        cause = this.source();
    }
    None
}

/// An error with its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
    fn kernels_before_5_15_are_too_old_for_timers() {
        for (release, too_old) in [
            ("5.10.0-46-cloud-amd64\n", true),
            ("4.19.0", true),
            ("5.15.0", false),
            ("6.1.0-56-amd64", false),
            ("6.12.117+deb12-cloud-amd64", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(release), too_old, "{release}");
        }
    }
}
