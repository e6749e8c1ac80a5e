//! Scripts of a configuration that cannot be run.

use std::path::PathBuf;

use thiserror::Error;

use super::{Key, RouterConfig, ScriptUser, Scripts};
use crate::script::{self, ScriptError, UserError};

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
pub(super) fn refused(
    programs: impl Iterator<Item = (Key, PathBuf)>,
    user: Option<&ScriptUser>,
) -> Vec<RefusedScript> {
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
