//! The checks of a process.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vrrpd_common::Instant;

use super::{CheckConfig, Finding, Judge, Tracked};
use crate::priority::{Outcome, TrackId};

/// All checks that a router uses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Checks {
    checks: BTreeMap<TrackId, Check>,
    /// The next identifier; never reused.
    next: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Check {
    config: CheckConfig,
    judge: Judge,
}

/// A changed outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The check.
    pub id: TrackId,
    /// The previous outcome.
    pub from: Outcome,
    /// The new outcome.
    pub to: Outcome,
}

/// Changes to the checks after a new configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Checks to stop.
    pub stop: Vec<TrackId>,
    /// Checks to start or to restart with another configuration.
    pub start: Vec<(TrackId, CheckConfig)>,
}

impl Checks {
    /// Sets the checks to those of `wanted` that are `tracked`. A check with a known name keeps its outcome, even if it
    /// checks something else now.
    pub fn configure(&mut self, wanted: &[CheckConfig], tracked: &BTreeSet<&str>) -> Plan {
        let mut plan = Plan::default();
        let wanted: Vec<_> = wanted.iter().filter(|config| tracked.contains(config.name.as_str())).collect();
        let is_wanted = |check: &Check| wanted.iter().any(|config| config.name == check.config.name);
        plan.stop = self.checks.extract_if(.., |_, check| !is_wanted(check)).map(|(id, _)| id).collect();
        for config in wanted {
            let Some(id) = self.id(&config.name) else {
                let id = TrackId(self.next);
                self.next += 1;
                self.checks.insert(id, Check { config: config.clone(), judge: Judge::new(config.rules) });
                plan.start.push((id, config.clone()));
                continue;
            };
            if let Some(check) = self.checks.get_mut(&id)
                && check.config != *config
            {
                check.judge.set_rules(config.rules);
                check.config = config.clone();
                plan.start.push((id, config.clone()));
            }
        }
        plan
    }

    /// Only the checks that a router uses.
    #[must_use]
    pub fn tracked_by(&self, tracked: &[Tracked]) -> Self {
        let is_tracked = |check: &Check| tracked.iter().any(|tracked| tracked.name == check.config.name);
        let checks = self.checks.iter().filter(|(_, check)| is_tracked(check));
        Self { checks: checks.map(|(id, check)| (*id, check.clone())).collect(), next: self.next }
    }

    /// The check of this name.
    pub fn id(&self, name: &str) -> Option<TrackId> {
        self.checks.iter().find(|(_, check)| check.config.name == name).map(|(id, _)| *id)
    }

    /// Its configuration.
    pub fn config(&self, id: TrackId) -> Option<&CheckConfig> {
        self.checks.get(&id).map(|check| &check.config)
    }

    /// Its outcome.
    pub fn outcome(&self, id: TrackId) -> Option<Outcome> {
        self.checks.get(&id).map(|check| check.judge.outcome())
    }

    /// All checks.
    pub fn iter(&self) -> impl Iterator<Item = (TrackId, &CheckConfig)> {
        self.checks.iter().map(|(id, check)| (*id, &check.config))
    }

    /// Handles a result of a check.
    pub fn result(&mut self, now: Instant, id: TrackId, finding: Finding) -> Option<Change> {
        let Check { judge, .. } = self.checks.get_mut(&id)?;
        let from = judge.outcome();
        judge.result(now, finding).then(|| Change { id, from, to: judge.outcome() })
    }

    /// When [`Checks::expire`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.checks.values().filter_map(|check| check.judge.deadline()).min()
    }

    /// The changes that take effect at `now`.
    pub fn expire(&mut self, now: Instant) -> Vec<Change> {
        let changes = self.checks.iter_mut().filter_map(|(id, Check { judge, .. })| {
            let from = judge.outcome();
            judge.expire(now).then(|| Change { id: *id, from, to: judge.outcome() })
        });
        changes.collect()
    }

    /// The checks among these that exist, with their use by the router.
    pub fn of<'a>(&self, tracked: &'a [Tracked]) -> Vec<(TrackId, &'a Tracked)> {
        let counting = tracked.iter().filter(|tracked| !tracked.is_ignored);
        counting.filter_map(|tracked| Some((self.id(&tracked.name)?, tracked))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{CheckKind, ProcessName, Rules};
    use vrrpd_common::Duration;

    fn check(name: &str, process: &str, rules: Rules) -> CheckConfig {
        let process = ProcessName::new(process).expect("is legal");
        CheckConfig { name: name.to_owned(), kind: CheckKind::Process(process), rules }
    }

    #[test]
    fn unused_checks_are_stopped_and_others_keep_their_outcome() {
        let mut checks = Checks::default();
        let (a, b) = (check("a", "x", Rules::default()), check("b", "y", Rules::default()));
        let plan = checks.configure(&[a.clone(), b.clone()], &BTreeSet::from(["a"]));
        assert_eq!(plan.start, [(TrackId(0), a.clone())]);
        let change = checks.result(Instant::ZERO, TrackId(0), Finding::Count(1));
        assert_eq!(change, Some(Change { id: TrackId(0), from: Outcome::Unknown, to: Outcome::Holds }));
        let plan = checks.configure(&[a.clone(), b.clone()], &BTreeSet::from(["a", "b"]));
        assert_eq!((plan.start, plan.stop), (vec![(TrackId(1), b.clone())], vec![]));
        // Something else is checked under the same name.
        let other = check("a", "z", Rules::default());
        let plan = checks.configure(&[other.clone(), b], &BTreeSet::from(["a"]));
        assert_eq!((plan.start, plan.stop), (vec![(TrackId(0), other)], vec![TrackId(1)]));
        assert_eq!(checks.outcome(TrackId(0)), Some(Outcome::Holds));
        // A late result.
        assert_eq!(checks.result(Instant::ZERO, TrackId(1), Finding::Count(1)), None);
        // A check that comes back has a new identifier.
        checks.configure(&[], &BTreeSet::new());
        let plan = checks.configure(&[a], &BTreeSet::from(["a"]));
        assert_eq!(plan.start[0].0, TrackId(2));
    }

    #[test]
    fn delays_of_all_checks_have_one_deadline() {
        let mut checks = Checks::default();
        let rules = |seconds| Rules {
            initially: Some(true),
            down_delay: Duration::from_secs(seconds),
            ..Rules::default()
        };
        let configs = [check("a", "x", rules(3)), check("b", "y", rules(2))];
        checks.configure(&configs, &BTreeSet::from(["a", "b"]));
        for id in [TrackId(0), TrackId(1)] {
            checks.result(Instant::ZERO, id, Finding::Holds);
            assert_eq!(checks.result(Instant::ZERO, id, Finding::Fails), None);
        }
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(checks.deadline(), Some(at(2)));
        assert_eq!(checks.expire(at(2)).iter().map(|change| change.id).collect::<Vec<_>>(), [TrackId(1)]);
        assert_eq!(checks.deadline(), Some(at(3)));
    }
}
