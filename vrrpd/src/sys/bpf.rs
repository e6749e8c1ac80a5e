//! Running a program of the kernel's once, on octets of ours.
//!
//! aya can do that as well, but only through what it keeps of a program once it is loaded: its instructions, and all that
//! is known of their types and lines.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `BPF_PROG_TEST_RUN` in `enum bpf_cmd`.
const TEST_RUN: libc::c_int = 10;

/// What `union bpf_attr` holds for that command, up to where Linux 5.15 had it.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    input_len: u32,
    output_len: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
    context_in_len: u32,
    context_out_len: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    processor: u32,
}

const _: () = assert!(size_of::<TestRun>() == 72);

/// Runs the program on a frame of these octets, and puts into `output` what it has made of them.
pub fn run(program: BorrowedFd<'_>, input: &[u8], output: &mut [u8]) -> io::Result<()> {
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut attributes = TestRun {
        program: program.as_raw_fd().cast_unsigned(),
        input_len: input.len().try_into().map_err(too_long)?,
        output_len: output.len().try_into().map_err(too_long)?,
        input: input.as_ptr().expose_provenance() as u64,
        output: output.as_mut_ptr().expose_provenance() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads as many octets of the attributes as they have; it reads `input` and writes `output`, both
    // of which live until it returns, as far as their lengths.
    let result = unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut attributes, size_of::<TestRun>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
