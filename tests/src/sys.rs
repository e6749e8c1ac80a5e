//! The parts that need `unsafe`: a child that dies with its parent thread, a real-time thread, a packet socket bound to
//! one interface, a virtual network card, the size of a terminal, and a small BPF program.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::program::Hook;

/// Makes the kernel kill the child when the thread that starts it ends.
pub(crate) fn die_with_this_thread(command: &mut Command) {
    let set = || prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: the closure runs between fork and exec. It makes one system call, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(set);
    }
}

/// Changes the user of this thread only, to one other than root. This cannot be undone.
pub(crate) fn become_nobody() -> io::Result<()> {
    const NOBODY: libc::uid_t = 65_534;
    // SAFETY: the call takes numbers. The C library's function of this name would change every thread.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives this thread real-time priority.
pub(crate) fn run_before_others() -> io::Result<()> {
    const THIS_THREAD: libc::pid_t = 0;
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the parameters and keeps no pointer to them.
    let result = unsafe { libc::sched_setscheduler(THIS_THREAD, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the size of a terminal.
pub(crate) fn set_window_size(terminal: &File, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: this request reads a `winsize`, which lives until the call returns.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to an interface. It receives frames of `protocol` (an `ETH_P_` number); none if 0.
pub(crate) fn bind_to_interface(socket: &Socket, ifindex: u32, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = MaybeUninit::<SockAddrStorage>::zeroed();
    // SAFETY: a storage is a `sockaddr_storage`, which is larger than a `sockaddr_ll` and at least as strictly aligned.
    // Zeros are a valid value, so it is initialised before and after the write.
    let storage = unsafe {
        storage.as_mut_ptr().cast::<libc::sockaddr_ll>().write(address);
        storage.assume_init()
    };
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the first `len` octets are the `sockaddr_ll` written above, with its family.
    let address = unsafe { SockAddr::new(storage, len) };
    socket.bind(&address)
}

/// `struct ifreq` with its union as number or pointer.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    value: u64,
    reserved: [u64; 2],
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    value: u32,
}

/// Adds a tap device to this thread's namespace, until the returned file is closed. Each part of a vectored write becomes a
/// piece of one packet, and no piece is merged with another one before the packet is received.
pub(crate) fn open_tap(name: &str) -> io::Result<File> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    // `IFF_TAP`, `IFF_NAPI`, `IFF_NAPI_FRAGS`, `IFF_NO_PI`
    const PACKETS_IN_PIECES: u64 = 0x2 | 0x10 | 0x20 | 0x1000;
    const ETHTOOL_SGRO: u32 = 0x2c;
    // GRO would put the headers into one piece.
    let no_gro = EthtoolValue { command: ETHTOOL_SGRO, value: 0 };
    let mut request =
        InterfaceRequest { name: [0; libc::IFNAMSIZ], value: PACKETS_IN_PIECES.to_le(), reserved: [0; 2] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    let card = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: this request reads and writes an `ifreq`, which lives until the call returns.
    if unsafe { libc::ioctl(card.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    request.value = (&raw const no_gro).expose_provenance() as u64;
    // SAFETY: this request reads an `ifreq` with a pointer to an `ethtool_value`; both live until the call returns.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(card)
}

/// The attributes of `BPF_PROG_LOAD`, up to the last field in use (`union bpf_attr` in `linux/bpf.h`).
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The attributes of `BPF_OBJ_PIN`, up to the last field in use.
#[repr(C)]
struct ObjPin {
    pathname: u64,
    bpf_fd: RawFd,
    file_flags: u32,
}

/// The attributes of `BPF_LINK_CREATE`, up to the last field in use.
#[repr(C)]
struct LinkCreate {
    prog_fd: RawFd,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program for a hook that returns the first verdict for VRRP over IPv4, and the second one for all else. The name has
/// at most 15 characters; a verdict is `XDP_` or `TCX_`.
pub(crate) fn load(name: &str, hook: Hook, [on_adverts, else_]: [i32; 2]) -> io::Result<OwnedFd> {
    const PROG_LOAD: libc::c_int = 5;
    const PROTOCOL_AT: i32 = 23;
    const VRRP: i32 = 112;
    // `BPF_PROG_TYPE_XDP`, `BPF_PROG_TYPE_SCHED_CLS`
    let (prog_type, read): (u32, &[[u8; 8]]) = match hook {
        Hook::Xdp => (
            6,
            &[
                // r2 = data_end; r1 = data; r0 = 0; r3 = r1 + 24; if r3 > r2, over the next
                instruction(0x61, 0x12, 4, 0),
                instruction(0x61, 0x11, 0, 0),
                instruction(0xb7, 0x00, 0, 0),
                instruction(0xbf, 0x13, 0, 0),
                instruction(0x07, 0x03, 0, PROTOCOL_AT + 1),
                instruction(0x2d, 0x23, 1, 0),
                // r0 = the octet
                instruction(0x71, 0x10, 23, 0),
            ],
        ),
        // r6 = r1; r0 = the octet, or the end with 0 if there is none
        Hook::Tcx => (3, &[instruction(0xbf, 0x16, 0, 0), instruction(0x30, 0x00, 0, PROTOCOL_AT)]),
    };
    let judge = [
        // if r0 == 112, over the next two; r0 = verdict; exit
        instruction(0x15, 0x00, 2, VRRP),
        instruction(0xb7, 0x00, 0, else_),
        instruction(0x95, 0x00, 0, 0),
        instruction(0xb7, 0x00, 0, on_adverts),
        instruction(0x95, 0x00, 0, 0),
    ];
    let program = [read, &judge].concat();

    let mut prog_name = [0; 16];
    prog_name[..name.len()].copy_from_slice(name.as_bytes());
    let load = ProgLoad {
        prog_type,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr().expose_provenance() as u64,
        license: c"GPL".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: the structure is the one that this command reads, and its pointers are valid until it returns.
    unsafe { bpf(PROG_LOAD, &load) }
}

/// `struct bpf_insn`; the registers are source and destination.
const fn instruction(code: u8, registers: u8, offset: u8, immediate: i32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, registers, offset, 0, a, b, c, d]
}

/// Attaches a program to an interface of this thread's namespace until the returned descriptor is closed. The flags are
/// `XDP_FLAGS_` or `BPF_F_`.
pub(crate) fn attach(program: &OwnedFd, hook: Hook, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    const LINK_CREATE: libc::c_int = 28;
    // `BPF_XDP`, `BPF_TCX_INGRESS`
    let attach_type = match hook {
        Hook::Xdp => 37,
        Hook::Tcx => 46,
    };
    let create = LinkCreate { prog_fd: program.as_raw_fd(), target_ifindex: ifindex, attach_type, flags };
    // SAFETY: the structure is the one that this command reads, and has no pointers.
    unsafe { bpf(LINK_CREATE, &create) }
}

/// Pins a program to a file of the BPF file system.
pub(crate) fn pin(program: &OwnedFd, path: &CStr) -> io::Result<()> {
    const OBJ_PIN: libc::c_int = 6;
    let pin = ObjPin {
        pathname: path.as_ptr().expose_provenance() as u64,
        bpf_fd: program.as_raw_fd(),
        file_flags: 0,
    };
    // SAFETY: the command reads this structure and the path, which live until it returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, OBJ_PIN, &raw const pin, size_of::<ObjPin>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Detaches the link with this ID: its program is removed from the interface, and its owner is not notified.
pub(crate) fn detach_link(id: u32) -> io::Result<()> {
    const GET_FD_BY_ID: libc::c_int = 30;
    const DETACH: libc::c_int = 34;
    // SAFETY: the command reads this ID.
    let link = unsafe { bpf(GET_FD_BY_ID, &[id, 0, 0]) }?;
    let fd = link.as_raw_fd();
    // SAFETY: the command reads this descriptor.
    let result = unsafe { libc::syscall(libc::SYS_bpf, DETACH, &raw const fd, size_of::<RawFd>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The system call, for commands that return a file descriptor.
///
/// # Safety
/// `attributes` is a prefix of the structure that the command reads, without padding, and its pointers are valid for
/// the command.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: as above; the kernel takes further fields as zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel just returned it, and it has no other owner.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}
