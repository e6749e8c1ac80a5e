//! What happens to a router: the history of its state, and the lines of `atropos --events`.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{Cause, StateName};
use vrrpd_common::{Advert, Duration, Interval};
use vrrpd_engine::priority::Outcome;
use vrrpd_engine::router::Past;

use crate::clock;
use crate::router_name::RouterName;

/// A change of state, in the history of a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct TransitionReport {
    pub time: String,
    pub from: String,
    pub to: String,
    pub reason: String,
    /// The address of the master heard last; null: this router itself, or none.
    pub master: Option<String>,
    pub cause: Option<CauseReport>,
}

/// Another router that caused a change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub struct CauseReport {
    pub address: String,
    /// 0 of one that resigned.
    pub priority: u8,
    pub mac: String,
}

/// Something else that happened to a router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the documentation: docs/state.md describes each")]
pub enum NoticeReport {
    IntervalExceedsLimit { time: String, cause: CauseReport, interval_ns: u64, max_learned_interval_ns: u64 },
    TakeOverHeld { time: String, held_ns: u64 },
    CheckChanged { time: String, check: String, kind: String, from: String, to: String, detail: String },
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happening {
    /// It has changed its state.
    Transition(TransitionReport),
    /// It has noticed something.
    Notice(NoticeReport),
}

/// Something that happened to a router, as `atropos --events` prints it.
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
    /// The advert of a master has a longer interval than is reckoned with.
    pub fn interval_exceeds_limit(advert: &Advert, limit: Interval) -> Self {
        Self::IntervalExceedsLimit {
            time: now(),
            cause: Cause::from(advert).into(),
            interval_ns: advert.interval.as_duration().as_nanos(),
            max_learned_interval_ns: limit.as_duration().as_nanos(),
        }
    }

    /// What a check of the router found counts.
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

    /// The take-over is held for so long.
    pub fn take_over_held(left: Duration) -> Self {
        Self::TakeOverHeld { time: now(), held_ns: left.as_nanos() }
    }
}

impl EventReport {
    /// What the router is called.
    pub fn name(&self) -> RouterName<'_> {
        RouterName::of_report(&self.interface, self.vrid, &self.family)
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
