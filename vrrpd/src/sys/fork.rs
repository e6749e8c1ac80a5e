//! Forks this process.

use std::fs;
use std::io;

use nix::unistd::{ForkResult, fork};

/// Forks a process that has one thread only, so the child is in a consistent state.
pub fn alone() -> io::Result<ForkResult> {
    if !is_alone()? {
        return Err(io::Error::other("cannot fork with several threads"));
    }
    // SAFETY: there is no other thread that could hold a lock or be in the middle of a change.
    Ok(unsafe { fork() }?)
}

/// Whether this process has one thread only.
pub(super) fn is_alone() -> io::Result<bool> {
    Ok(fs::read_dir("/proc/self/task")?.count() == 1)
}
