//! The configuration file: `[[router]]` tables whose keys are the options of a router, `[defaults]` for all of them,
//! and `[[group]]` for those that are Master together. Every mistake is reported with its line and column.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use thiserror::Error;
use vrrpd_common::Duration;
use vrrpd_engine::track::Tracked;

use super::document::{self, Document, Placed, Setting, Table};
use super::mistakes::{Complaint, Mistakes};
use super::refused::refused;
use super::together::{Conflict, Together};
use super::track::{self, Declarations};
use super::{
    Authentication, CheckConfig, Configuration, Key, RefusedScript, RouterConfig, RouterOptions, Script,
    Scripts, Toml, foreign, group,
};
use crate::nearest::nearest;
use crate::sys::wiping::Wiping;
use crate::trust::{self, Trusted};

/// Why a file is not a valid configuration.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened, or users other than root or ourselves could have changed it.
    #[error(transparent)]
    Untrusted(#[from] trust::Distrust),
    /// Reading it failed.
    #[error("{}: cannot be read", .0.display())]
    Unread(PathBuf),
    /// It contains mistakes.
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

impl FileError {
    /// One line per mistake, for logs.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Wrong(mistakes) => mistakes.lines(),
            Self::Untrusted(_) | Self::Unread(_) => vec![self.to_string()],
        }
    }

    /// Each mistake for people, with the line of the file.
    pub fn shown(&self, colour: bool) -> Vec<String> {
        match self {
            Self::Wrong(mistakes) => mistakes.shown(colour),
            Self::Untrusted(_) | Self::Unread(_) => self.lines(),
        }
    }
}

/// Reads a configuration file with an absolute path, and checks its scripts; relative paths of scripts start at the
/// directory of the file.
///
/// A thread reads it, and the result is copied. Otherwise the parsed text of thousands of routers would fragment the
/// heap; memory of a thread's own arena goes back to the system.
pub fn load(path: &Path) -> Result<Configuration, FileError> {
    let _wiping = Wiping::begin();
    let read = thread::scope(|scope| scope.spawn(|| read(path)).join());
    let ended = |_| FileError::Unread(path.to_owned());
    Ok(read.map_err(ended)??.clone())
}

/// A warning if the file contains a secret and other users can read it.
pub fn exposed_secret(path: &Path, configuration: &Configuration) -> Option<String> {
    let has_secret = configuration.routers.iter().any(|router| router.authentication != Authentication::None);
    let exposed = has_secret.then(|| trust::resolve(path).ok()).flatten().filter(Trusted::is_exposed)?;
    let (mode, path) = (exposed.mode(), path.display());
    Some(format!("{path}: other users can read its authentication data (mode {mode:04o}): chmod go-r {path}"))
}

/// Reads a file: at least one router, no duplicates, and their groups. Checks the scripts as well.
pub fn read(path: &Path) -> Result<Configuration, FileError> {
    from_octets(&trust::resolve(path)?.read()?, path)
}

/// Parses the contents of a file. `path` is for error messages; relative paths of scripts start at its directory.
pub fn from_octets(octets: &[u8], path: &Path) -> Result<Configuration, FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (text, parsed) = match str::from_utf8(octets) {
        Ok(text) => (text, parse(text, directory)),
        Err(error) => {
            let right = octets.get(..error.valid_up_to()).unwrap_or_default();
            let message = "invalid UTF-8".to_owned();
            let complaint = Complaint::new(right.len()..right.len(), message);
            (str::from_utf8(right).unwrap_or_default(), Err(vec![complaint]))
        }
    };
    parsed.map_err(|complaints| Mistakes::new(path, text, complaints).into())
}

/// Relative paths of scripts start at `directory`.
fn parse(text: &str, directory: &Path) -> Result<Configuration, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let document = document::read(text, &mut complaints);
    let tracks = Declarations::read(&document.tracks, directory, &mut complaints);
    let checks = tracks.checks();
    let mut reader = Reader {
        directory,
        complaints,
        together: Together::default(),
        wrong: Vec::new(),
        has_nameless: false,
        tracks: &tracks,
        checks,
    };
    let routers = reader.routers(&document);
    let scripts: Vec<_> = document.groups.iter().map(|table| reader.scripts_of_group(table)).collect();
    let Reader { mut complaints, wrong, has_nameless, mut checks, .. } = reader;
    if document.routers.is_empty() && complaints.is_empty() {
        let message = "no [[router]] in the file".to_owned();
        complaints.push(Complaint::new(0..0, message));
    }
    let mut routers = routers;
    let form = group::Form { directory, tracks: &tracks, wrong: &wrong, has_nameless };
    let groups = form.groups(&document.groups, scripts, &mut routers, &mut checks, &mut complaints);
    if complaints.is_empty() { Ok(Configuration { routers, groups, checks }) } else { Err(complaints) }
}

/// The options of a table, with their positions.
#[derive(Default)]
struct Said {
    options: RouterOptions,
    places: BTreeMap<Key, Range<usize>>,
    /// Positions of its checks.
    tracks: Vec<Range<usize>>,
    /// Keys with a reported mistake.
    wrong: BTreeSet<Key>,
    /// It has an unknown key, which may be a misspelled required one.
    has_unknown: bool,
}

struct Reader<'a> {
    directory: &'a Path,
    complaints: Vec<Complaint>,
    together: Together,
    /// Known names of routers with mistakes.
    wrong: Vec<String>,
    /// A router has a mistake in its name.
    has_nameless: bool,
    tracks: &'a Declarations,
    /// The checks of the file, including those given inline by routers.
    checks: Vec<CheckConfig>,
}

impl Reader<'_> {
    /// The valid routers; mistakes of the others are reported.
    fn routers(&mut self, document: &Document) -> Vec<RouterConfig> {
        let defaults = document.defaults.as_ref().map(|table| self.options(table)).unwrap_or_default();
        let mut routers = Vec::with_capacity(document.routers.len());
        for table in &document.routers {
            let before = self.complaints.len();
            let own = self.options(table);
            let name = own.options.clone().or(&defaults.options).name();
            match self.router(&own, &defaults, table, document.is_whole) {
                Some(config) if self.complaints.len() == before => routers.push(config),
                Some(_) | None => {
                    self.has_nameless |= name.is_none();
                    self.wrong.extend(name.into_iter().chain(own.options.title.clone()));
                }
            }
        }
        routers
    }

    /// The router of a table, if valid on its own. Conflicts with earlier routers, and scripts that cannot be run, are
    /// reported.
    fn router(&mut self, own: &Said, defaults: &Said, table: &Table, is_whole: bool) -> Option<RouterConfig> {
        let header = || table.span.clone();
        let place = |key: Key| own.places.get(&key).or_else(|| defaults.places.get(&key)).cloned();
        let said = own.options.clone().or(&defaults.options);
        let name = said.name();
        self.check_scripts(&said, |key| place(key).unwrap_or_else(header));
        let tracked = self.tracked(own, defaults);
        let mut config = match said.resolve() {
            Ok(config) => config,
            Err(errors) => {
                let router = name.map_or_else(String::new, |name| format!(" (router {name})"));
                for error in errors {
                    let is_there = place(error.key).is_some();
                    let is_told = own.wrong.contains(&error.key) || defaults.wrong.contains(&error.key);
                    if is_told || !is_there && (own.has_unknown || !is_whole) {
                        continue;
                    }
                    let span = place(error.key).unwrap_or_else(header);
                    let message = format!("{}: {}{router}", error.key.name(), error.message);
                    self.complaints.push(Complaint::new(span, message));
                }
                return None;
            }
        };
        if let Err(Conflict { key, message }) = self.together.add(&config) {
            let span = key.and_then(|key| own.places.get(&key)).cloned().unwrap_or_else(header);
            let key = key.map_or_else(String::new, |key| format!("{}: ", key.name()));
            self.complaints.push(Complaint::new(span, format!("{key}{message}")));
        }
        config.resolve_scripts(self.directory);
        config.track = tracked;
        Some(config)
    }

    /// The checks of a router.
    fn tracked(&mut self, own: &Said, defaults: &Said) -> Vec<Tracked> {
        let said = if own.options.track.is_empty() { defaults } else { own };
        let span = |index: usize| said.tracks.get(index).cloned().unwrap_or_default();
        let words = &said.options.track;
        let (tracked, checks) = self.tracks.resolve(words, self.directory, span, &mut self.complaints);
        track::add(&mut self.checks, checks);
        tracked
    }

    /// The valid scripts of a group.
    fn scripts_of_group(&mut self, table: &Table) -> Scripts {
        let mut own = table.clone();
        own.entries
            .retain(|(name, _)| Key::named(&name.value).is_some_and(|key| Key::OF_GROUPS.contains(&key)));
        let said = self.options(&own);
        let place = |key| said.places.get(&key).cloned().unwrap_or_else(|| table.span.clone());
        self.check_scripts(&said.options, place);
        let mut scripts = said.options.clone().resolve_scripts().unwrap_or_else(|error| {
            let message = format!("{}: {}", error.key, error.message);
            self.complaints.push(Complaint::new(place(error.key), message));
            Scripts::none(Duration::ZERO)
        });
        scripts.resolve(self.directory);
        scripts
    }

    /// Reports scripts that cannot be run.
    fn check_scripts(&mut self, said: &RouterOptions, place: impl Fn(Key) -> Range<usize>) {
        let program = |key: Key| Some((key, self.directory.join(&said.script(key)?.program)));
        let programs = Key::SCRIPTS.into_iter().filter_map(program);
        for RefusedScript { key, fault } in refused(programs, said.script_user.as_ref()) {
            let words = said.script(key).map_or_else(String::new, |script| words_of(&script.program));
            self.complaints.push(Complaint::new(place(key), format!("{key}: {fault}{words}")));
        }
    }

    /// The options of a table.
    fn options(&mut self, table: &Table) -> Said {
        let mut said = Said::default();
        for (name, setting) in &table.entries {
            let Some(key) = Key::named(&name.value) else {
                let names: Vec<_> = Key::names().collect();
                let near =
                    foreign::of_router(&name.value).or_else(|| nearest(&name.value, names.iter().copied()));
                let known = if near.is_some() {
                    String::new()
                } else {
                    format!("; a router has {}", names.join(", "))
                };
                let message = format!("unknown key {:?}{known}", name.value);
                self.complaints.push(Complaint::new(name.span.clone(), message).meant(near));
                said.has_unknown = true;
                continue;
            };
            if said.places.insert(key, setting.span.clone()).is_some() {
                let message = format!("duplicate key {}", key.name());
                self.complaints.push(Complaint::new(name.span.clone(), message));
                continue;
            }
            let before = self.complaints.len();
            if key == Key::Track {
                let complaints = &mut self.complaints;
                let (tracks, places) = track::read_list(setting, complaints).into_iter().unzip();
                (said.options.track, said.tracks) = (tracks, places);
                if self.complaints.len() > before {
                    said.wrong.insert(key);
                }
                continue;
            }
            self.set(&mut said.options, key, setting);
            if self.complaints.len() > before {
                said.wrong.insert(key);
            }
        }
        said
    }

    /// Sets an option to the value in the file.
    fn set(&mut self, options: &mut RouterOptions, key: Key, setting: &Placed<Setting>) {
        let mut complain = |span: &Range<usize>, message: String| {
            self.complaints.push(Complaint::new(span.clone(), format!("{}: {message}", key.name())));
        };
        match (&setting.value, key.declaration().toml) {
            (Setting::One(text), _) => {
                if let Err(error) = options.set(key, text) {
                    complain(&setting.span, error.to_string());
                }
            }
            (Setting::Many(settings), Toml::List | Toml::Addresses) => {
                for one in settings {
                    let words = match (&one.value, key.declaration().toml) {
                        (Setting::One(text), _) => Ok(Cow::Borrowed(text)),
                        (Setting::Table(table), Toml::Addresses) => words_of_address(table).map(Cow::Owned),
                        (Setting::Table(table), _) => {
                            item(table).map(Cow::Owned).map_err(|message| (one.span.clone(), message))
                        }
                        (Setting::Many(_) | Setting::Other(_), _) => {
                            Err((one.span.clone(), "expected a list of strings".to_owned()))
                        }
                    };
                    let text = match words {
                        Ok(text) => text,
                        Err((span, message)) => {
                            complain(&span, message);
                            continue;
                        }
                    };
                    let text = &*text;
                    if let Err(error) = options.set(key, text) {
                        complain(&one.span, error.to_string());
                    }
                }
            }
            (Setting::Many(settings), Toml::Command) => {
                let mut words = Vec::with_capacity(settings.len());
                for one in settings {
                    match &one.value {
                        Setting::One(word) if word.contains('\0') => {
                            complain(&one.span, "an argument cannot contain the character 0".to_owned());
                        }
                        Setting::One(word) => words.push(word.clone()),
                        Setting::Many(_) | Setting::Table(_) | Setting::Other(_) => {
                            complain(&one.span, "expected a list of strings".to_owned());
                        }
                    }
                }
                let (program, arguments) = match words.split_first() {
                    Some((program, arguments)) if !program.is_empty() => (program, arguments),
                    _ => return complain(&setting.span, "path of the script missing".to_owned()),
                };
                options.set_script(key, Script { program: program.into(), arguments: arguments.to_vec() });
            }
            (Setting::Many(_), Toml::Text | Toml::Number | Toml::Boolean) => {
                complain(&setting.span, "expected one value, not a list".to_owned());
            }
            (Setting::Table(_), _) => {
                complain(&setting.span, "expected a string, number or boolean, not a table".to_owned());
            }
            (Setting::Other(kind), _) => {
                complain(&setting.span, format!("expected a string, number or boolean, not {kind}"));
            }
        }
    }
}

/// What to write for a program that was given with its arguments, as a shell takes it.
fn words_of(program: &Path) -> String {
    let text = program.to_string_lossy();
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        [first, _, ..] if !program.exists() && Path::new(first).exists() => {
            format!("; with arguments it is a list: {words:?}")
        }
        _ => String::new(),
    }
}

/// A list item written as a table, in command-line syntax: `{ address = "10.0.0.3", min-ttl = 250 }` is
/// `10.0.0.3,min-ttl=250`.
fn item(table: &Table) -> Result<String, String> {
    let mut address = None;
    let mut rest = String::new();
    for (name, setting) in &table.entries {
        let Setting::One(text) = &setting.value else {
            return Err(format!("{}: expected one value", name.value));
        };
        if name.value == "address" {
            address = Some(text);
        } else {
            rest = format!("{rest},{}={text}", name.value);
        }
    }
    address.map(|address| format!("{address}{rest}")).ok_or_else(|| "address missing".to_owned())
}

/// An address written as a table, in command-line syntax.
fn words_of_address(table: &Table) -> Result<String, (Range<usize>, String)> {
    let is_address = |(name, _): &&(Placed<String>, Placed<Setting>)| name.value == "address";
    let first = table.entries.iter().find(is_address);
    let first = first.ok_or_else(|| (table.span.clone(), "a table has the key \"address\"".to_owned()))?;
    let mut words = Vec::new();
    for (name, setting) in
        std::iter::once(first).chain(table.entries.iter().filter(|entry| !is_address(entry)))
    {
        if name.value != "address" {
            words.push(name.value.as_str());
        }
        match &setting.value {
            Setting::One(text) if !text.is_empty() && !text.contains(char::is_whitespace) => words.push(text),
            Setting::One(_) | Setting::Many(_) | Setting::Table(_) | Setting::Other(_) => {
                return Err((setting.span.clone(), format!("{}: expected one word", name.value)));
            }
        }
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests;
