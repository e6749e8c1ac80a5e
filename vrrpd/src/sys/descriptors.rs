//! Descriptors inherited from the parent process.

use std::fs;
use std::io;

/// The first descriptor after the standard ones.
const FIRST: i32 = 3;

/// Sets close-on-exec on all open descriptors except standard input, output and error.
pub fn close_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(descriptor) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if descriptor >= FIRST {
            // SAFETY: it takes no pointer, and the descriptor stays open. One that was closed meanwhile is an error
            // that does not matter.
            let _ = unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}
