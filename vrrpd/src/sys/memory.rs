//! Memory to be returned to the system, and memory to be locked.

use std::fs;
use std::io;

/// Returns free memory of the allocator to the system: loading a program needs some megabytes once, and so does
/// reporting thousands of routers to a client.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; memory in use is not affected.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Limits the free memory that the allocator keeps. Otherwise its threshold grows to the largest freed block, and it
/// applies to memory freed by other threads as well.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; both values are valid.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

/// Locks the program in memory as far as it is used now or later: code and constants, including those of libraries.
/// Under memory pressure the kernel drops pages that it can read again, which may take seconds with a busy disk. The
/// lock is not inherited over `fork`.
pub fn keep_program() -> io::Result<()> {
    for (start, end) in fs::read_to_string("/proc/self/maps")?.lines().filter_map(of_file) {
        // SAFETY: the kernel has just reported this range, and a lock does not change its contents.
        let result = unsafe { libc::syscall(libc::SYS_mlock2, start, end - start, libc::MLOCK_ONFAULT) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The range of a line of `maps`, if it is a read-only mapping of a file.
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
    fn mapped_files_are_locked_if_they_are_read_only() {
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
