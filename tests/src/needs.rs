//! Requirements of a laboratory, each with a message if it is missing.

use std::path::PathBuf;
use std::{env, fs};

/// A program that tests run, and its Debian package.
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
/// `ping`.
pub const PING: Program = Program { name: "ping", package: "iputils-ping" };
/// `keepalived`, the peer of the interoperability tests.
pub const KEEPALIVED: Program = Program { name: "keepalived", package: "keepalived" };
/// `setpriv`, which runs a program as another user.
pub const SETPRIV: Program = Program { name: "setpriv", package: "util-linux" };
/// `chrt`, which runs a program with real-time priority.
pub const CHRT: Program = Program { name: "chrt", package: "util-linux" };
/// `unshare`, which runs a program in its own mount namespace.
pub const UNSHARE: Program = Program { name: "unshare", package: "util-linux" };
/// `setsid`, which runs a program in its own session.
pub const SETSID: Program = Program { name: "setsid", package: "util-linux" };
/// `prlimit`, which changes the limits of a running process.
pub const PRLIMIT: Program = Program { name: "prlimit", package: "util-linux" };
/// `systemd-analyze`, which checks units.
pub const SYSTEMD_ANALYZE: Program = Program { name: "systemd-analyze", package: "systemd" };
/// `shellcheck`, which checks shell scripts.
pub const SHELLCHECK: Program = Program { name: "shellcheck", package: "shellcheck" };
/// `mandoc`, which checks manual pages.
pub const MANDOC: Program = Program { name: "mandoc", package: "mandoc" };
/// `strace`, which counts system calls.
pub const STRACE: Program = Program { name: "strace", package: "strace" };
/// `valgrind`, whose callgrind counts instructions.
pub const VALGRIND: Program = Program { name: "valgrind", package: "valgrind" };

/// `systemd-nspawn`, which boots a system in a container.
pub const SYSTEMD_NSPAWN: Program = Program { name: "systemd-nspawn", package: "systemd-container" };
/// `nft`, the rules of which drop packets before raw sockets receive them.
pub const NFT: Program = Program { name: "nft", package: "nftables" };
/// `xdp-loader`, which puts several XDP programs on one interface by libxdp.
pub const XDP_LOADER: Program = Program { name: "xdp-loader", package: "xdp-tools" };
/// `nsenter`, which runs a program in another process's namespaces.
pub const NSENTER: Program = Program { name: "nsenter", package: "util-linux" };

/// Every program that the tests run, except [`ON_THIS_MACHINE`].
pub const ALL: [Program; 13] = [
    IP,
    TC,
    PING,
    KEEPALIVED,
    SETPRIV,
    CHRT,
    UNSHARE,
    SETSID,
    PRLIMIT,
    SYSTEMD_ANALYZE,
    SHELLCHECK,
    MANDOC,
    XDP_LOADER,
];

/// XDP programs of the same package as [`XDP_LOADER`] that accept everything, as long as they are not configured.
pub const XDP_PROGRAMS: [&str; 2] = ["xdpfilt_alw_tcp.o", "xdpfilt_alw_udp.o"];

/// Programs of tests that run on the host only: those that count, those that boot a system, and
/// other users of an interface.
pub const ON_THIS_MACHINE: [Program; 5] = [STRACE, VALGRIND, SYSTEMD_NSPAWN, NSENTER, NFT];

impl Program {
    /// Its path, if installed.
    pub fn find(self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .map(|directory| directory.join(self.name))
            .find(|file| file.is_file())
    }

    /// Its path; panics if it is not installed.
    pub fn require(self) -> PathBuf {
        self.find().unwrap_or_else(|| {
            panic!("`{}` is missing: `cargo xtask setup` installs the package {}", self.name, self.package)
        })
    }
}

/// The file of one of [`XDP_PROGRAMS`]; panics if it is not installed.
pub fn xdp_program(name: &str) -> PathBuf {
    let directories = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut files = directories.map(|directory| directory.path().join("bpf").join(name));
    let found = files.find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: it is in the package {}", XDP_LOADER.package))
}

/// Whether the running kernel has at least this version.
#[must_use]
pub fn kernel_is_at_least(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has one");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).expect("two numbers") >= version
}

/// Whether this process may create network namespaces.
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
