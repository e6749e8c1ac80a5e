//! A segment, serialized in memory: a thousand routers may each have a recording, and the deserialized types are many
//! times larger. Only the client deserializes segments, so the daemon's memory does not contain the code for it.

use std::fmt;

use serde::{Deserialize, Serialize};
use vrrpd_common::Instant;

use super::lines::{FORMAT, Head, write};
use super::segment::{Entry, Segment};
use crate::engine::snapshot::Snapshot;

/// The serialized snapshot and entries of a [`Segment`].
#[derive(Clone, Debug)]
pub(super) struct PackedSegment {
    octets: Vec<u8>,
    entries: usize,
    /// Number of transitions.
    pub(super) transitions: usize,
    last_at: Instant,
}

impl PackedSegment {
    /// A segment without entries; `None`: the snapshot cannot be serialized.
    pub(super) fn begin(snapshot: &Snapshot) -> Option<Self> {
        let mut octets = Vec::new();
        append(&mut octets, snapshot)?;
        Some(Self { octets, entries: 0, transitions: 0, last_at: snapshot.now.at })
    }

    /// Appends an entry; `None`: it cannot be serialized.
    pub(super) fn push(&mut self, entry: &Entry) -> Option<()> {
        append(&mut self.octets, entry)?;
        self.entries += 1;
        self.last_at = entry.now.at;
        Some(())
    }

    /// Number of entries.
    pub(super) const fn len(&self) -> usize {
        self.entries
    }

    /// Time of the last entry or repeating input.
    pub(super) const fn last_at(&self) -> Instant {
        self.last_at
    }

    /// Size in memory, in octets.
    #[cfg(test)]
    pub(super) const fn octets(&self) -> usize {
        self.octets.capacity()
    }
}

/// The version of the layout: another one whenever the octets of the same recording change, which a test notices. Builds of one
/// version of the program may differ in it.
const LAYOUT: u32 = 2;

/// A recording as the daemon sends it to the client. Only the same version of the program can unpack it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRecording {
    /// The head of the recording.
    pub head: Head,
    /// The version of the layout; 0: from a program that did not say it.
    #[serde(default)]
    layout: u32,
    /// Segments in hexadecimal, oldest first.
    segments: Vec<String>,
}

/// Why a recording cannot be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnpackError {
    /// Packed by another program or build.
    Other {
        /// The program with its version.
        program: String,
        /// Its format of recordings.
        format: u32,
        /// Its layout.
        layout: u32,
    },
    /// Invalid data.
    Damaged,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other { program, format, layout } => write!(
                f,
                "recorded by {program} in format {format}, layout {layout}: only the same version can write it down"
            ),
            Self::Damaged => f.write_str("damaged recording"),
        }
    }
}

impl std::error::Error for UnpackError {}

impl PackedRecording {
    /// Packs the segments of a router for a client of the same version of `program`.
    pub(super) fn of<'a>(
        segments: impl IntoIterator<Item = &'a PackedSegment>,
        program: &str,
        router: &str,
    ) -> Self {
        let head = Head { format: FORMAT, program: program.to_owned(), router: router.to_owned() };
        let segments = segments.into_iter().map(|segment| to_hex(&segment.octets)).collect();
        Self { head, layout: LAYOUT, segments }
    }

    /// The recording as JSON lines. `program` is the version of this program.
    ///
    /// # Errors
    ///
    /// It was packed by another version, or the data is invalid.
    pub fn write(&self, program: &str) -> Result<String, UnpackError> {
        let Head { format, program: packed_by, .. } = &self.head;
        if *format != FORMAT || packed_by != program || self.layout != LAYOUT {
            let program = packed_by.clone();
            return Err(UnpackError::Other { program, format: *format, layout: self.layout });
        }
        let segments = self.segments().ok_or(UnpackError::Damaged)?;
        write(&self.head, segments).map_err(|_| UnpackError::Damaged)
    }

    /// The segments, oldest first. Gaps between them are possible. `None`: the data is invalid.
    pub(crate) fn segments(&self) -> Option<Vec<Segment>> {
        self.segments.iter().map(|segment| unpack(&from_hex(segment)?)).collect()
    }
}

/// Deserializes a segment; `None`: the data is invalid.
fn unpack(octets: &[u8]) -> Option<Segment> {
    let (snapshot, mut rest) = postcard::take_from_bytes(octets).ok()?;
    let mut segment = Segment::begin(snapshot);
    while !rest.is_empty() {
        let (entry, behind) = postcard::take_from_bytes(rest).ok()?;
        segment.entries.push(entry);
        rest = behind;
    }
    Some(segment)
}

fn to_hex(octets: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 0xf)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// Appends the serialized `value`; on error, appends nothing.
fn append(octets: &mut Vec<u8>, value: &impl Serialize) -> Option<()> {
    let written = postcard::to_allocvec(value).ok()?;
    octets.extend_from_slice(&written);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::lines::read;
    use super::*;

    #[test]
    fn octets_come_back_from_hexadecimal() {
        let octets: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&octets)), Some(octets));
        for damaged in ["0", "0g", "000", "\u{e4}"] {
            assert_eq!(from_hex(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_recording_of_another_version_format_or_layout_is_refused() {
        let head = Head { format: FORMAT, program: "vrrpd 1".to_owned(), router: "eth0/51".to_owned() };
        let packed = |head, segment: &str| PackedRecording {
            head,
            layout: LAYOUT,
            segments: vec![segment.to_owned()],
        };
        let refusal =
            |format, layout| Err(UnpackError::Other { program: "vrrpd 1".to_owned(), format, layout });
        let other = Head { format: FORMAT + 1, ..head.clone() };
        assert_eq!(packed(other, "").write("vrrpd 1"), refusal(FORMAT + 1, LAYOUT));
        assert_eq!(packed(head.clone(), "").write("vrrpd 2"), refusal(FORMAT, LAYOUT));
        let other = PackedRecording { layout: LAYOUT + 1, ..packed(head.clone(), "") };
        assert_eq!(other.write("vrrpd 1"), refusal(FORMAT, LAYOUT + 1));
        for segment in ["", "00", "ff", "x"] {
            assert_eq!(
                packed(head.clone(), segment).write("vrrpd 1"),
                Err(UnpackError::Damaged),
                "{segment}"
            );
        }
    }

    /// The octets of recordings that are never changed, as a digest (FNV-1a).
    fn digest_of_recordings() -> u64 {
        let texts = [
            include_str!("../../tests/replays/failover/input.jsonl"),
            include_str!("../../tests/replays/kernel-path/input.jsonl"),
            include_str!("../../tests/replays/link-down-and-up/input.jsonl"),
            include_str!("../../tests/replays/operator/input.jsonl"),
        ];
        let mut octets = Vec::new();
        for segment in
            texts.iter().flat_map(|text| read(text).expect("is a recording")).flat_map(|one| one.segments)
        {
            append(&mut octets, &segment.snapshot).expect("can be packed");
            for entry in segment.entries {
                append(&mut octets, &entry).expect("can be packed");
            }
        }
        let add = |digest: u64, octet: &u8| (digest ^ u64::from(*octet)).wrapping_mul(0x100_0000_01b3);
        octets.iter().fold(0xcbf2_9ce4_8422_2325, add)
    }

    #[test]
    fn octets_of_a_recording_change_with_the_layout_only() {
        let (layout, digest) = (LAYOUT, digest_of_recordings());
        assert_eq!(
            (layout, digest),
            (2, 3_779_102_106_358_397_468),
            "raise LAYOUT and write the new digest here"
        );
    }
}
