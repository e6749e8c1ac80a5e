//! The configuration of a process and of one virtual router, valid.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use super::{Authentication, CheckConfig, Datapath, GroupConfig, Key, Settings, value};

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

    /// Makes relative paths of scripts absolute, starting from `directory`, since the daemon leaves the user's
    /// directory.
    pub fn resolve_scripts(&mut self, directory: &Path) {
        self.settings.scripts.resolve(directory);
    }
}
