//! What is tracked: results go to the engine's table of checks, and what comes of them to the routers that track it.

use std::collections::BTreeSet;

use tracing::{info, warn};
use vrrpd_common::Instant;
use vrrpd_common::router::{Event, StateName};
use vrrpd_engine::priority::Outcome;
use vrrpd_engine::router::{Router, TrackedOutcome};
use vrrpd_engine::track::{Change, Checks};
use vrrpd_engine::{Input, RouterId};

use super::{Daemon, describe};
use crate::clock;
use crate::config::{CheckConfig, Settings};
use crate::interface::service::Report;
use crate::lane::Lane;
use crate::report::{Happening, NoticeReport, TrackReport};
use crate::track::{Found, Watchers};

/// The checks of all routers.
#[derive(Debug)]
pub(super) struct Tracking {
    checks: Checks,
    pub(super) watchers: Watchers,
    /// Routers that take part as soon as there are first results of what they track.
    to_start: BTreeSet<RouterId>,
}

impl Tracking {
    pub(super) fn new(lane: Lane) -> Self {
        Self { checks: Checks::default(), watchers: Watchers::new(lane), to_start: BTreeSet::new() }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.checks.deadline()
    }

    /// What a router with this configuration tracks, and what that says now.
    pub(super) fn of(&self, config: &Settings) -> Vec<TrackedOutcome> {
        let tracked = self.checks.of(&config.track).into_iter();
        let outcome = |id| self.checks.outcome(id).unwrap_or(Outcome::Unknown);
        tracked.map(|(id, tracked)| (id, tracked.weight, outcome(id))).collect()
    }

    /// What a router tracks, for people.
    pub(super) fn report(&self, router: &Router) -> Vec<TrackReport> {
        let report = router.config.track.iter().map(|tracked| {
            let id = self.checks.id(&tracked.name);
            let kind = id.and_then(|id| self.checks.config(id)).map_or("", CheckConfig::kind_name);
            let outcome = id.and_then(|id| self.checks.outcome(id)).unwrap_or(Outcome::Unknown);
            TrackReport::new(tracked, kind, outcome)
        });
        report.collect()
    }
}

impl Daemon {
    /// Makes the checks those that these routers track; every start of a check goes through here.
    pub(super) fn configure_checks<'a>(
        &mut self,
        checks: &[CheckConfig],
        routers: impl Iterator<Item = &'a Settings>,
    ) {
        let tracked = routers.flat_map(|router| &router.track).filter(|tracked| !tracked.is_ignored);
        let tracked: BTreeSet<_> = tracked.map(|tracked| tracked.name.as_str()).collect();
        let plan = self.tracking.checks.configure(checks, &tracked);
        for id in plan.stop {
            self.tracking.watchers.stop(id);
        }
        for (id, config) in plan.start {
            if let Some(interface) = self.tracking.watchers.start(id, &config) {
                self.service.follow(interface);
            }
        }
    }

    /// Lets a router take part: now, or when there are first results of what it tracks.
    pub(super) fn start_up(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        if router.policy.awaits_first_results() {
            self.tracking.to_start.insert(id);
            return;
        }
        self.tracking.to_start.remove(&id);
        self.event(id, Event::Startup, None);
    }

    /// A check has looked.
    pub(super) fn found(&mut self, found: &Found) {
        if let Some(change) = self.tracking.checks.result(clock::now(), found.id, found.finding) {
            self.check_changed(change, &found.detail);
        }
    }

    /// Delays of checks are over.
    pub(super) fn expire_checks(&mut self, now: Instant) {
        for change in self.tracking.checks.expire(now) {
            self.check_changed(change, "for longer than the delay");
        }
    }

    /// What comes of another result. Routers that cannot serve any more say so first; those that can again begin with their
    /// new priority.
    fn check_changed(&mut self, change: Change, detail: &str) {
        let Change { id: check, from, to } = change;
        let Some(config) = self.tracking.checks.config(check) else { return };
        let (name, kind) = (config.name.clone(), config.kind_name());
        if to == Outcome::Fails {
            warn!(check = name, kind, from = from.name(), to = to.name(), detail, "check changed");
        } else {
            info!(check = name, kind, from = from.name(), to = to.name(), detail, "check changed");
        }
        let mut tracking = Vec::new();
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            if let Some(router) = self.engine.router_mut(id)
                && router.policy.tracked().any(|(tracked, _)| tracked == check)
            {
                router.policy.observe(check, to);
                tracking.push(id);
            }
        }
        for id in &tracking {
            let state = self.engine.router(*id).map(|router| router.machine.state().name());
            if state == Some(StateName::Fault) {
                self.input(Input::ApplyPriority(*id));
            }
            self.input(Input::CheckUsable(*id));
        }
        for id in &tracking {
            self.input(Input::ApplyPriority(*id));
            if self.tracking.to_start.contains(id) {
                self.start_up(*id);
            }
        }
        for id in tracking {
            let Some(router) = self.engine.router(id) else { continue };
            self.followers.tell(|| {
                describe::event(
                    router,
                    Happening::Notice(NoticeReport::check_changed(&name, kind, from, to, detail)),
                )
            });
        }
    }

    /// What the netlink thread says of interfaces that are tracked.
    pub(super) fn note_tracked(&mut self, report: &Report) {
        let watchers = &mut self.tracking.watchers;
        match report {
            Report::Changed(interface) | Report::Lost(interface, ..) => watchers.interface(interface),
            Report::Removed(interface) => watchers.interface_removed(&interface.name),
            Report::Followed(name) => watchers.followed(name),
            Report::RoutingLost | Report::Done(..) => {}
        }
    }

    /// Nothing is looked at any more.
    pub(super) fn stop_tracking(&mut self) {
        self.tracking = Tracking::new(self.lanes.checks.clone());
    }
}
