//! A segment as it is kept in memory: a thousand routers may have a recording each, and its types are many times as large as
//! what they say.

use serde::Serialize;
use vrrpd_common::Instant;

use super::{Entry, Segment};
use crate::engine::Snapshot;

/// The snapshot and the entries of a [`Segment`], one behind the other.
#[derive(Clone, Debug)]
pub(super) struct PackedSegment {
    octets: Vec<u8>,
    entries: usize,
    /// Transitions in it.
    pub(super) transitions: usize,
    last_at: Instant,
}

impl PackedSegment {
    /// One in which nothing has happened; `None`: something in the snapshot cannot be written down.
    pub(super) fn begin(snapshot: &Snapshot) -> Option<Self> {
        let mut octets = Vec::new();
        append(&mut octets, snapshot)?;
        Some(Self { octets, entries: 0, transitions: 0, last_at: snapshot.now.at })
    }

    /// Adds an entry; `None`: something in it cannot be written down.
    pub(super) fn push(&mut self, entry: &Entry) -> Option<()> {
        append(&mut self.octets, entry)?;
        self.entries += 1;
        self.last_at = entry.now.at;
        Some(())
    }

    /// The number of entries.
    pub(super) const fn len(&self) -> usize {
        self.entries
    }

    /// When the last thing happened.
    pub(super) const fn last_at(&self) -> Instant {
        self.last_at
    }

    /// Octets in memory.
    #[cfg(test)]
    pub(super) const fn octets(&self) -> usize {
        self.octets.capacity()
    }

    /// The segment; `None`: it was not written by this program.
    pub(super) fn unpack(&self) -> Option<Segment> {
        let (snapshot, mut rest) = postcard::take_from_bytes(&self.octets).ok()?;
        let mut segment = Segment::begin(snapshot);
        for _ in 0..self.entries {
            let (entry, behind) = postcard::take_from_bytes(rest).ok()?;
            segment.entries.push(entry);
            rest = behind;
        }
        Some(segment)
    }
}

/// Appends what is said of `value`, or nothing.
fn append(octets: &mut Vec<u8>, value: &impl Serialize) -> Option<()> {
    let written = postcard::to_allocvec(value).ok()?;
    octets.extend_from_slice(&written);
    Some(())
}
