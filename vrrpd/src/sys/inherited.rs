//! What a process inherits from the one that executed it, and hands on to each program that it executes itself.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};

use super::descriptors;

/// What files of ours may not be: writable by others.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);
/// The highest number of a signal (signal(7)).
const LAST_SIGNAL: libc::c_int = 64;

/// Does away with what a caller may have set up for itself: its umask, blocked and ignored signals, and open files, which no
/// program that is executed from now on inherits. Ignored SIGCHLD, for one, would make every script seem to fail.
///
/// # Errors
/// `/proc` cannot be read, or the system refuses a signal mask.
pub fn put_right() -> io::Result<()> {
    umask(UMASK);
    (1..=LAST_SIGNAL).filter(|signal| *signal != libc::SIGPIPE).for_each(stop_ignoring);
    SigSet::empty().thread_set_mask()?;
    descriptors::close_on_exec()
}

/// Gives an ignored signal its default action. SIGPIPE is ignored by the standard library, which undoes that for programs
/// that it executes; what is caught gets its default action there anyway.
fn stop_ignoring(signal: libc::c_int) {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: there is room for an action, and none is set. It fails for the numbers that the C library keeps for itself.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: the call above has succeeded and written it.
    if unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN {
        // SAFETY: the default action runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
