//! Recordings: what happened to a router around its last transitions, for replay.
//!
//! A recording consists of segments. Each begins with a [`Snapshot`] of the router, followed by all its inputs. Inputs
//! that repeat without a change are only counted, and the resulting state is stored. So [`replay`] repeats what the
//! daemon did. Recordings contain no secrets.
//!
//! A segment begins with an input other than the repeating ones, and is dropped if no transition follows, so an idle
//! router has no recording. `engine/recorder` decides which inputs are kept.

mod lines;
mod packed;
mod replay;
mod segment;
mod words;

use std::collections::VecDeque;

use vrrpd_common::router::Event;
use vrrpd_common::{Duration, Instant};

use crate::engine::input::Now;
use crate::engine::snapshot::Snapshot;
use crate::router::{Router, SteadyState};
use packed::PackedSegment;

pub use lines::{FORMAT, Head, ReadError, ReadErrorKind, Recorded, read};
pub use packed::{PackedRecording, UnpackError};
pub use replay::{replay, transcript};
pub use segment::{Again, Entry, Segment, Steady, Step};

/// Minimum number of transitions in a recording.
const TRANSITIONS: usize = 16;
/// Transitions after which the next segment begins.
const OF_A_SEGMENT: usize = 8;
/// Inputs after which the next segment begins, as soon as no work is pending.
const INPUTS: usize = 128;
/// Inputs after which a segment is dropped as too long, because work is always pending.
const MAX_INPUTS: usize = 4 * INPUTS;
/// Maximum number of segments.
const MAX_SEGMENTS: usize = 4;
/// A segment without a transition is dropped after this time without inputs.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The recording of one router.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    segments: VecDeque<PackedSegment>,
    steady: Steady,
    /// Number of outputs for the router since the last entry, except those of repeating inputs.
    outputs: u32,
}

impl Recording {
    /// An empty recording of a router.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { segments: PackedSegment::begin(snapshot).into_iter().collect(), ..Self::default() }
    }

    /// A copy that includes the repeating inputs up to now: the last entry has the state of this router.
    #[must_use]
    pub fn until(&self, now: Now, router: &Router) -> Self {
        let mut recording = self.clone();
        recording.keep_steady(now, router);
        recording
    }

    /// Counts a repeating input. Returns whether the recording can be dropped.
    pub(crate) fn note_steady(&mut self, now: Instant, event: &Event) -> bool {
        self.steady.note(now, event);
        self.transitions() == 0 && now.saturating_since(self.last_at()) > FORGOTTEN
    }

    /// Whether there were only repeating inputs since the last entry.
    pub(crate) fn is_steady(&self) -> bool {
        self.steady != Steady::default()
    }

    /// Counts an output for the router.
    pub(crate) fn note_output(&mut self, is_transition: bool) {
        if !self.is_steady() {
            self.outputs = self.outputs.saturating_add(1);
        }
        if is_transition && let Some(segment) = self.segments.back_mut() {
            segment.transitions += 1;
        }
    }

    /// Whether the next entry should begin a new segment.
    pub(crate) fn wants_snapshot(&self, now: Instant) -> bool {
        self.segments.back().is_none_or(|segment| {
            let is_over = segment.transitions == 0 && now.saturating_since(self.last_at()) > FORGOTTEN;
            is_over || segment.transitions >= OF_A_SEGMENT || segment.len() >= INPUTS
        })
    }

    /// Begins a new segment.
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

    /// Adds an entry; `router` is the state before it. `more_waits`: work of an earlier input is pending. Returns
    /// whether there was room.
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

    /// Packs the recording of a router for a client of the same version of `program`.
    pub fn pack(&self, program: &str, router: &str) -> PackedRecording {
        PackedRecording::of(&self.segments, program, router)
    }

    /// Size of the segments in memory, in octets.
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
