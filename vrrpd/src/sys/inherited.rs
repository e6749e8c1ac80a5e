//! What this process inherits from its parent and would pass on to its children.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};

use super::descriptors;

/// Minimum umask: files are not writable by others.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);
/// The highest signal number (signal(7)).
const LAST_SIGNAL: libc::c_int = 64;

/// Resets what the parent may have changed: umask, blocked and ignored signals, and close-on-exec of inherited
/// descriptors. With SIGCHLD ignored, for example, every script would seem to fail.
///
/// # Errors
/// `/proc` cannot be read, or the system refuses a signal mask.
pub fn put_right() -> io::Result<()> {
    umask(UMASK);
    (1..=LAST_SIGNAL).filter(|signal| *signal != libc::SIGPIPE).for_each(stop_ignoring);
    SigSet::empty().thread_set_mask()?;
    descriptors::close_on_exec()
}

/// Gives an ignored signal its default action. The standard library ignores SIGPIPE and resets it for children; caught
/// signals are reset by exec anyway.
fn stop_ignoring(signal: libc::c_int) {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: only reads the action, into a place large enough for it. Fails for the signals that the C library
    // reserves.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: the successful call above has initialised it.
    if unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN {
        // SAFETY: the default action runs none of our code.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
