//! The names of the states, without their data.

use core::fmt;

/// The name of a state, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum StateName {
    /// [`State::Initialize`](super::State::Initialize).
    Init,
    /// [`State::Fault`](super::State::Fault).
    Fault,
    /// [`State::Backup`](super::State::Backup).
    Backup,
    /// [`State::Master`](super::State::Master).
    Master,
}

impl StateName {
    /// Lower case, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Fault => "fault",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
