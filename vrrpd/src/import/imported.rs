//! The result of an import: routers, checks and groups as keys and values of the configuration file, and remarks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use thiserror::Error;

use crate::config::Key;

/// A line of an imported file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file, as named by the user or an `include`.
    pub file: Rc<Path>,
    /// Line number, from 1.
    pub line: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Why an import fails.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file, or one that it includes, cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The file is invalid, or its own daemon refuses it.
    #[error("{place}: {message}")]
    Wrong {
        /// The line.
        place: SourceLine,
        /// What is wrong and what is expected.
        message: String,
    },
    /// The text is of neither daemon.
    #[error(
        "{}: found neither a vrrp_instance of keepalived nor a vrrpd command line; --import-as keepalived, vrrpd or \
         vrrpd-1.15 says which it is", path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
}

/// A remark about a line of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line.
    pub place: SourceLine,
    /// Whether something is missing in the result.
    pub kind: RemarkKind,
    /// The keyword or option.
    pub keyword: String,
    /// Why it is left out, or what differs.
    pub message: String,
}

/// The kind of a [`Remark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// Not carried over.
    LeftOut,
    /// Carried over with a slightly different meaning.
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

/// A virtual router of the original, as keys and values of a `[[router]]` table; also used for such keys of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Router {
    /// The keys in the order of the original, without duplicates except for lists.
    pub settings: Vec<(Key, String)>,
}

impl Router {
    /// The first value of a key.
    pub fn get(&self, key: Key) -> Option<&str> {
        self.settings.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// Adds a setting; replaces an earlier value of a key that is not a list.
    pub(super) fn set(&mut self, key: Key, value: impl Into<String>) {
        if !key.declaration().toml.is_list() {
            self.settings.retain(|(known, _)| *known != key);
        }
        self.settings.push((key, value.into()));
    }

    /// Adds a setting, if there is a value.
    pub(super) fn extend(&mut self, key: Key, value: Option<String>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    /// Adds a check; as in keepalived, the first of two counts.
    pub(super) fn track(&mut self, word: String) {
        let name = |word: &str| word.split(",weight=").next().map(str::to_owned);
        let is_there = |(key, known): &(Key, String)| *key == Key::Track && name(known) == name(&word);
        if !self.settings.iter().any(is_there) {
            self.set(Key::Track, word);
        }
    }

    /// Sets a script to its path and arguments.
    pub(super) fn set_script(&mut self, key: Key, words: impl IntoIterator<Item = String>) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.extend(words.into_iter().map(|word| (key, word)));
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its members, as indexes in [`Imported::routers`].
    pub members: Vec<usize>,
    /// Its other settings.
    pub settings: Router,
    /// Weights of the members' checks are used (`track-weights`).
    pub has_weights: bool,
}

/// A check of the original, as keys and values of a `[[track]]` table.
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
    /// A string, in quotes.
    Text(String),
    /// An array of strings.
    List(Vec<String>),
    /// A number or boolean, without quotes.
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
    /// What is left out or differs, in the order of the original.
    pub remarks: Vec<Remark>,
}

impl Imported {
    /// Whether nothing was left out.
    pub fn is_complete(&self) -> bool {
        self.remarks.iter().all(|remark| remark.kind != RemarkKind::LeftOut)
    }

    pub(super) fn remark(
        &mut self,
        place: &SourceLine,
        kind: RemarkKind,
        keyword: &str,
        message: impl Into<String>,
    ) {
        let remark =
            Remark { place: place.clone(), kind, keyword: keyword.to_owned(), message: message.into() };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}
