//! Pidfds (`pidfd_open(2)`), which become readable when the process ends.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// A pidfd of the process, close-on-exec.
///
/// # Errors
/// The process does not exist, or no descriptor is free.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and no pointer.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0_u32) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel just returned it, and it has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_existing_process_has_a_pidfd() {
        assert!(open(std::process::id()).is_ok());
        let error = open(u32::MAX >> 1).expect_err("there is no such process");
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
