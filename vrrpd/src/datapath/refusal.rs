//! Why adverts of an interface are not handled in the kernel, in the words that a user reads.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use aya::EbpfError;
use aya::programs::ProgramError;
use nix::errno::Errno;
use tracing::debug;
use vrrpd_common::Duration;

use super::program::PROGRAM;
use super::tier::Tier;
use super::{claims, own_mac};

/// The names of our classifiers that see what an interface receives.
const CLASSIFIERS: [&str; 3] = [PROGRAM, own_mac::NAME, claims::IN.0];

/// Why the kernel does not handle the adverts of an interface, or does not do something else that takes a program.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The user asked for raw sockets.
    #[error("as configured")]
    NotWanted,
    /// Another program is there.
    #[error("the interface already has an XDP program: {0}")]
    Foreign(ForeignProgram),
    /// Another program is there, which showed only when ours was to be attached.
    #[error("the interface already has another XDP program")]
    Occupied,
    /// Adverts of the VLANs could pass for those of the interface.
    #[error("the interface has VLANs, and the program may not see the tags of their frames")]
    Vlans,
    /// The same, of an interface that had none when the program was attached.
    #[error("the interface has VLANs by now, and their adverts would look like its own")]
    NewVlans,
    /// An advert may be one of a VLAN whose tag the program does not see.
    #[error(
        "adverts come from {source_address}, which is not in a subnet of the interface: they may be of a VLAN whose tag \
         the program does not see; it is put back {pause} after the last of them, unless a router is master then"
    )]
    OtherSubnet {
        /// Where the advert came from.
        source_address: IpAddr,
        /// How long the program stays away.
        pause: Duration,
    },
    /// Another process detached the program.
    #[error("the {} was removed from the interface", .0.program())]
    TakenOff(Tier),
    /// A classifier of another application runs first.
    #[error("classifier {0} runs in front of the one of vrrpd and may keep adverts from it")]
    Behind(ForeignProgram),
    /// There is no interface to attach it to.
    #[error("the interface was removed")]
    InterfaceGone,
    /// The program was not loaded.
    #[error("the program is not loaded")]
    NotLoaded,
    /// No tier can be had: why, for each that was tried.
    #[error("{}", of_each(.0))]
    Tiers(Vec<(Tier, Self)>),
    /// These capabilities are missing, in words.
    #[error("{0}: needed to load programs into the kernel")]
    Capabilities(String),
    /// All capabilities are there.
    #[error(
        "the kernel does not permit programs here, though no capability is missing: the user namespace or the seccomp \
         profile of a container, or kernel lockdown, forbids it"
    )]
    Forbidden,
    /// There is no `bpf` system call.
    #[error("the kernel was built without BPF")]
    NoBpf,
    /// The kernel has no timers for programs, or no tcx.
    #[error("{why}; the program needs {needs}, and this is {release}")]
    TooOld {
        /// What the kernel itself says.
        why: Box<Self>,
        /// The release that has it, and for what.
        needs: &'static str,
        /// Which kernel it is.
        release: String,
    },
    /// `EPERM`.
    #[error("the kernel does not permit it")]
    NotPermitted,
    /// `EOPNOTSUPP`.
    #[error("the driver does not support it")]
    NotSupported,
    /// The kernel does not know links of classifiers.
    #[error("this kernel does not have it; Linux 6.6 or newer is needed")]
    NoTcx,
    /// The hook has as many programs as it takes.
    #[error("the interface has as many classifiers as the kernel allows")]
    Full,
    /// The verifier, or what comes before it, refused the program.
    #[error("the kernel refuses the program: {0}")]
    Rejected(Arc<io::Error>),
    /// The kernel refused one of the object's maps.
    #[error("the kernel refuses the program: {}", .0.desc())]
    ObjectRejected(Errno),
    /// The loader found fault with the object.
    #[error("the program does not suit this kernel")]
    Unsuitable,
    /// The program cannot be attached, for another cause.
    #[error("the program cannot be put on the interface: {0}")]
    NotAttached(Arc<io::Error>),
    /// `BPF_PROG_TEST_RUN` failed.
    #[error("the kernel does not run the program: {0}")]
    NotRun(Arc<io::Error>),
    /// The program ran, and could not make or set its timer.
    #[error("the kernel's timer: {0}")]
    Timer(Arc<io::Error>),
    /// All places in the maps are taken.
    #[error("the program has no room for another virtual router")]
    NoRoom,
    /// The object is not the one that this daemon was built for.
    #[error("the object has no program {0}")]
    NoProgram(&'static str),
    /// The same.
    #[error("the object has no map {0}")]
    NoMap(&'static str),
    /// The same.
    #[error("the object's {0} is no array")]
    NoArray(&'static str),
    /// This map cannot be mapped into memory.
    #[error("{0}: {1}")]
    Unmapped(&'static str, Arc<io::Error>),
    /// This map does not take an entry.
    #[error("{0}: {1}")]
    Map(&'static str, Cause),
    /// The program's log cannot be read.
    #[cfg(feature = "debug-log")]
    #[error("the program's log: {0}")]
    Log(Cause),
    /// Another system call failed, or the thread that loads programs did.
    #[error("{0}")]
    System(Arc<io::Error>),
    /// Another call of the library failed.
    #[error("{0}")]
    Library(Cause),
}

/// A program that this process did not attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignProgram {
    /// The kernel's number of it.
    pub id: u32,
    /// Its name, where the kernel tells.
    pub name: Option<String>,
    /// It has the name of our own one.
    pub is_vrrpd: bool,
}

/// An error of a library, displayed with its causes.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl ForeignProgram {
    /// What the kernel tells of the program of this number.
    pub(super) fn of(id: u32) -> Self {
        let name = aya::programs::loaded_programs()
            .filter_map(Result::ok)
            .find(|info| info.id() == id)
            .and_then(|info| info.name_as_str().map(str::to_owned));
        let is_vrrpd = name.as_deref() == Some(PROGRAM);
        Self { id, name, is_vrrpd }
    }

    /// Whether a classifier may keep packets from those behind it. Ours, of any process, pass on everything.
    pub(super) fn may_consume(&self) -> bool {
        self.name.as_deref().is_some_and(|name| !CLASSIFIERS.contains(&name))
    }
}

impl Refusal {
    /// A call about a program failed: what is missing rather than which call it was, where that is known.
    pub(super) fn of_program(error: ProgramError) -> Self {
        let errno = errno(&error);
        match (error, errno) {
            (_, Some(Errno::EPERM)) => Self::NotPermitted,
            (ProgramError::LoadError { io_error, verifier_log }, _) => {
                debug!(log = %verifier_log, "program rejected by the verifier");
                Self::Rejected(io_error.into())
            }
            (_, Some(Errno::EOPNOTSUPP)) => Self::NotSupported,
            (error, _) => Self::library(error),
        }
    }

    /// A program cannot be attached to an interface.
    pub(super) fn of_attaching(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::NotPermitted,
            Some(Errno::EOPNOTSUPP) => Self::NotSupported,
            _ => Self::NotAttached(error.into()),
        }
    }

    /// An object cannot be loaded; what the loader says of its own affairs goes to the log.
    pub(super) fn of_loading(error: &EbpfError) -> Self {
        debug!(error = chain(error), "cannot load program");
        match errno(error) {
            Some(Errno::EPERM) => Self::NotPermitted,
            Some(errno) => Self::ObjectRejected(errno),
            None => Self::Unsuitable,
        }
    }

    /// A call of the library failed for a cause that is not told apart.
    pub(super) fn library(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Library(Cause::of(error))
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::System(error.into())
    }
}

impl Cause {
    /// This error.
    pub(super) fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.0))
    }
}

impl fmt::Display for ForeignProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, is_vrrpd } = self;
        match name {
            Some(_) if *is_vrrpd => write!(f, "that of another vrrpd (id {id})"),
            Some(name) => write!(f, "{name} (id {id})"),
            None => write!(f, "id {id}"),
        }
    }
}

/// What each tier was refused for.
fn of_each(refused: &[(Tier, Refusal)]) -> String {
    let each: Vec<_> = refused.iter().map(|(tier, why)| format!("{}: {why}", tier.word())).collect();
    each.join("; ")
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
fn chain(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_each_data_path_is_reported() {
        let occupied = Tier::Generic.refusal(Errno::EBUSY.into());
        let refused = Refusal::Tiers(vec![(Tier::Native, Refusal::NotSupported), (Tier::Generic, occupied)]);
        assert_eq!(
            refused.to_string(),
            "native: the driver does not support it; generic: the interface already has another XDP program"
        );
    }

    #[test]
    fn a_program_of_another_vrrpd_is_called_that() {
        let program = |name: Option<&str>, is_vrrpd| {
            ForeignProgram { id: 7, name: name.map(str::to_owned), is_vrrpd }.to_string()
        };
        assert_eq!(program(Some("vrrpd"), true), "that of another vrrpd (id 7)");
        assert_eq!(program(Some("firewall"), false), "firewall (id 7)");
        assert_eq!(program(None, false), "id 7");
    }

    #[test]
    fn missing_capabilities_are_distinguished_from_missing_driver_support() {
        let refused = |errno: Errno| Refusal::of_attaching(errno.into());
        assert!(matches!(refused(Errno::EPERM), Refusal::NotPermitted));
        assert!(matches!(refused(Errno::EOPNOTSUPP), Refusal::NotSupported));
        assert!(matches!(refused(Errno::ENOMEM), Refusal::NotAttached(_)));
    }

    #[test]
    fn a_system_error_below_other_errors_is_found_and_reported_with_them() {
        #[derive(Debug, thiserror::Error)]
        #[error("the map cannot be written")]
        struct Outer(#[source] io::Error);
        let error = Outer(Errno::E2BIG.into());
        assert_eq!(errno(&error), Some(Errno::E2BIG));
        assert_eq!(
            Refusal::Map("ADDRESSES", Cause::of(error)).to_string(),
            "ADDRESSES: the map cannot be written: Argument list too long (os error 7)"
        );
    }
}
