//! The runners for scripts of routers.

use super::handles::Handles;
use crate::config::Settings;
use crate::rundir::{RunDir, RunDirError};
use crate::script::{Context, Runner};

/// Starts the script runner of a router, if it has scripts.
pub(super) fn start(
    config: &Settings,
    handles: &mut Handles,
    rundir: &RunDir,
    context: &Context,
) -> Result<(), RunDirError> {
    if !config.scripts.is_empty() {
        let claim = rundir.later(&claim(config))?;
        let (name, limit) = (config.title().into_owned(), config.scripts.timeout);
        handles.scripts = Some(Runner::start(name, limit, claim, context.clone()));
    }
    Ok(())
}

/// Queued scripts are run to their end, without waiting for them.
pub(super) fn finish(handles: &mut Handles) {
    if let Some(runner) = handles.scripts.take() {
        tokio::task::spawn_local(runner.finish());
    }
}

/// The claim that orders the scripts of a router across daemons.
pub(super) fn claim(config: &Settings) -> String {
    format!("{}.scripts", config.name().file_stem())
}
