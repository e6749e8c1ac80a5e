//! The difference of two configurations: what happens to each router. A start is a plan from an empty configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{GroupConfig, RouterConfig};
use crate::engine::Engine;
use crate::ids::{LinkId, RouterId};

/// The changes to a new configuration. A router of the new configuration is given by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Routers that leave: removed from the configuration, or restarted.
    pub leaving: Vec<RouterId>,
    /// Routers that change their configuration while running.
    pub exchanged: Vec<(RouterId, usize)>,
    /// Routers that start once all leaving ones have given back what they held.
    pub arriving: Vec<usize>,
    /// Number of routers added by the configuration.
    pub new: usize,
    /// Number of routers removed.
    pub left: usize,
    /// Number of routers changed.
    pub changed: usize,
    /// Number of routers unchanged.
    pub unchanged: usize,
}

impl Plan {
    /// Plans the changes for the routers of an engine. `has_secret` says whether a router has the secret of the
    /// configuration at this index: a running router cannot change its secret.
    pub fn new(
        engine: &Engine,
        wanted: &[&RouterConfig],
        has_secret: impl Fn(RouterId, usize) -> bool,
    ) -> Self {
        let mut plan = Self::default();
        let mut staying = BTreeSet::new();
        for (id, router) in engine.routers().iter() {
            let name = router.config.name();
            let Some((place, config)) = (0..).zip(wanted).find(|(_, config)| config.name() == name) else {
                plan.left += 1;
                plan.leaving.push(id);
                continue;
            };
            if has_secret(id, place) && router.config == **config {
                plan.unchanged += 1;
                staying.insert(place);
            } else if has_secret(id, place) && router.config.can_become(config) {
                plan.changed += 1;
                staying.insert(place);
                plan.exchanged.push((id, place));
            } else {
                plan.changed += 1;
                plan.leaving.push(id);
            }
        }
        plan.arriving = (0..wanted.len()).filter(|place| !staying.contains(place)).collect();
        plan.new = wanted.len() - plan.changed - plan.unchanged;
        plan
    }

    /// The interfaces that only new routers use, with the indexes of these.
    pub fn links_to_open(&self, engine: &Engine, wanted: &[&RouterConfig]) -> Vec<(LinkId, Vec<usize>)> {
        let mut opened = Vec::new();
        for (id, link) in engine.links().iter() {
            let is_here =
                |place: &usize| wanted.get(*place).is_some_and(|config| config.interface == link.name);
            let here: Vec<_> = self.arriving.iter().copied().filter(is_here).collect();
            if !here.is_empty() && link.routers.iter().all(|id| self.leaving.contains(id)) {
                opened.push((id, here));
            }
        }
        opened
    }

    /// Interfaces on which routers stay and others start, with the number that start.
    pub fn links_with_more(&self, engine: &Engine, wanted: &[&RouterConfig]) -> Vec<(LinkId, usize)> {
        let opened: BTreeSet<LinkId> =
            self.links_to_open(engine, wanted).into_iter().map(|(id, _)| id).collect();
        let arriving = self.arriving.iter().filter_map(|place| wanted.get(*place));
        let links = arriving.filter_map(|config| engine.link_named(&config.interface));
        let mut more = BTreeMap::new();
        for link in links.filter(|link| !opened.contains(link)) {
            *more.entry(link).or_insert(0) += 1;
        }
        more.into_iter().collect()
    }

    /// The groups, without members that have not started.
    pub fn groups_until_then(&self, groups: &[GroupConfig], wanted: &[&RouterConfig]) -> Vec<GroupConfig> {
        let arriving = self.arriving.iter().filter_map(|place| wanted.get(*place));
        let arriving: BTreeSet<String> = arriving.map(|config| config.name().to_string()).collect();
        let mut groups = groups.to_vec();
        for group in &mut groups {
            group.members.retain(|member| !arriving.contains(member));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_common::{Duration, Priority, Vrid};

    use super::*;
    use crate::config::tests::router as config;
    use crate::link::Link;
    use crate::router::{Router, TimeOfDay};
    use crate::script::Scripts;

    fn of(vrid: u8) -> RouterConfig {
        let vrid = Vrid::new(vrid).expect("a VRID");
        RouterConfig { vrid, ..config("192.0.2.100") }
    }

    fn on(interface: &str, vrid: u8) -> RouterConfig {
        RouterConfig { interface: interface.to_owned(), ..of(vrid) }
    }

    fn engine_of(configs: &[RouterConfig]) -> (Engine, Vec<RouterId>) {
        let mut engine = Engine::new(true);
        let ids = configs.iter().map(|config| {
            let link = engine.link_named(&config.interface);
            let link = link.unwrap_or_else(|| engine.add_link(Link::new(config.interface.clone())));
            engine.add(Router::new(config.clone(), link, TimeOfDay::default()))
        });
        let ids = ids.collect();
        (engine, ids)
    }

    #[test]
    fn the_start_is_the_plan_from_nothing() {
        let (engine, _) = engine_of(&[]);
        let wanted = [of(51), of(52)];
        let plan = Plan::new(&engine, &wanted.each_ref(), |_, _| false);
        assert_eq!(plan, Plan { arriving: vec![0, 1], new: 2, ..Plan::default() });
    }

    #[test]
    fn routers_stay_or_go_on_or_leave_or_come_back_or_come() {
        let (engine, ids) = engine_of(&[of(51), of(52), of(53), of(54), of(55)]);
        let other_priority = RouterConfig { priority: Priority(150), ..of(52) };
        let owner = RouterConfig { priority: Priority::OWNER, ..of(53) };
        let wanted = [of(55), of(51), other_priority, owner, of(56)];
        let plan = Plan::new(&engine, &wanted.each_ref(), |id, _| id != ids[4]);
        assert_eq!(
            plan,
            Plan {
                leaving: vec![ids[2], ids[3], ids[4]],
                exchanged: vec![(ids[1], 2)],
                arriving: vec![0, 3, 4],
                new: 1,
                left: 1,
                changed: 3,
                unchanged: 1,
            },
            "the last one has another secret"
        );
    }

    #[test]
    fn an_interface_is_opened_for_new_routers_if_no_router_stays() {
        let (mut engine, _) = engine_of(&[on("eth0", 51), on("eth1", 51)]);
        engine.add_link(Link::new("eth2".to_owned()));
        let wanted = [on("eth0", 51), on("eth0", 52), on("eth1", 52), on("eth2", 51), on("eth2", 52)];
        let wanted = wanted.each_ref();
        let plan = Plan::new(&engine, &wanted, |_, _| true);
        let opened = plan.links_to_open(&engine, &wanted);
        let link = |name| engine.link_named(name).expect("it is there");
        assert_eq!(opened, [(link("eth1"), vec![2]), (link("eth2"), vec![3, 4])]);
    }

    #[test]
    fn a_group_is_without_those_that_come_until_they_are_there() {
        let (engine, _) = engine_of(&[of(51)]);
        let wanted = [of(51), of(52)];
        let wanted = wanted.each_ref();
        let names: Vec<_> = wanted.iter().map(|config| config.name().to_string()).collect();
        let group = GroupConfig {
            name: None,
            size: 2,
            members: names.clone(),
            scripts: Scripts::none(Duration::from_secs(60)),
        };
        let plan = Plan::new(&engine, &wanted, |_, _| true);
        let groups = plan.groups_until_then(&[group], &wanted);
        assert_eq!(groups[0].members, names[..1]);
    }
}
