//! Runs the checks; the engine evaluates the results.

use std::borrow::Cow;

use tracing::{info, warn};
use vrrpd_engine::Input;
use vrrpd_engine::engine::CheckChanged;
use vrrpd_engine::priority::Outcome;
use vrrpd_engine::router::Router;
use vrrpd_engine::track::Checks;

use super::Daemon;
use crate::config::{CheckConfig, Settings};
use crate::interface::service::Report;
use crate::report::TrackReport;
use crate::track::{Found, Watchers};

/// The checks of a router, for reports.
pub(super) fn report(checks: &Checks, router: &Router) -> Vec<TrackReport> {
    let report = router.config.track.iter().map(|tracked| {
        let id = checks.id(&tracked.name);
        let kind = id.and_then(|id| checks.config(id)).map_or("", CheckConfig::kind_name);
        let outcome = id.and_then(|id| checks.outcome(id)).unwrap_or(Outcome::Unknown);
        TrackReport::new(tracked, kind, outcome)
    });
    report.collect()
}

/// Logs a changed result of a check.
pub(super) fn log(changed: &CheckChanged) {
    let CheckChanged { name, kind, from, to, detail } = changed;
    let (from, is_failure, to) = (from.name(), *to == Outcome::Fails, to.name());
    if is_failure {
        warn!(check = name, kind, from, to, detail, "check changed");
    } else {
        info!(check = name, kind, from, to, detail, "check changed");
    }
}

impl Daemon {
    /// Sets the checks to those of these routers; checks are started only here.
    pub(super) fn configure_checks<'a>(
        &mut self,
        checks: &[CheckConfig],
        routers: impl Iterator<Item = &'a Settings>,
    ) {
        let plan = self.engine.configure_checks(checks, routers);
        for id in plan.stop {
            self.watchers.stop(id);
        }
        for (id, config) in plan.start {
            if let Some(interface) = self.watchers.start(id, &config) {
                self.service.follow(interface);
            }
        }
    }

    /// Handles a result of a check.
    pub(super) fn found(&mut self, found: &Found) {
        let Found { id, finding, detail, .. } = found;
        self.input(Input::Found { check: *id, finding: *finding, detail: Cow::Borrowed(detail) });
    }

    /// Handles a report of the netlink thread about tracked interfaces.
    pub(super) fn note_tracked(&mut self, report: &Report) {
        match report {
            Report::Changed(interface) | Report::Lost(interface, ..) => self.watchers.interface(interface),
            Report::Removed(interface) => self.watchers.interface_removed(&interface.name),
            Report::Followed(name) => self.watchers.followed(name),
            Report::RoutingLost | Report::Done(..) => {}
        }
    }

    /// Stops all checks.
    pub(super) fn stop_tracking(&mut self) {
        self.engine.configure_checks(&[], []);
        self.watchers = Watchers::new(self.lanes.checks.clone());
    }
}
