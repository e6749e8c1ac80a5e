//! BPF system calls that aya does not offer, or only with its own copy of a program: test run, attach and detach, and
//! queries.
//!
//! aya keeps a loaded program's instructions with all type and line information. It does not report where a program is
//! attached.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// `BPF_MAP_CREATE` in `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;
/// `BPF_PROG_TEST_RUN`
const TEST_RUN: libc::c_int = 10;
/// `BPF_PROG_QUERY`
const PROG_QUERY: libc::c_int = 16;
/// `BPF_OBJ_GET_INFO_BY_FD`
const GET_INFO: libc::c_int = 15;
/// `BPF_LINK_CREATE`
const LINK_CREATE: libc::c_int = 28;
/// `BPF_LINK_UPDATE`
const LINK_UPDATE: libc::c_int = 29;
/// `BPF_LINK_DETACH`
const LINK_DETACH: libc::c_int = 34;
/// `BPF_XDP` in `enum bpf_attach_type`; its flags are `XDP_FLAGS_` of `if_link.h`.
pub const XDP: u32 = 37;
/// `BPF_TCX_INGRESS`, from Linux 6.6 on; an older one says `EINVAL`.
pub const TCX_INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS`, likewise.
pub const TCX_EGRESS: u32 = 47;
/// `BPF_MPROG_MAX`: maximum number of classifiers at a hook.
const MOST_CLASSIFIERS: u32 = 64;
/// `BPF_F_BEFORE`: before all other programs.
pub const TCX_FIRST: u32 = 1 << 3;

/// `union bpf_attr` of that command, as of Linux 5.15.
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

/// `union bpf_attr` of `BPF_LINK_CREATE`, the part in use.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// `union bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct GetInfo {
    fd: u32,
    len: u32,
    info: u64,
}

/// `union bpf_attr` of `BPF_PROG_QUERY`, the part in use.
#[repr(C)]
struct ProgQuery {
    interface: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    reserved: u32,
}

/// `union bpf_attr` of `BPF_LINK_UPDATE`.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    new_program: u32,
    flags: u32,
    old_program: u32,
}

/// `union bpf_attr` of `BPF_LINK_DETACH`.
#[repr(C)]
struct LinkDetach {
    link: u32,
}

/// `struct bpf_link_info` of an attached program.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    reserved: u32,
    interface: u32,
    reserved_behind: u32,
}

/// Its length in octets.
const LINK_INFO_LEN: u32 = 24;

const _: () = assert!(size_of::<LinkCreate>() == 16 && size_of::<GetInfo>() == 16);
const _: () = assert!(size_of::<ProgQuery>() == 32 && size_of::<LinkUpdate>() == 16);
const _: () = assert!(size_of::<LinkInfo>() == LINK_INFO_LEN as usize);

/// `union bpf_attr` of `BPF_MAP_CREATE`, the part in use.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// Checks whether this process may create maps, by creating one; each of our programs has maps.
pub fn may_create_maps() -> io::Result<()> {
    let attributes = MapCreate { kind: ARRAY, key_size: 4, value_size: 4, max_entries: 1 };
    // SAFETY: the kernel reads the attributes up to their given size.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, &raw const attributes, size_of::<MapCreate>()) };
    match RawFd::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel just returned this descriptor, and it has no other owner.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok(())
        }
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// An attached program; detached on drop. When the process dies, the kernel detaches it with the last copy of the
/// descriptor.
#[derive(Debug)]
pub struct Attached(OwnedFd);

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let attributes = LinkDetach { link: self.0.as_raw_fd().cast_unsigned() };
        // SAFETY: the kernel reads the attributes up to their given size. On an error, closing the descriptor detaches
        // it.
        unsafe { libc::syscall(libc::SYS_bpf, LINK_DETACH, &raw const attributes, size_of::<LinkDetach>()) };
    }
}

/// Attaches a program to an interface at [`XDP`] or [`TCX_INGRESS`].
pub fn attach(program: BorrowedFd<'_>, interface: u32, attach_type: u32, flags: u32) -> io::Result<Attached> {
    let attributes =
        LinkCreate { program: program.as_raw_fd().cast_unsigned(), interface, attach_type, flags };
    // SAFETY: the kernel reads the attributes up to their given size.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const attributes, size_of::<LinkCreate>()) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel just returned this descriptor, and it has no other owner.
        Ok(fd) if fd >= 0 => Ok(Attached(unsafe { OwnedFd::from_raw_fd(fd) })),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Replaces the program of a link atomically.
pub fn exchange(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = LinkUpdate {
        link: link.as_raw_fd().cast_unsigned(),
        new_program: program.as_raw_fd().cast_unsigned(),
        flags: 0,
        old_program: 0,
    };
    // SAFETY: the kernel reads as many octets of the attributes as they have.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, LINK_UPDATE, &raw const attributes, size_of::<LinkUpdate>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The index of the interface that a link is attached to; 0 if it was detached or the interface is gone.
pub fn interface_of(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let mut attributes = GetInfo {
        fd: link.as_raw_fd().cast_unsigned(),
        len: LINK_INFO_LEN,
        info: (&raw mut info).expose_provenance() as u64,
    };
    // SAFETY: the kernel reads the attributes, writes the length of the information into them, and writes no more
    // information than there is room for.
    let result = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut attributes, size_of::<GetInfo>()) };
    if result == 0 { Ok(info.interface) } else { Err(io::Error::last_os_error()) }
}

/// The IDs of the classifiers of an interface at [`TCX_INGRESS`] or [`TCX_EGRESS`], in the order in which they run.
pub fn classifiers(interface: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; MOST_CLASSIFIERS as usize];
    let mut attributes = ProgQuery {
        interface,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        programs: programs.as_mut_ptr().expose_provenance() as u64,
        count: MOST_CLASSIFIERS,
        reserved: 0,
    };
    // SAFETY: the kernel reads the attributes, writes the number of programs into them, and writes no more IDs than
    // there is room for.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut attributes, size_of::<ProgQuery>()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(attributes.count).unwrap_or(usize::MAX);
    Ok(programs.into_iter().take(count).collect())
}

/// Runs the program on a frame with these octets, and stores the resulting frame in `output`.
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
    // SAFETY: the kernel reads the attributes up to their given size, reads `input` and writes `output` up to their
    // lengths; both live until it returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, TEST_RUN, &raw mut attributes, size_of::<TestRun>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
