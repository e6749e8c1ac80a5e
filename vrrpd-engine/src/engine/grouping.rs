//! Groups: forming them, telling them the state of their members, and applying their decisions.

use vrrpd_common::router::Reason;

use super::agenda::{Task, Work};
use super::{Engine, Output};
use crate::config::GroupConfig;
use crate::group::Groups;
use crate::ids::RouterId;

impl Engine {
    /// The groups of this process.
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Forms the groups of this configuration.
    pub(super) fn form_groups(&mut self, wanted: &[GroupConfig], seed: u64) {
        let places = self.groups.form(self.now.at, wanted, &self.routers, seed);
        for router in self.routers.values_mut() {
            router.group = None;
        }
        for (id, place) in places {
            if let Some(router) = self.routers.get_mut(id) {
                router.group = Some(place);
            }
        }
        for router in self.routers.values() {
            if let Some(place) = router.group {
                self.groups.note(place, &router.machine);
            }
        }
    }

    /// Hands the next noted change to its group; what its members must handle comes before further changes.
    pub(super) fn settle_groups(&mut self) {
        let Self { groups, agenda, now, .. } = self;
        let mut events = Vec::new();
        let is_news =
            groups.settle_one(now.at, &mut |router, event| events.push((router, event)), &mut |message| {
                agenda.outputs.push_back(Output::TellGroupPeers(message));
            });
        if is_news {
            for (id, event) in &events {
                self.keep_of_group(*id, *event);
            }
            let work = events.into_iter().map(|(id, event)| Work::Task(id, Task::event(event)));
            let work: Vec<_> = work.chain([Work::SettleGroups]).collect();
            work.into_iter().rev().for_each(|work| self.agenda.work.push_front(work));
        }
    }

    /// Handles a reported transition of a router, which may have changed the state of its group.
    pub(super) fn follow_group(&mut self, member: RouterId, reason: Reason) {
        if let Some((group, call)) = self.groups.follow(member, reason, &self.routers) {
            self.agenda.outputs.push_back(Output::RunGroupScripts(group, call));
        }
    }
}
