//! Queries about maps in the kernel, by the owning daemon and by other processes.

use std::collections::BTreeSet;

use aya::programs::{ProgramError, loaded_programs};
use nix::errno::Errno;

use super::refusal::errno;

/// The maps of all programs in the kernel.
pub(super) fn maps_in_use() -> Result<BTreeSet<u32>, ProgramError> {
    let mut used = BTreeSet::new();
    for program in loaded_programs() {
        match program.and_then(|program| program.map_ids()) {
            Ok(maps) => used.extend(maps.into_iter().flatten()),
            // It was removed meanwhile.
            Err(error) if errno(&error) == Some(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(used)
}
