//! The scripts of groups: which of them to run upon a transition of a member.

use vrrpd_common::router::{Reason, StateName, Transition};

use crate::config::GroupConfig;
use crate::ids::{RouterId, Slots};
use crate::router::Router;
use crate::script::{Call, state_of_group};

/// The groups with scripts.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptedGroups(Vec<Scripted>);

/// A group with scripts.
#[derive(Clone, Debug)]
struct Scripted {
    config: GroupConfig,
    /// The members that exist.
    members: Vec<Option<RouterId>>,
    /// The last state passed to the scripts.
    told: StateName,
}

impl ScriptedGroups {
    /// Sets the groups with scripts. A group with the same name and scripts continues.
    pub(super) fn set(&mut self, wanted: &[GroupConfig], routers: &Slots<RouterId, Router>) {
        let mut before = std::mem::take(&mut self.0);
        for config in wanted.iter().filter(|config| !config.scripts.is_empty()) {
            let is_same =
                |one: &Scripted| one.config.name == config.name && one.config.scripts == config.scripts;
            let same = before.iter().position(is_same).map(|place| before.swap_remove(place));
            let id = |name: &String| {
                let is_named = |router: &Router| router.config.name().to_string() == *name;
                routers.iter().find(|(_, router)| is_named(router)).map(|(id, _)| id)
            };
            self.0.push(Scripted {
                config: config.clone(),
                members: config.members.iter().map(id).collect(),
                told: same.map_or(StateName::Init, |same| same.told),
            });
        }
    }

    /// The group with scripts that has this router as a member.
    pub(super) fn of(&self, member: RouterId) -> Option<&GroupConfig> {
        let group = self.0.iter().find(|group| group.members.contains(&Some(member)))?;
        Some(&group.config)
    }

    /// Handles a transition of a member.
    pub(super) fn follow(
        &mut self,
        member: RouterId,
        reason: Reason,
        routers: &Slots<RouterId, Router>,
    ) -> Option<(String, Call)> {
        let group = self.0.iter_mut().find(|group| group.members.contains(&Some(member)))?;
        let state = |id: &Option<RouterId>| {
            id.and_then(|id| routers.get(id)).map_or(StateName::Init, Router::state_told)
        };
        let to = state_of_group(group.members.iter().map(state)).filter(|to| *to != group.told)?;
        let from = std::mem::replace(&mut group.told, to);
        let call = group.config.call(Transition { from, to, reason, cause: None })?;
        Some((group.config.name.clone()?, call))
    }
}
