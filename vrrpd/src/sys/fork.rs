//! A second process with the memory of this one.

use std::fs;
use std::io;

use nix::unistd::{ForkResult, fork};

/// Forks a process that has one thread only; what the other one goes on with is as sound as it was before.
pub fn alone() -> io::Result<ForkResult> {
    if !is_alone()? {
        return Err(io::Error::other("cannot fork with several threads"));
    }
    // SAFETY: there is no other thread that could hold a lock or be in the middle of something.
    Ok(unsafe { fork() }?)
}

/// Whether this process has one thread only.
pub(super) fn is_alone() -> io::Result<bool> {
    Ok(fs::read_dir("/proc/self/task")?.count() == 1)
}
