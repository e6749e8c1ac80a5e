//! Configurations of other daemons, read and written down as one of ours: `vrrpd --import FILE`.
//!
//! [`keepalived`] reads keepalived.conf, [`classic`] reads scripts and lists with `vrrpd` command lines. Both produce
//! [`Router`]s and [`Remark`]s; [`render`] prints the result as a configuration file. Reading other files and the
//! environment goes through [`Surroundings`], so everything here is pure.
//!
//! An import never guesses: each word of the original is either carried over, known to have no effect here, or
//! reported with its place.

pub mod classic;
pub mod keepalived;
mod render;
mod surroundings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

use crate::config::Key;

pub use render::render;
pub use surroundings::{Surroundings, System};

/// A line of a file that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file, as the user or an `include` names it.
    pub file: Rc<Path>,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why nothing can be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file, or one that it includes, cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file cannot be understood, or its own daemon refuses it.
    #[error("{place}: {message}")]
    Wrong {
        /// Where.
        place: SourceLine,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The text belongs to neither kind of daemon.
    #[error(
        "{}: found neither a vrrp_instance of keepalived nor a vrrpd command line; --import-as keepalived, vrrpd or \
         vrrpd-1.15 says which it is", path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

/// What kind of configuration is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// keepalived.conf
    Keepalived,
    /// Command lines of Vrrpd 1.10 to 1.14 (-n: no virtual MAC address; default interval 1 s)
    Vrrpd,
    /// Command lines of Vrrpd 1.15 (-n: with a virtual MAC address; default interval 2 s)
    #[value(name = "vrrpd-1.15")]
    Vrrpd115,
}

/// What an import has to say about one line of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line.
    pub place: SourceLine,
    /// Whether something of the original is missing in the result.
    pub kind: RemarkKind,
    /// The keyword or option.
    pub keyword: String,
    /// Why it is left out, or what is different here.
    pub message: String,
}

/// How much a [`Remark`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// Not carried over.
    LeftOut,
    /// Carried over, and means something slightly different here.
    Differs,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RemarkKind::LeftOut => "left out",
            RemarkKind::Differs => "differs",
        };
        write!(f, "{}: {kind}: {}: {}", self.place, self.keyword, self.message)
    }
}

/// A virtual router of the original, as the keys of a `[[router]]` with their values; or those keys of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// The keys in the order of the original, each once but those of lists.
    pub settings: Vec<(Key, String)>,
}

impl Router {
    /// The first value of a key.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.settings.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// Adds a setting; the last one counts where a key can have one value only.
    fn set(&mut self, key: Key, value: impl Into<String>) {
        if !key.declaration().toml.is_list() {
            self.settings.retain(|(known, _)| *known != key);
        }
        self.settings.push((key, value.into()));
    }

    /// Adds a setting, if there is a value.
    fn extend(&mut self, key: Key, value: Option<String>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Adds a check that it tracks; keepalived takes the first of two.
    fn track(&mut self, word: String) {
        let name = |word: &str| word.split(",weight=").next().map(str::to_owned);
        let is_there = |(key, known): &(Key, String)| *key == Key::Track && name(known) == name(&word);
        if !self.settings.iter().any(is_there) {
            self.set(Key::Track, word);
        }
    }

    /// Sets a script to its path and arguments.
    fn set_script(&mut self, key: Key, words: impl IntoIterator<Item = String>) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.extend(words.into_iter().map(|word| (key, word)));
    }
}

/// Routers that are Master together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its members, by their index in [`Imported::routers`].
    pub members: Vec<usize>,
    /// Its other settings.
    pub settings: Router,
    /// Weights of what members track count.
    pub has_weights: bool,
}

/// A check of the original, as the keys of a `[[track]]` with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What routers and groups call it.
    pub name: String,
    /// The other keys.
    pub settings: Vec<(&'static str, Setting)>,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text, in quotes.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// As it stands: a number, true or false.
    Bare(String),
}

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The virtual routers.
    pub routers: Vec<Router>,
    /// What they track.
    pub checks: Vec<Check>,
    /// The groups that they form.
    pub groups: Vec<Group>,
    /// What is left out or different, in the order of the original.
    pub remarks: Vec<Remark>,
}

impl Imported {
    /// Whether everything has been carried over.
    pub fn is_complete(&self) -> bool {
        self.remarks.iter().all(|remark| remark.kind != RemarkKind::LeftOut)
    }

    fn remark(&mut self, place: &SourceLine, kind: RemarkKind, keyword: &str, message: impl Into<String>) {
        let remark =
            Remark { place: place.clone(), kind, keyword: keyword.to_owned(), message: message.into() };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}

/// Imports a file. Without a `format`, the text says what it is.
pub fn import(
    path: &Path,
    format: Option<Format>,
    surroundings: &dyn Surroundings,
) -> Result<Imported, ImportError> {
    let text =
        surroundings.read(path).map_err(|error| ImportError::Unreadable { path: path.to_owned(), error })?;
    let format = match format {
        Some(format) => format,
        None if classic::has_command_line(&text) => Format::Vrrpd,
        None if keepalived::is_likely(&text) => Format::Keepalived,
        None => return Err(ImportError::Unknown { path: path.to_owned() }),
    };
    match format {
        Format::Keepalived => keepalived::import(path, &text, surroundings),
        Format::Vrrpd => classic::import(path, &text, classic::Release::Before115),
        Format::Vrrpd115 => classic::import(path, &text, classic::Release::V115),
    }
}
