//! The validated configuration, with the same types for command line and file.
//!
//! `options` has the table of all options of a router. [`value`] parses the text of one option, [`RouterOptions`]
//! collects the options of one router, and [`RouterOptions::resolve`] turns them into a valid [`RouterConfig`].

mod authentication;
mod document;
pub mod file;
mod foreign;
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

/// The configuration of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The virtual routers, at least one.
    pub routers: Vec<RouterConfig>,
    /// The groups.
    pub groups: Vec<GroupConfig>,
    /// The checks.
    pub checks: Vec<CheckConfig>,
}

/// The configuration of one virtual router: the engine's settings, and the secret, which the engine does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Everything but the secret.
    pub settings: Settings,
    /// `-a`
    pub authentication: Authentication,
    /// The option that the data path was given with.
    pub datapath_option: DatapathOption,
}

/// The options for the data path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DatapathOption {
    /// `--datapath`
    #[default]
    Datapath,
    /// `--xdp`
    Xdp,
}

impl DatapathOption {
    /// The option with its value on the command line.
    pub fn saying(self, wanted: Datapath) -> String {
        let values = match self {
            Self::Datapath => value::DATAPATHS,
            Self::Xdp => value::XDP_MODES,
        };
        let value = values.iter().find(|(_, means)| *means == wanted).map_or("", |(value, _)| value);
        format!("{}={value}", self.key().flag())
    }

    /// Its key.
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
    /// Whether a running router can change to `other`; not to another secret.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        self.authentication == other.authentication && self.settings.can_become(&other.settings)
    }
}

/// Reads a configuration file with an absolute path, and checks its scripts; relative paths of scripts start at the
/// directory of the file.
///
/// A thread reads it, and the result is copied. Otherwise the parsed text of thousands of routers would fragment the
/// heap; memory of a thread's own arena goes back to the system.
pub fn load(path: &Path) -> Result<Configuration, FileError> {
    let _wiping = Wiping::begin();
    let read = thread::scope(|scope| scope.spawn(|| file::read(path)).join());
    let ended = |_| FileError::Unread(path.to_owned());
    Ok(read.map_err(ended)??.clone())
}

/// A warning if the file contains a secret and other users can read it.
pub fn exposed_secret(path: &Path, configuration: &Configuration) -> Option<String> {
    let has_secret = configuration.routers.iter().any(|router| router.authentication != Authentication::None);
    let exposed = has_secret.then(|| trust::resolve(path).ok()).flatten().filter(Trusted::is_exposed)?;
    let (mode, path) = (exposed.mode(), path.display());
    Some(format!("{path}: other users can read its authentication data (mode {mode:04o}): chmod go-r {path}"))
}

impl RouterConfig {
    /// Makes relative paths of scripts absolute, starting from `directory`, since the daemon leaves the user's
    /// directory.
    pub fn resolve_scripts(&mut self, directory: &Path) {
        self.settings.scripts.resolve(directory);
    }
}

/// A script option that cannot be used.
#[derive(Debug, Error)]
#[error("{} {fault}", .key.flag())]
pub struct RefusedScript {
    /// The option.
    pub key: Key,
    /// The reason.
    pub fault: ScriptRefusal,
}

/// Why scripts cannot be run.
#[derive(Debug, Error)]
#[error(transparent)]
pub enum ScriptRefusal {
    /// The program must not be run.
    Program(ScriptError),
    /// The user is unknown or not permitted.
    User(UserError),
}

/// The scripts of a router that cannot be run; their paths are absolute.
pub fn refused_scripts(config: &RouterConfig) -> Vec<RefusedScript> {
    let Scripts { prepare, up, down, fault, stop, notify, user, .. } = &config.scripts;
    let scripts = Key::SCRIPTS.into_iter().zip([prepare, up, down, fault, stop, notify]);
    refused(scripts.filter_map(|(key, script)| Some((key, script.as_ref()?.program.clone()))), user.as_ref())
}

/// The programs among these that cannot be run as this user.
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
