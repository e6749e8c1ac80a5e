//! keepalived.conf: [`text`] resolves conditions, variables and includes, [`block`] repeats lines, [`words`] splits
//! them, [`tree`] finds the blocks, [`translate`] translates each keyword.

mod address;
mod announcements;
mod block;
mod command;
mod defaults;
mod instance;
mod keywords;
mod routing;
mod scripts;
mod text;
mod tracking;
mod translate;
mod tree;
mod unicast;
mod words;

use std::path::Path;

use super::{ImportError, Imported, Surroundings};

/// Whether a text looks like keepalived.conf.
pub(super) fn is_likely(text: &str) -> bool {
    const BLOCKS: [&str; 6] =
        ["vrrp_instance", "vrrp_sync_group", "vrrp_script", "global_defs", "virtual_server", "include"];
    text.lines().any(|line| {
        let first = line.split(|c: char| c.is_whitespace() || c == '{').find(|word| !word.is_empty());
        first.is_some_and(|word| BLOCKS.contains(&word))
    })
}

/// Imports this text of a file.
pub(super) fn import(
    path: &Path,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Imported, ImportError> {
    let (lines, remarks) = text::lines(path, text, surroundings)?;
    let nodes = tree::nodes(&lines)?;
    translate::translate(path, &nodes, remarks)
}

#[cfg(test)]
mod tests;
