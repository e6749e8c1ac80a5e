//! Recordings as text: JSON lines. The recordings of several routers follow each other.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::segment::{Entry, Segment};
use crate::engine::snapshot::Snapshot;

/// The format version.
///
/// A later program of the same format can replay a recording. So a new field of recorded data has `#[serde(default)]`,
/// and its default means what the engine did before it had the field. If no default can mean that, or a field is
/// removed, renamed or changes its meaning, the format version changes. `tests/replays` has the keys of a recording,
/// and fails when they change.
pub const FORMAT: u32 = 1;
/// Maximum of numbers in a recording, except digests, so that no addition overflows.
const MAX_NUMBER: u64 = 1 << 62;
/// How serde begins to say that a program wrote an input, a reason or the like that is unknown here.
const UNKNOWN_VARIANT: &str = "unknown variant ";
/// Keys of digests.
const DIGESTS: [&str; 2] = ["addresses", "digest"];

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Recording(Head),
    Snapshot(Box<Snapshot>),
    Happened(Entry),
}

/// The head of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The format version.
    pub format: u32,
    /// Name and version of the program that wrote it.
    pub program: String,
    /// Name of the router.
    pub router: String,
}

/// A parsed recording.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What is said of it.
    pub head: Head,
    /// Segments, oldest first.
    pub segments: Vec<Segment>,
}

/// A parse error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ReadErrorKind,
}

/// The kind of a parse error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// The text is empty.
    Empty,
    /// A syntax or type error, with its column.
    Invalid(String),
    /// The program that wrote it uses another format.
    Format {
        /// The format of that program.
        format: u64,
        /// Name and version of that program.
        program: String,
    },
    /// The program that wrote it records a key that is unknown here.
    UnknownKey {
        /// The path of the key.
        key: String,
        /// Name and version of that program.
        program: String,
    },
    /// A value of the program that wrote it that is unknown here; the text names it.
    UnknownValue {
        /// Which.
        text: String,
        /// That program.
        program: String,
    },
    /// The first line is not a head.
    NoHead,
    /// An entry without a snapshot before it.
    NoSnapshot,
    /// A number above the maximum.
    Number,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            ReadErrorKind::Empty => f.write_str("the file is empty"),
            ReadErrorKind::Invalid(text) => write!(f, "damaged: {text}"),
            ReadErrorKind::Format { format, program } => write!(
                f,
                "written by {program} in format {format}, this program reads format {FORMAT}: replay it with the version \
                 that wrote it"
            ),
            ReadErrorKind::UnknownKey { key, program } => {
                write!(f, "unknown key {key}, written by {program}: replay it with the version that wrote it")
            }
            ReadErrorKind::UnknownValue { text, program } => {
                write!(f, "{text}, written by {program}: replay it with the version that wrote it")
            }
            ReadErrorKind::NoHead => f.write_str("not a recording: it begins with {\"recording\":...}"),
            ReadErrorKind::NoSnapshot => f.write_str("damaged: the snapshot before this line is missing"),
            ReadErrorKind::Number => f.write_str("damaged: number too high"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Serializes the recording of a router.
///
/// # Errors
///
/// A value is not valid text, such as the path of a script.
pub(super) fn write(head: &Head, segments: Vec<Segment>) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(&Line::Recording(head.clone()))? + "\n";
    for segment in segments {
        text += &serde_json::to_string(&Line::Snapshot(segment.snapshot))?;
        text.push('\n');
        for entry in segment.entries {
            text += &serde_json::to_string(&Line::Happened(entry))?;
            text.push('\n');
        }
    }
    Ok(text)
}

/// Parses recordings.
///
/// # Errors
///
/// The first invalid line.
pub fn read(text: &str) -> Result<Vec<Recorded>, ReadError> {
    let mut all: Vec<Recorded> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let wrong = |kind| ReadError { line, kind };
        let program = all.last().map(|recorded: &Recorded| recorded.head.program.as_str());
        let line = read_line(text, program).map_err(wrong)?;
        match (line, all.last_mut()) {
            (Line::Recording(head), _) => all.push(Recorded { head, segments: Vec::new() }),
            (Line::Snapshot(snapshot), Some(recorded)) => recorded.segments.push(Segment::begin(*snapshot)),
            (Line::Happened(entry), Some(recorded)) => {
                let segment = recorded.segments.last_mut().ok_or(wrong(ReadErrorKind::NoSnapshot))?;
                segment.entries.push(entry);
            }
            (Line::Snapshot(_) | Line::Happened(_), None) => return Err(wrong(ReadErrorKind::NoHead)),
        }
    }
    if all.is_empty() {
        return Err(ReadError { line: 1, kind: ReadErrorKind::Empty });
    }
    Ok(all)
}

/// Parses a line of a recording that `program` has written; `None`: the first line.
fn read_line(text: &str, program: Option<&str>) -> Result<Line, ReadErrorKind> {
    let is_first = program.is_none();
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) if is_first => return Err(ReadErrorKind::NoHead),
        Err(error) => return Err(ReadErrorKind::Invalid(format!("column {}", error.column()))),
    };
    if let Some(head) = value.get("recording") {
        match head.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                let program =
                    head.get("program").and_then(Value::as_str).unwrap_or("another program").to_owned();
                return Err(ReadErrorKind::Format { format, program });
            }
            None => return Err(ReadErrorKind::NoHead),
        }
    } else if is_first {
        return Err(ReadErrorKind::NoHead);
    }
    if !has_small_numbers(&value) {
        return Err(ReadErrorKind::Number);
    }
    let invalid = |error: serde_json::Error| {
        let text = error.to_string();
        match program {
            Some(program) if text.starts_with(UNKNOWN_VARIANT) => {
                let what = text.split(", expected").next().unwrap_or(&text).replacen("variant", "value", 1);
                ReadErrorKind::UnknownValue { text: what, program: program.to_owned() }
            }
            Some(_) | None => ReadErrorKind::Invalid(text),
        }
    };
    let line = Line::deserialize(&value).map_err(invalid)?;
    let known = serde_json::to_value(&line).map_err(invalid)?;
    match (unknown_key(&value, &known), program) {
        (Some(key), Some(program)) => Err(ReadErrorKind::UnknownKey { key, program: program.to_owned() }),
        (Some(_), None) | (None, _) => Ok(line),
    }
}

/// The path of a key in `value` that `known` does not have.
fn unknown_key(value: &Value, known: &Value) -> Option<String> {
    match (value, known) {
        (Value::Object(values), Value::Object(known)) => values.iter().find_map(|(key, value)| {
            let Some(known) = known.get(key) else { return Some(key.clone()) };
            unknown_key(value, known).map(|inner| format!("{key}.{inner}"))
        }),
        (Value::Array(values), Value::Array(known)) => {
            values.iter().zip(known).find_map(|(value, known)| unknown_key(value, known))
        }
        _ => None,
    }
}

fn has_small_numbers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_u64().is_none_or(|number| number <= MAX_NUMBER),
        Value::Array(values) => values.iter().all(has_small_numbers),
        Value::Object(values) => values.iter().all(|(key, value)| {
            value.is_u64() && DIGESTS.contains(&key.as_str()) || has_small_numbers(value)
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}
