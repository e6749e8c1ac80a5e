//! Import of other daemons' configurations: `vrrpd --import FILE`.
//!
//! [`keepalived`] reads keepalived.conf, [`classic`] reads scripts and lists with `vrrpd` command lines. Both produce
//! [`Router`]s and [`Remark`]s; [`render`] prints the result as a configuration file. Reading other files and the
//! environment goes through [`Surroundings`], so everything here is pure.
//!
//! An import never guesses: each word of the original is translated, known to have no effect here, or reported with its
//! line.

pub mod classic;
mod imported;
pub mod keepalived;
mod render;
mod surroundings;

use std::path::Path;

pub use imported::{Check, Group, ImportError, Imported, Remark, RemarkKind, Router, Setting, SourceLine};
pub use render::render;
pub use surroundings::{Surroundings, System};

/// The format of an imported file.
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

/// Imports a file. Without a `format`, it is detected.
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
