//! What a laboratory needs of the machine, said in one sentence when it is missing.

use std::path::PathBuf;
use std::{env, fs};

/// A program that tests run and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name of the executable.
    pub name: &'static str,
    /// Debian package.
    pub package: &'static str,
}

/// `ip`.
pub const IP: Program = Program { name: "ip", package: "iproute2" };
/// `tc`.
pub const TC: Program = Program { name: "tc", package: "iproute2" };
/// `keepalived`, the peer of the interoperability tests.
pub const KEEPALIVED: Program = Program { name: "keepalived", package: "keepalived" };
/// `setpriv`, which runs a program as somebody else.
pub const SETPRIV: Program = Program { name: "setpriv", package: "util-linux" };
/// `chrt`, which runs a program before all others.
pub const CHRT: Program = Program { name: "chrt", package: "util-linux" };
/// `unshare`, which runs a program with mounts of its own.
pub const UNSHARE: Program = Program { name: "unshare", package: "util-linux" };
/// `setsid`, which gives a program a terminal of its own.
pub const SETSID: Program = Program { name: "setsid", package: "util-linux" };
/// `prlimit`, which changes what a process that runs may have.
pub const PRLIMIT: Program = Program { name: "prlimit", package: "util-linux" };
/// `systemd-analyze`, which reads units as systemd does.
pub const SYSTEMD_ANALYZE: Program = Program { name: "systemd-analyze", package: "systemd" };
/// `shellcheck`, which finds mistakes in shell scripts.
pub const SHELLCHECK: Program = Program { name: "shellcheck", package: "shellcheck" };
/// `mandoc`, which finds mistakes in manual pages.
pub const MANDOC: Program = Program { name: "mandoc", package: "mandoc" };
/// `strace`, which counts system calls.
pub const STRACE: Program = Program { name: "strace", package: "strace" };
/// `valgrind`, whose callgrind counts instructions.
pub const VALGRIND: Program = Program { name: "valgrind", package: "valgrind" };

/// `systemd-nspawn`, which starts a whole system beside this one.
pub const SYSTEMD_NSPAWN: Program = Program { name: "systemd-nspawn", package: "systemd-container" };
/// `nsenter`, which runs a program in another one's namespaces.
pub const NSENTER: Program = Program { name: "nsenter", package: "util-linux" };

/// Every program that the tests run, but for [`ON_THIS_MACHINE`].
pub const ALL: [Program; 11] =
    [IP, TC, KEEPALIVED, SETPRIV, CHRT, UNSHARE, SETSID, PRLIMIT, SYSTEMD_ANALYZE, SHELLCHECK, MANDOC];

/// What tests need that run on this machine only: those that count, and those of a system that boots.
pub const ON_THIS_MACHINE: [Program; 4] = [STRACE, VALGRIND, SYSTEMD_NSPAWN, NSENTER];

impl Program {
    /// Where it is, if it is installed.
    pub fn find(self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .map(|directory| directory.join(self.name))
            .find(|file| file.is_file())
    }

    /// Where it is; panics when it is not installed.
    pub fn require(self) -> PathBuf {
        self.find().unwrap_or_else(|| {
            panic!("`{}` is missing: `cargo xtask setup` installs the package {}", self.name, self.package)
        })
    }
}

/// Whether the kernel that runs is this version or a later one.
#[must_use]
pub fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has one");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).expect("two numbers") >= version
}

/// Whether this process may make network namespaces.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Panics unless run as root.
pub fn root() {
    assert!(is_root(), "network namespaces need root: run as root");
}

/// Panics unless run as root.
pub fn root_for_programs() {
    assert!(is_root(), "programs in the kernel need root: run as root");
}
