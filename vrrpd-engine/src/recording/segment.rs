//! The parts of a recording: a snapshot, and the inputs after it.

use serde::{Deserialize, Serialize};
use vrrpd_common::Instant;
use vrrpd_common::router::Event;

use crate::engine::input::{Input, Now};
use crate::engine::snapshot::Snapshot;
use crate::router::SteadyState;
use crate::track::Change;

/// A snapshot of a router and the following inputs.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The router before the first entry.
    pub snapshot: Box<Snapshot>,
    /// The inputs, in order.
    pub entries: Vec<Entry>,
}

/// Something that happened to a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub now: Now,
    /// Number of outputs for the router since the entry before, if more were pending: consequences of an output are
    /// handled before the next output. `None`: nothing was pending.
    pub after: Option<u32>,
    /// What.
    pub what: Step,
}

/// Something that happened to a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An input of the engine. Its identifiers are those of the first router and interface.
    Input(Input<'static>),
    /// A delayed action was due.
    Expired,
    /// The result of a check has changed.
    Checked {
        /// The change.
        change: Change,
        /// Details for people.
        detail: String,
    },
    /// Repeating inputs, with the resulting state.
    Steady(Box<Again>),
}

/// Repeating inputs, with the resulting state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Again {
    /// Their number and times.
    pub steady: Steady,
    /// The resulting state.
    pub state: SteadyState,
}

/// Number and times of repeating inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// Number of adverts that changed nothing.
    pub adverts: u64,
    /// Number of advert timers of a Master, and of timers that fired early.
    pub timers: u64,
    /// Time of the first.
    pub since: Instant,
    /// Time of the last.
    pub until: Instant,
}

impl Steady {
    pub(super) fn note(&mut self, now: Instant, event: &Event) {
        if self.adverts == 0 && self.timers == 0 {
            self.since = now;
        }
        self.until = now;
        match event {
            Event::Advert(_) => self.adverts += 1,
            _ => self.timers += 1,
        }
    }
}

impl Segment {
    /// A segment without entries.
    pub(super) fn begin(snapshot: Snapshot) -> Self {
        Self { snapshot: Box::new(snapshot), entries: Vec::new() }
    }
}
