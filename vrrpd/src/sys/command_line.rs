//! The command line of this process that others see in `/proc/PID/cmdline`.

use std::env;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::ptr;

use super::fork;

/// Field of `/proc/PID/stat` with the start of the command line, counted after the name; the next field is its end.
const START: usize = 45;

/// Replaces the arguments of this process by one word, truncated to their length. From then on this process reads that
/// word and empty arguments itself. The process must have one thread only.
pub fn replace(word: &CStr) -> io::Result<()> {
    let (start, length) = arguments()?;
    // If the last octet were not 0, the kernel would continue with what follows.
    let kept = word.count_bytes().min(length.saturating_sub(1));
    // SAFETY: the kernel has put the arguments there, on the writable stack of this process; within their length there
    // is nothing else. The C library and the standard library have pointers to them and read strings there, which still
    // end within these octets; no other thread exists that could read meanwhile. `word` does not overlap: the standard
    // library copies the arguments that it returns.
    unsafe {
        ptr::write_bytes(start, 0, length);
        ptr::copy_nonoverlapping(word.as_ptr().cast(), start, kept);
    }
    Ok(())
}

/// Overwrites secrets in the arguments with asterisks, for other processes and for this one. `secrets` are ranges in
/// the arguments, joined and NUL-terminated. The process must have one thread only.
pub fn hide(secrets: &[Range<usize>]) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    let (start, length) = arguments()?;
    for secret in secrets {
        let length = secret.end.min(length).saturating_sub(secret.start);
        // SAFETY: within the arguments, as in `replace`. The terminating NULs are kept, so strings stay valid.
        unsafe { ptr::write_bytes(start.add(secret.start), b'*', length) };
    }
    Ok(())
}

/// Address and length of the arguments, in octets.
fn arguments() -> io::Result<(*mut u8, usize)> {
    if !fork::is_alone()? {
        return Err(io::Error::other("another thread may be reading the arguments"));
    }
    let length = env::args_os().map(|argument| argument.len() + 1).sum();
    let stat = fs::read_to_string("/proc/self/stat")?;
    // They may have been moved, for example when a process was restored from a checkpoint.
    let elsewhere = || io::Error::other("the arguments are not where the kernel says they are");
    let start = start_of(&stat, length).ok_or_else(elsewhere)?;
    Ok((ptr::with_exposed_provenance_mut(start), length))
}

/// The start of a command line with this length, from the text of `/proc/PID/stat`; `None` if the length differs.
fn start_of(stat: &str, length: usize) -> Option<usize> {
    // The name may contain anything, but what follows it does not contain this.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(START);
    let [start, end]: [usize; 2] = [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
    (start != 0 && end.checked_sub(start) == Some(length)).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_found_only_with_the_expected_length() {
        let stat = |start: usize, end: usize| {
            format!("812 (a ) S b) S{} {start} {end} 9100 9900 0\n", " 7".repeat(START - 1))
        };
        assert_eq!(start_of(&stat(9000, 9100), 100), Some(9000));
        for (start, end) in [(9000, 9101), (9100, 9000), (0, 100), (0, 0)] {
            assert_eq!(start_of(&stat(start, end), 100), None, "{start} {end}");
        }
        assert_eq!(start_of("812 (vrrpd) S 1", 100), None);
    }
}
