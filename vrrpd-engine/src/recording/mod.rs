//! What happened to a router around its last transitions, so that it can be done again: a recording.
//!
//! A recording is made of segments. Each begins with a [`Snapshot`] of the router, followed by everything that happened to it
//! from then on; what happens again and again while nothing changes is counted, and the state that came of it is kept instead.
//! So [`replay`] does the same as the daemon did. No secret is in a recording.
//!
//! Nothing is kept of a router to which nothing happens: a segment begins when something other than that happens, and is
//! forgotten when no transition has come of it. Which inputs are kept is decided in `engine/recorder`.

mod lines;
mod packed;
mod replay;
mod words;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use vrrpd_common::router::Event;
use vrrpd_common::{Duration, Instant};

use crate::engine::{Input, Now, Snapshot};
use crate::router::{Router, SteadyState};
use crate::track::Change;
use packed::PackedSegment;

pub use lines::{FORMAT, Head, ReadError, ReadErrorKind, Recorded, read};
pub use packed::{PackedRecording, UnpackError};
pub use replay::{replay, transcript};

/// Transitions that a recording goes back at least.
const TRANSITIONS: usize = 16;
/// Transitions after which a segment is followed by another one.
const OF_A_SEGMENT: usize = 8;
/// Inputs after which a segment is followed by another one, as soon as nothing waits.
const INPUTS: usize = 128;
/// Inputs of a segment that are too many to be kept: something waits all the time.
const MAX_INPUTS: usize = 4 * INPUTS;
/// Segments at most.
const MAX_SEGMENTS: usize = 4;
/// A segment without a transition is forgotten when nothing happens for so long.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The recording of one router.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    segments: VecDeque<PackedSegment>,
    steady: Steady,
    /// Outputs for the router since the last entry, without those of what happens again and again.
    outputs: u32,
}

/// A router, and what happened to it from then on.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The router before the first entry.
    pub snapshot: Box<Snapshot>,
    /// What happened to it, in order.
    pub entries: Vec<Entry>,
}

/// Something that happened to a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub now: Now,
    /// How many outputs for the router had been handed out since the entry before, if more of it waited: what comes of an
    /// output happens before the next one. `None`: nothing waited.
    pub after: Option<u32>,
    /// What.
    pub what: Step,
}

/// What happened to a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An input of the engine. Its identifiers are those of the first router on the first interface.
    Input(Input<'static>),
    /// A deadline other than that of the state machine passed: something that was put off was due.
    Expired,
    /// A check has another outcome.
    Checked {
        /// Which.
        change: Change,
        /// What was seen, in words.
        detail: String,
    },
    /// What happens again and again happened, and this is what came of it.
    Steady(Box<Again>),
}

/// What happened again and again, and the state that came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Again {
    /// How often, since when and until when.
    pub steady: Steady,
    /// What came of it.
    pub state: SteadyState,
}

/// How often what happens again and again happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// Adverts that said nothing new.
    pub adverts: u64,
    /// Timers of a Master that went on advertising, or that came too early.
    pub timers: u64,
    /// The first.
    pub since: Instant,
    /// The last.
    pub until: Instant,
}

impl Steady {
    fn note(&mut self, now: Instant, event: &Event) {
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
    /// One in which nothing has happened.
    fn begin(snapshot: Snapshot) -> Self {
        Self { snapshot: Box::new(snapshot), entries: Vec::new() }
    }
}

impl Recording {
    /// A router to which nothing has happened.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { segments: PackedSegment::begin(snapshot).into_iter().collect(), ..Self::default() }
    }

    /// The same with what has happened again and again up to now: the last entry is the state of this router.
    #[must_use]
    pub fn until(&self, now: Now, router: &Router) -> Self {
        let mut recording = self.clone();
        recording.keep_steady(now, router);
        recording
    }

    /// What happens again and again has happened. Returns whether nothing of the recording is worth keeping.
    pub(crate) fn note_steady(&mut self, now: Instant, event: &Event) -> bool {
        self.steady.note(now, event);
        self.transitions() == 0 && now.saturating_since(self.last_at()) > FORGOTTEN
    }

    /// Whether nothing but that has happened since the last entry.
    pub(crate) fn is_steady(&self) -> bool {
        self.steady != Steady::default()
    }

    /// An output for the router is handed out.
    pub(crate) fn note_output(&mut self, is_transition: bool) {
        if !self.is_steady() {
            self.outputs = self.outputs.saturating_add(1);
        }
        if is_transition && let Some(segment) = self.segments.back_mut() {
            segment.transitions += 1;
        }
    }

    /// Whether the next entry belongs behind another snapshot.
    pub(crate) fn wants_snapshot(&self, now: Instant) -> bool {
        self.segments.back().is_none_or(|segment| {
            let is_over = segment.transitions == 0 && now.saturating_since(self.last_at()) > FORGOTTEN;
            is_over || segment.transitions >= OF_A_SEGMENT || segment.len() >= INPUTS
        })
    }

    /// Begins another segment.
    pub(crate) fn begin(&mut self, snapshot: &Snapshot) {
        self.segments.pop_back_if(|segment| segment.transitions == 0);
        while self.segments.len() >= MAX_SEGMENTS
            || self.transitions() - self.segments.front().map_or(0, |first| first.transitions) >= TRANSITIONS
        {
            self.segments.pop_front();
        }
        self.segments.extend(PackedSegment::begin(snapshot));
        *self = Self { segments: std::mem::take(&mut self.segments), ..Self::default() };
    }

    /// Something happens to the router, which is like this before. `more_waits`: what came of something before is not done.
    /// Returns whether there was room for it.
    pub(crate) fn keep(&mut self, now: Now, router: &Router, what: Step, more_waits: bool) -> bool {
        self.keep_steady(now, router);
        let after = more_waits.then_some(std::mem::take(&mut self.outputs));
        let Some(segment) = self.segments.back_mut() else { return false };
        segment.len() < MAX_INPUTS && segment.push(&Entry { now, after, what }).is_some()
    }

    fn keep_steady(&mut self, now: Now, router: &Router) {
        let steady = std::mem::take(&mut self.steady);
        if let Some(segment) = self.segments.back_mut()
            && steady != Steady::default()
        {
            let again = Again { steady, state: SteadyState::of(router) };
            segment.push(&Entry { now, after: None, what: Step::Steady(Box::new(again)) });
            self.outputs = 0;
        }
    }

    /// Octets of its segments in memory.
    #[cfg(test)]
    pub(crate) fn octets(&self) -> usize {
        self.segments.iter().map(PackedSegment::octets).sum()
    }

    fn transitions(&self) -> usize {
        self.segments.iter().map(|segment| segment.transitions).sum()
    }

    fn last_at(&self) -> Instant {
        self.segments.back().map_or(Instant::ZERO, PackedSegment::last_at)
    }
}
