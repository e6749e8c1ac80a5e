//! Events of a router: transitions in its history, and the lines of `atropos --events`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{Cause, StateName};
use vrrpd_common::{Advert, Duration, Interval};
use vrrpd_engine::priority::Outcome;
use vrrpd_engine::router::Past;

use crate::clock;
use crate::router_name::RouterName;

/// A transition in the history of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct TransitionReport {
    pub time: String,
    pub from: String,
    pub to: String,
    pub reason: String,
    /// Address of the master; null: the router itself, or none.
    pub master: Option<String>,
    pub cause: Option<CauseReport>,
}

/// The router that caused a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct CauseReport {
    pub address: String,
    /// 0 if it resigned.
    pub priority: u8,
    pub mac: String,
}

/// A notice: an event other than a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub enum NoticeReport {
    IntervalExceedsLimit { time: String, cause: CauseReport, interval_ns: u64, max_learned_interval_ns: u64 },
    TakeOverHeld { time: String, held_ns: u64 },
    CheckChanged { time: String, check: String, kind: String, from: String, to: String, detail: String },
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happening {
    /// It has changed its state.
    Transition(TransitionReport),
    /// It has noticed something.
    Notice(NoticeReport),
}

/// An event of a router, as printed by `atropos --events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct EventReport {
    #[serde(default)]
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    pub family: String,
    pub priority: u8,
    #[serde(flatten)]
    pub happening: Happening,
}

impl From<&Past> for TransitionReport {
    fn from(past: &Past) -> Self {
        let Past { at, transition } = past;
        let cause = transition.cause;
        Self {
            time: humantime::format_rfc3339_millis(clock::system_time(*at)).to_string(),
            from: transition.from.name().to_owned(),
            to: transition.to.name().to_owned(),
            reason: transition.reason.name().to_owned(),
            master: cause
                .filter(|_| transition.to == StateName::Backup)
                .map(|cause| cause.source.to_string()),
            cause: cause.map(CauseReport::from),
        }
    }
}

impl From<Cause> for CauseReport {
    fn from(cause: Cause) -> Self {
        Self { address: cause.source.to_string(), priority: cause.priority.0, mac: cause.mac.to_string() }
    }
}

impl NoticeReport {
    /// A master advertises an interval above the limit.
    pub fn interval_exceeds_limit(advert: &Advert, limit: Interval) -> Self {
        Self::IntervalExceedsLimit {
            time: now(),
            cause: Cause::from(advert).into(),
            interval_ns: advert.interval.as_duration().as_nanos(),
            max_learned_interval_ns: limit.as_duration().as_nanos(),
        }
    }

    /// The outcome of a check has changed.
    pub fn check_changed(check: &str, kind: &str, from: Outcome, to: Outcome, detail: &str) -> Self {
        Self::CheckChanged {
            time: now(),
            check: check.to_owned(),
            kind: kind.to_owned(),
            from: from.name().to_owned(),
            to: to.name().to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// The take-over is held for this time.
    pub fn take_over_held(left: Duration) -> Self {
        Self::TakeOverHeld { time: now(), held_ns: left.as_nanos() }
    }
}

impl EventReport {
    /// The name of the router.
    pub fn name(&self) -> RouterName<'_> {
        RouterName::of_report(&self.interface, self.vrid, &self.family)
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
