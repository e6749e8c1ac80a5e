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
pub mod track;
pub mod value;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::thread;

pub use authentication::{Authentication, Password};
pub use file::FileError;
pub use mistakes::Mistakes;
pub use options::{Argument, Declaration, Key, NO_VMAC, OptionError, RouterOptions, Toml};
pub use resolve::{LONGEST_PREEMPT_DELAY, LONGEST_START_DELAY};
use thiserror::Error;
pub use vrrpd_engine::config::{
    Announce, AuthKind, Datapath, Destination, GroupConfig, Magic, Pauses, Peer, RouterConfig as Settings,
    VirtualAddress, VmacFallback, VmacMode,
};
pub use vrrpd_engine::held_address::HeldAddress;
pub use vrrpd_engine::script::{Script, ScriptStyle, ScriptUser, Scripts};

pub use vrrpd_engine::track::CheckConfig;

use crate::script::{self, ScriptError, UserError};
use crate::sys::wiping::Wiping;
use crate::trust::{self, Trusted};

/// All that the user wants of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The virtual routers, at least one.
    pub routers: Vec<RouterConfig>,
    /// Those that are Master together.
    pub groups: Vec<GroupConfig>,
    /// What can be tracked.
    pub checks: Vec<CheckConfig>,
}

/// One virtual router, as the user wants it: all that is decided by, and the secret of its adverts, which nothing is decided by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// All but the secret.
    pub settings: Settings,
    /// `-a`
    pub authentication: Authentication,
    /// The option that says the data path.
    pub datapath_option: DatapathOption,
}

/// The options that say how adverts are received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatapathOption {
    /// `--datapath`
    #[default]
    Datapath,
    /// `--xdp`
    Xdp,
}

impl DatapathOption {
    /// The option with the value that means this, as the user writes it on the command line.
    pub fn saying(self, wanted: Datapath) -> String {
        let values = match self {
            Self::Datapath => value::DATAPATHS,
            Self::Xdp => value::XDP_MODES,
        };
        let value = values.iter().find(|(_, means)| *means == wanted).map_or("", |(value, _)| value);
        format!("{}={value}", self.key().flag())
    }

    /// Its name.
    pub const fn key(self) -> Key {
        match self {
            Self::Datapath => Key::Datapath,
            Self::Xdp => Key::Xdp,
        }
    }
}

impl Deref for RouterConfig {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DerefMut for RouterConfig {
    fn deref_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

impl RouterConfig {
    /// Whether a running router can go on with `other`; not with another secret.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        self.authentication == other.authentication && self.settings.can_become(&other.settings)
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
    let has_secret = configuration.routers.iter().any(|router| router.authentication != Authentication::None);
    let exposed = has_secret.then(|| trust::resolve(path).ok()).flatten().filter(Trusted::is_exposed)?;
    let (mode, path) = (exposed.mode(), path.display());
    Some(format!("{path}: other users can read its authentication data (mode {mode:04o}): chmod go-r {path}"))
}

impl RouterConfig {
    /// Scripts are run later, when the daemon has left the user's directory: those without a slash in front are in
    /// `directory`, which is absolute.
    pub fn resolve_scripts(&mut self, directory: &Path) {
        self.settings.scripts.resolve(directory);
    }
}

/// An option of scripts that cannot be run.
#[derive(Debug, Error)]
#[error("{} {fault}", .key.flag())]
pub struct RefusedScript {
    /// The option.
    pub key: Key,
    /// Why.
    pub fault: ScriptRefusal,
}

/// Why scripts cannot be run.
#[derive(Debug, Error)]
#[error(transparent)]
pub enum ScriptRefusal {
    /// The program may not be run.
    Program(ScriptError),
    /// They cannot be run as this user.
    User(UserError),
}

/// The scripts of a router that cannot be run; their paths are absolute.
pub fn refused_scripts(config: &RouterConfig) -> Vec<RefusedScript> {
    let Scripts { prepare, up, down, fault, stop, notify, user, .. } = &config.scripts;
    let scripts = Key::SCRIPTS.into_iter().zip([prepare, up, down, fault, stop, notify]);
    refused(scripts.filter_map(|(key, script)| Some((key, script.as_ref()?.program.clone()))), user.as_ref())
}

/// Those of these programs that cannot be run as this user.
fn refused(programs: impl Iterator<Item = (Key, PathBuf)>, user: Option<&ScriptUser>) -> Vec<RefusedScript> {
    let of_program = |(key, program): (Key, PathBuf)| {
        let fault = ScriptRefusal::Program(script::check(&program).err()?);
        Some(RefusedScript { key, fault })
    };
    let of_user = |user: &ScriptUser| {
        let fault = ScriptRefusal::User(script::identify(user).err()?);
        Some(RefusedScript { key: Key::ScriptUser, fault })
    };
    programs.filter_map(of_program).chain(user.and_then(of_user)).collect()
}
