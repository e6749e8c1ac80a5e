//! Runners for scripts of groups. [`vrrpd_engine::group`] decides when to run them.

use tracing::error;
use vrrpd_engine::config::GroupConfig;
use vrrpd_engine::script::{Call, Scripts};

use crate::guardian::LastScript;
use crate::router_name::RouterName;
use crate::rundir::RunDir;
use crate::script::{Context, Runner};

/// The runner of each group with scripts.
#[derive(Debug, Default)]
pub(super) struct GroupRunners(Vec<GroupRunner>);

#[derive(Debug)]
struct GroupRunner {
    group: String,
    scripts: Scripts,
    runner: Runner,
}

impl GroupRunners {
    /// Sets the runners to these groups. The runner of a group with the same name and scripts continues.
    pub(super) fn set(&mut self, wanted: &[GroupConfig], rundir: &RunDir, context: &Context) {
        let mut before = std::mem::take(&mut self.0);
        for config in wanted.iter().filter(|config| !config.scripts.is_empty()) {
            let is_same =
                |one: &GroupRunner| config.name.as_ref() == Some(&one.group) && one.scripts == config.scripts;
            if let Some(place) = before.iter().position(is_same) {
                self.0.push(before.swap_remove(place));
                continue;
            }
            let (Some(group), Some(claim)) = (config.name.clone(), claim(config)) else { continue };
            match rundir.later(&claim) {
                Ok(claim) => {
                    let runner = Runner::start(group.clone(), config.scripts.timeout, claim, context.clone());
                    self.0.push(GroupRunner { group, scripts: config.scripts.clone(), runner });
                }
                Err(error) => error!(group, %error, "cannot run scripts of group"),
            }
        }
        for gone in before {
            tokio::task::spawn_local(gone.runner.finish());
        }
    }

    /// Runs scripts of a group.
    pub(super) fn run(&self, group: &str, call: Call) {
        if let Some(GroupRunner { runner, .. }) = self.0.iter().find(|one| one.group == group) {
            runner.run(call);
        }
    }

    /// The runners that may still run scripts.
    pub(super) fn into_runners(self) -> impl Iterator<Item = Runner> {
        self.0.into_iter().map(|group| group.runner)
    }
}

/// The scripts of a group for the case that the daemon is killed while a member is Master.
pub(super) fn last(config: &GroupConfig, call: Call) -> Option<LastScript> {
    Some(LastScript { call, limit_ns: config.scripts.timeout.as_nanos(), claim: claim(config)? })
}

/// The claim that orders the scripts of a group across daemons. A router is in one group.
fn claim(config: &GroupConfig) -> Option<String> {
    let first = RouterName::parse(config.members.first()?).ok()?;
    Some(format!("{}.group.scripts", first.file_stem()))
}
