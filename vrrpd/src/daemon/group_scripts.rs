//! What runs the scripts of groups, and the state of each group that was told to them last.

use tracing::error;
use vrrpd_common::router::{Reason, StateName, Transition};
use vrrpd_engine::config::GroupConfig;
use vrrpd_engine::script::{of_group, state_of_group};

use crate::guardian::LastScript;
use crate::router_name::RouterName;
use crate::rundir::RunDir;
use crate::script::{Context, Runner};

/// The groups with scripts.
#[derive(Debug, Default)]
pub(super) struct GroupScripts(Vec<Scripted>);

#[derive(Debug)]
struct Scripted {
    config: GroupConfig,
    state: StateName,
    runner: Runner,
}

impl GroupScripts {
    /// Has these groups run their scripts. One of the same name and with the same scripts goes on.
    pub(super) fn set(&mut self, wanted: &[GroupConfig], rundir: &RunDir, context: &Context) {
        let mut before = std::mem::take(&mut self.0);
        for config in wanted.iter().filter(|config| !config.scripts.is_empty()) {
            let is_same =
                |one: &Scripted| one.config.name == config.name && one.config.scripts == config.scripts;
            if let Some(place) = before.iter().position(is_same) {
                self.0.push(Scripted { config: config.clone(), ..before.swap_remove(place) });
                continue;
            }
            let (Some(name), Some(claim)) = (&config.name, claim(config)) else { continue };
            match rundir.later(&claim) {
                Ok(claim) => {
                    let runner = Runner::start(name.clone(), config.scripts.timeout, claim, context.clone());
                    self.0.push(Scripted { config: config.clone(), state: StateName::Init, runner });
                }
                Err(error) => error!(group = name, %error, "cannot run scripts of group"),
            }
        }
        for gone in before {
            tokio::task::spawn_local(gone.runner.finish());
        }
    }

    /// A router of this name has changed its state: its group may have.
    pub(super) fn follow(&mut self, router: &str, reason: Reason, state: impl Fn(&str) -> Option<StateName>) {
        let is_member = |group: &&mut Scripted| group.config.members.iter().any(|member| member == router);
        let Some(group) = self.0.iter_mut().find(is_member) else { return };
        let states = group.config.members.iter().map(|member| state(member).unwrap_or(StateName::Init));
        let Some(to) = state_of_group(states).filter(|to| *to != group.state) else { return };
        let from = std::mem::replace(&mut group.state, to);
        if let Some(call) = of_group(&group.config, Transition { from, to, reason, cause: None }) {
            group.runner.run(call);
        }
    }

    /// What the group of a router runs if the daemon is killed while the router is Master.
    pub(super) fn last(&self, router: &str, left: Transition) -> Option<LastScript> {
        let group = self.0.iter().find(|group| group.config.members.iter().any(|member| member == router))?;
        Some(LastScript {
            call: of_group(&group.config, left)?,
            limit_ns: group.config.scripts.timeout.as_nanos(),
            claim: claim(&group.config)?,
        })
    }

    /// What still runs scripts.
    pub(super) fn into_runners(self) -> impl Iterator<Item = Runner> {
        self.0.into_iter().map(|group| group.runner)
    }
}

/// What orders the scripts of a group and those of the daemon before or after this one. A router is in one group.
fn claim(config: &GroupConfig) -> Option<String> {
    let first = RouterName::parse(config.members.first()?).ok()?;
    Some(format!("{}.group.scripts", first.file_stem()))
}
