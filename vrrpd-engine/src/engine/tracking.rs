//! Hands results of checks to the routers that use them.

use std::collections::BTreeSet;

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, StateName};

use super::agenda::{Task, Work};
use super::turn::Turn;
use super::{CheckChanged, Engine, Line, Now, Output};
use crate::config::RouterConfig;
use crate::priority::{Outcome, TrackId};
use crate::router::{Router, TrackedOutcome};
use crate::track::{Change, CheckConfig, Checks, Finding, Plan};

impl Engine {
    /// All checks.
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Sets the checks to those that these routers use. Returns which to start and which to stop.
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

    /// The checks of a router with this configuration, and their present results.
    pub(super) fn tracked(&self, config: &RouterConfig) -> Vec<TrackedOutcome> {
        let tracked = self.checks.of(&config.track).into_iter();
        let outcome = |id| self.checks.outcome(id).unwrap_or(Outcome::Unknown);
        tracked.map(|(id, tracked)| (id, tracked.weight, outcome(id))).collect()
    }

    /// Handles a result of a check.
    pub(super) fn found(&mut self, now: Instant, check: TrackId, finding: Finding, detail: &str) {
        if let Some(change) = self.checks.result(now, check, finding) {
            self.check_changed(change, detail);
        }
    }

    /// Handles rise and fall delays of checks that have ended.
    pub(super) fn expire_checks(&mut self, now: Instant) {
        for change in self.checks.expire(now) {
            self.check_changed(change, "for longer than the delay");
        }
    }

    /// Handles a changed result of a check as [`Input::Found`](super::Input::Found) does.
    pub(crate) fn check_has_changed(&mut self, now: Now, change: Change, detail: &str) {
        self.now = now;
        self.check_changed(change, detail);
    }

    /// Applies a changed result. Routers that must stop serving do so first; those that can serve again begin with
    /// their new priority.
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
    /// Starts the router, now or when its checks have first results.
    pub(super) fn start_up(&mut self) {
        if self.router.policy.awaits_first_results() {
            self.agenda.to_start.insert(self.id);
            return;
        }
        self.agenda.to_start.remove(&self.id);
        self.next(Task::event(Event::Startup));
    }

    /// Applies to the router whether its checks allow it to serve.
    pub(super) fn observed(&mut self) {
        self.agenda.work.push_front(Work::CheckUsable(self.id));
        if self.router.machine.state().name() == StateName::Fault {
            self.apply_priority();
        }
    }

    /// Applies to the router the priority of its checks, and starts it if it waited for them.
    pub(super) fn judged(&mut self) {
        if self.agenda.to_start.contains(&self.id) {
            self.next(Task::StartUp);
        }
        self.apply_priority();
    }

    /// Notifies clients of a changed result.
    pub(super) fn tell_of_check(&mut self, changed: CheckChanged) {
        self.log(Line::CheckChanged(changed));
    }
}
