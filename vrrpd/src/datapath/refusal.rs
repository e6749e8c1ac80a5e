//! Reasons why adverts of an interface are not handled in the kernel, as displayed to the user.

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

use super::names::{CLAIMS_IN, OWN_MAC, PROGRAM};
use super::tier::Tier;

/// The names of our classifiers for received frames.
const CLASSIFIERS: [&str; 3] = [PROGRAM, OWN_MAC, CLAIMS_IN];

/// Reason why the kernel does not handle the adverts of an interface, or why another program is not attached.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The user asked for raw sockets.
    #[error("as configured")]
    NotWanted,
    /// The interface has another program.
    #[error("the interface already has an XDP program: {0}")]
    Foreign(ForeignProgram),
    /// The interface has another program, which was found only while attaching ours.
    #[error("the interface already has another XDP program")]
    Occupied,
    /// Adverts of VLANs could be taken for those of the interface.
    #[error("the interface has VLANs, and the program may not see the tags of their frames")]
    Vlans,
    /// The same, on an interface that had no VLANs when the program was attached.
    #[error("the interface has VLANs by now, and their adverts would look like its own")]
    NewVlans,
    /// The advert may belong to a VLAN whose tag the program does not see.
    #[error(
        "adverts come from {source_address}, which is not in a subnet of the interface: they may be of a VLAN whose tag \
         the program does not see; it is put back {pause} after the last of them, unless a router is master then"
    )]
    OtherSubnet {
        /// Source address of the advert.
        source_address: IpAddr,
        /// Time until the program is attached again.
        pause: Duration,
    },
    /// Another process detached the program.
    #[error("the {} was removed from the interface", .0.program())]
    TakenOff(Tier),
    /// A classifier of another application runs before ours.
    #[error("classifier {0} runs in front of the one of vrrpd and may keep adverts from it")]
    Behind(ForeignProgram),
    /// The interface does not exist any more.
    #[error("the interface was removed")]
    InterfaceGone,
    /// The program was not loaded.
    #[error("the program is not loaded")]
    NotLoaded,
    /// No tier can be used: the reason for each that was tried.
    #[error("{}", of_each(.0))]
    Tiers(Vec<(Tier, Self)>),
    /// The missing capabilities.
    #[error("{0}: needed to load programs into the kernel")]
    Capabilities(String),
    /// No capability is missing.
    #[error(
        "the kernel does not permit programs here, though no capability is missing: the user namespace or the seccomp \
         profile of a container, or kernel lockdown, forbids it"
    )]
    Forbidden,
    /// The kernel lacks the `bpf` system call.
    #[error("the kernel was built without BPF")]
    NoBpf,
    /// The kernel lacks timers for programs, or tcx.
    #[error("{why}; the program needs {needs}, and this is {release}")]
    TooOld {
        /// The kernel's error.
        why: Box<Self>,
        /// The required release and the feature.
        needs: &'static str,
        /// The running release.
        release: String,
    },
    /// `EPERM`.
    #[error("the kernel does not permit it")]
    NotPermitted,
    /// `EOPNOTSUPP`.
    #[error("the driver does not support it")]
    NotSupported,
    /// The kernel does not support tcx links.
    #[error("this kernel does not have it; Linux 6.6 or newer is needed")]
    NoTcx,
    /// The hook has the maximum number of programs.
    #[error("the interface has as many classifiers as the kernel allows")]
    Full,
    /// The verifier, or a check before it, rejected the program.
    #[error("the kernel refuses the program: {0}")]
    Rejected(Arc<io::Error>),
    /// The kernel rejected one of the object's maps.
    #[error("the kernel refuses the program: {}", .0.desc())]
    ObjectRejected(Errno),
    /// The loader rejected the object.
    #[error("the program does not suit this kernel")]
    Unsuitable,
    /// The program cannot be attached, for another reason.
    #[error("the program cannot be put on the interface: {0}")]
    NotAttached(Arc<io::Error>),
    /// `BPF_PROG_TEST_RUN` failed.
    #[error("the kernel does not run the program: {0}")]
    NotRun(Arc<io::Error>),
    /// The program ran, but could not create or set its timer.
    #[error("the kernel's timer: {0}")]
    Timer(Arc<io::Error>),
    /// The driver runs the program for interfaces below this one.
    #[error("the driver would run the program on the interfaces below this one")]
    Ports,
    /// All places in the maps are taken.
    #[error("the program has no room for another virtual router")]
    NoRoom,
    /// The object is not the one that this daemon was built for.
    #[error("the object has no program {0}")]
    NoProgram(&'static str),
    /// It lacks a map.
    #[error("the object has no map {0}")]
    NoMap(&'static str),
    /// The map is not an array.
    #[error("the object's {0} is no array")]
    NoArray(&'static str),
    /// This map cannot be mapped into memory.
    #[error("{0}: {1}")]
    Unmapped(&'static str, Arc<io::Error>),
    /// An entry cannot be written to this map.
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
    /// Its ID in the kernel.
    pub id: u32,
    /// Its name, if known.
    pub name: Option<String>,
    /// Whether it has the name of our program.
    pub is_vrrpd: bool,
}

/// An error of a library, displayed with its causes.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl ForeignProgram {
    /// The program with this ID.
    pub(super) fn of(id: u32) -> Self {
        let name = aya::programs::loaded_programs()
            .filter_map(Result::ok)
            .find(|info| info.id() == id)
            .and_then(|info| info.name_as_str().map(str::to_owned));
        let is_vrrpd = name.as_deref() == Some(PROGRAM);
        Self { id, name, is_vrrpd }
    }

    /// Whether a classifier may consume packets before later ones see them. Our classifiers, of any process, pass on
    /// everything.
    pub(super) fn may_consume(&self) -> bool {
        self.name.as_deref().is_some_and(|name| !CLASSIFIERS.contains(&name))
    }
}

impl Refusal {
    /// The reason for a failed call about a program: the missing feature or capability if known, else the call.
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

    /// The reason why the program cannot be attached at this hook.
    pub(super) fn of_attaching_at(tier: Tier, error: io::Error) -> Self {
        match (tier, error.raw_os_error().map(Errno::from_raw)) {
            (Tier::Tcx, Some(Errno::EINVAL)) => Self::NoTcx,
            (Tier::Tcx, Some(Errno::ERANGE)) => Self::Full,
            (Tier::Native | Tier::Generic, Some(Errno::EBUSY | Errno::EEXIST)) => Self::Occupied,
            (Tier::Tcx | Tier::Native | Tier::Generic, _) => Self::of_attaching(error),
        }
    }

    /// The reason why a program cannot be attached to an interface.
    pub(super) fn of_attaching(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::NotPermitted,
            Some(Errno::EOPNOTSUPP) => Self::NotSupported,
            _ => Self::NotAttached(error.into()),
        }
    }

    /// The reason why an object cannot be loaded; the loader's details are logged.
    pub(super) fn of_loading(error: &EbpfError) -> Self {
        debug!(error = chain(error), "cannot load program");
        match errno(error) {
            Some(Errno::EPERM) => Self::NotPermitted,
            Some(errno) => Self::ObjectRejected(errno),
            None => Self::Unsuitable,
        }
    }

    /// Another error of the library.
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
    /// Wraps an error.
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

/// The reasons of all tiers.
fn of_each(refused: &[(Tier, Refusal)]) -> String {
    let each: Vec<_> = refused.iter().map(|(tier, why)| format!("{}: {why}", tier.word())).collect();
    each.join("; ")
}

/// The system's error at the end of an error chain.
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
        let occupied = Refusal::of_attaching_at(Tier::Generic, Errno::EBUSY.into());
        let refused = Refusal::Tiers(vec![(Tier::Native, Refusal::NotSupported), (Tier::Generic, occupied)]);
        assert_eq!(
            refused.to_string(),
            "native: the driver does not support it; generic: the interface already has another XDP program"
        );
    }

    #[test]
    fn why_a_program_cannot_be_attached_depends_on_the_hook() {
        let refused = |tier: Tier, errno: Errno| Refusal::of_attaching_at(tier, errno.into());
        for tier in [Tier::Native, Tier::Generic] {
            assert!(matches!(refused(tier, Errno::EBUSY), Refusal::Occupied));
            assert!(matches!(refused(tier, Errno::EEXIST), Refusal::Occupied));
            assert!(matches!(refused(tier, Errno::EINVAL), Refusal::NotAttached(_)));
        }
        assert!(matches!(refused(Tier::Tcx, Errno::EINVAL), Refusal::NoTcx));
        assert!(matches!(refused(Tier::Tcx, Errno::ERANGE), Refusal::Full));
        assert!(matches!(refused(Tier::Tcx, Errno::EEXIST), Refusal::NotAttached(_)));
        assert!(matches!(refused(Tier::Tcx, Errno::EPERM), Refusal::NotPermitted));
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
