//! The runners for scripts of routers.

use crate::config::Settings;
use crate::rundir::{RunDir, RunDirError};
use crate::script::{Context, Runner};

/// Starts the script runner of a router, if it has scripts.
pub(super) fn start(
    config: &Settings,
    rundir: &RunDir,
    context: &Context,
) -> Result<Option<Runner>, RunDirError> {
    if config.scripts.is_empty() {
        return Ok(None);
    }
    let claim = rundir.later(&claim(config))?;
    let (name, limit) = (config.title().into_owned(), config.scripts.timeout);
    Ok(Some(Runner::start(name, limit, claim, context.clone())))
}

/// Queued scripts are run to their end, without waiting for them.
pub(super) fn finish(runner: Option<Runner>) {
    if let Some(runner) = runner {
        tokio::task::spawn_local(runner.finish());
    }
}

/// The claim that orders the scripts of a router across daemons.
pub(super) fn claim(config: &Settings) -> String {
    format!("{}.scripts", config.name().file_stem())
}
