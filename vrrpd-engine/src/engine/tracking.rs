//! What is tracked: results of checks go to the routers that track them.

use std::collections::BTreeSet;

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, StateName};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{Engine, Line, Now, Output};
use crate::config::RouterConfig;
use crate::priority::{Outcome, TrackId};
use crate::router::{Router, TrackedOutcome};
use crate::track::{Change, CheckConfig, Checks, Finding, Plan};

/// A check has another outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckChanged {
    /// The name of the check.
    pub name: String,
    /// The kind of the check.
    pub kind: String,
    /// What counted before.
    pub from: Outcome,
    /// What counts now.
    pub to: Outcome,
    /// What was seen, in words; for people.
    pub detail: String,
}

impl Engine {
    /// All that is tracked.
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Makes the checks those that these routers track. Returns what is to be looked at now, and what no more.
    pub fn configure_checks<'a>(
        &mut self,
        checks: &[CheckConfig],
        routers: impl IntoIterator<Item = &'a RouterConfig>,
    ) -> Plan {
        let tracked = routers.into_iter().flat_map(|router| &router.track);
        let tracked = tracked.filter(|tracked| !tracked.is_ignored);
        let tracked: BTreeSet<_> = tracked.map(|tracked| tracked.name.as_str()).collect();
        self.checks.configure(checks, &tracked)
    }

    /// What a router with this configuration tracks, and what that says now.
    pub(super) fn tracked(&self, config: &RouterConfig) -> Vec<TrackedOutcome> {
        let tracked = self.checks.of(&config.track).into_iter();
        let outcome = |id| self.checks.outcome(id).unwrap_or(Outcome::Unknown);
        tracked.map(|(id, tracked)| (id, tracked.weight, outcome(id))).collect()
    }

    /// A check has looked.
    pub(super) fn found(&mut self, now: Instant, check: TrackId, finding: Finding, detail: &str) {
        if let Some(change) = self.checks.result(now, check, finding) {
            self.check_changed(change, detail);
        }
    }

    /// Delays of checks are over.
    pub(super) fn expire_checks(&mut self, now: Instant) {
        for change in self.checks.expire(now) {
            self.check_changed(change, "for longer than the delay");
        }
    }

    /// The same as when [`Input::Found`](super::Input::Found) has changed the outcome of a check.
    pub(crate) fn check_has_changed(&mut self, now: Now, change: Change, detail: &str) {
        self.now = now;
        self.check_changed(change, detail);
    }

    /// What comes of another result. Routers that cannot serve any more say so first; those that can again begin with their
    /// new priority.
    fn check_changed(&mut self, change: Change, detail: &str) {
        let Change { id: check, from, to } = change;
        let Some(config) = self.checks.config(check) else { return };
        let (name, kind) = (config.name.clone(), config.kind_name().to_owned());
        let changed = CheckChanged { name, kind, from, to, detail: detail.to_owned() };
        let tracks = |router: &Router| router.policy.tracked().any(|(tracked, _)| tracked == check);
        let tracking: Vec<_> =
            self.routers.iter().filter(|(_, router)| tracks(router)).map(|(id, _)| id).collect();
        for id in &tracking {
            self.keep_checked(*id, change, detail);
            if let Some(router) = self.routers.get_mut(*id) {
                router.policy.observe(check, to);
            }
        }
        let each = |task: fn() -> Task| tracking.iter().map(move |id| Work::Task(*id, task()));
        self.agenda.outputs.push_back(Output::CheckChanged(changed.clone()));
        self.agenda.incoming.extend(each(|| Task::Observed));
        self.agenda.incoming.extend(each(|| Task::Judged));
        let tell = |id: &_| Work::Task(*id, Task::TellOfCheck(Box::new(changed.clone())));
        self.agenda.incoming.extend(tracking.iter().map(tell));
    }
}

impl Turn<'_> {
    /// Lets the router take part: now, or when there are first results of what it tracks.
    pub(super) fn start_up(&mut self) {
        if self.router.policy.awaits_first_results() {
            self.agenda.to_start.insert(self.id);
            return;
        }
        self.agenda.to_start.remove(&self.id);
        self.next(Task::event(Event::Startup));
    }

    /// Something that the router tracks has had a result: whether it can serve.
    pub(super) fn observed(&mut self) {
        self.agenda.work.push_front(Work::CheckUsable(self.id));
        if self.router.machine.state().name() == StateName::Fault {
            self.apply_priority();
        }
    }

    /// The same: with which priority it serves, and whether that was what it waited for.
    pub(super) fn judged(&mut self) {
        if self.agenda.to_start.contains(&self.id) {
            self.next(Task::StartUp);
        }
        self.apply_priority();
    }

    /// Tells clients of a result.
    pub(super) fn tell_of_check(&mut self, changed: CheckChanged) {
        self.log(Line::CheckChanged(changed));
    }
}
