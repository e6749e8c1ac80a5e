//! Checks: the `track` option of a router, which names a `[[track]]` table or gives a check inline.

mod table;
mod word;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use vrrpd_engine::track::{CheckConfig, Tracked};

use super::document::{Placed, Setting, Table};
use super::mistakes::Complaint;
use super::value::ValueError;
use crate::nearest::{list, nearest};
use table::Declared;
use word::{KINDS, check_program, default_weight};

pub use word::{Track, TrackOf, weight, word};

/// The checks of a configuration by name; `None` for one with a mistake.
#[derive(Debug, Default)]
pub(super) struct Declarations(BTreeMap<String, Option<Declared>>);

impl Declarations {
    /// Reads the tables of a file.
    pub(super) fn read(tables: &[Table], directory: &Path, complaints: &mut Vec<Complaint>) -> Self {
        let mut declarations = Self::default();
        for table in tables {
            let before = complaints.len();
            let mut reader = table::Reader { table, directory, complaints, has_unknown: false };
            let (said, declared) = reader.read();
            let declared = declared.filter(|_| complaints.len() == before);
            let Some((name, span)) = said else { continue };
            if declarations.0.contains_key(&name) {
                complaints.push(Complaint::new(span, format!("duplicate name of a [[track]]: {name:?}")));
            }
            declarations.0.insert(name, declared);
        }
        declarations
    }

    /// All valid checks.
    pub(super) fn checks(&self) -> Vec<CheckConfig> {
        self.0.values().flatten().map(|declared| declared.check.clone()).collect()
    }

    /// The checks of a router, and those among them that are given inline. `span` is the position of each.
    pub(super) fn resolve(
        &self,
        words: &[Track],
        directory: &Path,
        span: impl Fn(usize) -> Range<usize>,
        complaints: &mut Vec<Complaint>,
    ) -> (Vec<Tracked>, Vec<CheckConfig>) {
        let (mut tracked, mut checks) = (Vec::<Tracked>::new(), Vec::new());
        for (index, Track { of, weight }) in words.iter().enumerate() {
            let mut complain = |message: String| {
                complaints.push(Complaint::new(span(index), format!("track: {message}")));
            };
            let (name, weight_of_check) = match of {
                TrackOf::Name(name) => match self.0.get(name) {
                    Some(Some(declared)) => (name.clone(), declared.weight),
                    Some(None) => continue,
                    None => {
                        let names = self.0.keys().map(String::as_str);
                        let near = nearest(name, names.clone());
                        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                        let right = "; add one, or give the check inline, such as process=haproxy";
                        let hint = if hint.is_empty() { right } else { &hint };
                        complain(format!("no [[track]] named {name:?} ({}){hint}", list("there are", names)));
                        continue;
                    }
                },
                TrackOf::Check(check) => {
                    let mut check = CheckConfig::clone(check);
                    if let Err(error) = check_program(&mut check, directory) {
                        complain(error);
                    }
                    let of_kind = default_weight(&check.kind);
                    let name = check.name.clone();
                    checks.push(check);
                    (name, of_kind)
                }
            };
            if tracked.iter().any(|other| other.name == name) {
                complain(format!("{name:?} twice"));
                continue;
            }
            tracked.push(Tracked { name, weight: weight.unwrap_or(weight_of_check), is_ignored: false });
        }
        (tracked, checks)
    }
}

/// The checks of a router on the command line, with absolute paths of commands. The error names the wrong one.
pub fn on_command_line(words: &[Track]) -> Result<(Vec<Tracked>, Vec<CheckConfig>), String> {
    if let Some(name) = words.iter().find_map(|track| match &track.of {
        TrackOf::Name(name) => Some(name),
        TrackOf::Check(_) => None,
    }) {
        return Err(ValueError::TrackKind { text: name.clone(), kinds: &KINDS }.to_string());
    }
    let mut complaints = Vec::new();
    let resolved = Declarations::default().resolve(words, Path::new("/"), |_| 0..0, &mut complaints);
    match complaints.into_iter().next() {
        None => Ok(resolved),
        Some(complaint) => {
            let message = complaint.message;
            Err(message.strip_prefix("track: ").map(str::to_owned).unwrap_or(message))
        }
    }
}

/// Adds checks that are not in the list yet.
pub(super) fn add(checks: &mut Vec<CheckConfig>, more: Vec<CheckConfig>) {
    for check in more {
        if checks.iter().all(|known| known.name != check.name) {
            checks.push(check);
        }
    }
}

/// Reads the value of `track`: a list of strings, or of tables with a name and weight, with positions.
pub(super) fn read_list(
    setting: &Placed<Setting>,
    complaints: &mut Vec<Complaint>,
) -> Vec<(Track, Range<usize>)> {
    let mut complain = |span: &Range<usize>, message: String| {
        complaints.push(Complaint::new(span.clone(), format!("track: {message}")));
    };
    let items = match &setting.value {
        Setting::Many(items) => &items[..],
        Setting::One(_) | Setting::Table(_) => std::slice::from_ref(setting),
        Setting::Other(kind) => {
            complain(&setting.span, format!("expected a list, not {kind}"));
            &[]
        }
    };
    let mut tracks = Vec::with_capacity(items.len());
    for item in items {
        let track = match &item.value {
            Setting::One(text) => word(text).map_err(|error| complain(&item.span, error.to_string())).ok(),
            Setting::Table(table) => in_table(table, &mut complain),
            Setting::Many(_) | Setting::Other(_) => {
                complain(&item.span, "expected a name, or a table with name and weight".to_owned());
                None
            }
        };
        tracks.extend(track.map(|track| (track, item.span.clone())));
    }
    tracks
}

/// `{ name = "uplink", weight = -30 }`
fn in_table(table: &Table, complain: &mut impl FnMut(&Range<usize>, String)) -> Option<Track> {
    const KEYS: [&str; 2] = ["name", "weight"];
    let (mut track, mut weight_said, mut is_right) = (None, None, true);
    for (key, setting) in &table.entries {
        let result = match (key.value.as_str(), &setting.value) {
            ("name", Setting::One(text)) => word(text).map(|word| track = Some(word)),
            ("weight", Setting::One(text)) => weight(text).map(|weight| weight_said = Some(weight)),
            ("name" | "weight", _) => Err(ValueError::Empty),
            (other, _) => {
                let hint =
                    nearest(other, KEYS).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                complain(&key.span, format!("unknown key {other:?}; expected name and weight{hint}"));
                is_right = false;
                continue;
            }
        };
        if let Err(error) = result {
            complain(&setting.span, format!("{}: {error}", key.value));
            is_right = false;
        }
    }
    if track.is_none() && is_right {
        complain(&table.span, "name: missing".to_owned());
    }
    track.map(|track| Track { weight: weight_said.or(track.weight), ..track })
}
