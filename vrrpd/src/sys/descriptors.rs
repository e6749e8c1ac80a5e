//! Open files inherited from the process that started this one.

use std::fs;
use std::io;

/// The first descriptor that is none of the three standard ones.
const FIRST: i32 = 3;

/// Has no program that is executed from now on inherit what is open now, but for standard input, output and error.
pub fn close_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(descriptor) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if descriptor >= FIRST {
            // SAFETY: it takes no pointer, and whatever the number names stays open. One that has been closed is an error
            // of no interest.
            let _ = unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}
