//! The two things that need `unsafe`: a child that dies with the thread that started it, and a packet socket bound
//! to one interface.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use socket2::{SockAddr, SockAddrStorage, Socket};

/// Has the kernel kill the child when the thread that starts it ends, however it ends.
pub(crate) fn die_with_this_thread(command: &mut Command) {
    let set = || prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: the closure runs between fork and exec. It makes one system call, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(set);
    }
}

/// Binds a packet socket to an interface. It receives the frames of `protocol` (an `ETH_P_` number); none when 0.
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
    // SAFETY: a storage is a `sockaddr_storage`: larger than a `sockaddr_ll` and aligned at least as strictly. All
    // zeroes is a value of it, so it is initialised before and after the write.
    let storage = unsafe {
        storage.as_mut_ptr().cast::<libc::sockaddr_ll>().write(address);
        storage.assume_init()
    };
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the first `len` octets hold the `sockaddr_ll` written above, whose family says so.
    let address = unsafe { SockAddr::new(storage, len) };
    socket.bind(&address)
}
