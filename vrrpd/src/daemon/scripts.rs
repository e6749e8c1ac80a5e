//! The scripts of routers: what is run for a change of state, and what runs it.

use vrrpd_common::router::{StateName, Transition};
use vrrpd_engine::router::Router;

use super::handles::Handles;
use crate::config::{Settings, VirtualAddress};
use crate::rundir::{RunDir, RunDirError};
use crate::script::{Context, Run, Runner};

/// Starts what runs the scripts of a router, if it has any.
pub(super) fn start(
    config: &Settings,
    handles: &mut Handles,
    rundir: &RunDir,
    context: &Context,
) -> Result<(), RunDirError> {
    if config.up.is_some() || config.down.is_some() {
        let claim = rundir.later(&claim(config))?;
        let (name, limit) = (config.name().to_string(), config.script_timeout);
        handles.scripts = Some(Runner::start(name, limit, claim, context.clone()));
    }
    Ok(())
}

/// Scripts that wait are run to their end, and nobody waits for that.
pub(super) fn finish(handles: &mut Handles) {
    if let Some(runner) = handles.scripts.take() {
        tokio::task::spawn_local(runner.finish());
    }
}

/// What orders the scripts of a router and those of the daemon before or after this one.
pub(super) fn claim(config: &Settings) -> String {
    format!("{}.scripts", config.name().file_stem())
}

/// The script to run for a change of state.
pub(super) fn of_transition(router: &Router, transition: Transition) -> Option<Run> {
    let config = &router.config;
    let (path, state) = match (transition.from, transition.to) {
        (_, StateName::Master) => (&config.up, "MASTER"),
        (_, StateName::Backup) | (StateName::Master, StateName::Init) => (&config.down, "BACKUP"),
        (_, StateName::Fault) => (&config.down, "FAULT"),
        (StateName::Init | StateName::Fault | StateName::Backup, StateName::Init) => return None,
    };
    let priority = router.machine.priority().to_string();
    let addresses: Vec<_> = config.addresses.iter().map(VirtualAddress::to_string).collect();
    Some(Run {
        path: path.clone()?,
        arguments: ["INSTANCE".to_owned(), config.name().to_string(), state.to_owned(), priority.clone()],
        environment: vec![
            ("VRRP_STATE".into(), state.to_owned()),
            ("VRRP_PREVIOUS_STATE".into(), transition.from.name().to_uppercase()),
            ("VRRP_INTERFACE".into(), config.interface.clone()),
            ("VRRP_VRID".into(), config.vrid.to_string()),
            ("VRRP_ADDRESSES".into(), addresses.join(" ")),
            ("VRRP_PRIORITY".into(), priority),
            ("VRRP_VMAC".into(), router.vmac.mac().map(|mac| mac.to_string()).unwrap_or_default()),
            ("VRRP_VMAC_INTERFACE".into(), router.place_of_addresses().to_owned()),
            ("VRRP_REASON".into(), transition.reason.name().to_owned()),
        ],
    })
}
