//! The command line that others see of this process, in `/proc/PID/cmdline`.

use std::env;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::ptr;

use super::fork;

/// The field of `/proc/PID/stat` that says where the command line begins, counted from the one behind the name; where it
/// ends is in the next one.
const START: usize = 45;

/// Puts one word in the place of the arguments that this process was started with, cut off where they were shorter. This
/// process has none from then on: it reads that word and empty arguments. It must have one thread only.
pub fn replace(word: &CStr) -> io::Result<()> {
    let (start, length) = arguments()?;
    // If the last octet were not 0, the kernel would go on with what comes behind it.
    let kept = word.count_bytes().min(length.saturating_sub(1));
    // SAFETY: there the kernel has put the arguments, on the stack of this process, which can be written; as long as they
    // are nothing else is there. Who has pointers to them, which are the C library and the standard one, reads strings
    // from there, and finds strings that end within the same octets; nobody does meanwhile, since there is no other thread.
    // `word` is elsewhere: the standard library copies the arguments that it hands out.
    unsafe {
        ptr::write_bytes(start, 0, length);
        ptr::copy_nonoverlapping(word.as_ptr().cast(), start, kept);
    }
    Ok(())
}

/// Overwrites the secrets among the arguments with asterisks, for others and for this process, which reads the asterisks
/// from now on. `secrets` are octets of the arguments, one behind the other with a 0 behind each. It must have one
/// thread only.
pub fn hide(secrets: &[Range<usize>]) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    let (start, length) = arguments()?;
    for secret in secrets {
        let length = secret.end.min(length).saturating_sub(secret.start);
        // SAFETY: inside the arguments, as in `replace`. The octets that end them are left, so strings stay strings.
        unsafe { ptr::write_bytes(start.add(secret.start), b'*', length) };
    }
    Ok(())
}

/// Where the kernel has put the arguments, and how many octets they are.
fn arguments() -> io::Result<(*mut u8, usize)> {
    if !fork::is_alone()? {
        return Err(io::Error::other("another thread may be reading the arguments"));
    }
    let length = env::args_os().map(|argument| argument.len() + 1).sum();
    let stat = fs::read_to_string("/proc/self/stat")?;
    // They may have been put elsewhere, by what brings processes back from a file for one.
    let elsewhere = || io::Error::other("the arguments are not where the kernel says they are");
    let start = start_of(&stat, length).ok_or_else(elsewhere)?;
    Ok((ptr::with_exposed_provenance_mut(start), length))
}

/// Where a command line of this length begins, by the text of `/proc/PID/stat`; `None` where it has another one.
fn start_of(stat: &str, length: usize) -> Option<usize> {
    // There may be anything in the name, and nothing like it behind it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(START);
    let [start, end]: [usize; 2] = [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
    (start != 0 && end.checked_sub(start) == Some(length)).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_where_the_kernel_says_if_it_is_as_long_as_it_should_be() {
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
