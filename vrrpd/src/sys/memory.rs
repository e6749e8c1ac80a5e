//! Memory that is needed for a moment only, and memory that must not go.

use std::fs;
use std::io;

/// Gives back to the system what the allocator keeps for later: loading the program takes some megabytes once, and so does
/// telling a client of thousands of routers.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; it moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the allocator keep no more than a little for later. By itself it comes to keep as much as the largest piece that was
/// freed, and what a thread has freed it gives back only on this account.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; both values are legal.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

/// Keeps the program in memory, as far as it has been used or will be: its text, its constants and those of its libraries.
/// Under pressure the kernel drops pages that it can read again, and a disk that is busy may take seconds for that.
/// The lock is not inherited over `fork`.
pub fn keep_program() -> io::Result<()> {
    for (start, end) in fs::read_to_string("/proc/self/maps")?.lines().filter_map(of_file) {
        // SAFETY: the range is one that the kernel has just told of, and a lock changes nothing in it.
        let result = unsafe { libc::syscall(libc::SYS_mlock2, start, end - start, libc::MLOCK_ONFAULT) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The range of a line of `maps`, if it is one of a file that is read and not written.
fn of_file(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_constant = words.next()?.starts_with("r-");
    let inode = words.nth(2)?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    (is_constant && inode != "0").then_some((number(start)?, number(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_are_files_that_are_not_written() {
        let text = "55d0c0a1f000-55d0c0b00000 r-xp 00011000 fd:00 1573 /usr/sbin/vrrpd";
        assert_eq!(of_file(text), Some((0x55d0_c0a1_f000, 0x55d0_c0b0_0000)));
        let constants = "55d0c0b00000-55d0c0b0f000 r--p 000f2000 fd:00 1573 /usr/sbin/vrrpd (deleted)";
        assert_eq!(of_file(constants), Some((0x55d0_c0b0_0000, 0x55d0_c0b0_f000)));
        for other in [
            "55d0c0b10000-55d0c0b11000 rw-p 00101000 fd:00 1573 /usr/sbin/vrrpd",
            "55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0 [heap]",
            "7ffc2a5f2000-7ffc2a5f4000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000000000-7f0000001000 ---p 00000000 fd:00 1574 /usr/lib/libc.so.6",
            "",
        ] {
            assert_eq!(of_file(other), None, "{other}");
        }
    }
}
