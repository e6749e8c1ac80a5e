//! What the user wants, checked: the same types whether it came from the command line or from a file.
//!
//! `options` has the table of all options of a router. [`value`] turns the text of one option into a value,
//! [`RouterOptions`] collects what was said about one router, and [`RouterOptions::resolve`] makes a [`RouterConfig`] of
//! it, in which nothing has to be checked again.

mod authentication;
mod document;
pub mod file;
mod group;
mod mistakes;
mod options;
mod resolve;
mod together;
pub mod value;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;

pub use authentication::{Authentication, Password};
pub use file::FileError;
pub use group::GroupConfig;
pub use mistakes::Mistakes;
pub use options::{Argument, Declaration, Key, NO_VMAC, OptionError, RouterOptions, Toml};
use serde::{Deserialize, Serialize};
use vrrpd_common::router::{AnnounceTimes, Config};
use vrrpd_common::wire::vrrp::ChecksumStyle;
use vrrpd_common::{AddressDigest, Duration, Family, Interval, Priority, Version, Vrid};

use crate::router_name::RouterName;
use crate::script;
use crate::sys::wiping::Wiping;
use crate::trust::{self, Trusted};

/// All that the user wants of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The virtual routers, at least one.
    pub routers: Vec<RouterConfig>,
    /// Those that are Master together.
    pub groups: Vec<GroupConfig>,
}

/// One virtual router, as the user wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// `-i`
    pub interface: String,
    /// `-v`
    pub vrid: Vrid,
    /// Of the addresses.
    pub family: Family,
    /// `--protocol`
    pub version: Version,
    /// The virtual addresses, at least one, all of one family.
    pub addresses: Vec<VirtualAddress>,
    /// `-p`
    pub priority: Priority,
    /// Off with `-s`.
    pub preempt: bool,
    /// `-d`
    pub interval: Interval,
    /// `--max-learned-interval`; version 3.
    pub max_learned_interval: Interval,
    /// `-a`
    pub auth: Authentication,
    /// `--vmac`; `-n` is none
    pub vmac: VmacMode,
    /// `--vmac-fallback`
    pub vmac_fallback: VmacFallback,
    /// `-z`: the priority after SIGTTIN; `None`: 10 less.
    pub lower_priority: Option<Priority>,
    /// `-x`: the priority after SIGTTOU; `None`: 10 more.
    pub raise_priority: Option<Priority>,
    /// `-U`
    pub up: Option<PathBuf>,
    /// `-D`
    pub down: Option<PathBuf>,
    /// `--script-timeout`
    pub script_timeout: Duration,
    /// How the addresses are announced.
    pub announce: Announce,
    /// `--v3-checksum`
    pub checksum: ChecksumStyle,
    /// `--accept-interval-mismatch`
    pub accept_interval_mismatch: bool,
    /// `--require-equal-addresses`
    pub require_equal_addresses: bool,
    /// `-I`, `-O`
    pub magic: Option<Magic>,
    /// `--xdp`
    pub xdp: Xdp,
    /// `--xdp-pass`
    pub xdp_pass: bool,
    /// It is Master together with others or not at all: `-M`, or a member of a `[[group]]`.
    pub grouped: bool,
}

/// How the virtual router MAC address (RFC 9568 §7.3) is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmacMode {
    /// The interface takes it while Master, so that whatever address is put on the interface shares it.
    Interface,
    /// A macvlan link above the interface has it; any number of virtual routers.
    Macvlan,
    /// Not at all: the addresses are announced with the interface's own.
    None,
}

/// What becomes of a router whose interface does not take the virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmacFallback {
    /// It serves the addresses with the interface's own MAC address.
    None,
    /// It does not become Master.
    Refuse,
}

/// The magic packet: a TCP SYN that tells a gateway's tables where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magic {
    /// `-I`: a virtual address.
    pub source: IpAddr,
    /// `-O`: the gateway.
    pub destination: IpAddr,
}

/// Whether adverts are handled in the kernel. One answer for an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Xdp {
    /// Raw sockets.
    #[default]
    Off,
    /// In the driver, else after it, else raw sockets.
    Auto,
    /// In the driver, or not at all.
    Native,
    /// After the driver, or not at all.
    Generic,
}

/// A virtual address and the length of its subnet mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// 1 to 32 or 128.
    pub prefix_len: u8,
}

/// Gratuitous ARP or unsolicited neighbour advertisements of a new master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// `--garp-count`: frames per address each time, 1 to 255.
    pub count: u8,
    /// When it is repeated.
    pub times: AnnounceTimes,
}

impl RouterConfig {
    /// What the router is called.
    pub fn name(&self) -> RouterName<'_> {
        RouterName { interface: &self.interface, vrid: self.vrid.get(), family: self.family }
    }

    /// Whether a running router can go on with `other`: what differs is nothing that its state depends on, or only its
    /// priority.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        let exchanged = Self {
            priority: other.priority,
            lower_priority: other.lower_priority,
            raise_priority: other.raise_priority,
            up: other.up.clone(),
            down: other.down.clone(),
            script_timeout: other.script_timeout,
            announce: Announce { count: other.announce.count, times: self.announce.times },
            max_learned_interval: other.max_learned_interval,
            checksum: other.checksum,
            accept_interval_mismatch: other.accept_interval_mismatch,
            require_equal_addresses: other.require_equal_addresses,
            magic: other.magic,
            grouped: other.grouped,
            ..self.clone()
        };
        // An owner has its addresses anyway, and is begun in another way.
        exchanged == *other && (self.priority == Priority::OWNER) == (other.priority == Priority::OWNER)
    }

    /// The part that the state machine needs.
    pub fn machine(&self) -> Config {
        Config {
            vrid: self.vrid,
            version: self.version,
            priority: self.priority,
            preempt_mode: self.preempt,
            interval: self.interval,
            max_learned_interval: self.max_learned_interval,
            addresses: self.digest(),
            announce: self.announce.times,
            grouped: self.grouped,
        }
    }

    /// The set of addresses as peers see it.
    pub fn digest(&self) -> AddressDigest {
        AddressDigest::of(self.addresses.iter().map(|address| address.address))
    }
}

impl VmacMode {
    /// The name in options and in the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Macvlan => "macvlan",
            Self::None => "none",
        }
    }
}

/// Reads a configuration file, whose path is absolute, and looks at the scripts it names; those without a slash in front are
/// looked for where the file is.
///
/// It is read in a thread, and what it says is copied. What thousands of routers are parsed from lies between them in
/// memory; the allocator gives threads memory of their own, so all of that goes back to the system.
pub fn load(path: &Path) -> Result<Configuration, FileError> {
    let _wiping = Wiping::begin();
    let read = thread::scope(|scope| scope.spawn(|| file::read(path)).join());
    let ended = |_| FileError::Unread(path.to_owned());
    Ok(read.map_err(ended)??.clone())
}

/// What is to be said of a file that holds a secret and that other users can read.
pub fn exposed_secret(path: &Path, configuration: &Configuration) -> Option<String> {
    let has_secret = configuration.routers.iter().any(|router| router.auth != Authentication::None);
    let exposed = has_secret.then(|| trust::resolve(path).ok()).flatten().filter(Trusted::is_exposed)?;
    let (mode, path) = (exposed.mode(), path.display());
    Some(format!("{path}: other users can read its authentication data (mode {mode:04o}): chmod go-r {path}"))
}

impl RouterConfig {
    /// Scripts are run later, when the daemon has left the user's directory: those without a slash in front are in
    /// `directory`, which is absolute.
    pub fn resolve_scripts(&mut self, directory: &Path) {
        for script in [&mut self.up, &mut self.down].into_iter().flatten() {
            *script = directory.join(&script);
        }
    }
}

/// Whether the scripts of a router may be run.
pub fn check_scripts(config: &RouterConfig) -> Result<(), String> {
    for (key, script) in [(Key::Up, &config.up), (Key::Down, &config.down)] {
        if let Some(path) = script {
            script::check(path).map_err(|error| format!("{} {error}", key.flag()))?;
        }
    }
    Ok(())
}

impl VirtualAddress {
    /// The family of the address.
    pub const fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}
