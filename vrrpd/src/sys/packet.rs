//! Packet sockets of one interface: whole Ethernet frames, received and sent outside the IP stack and its filters.
//!
//! A receiving socket gets one EtherType and only what its BPF filter accepts, so other traffic costs a few
//! instructions and never wakes the daemon. A sending socket receives nothing.

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::rc::Rc;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SKF_AD_IFINDEX, SKF_AD_OFF, SKF_AD_PKTTYPE,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// Buffer size in octets for the frames of a thousand routers due at the same time; the kernel also counts its
/// overhead.
pub(crate) const BUFFER: usize = 4 << 20;
/// `TC_PRIO_CONTROL`: the first band of the default qdisc.
pub(crate) const PRIORITY: u32 = 7;
/// Maximum number of frames in one system call.
pub const BATCH: usize = 64;

/// A complete Ethernet frame to send.
pub type Frame = Rc<[u8]>;

/// A packet socket, non-blocking, close-on-exec.
#[derive(Debug)]
pub struct PacketSocket(Socket);

/// One instruction of a classic BPF filter.
pub type FilterInstruction = SockFilter;

/// An instruction without a jump.
pub const fn statement(code: u32, k: u32) -> FilterInstruction {
    jump(code, k, 0, 0)
}

/// A conditional jump over `jt` instructions if true, `jf` if false.
pub const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> FilterInstruction {
    // The kernel's opcodes are 16 bits wide; libc declares their parts as 32.
    #[expect(clippy::cast_possible_truncation, reason = "every opcode is below 256")]
    SockFilter::new(code as u16, jt, jf, k)
}

/// Start of every filter: ignores frames for other machines and frames of other interfaces. Frames of a VLAN arrive
/// here without their tag, so only their interface distinguishes them from untagged ones. They belong to the VLAN
/// interface, or, if there is none, to no router here.
const fn of_this_interface(index: u32) -> [FilterInstruction; 5] {
    [
        load_extra(SKF_AD_PKTTYPE),
        jump(BPF_JMP | BPF_JEQ | BPF_K, libc::PACKET_OTHERHOST as u32, 2, 0),
        load_extra(SKF_AD_IFINDEX),
        jump(BPF_JMP | BPF_JEQ | BPF_K, index, 1, 0),
        statement(BPF_RET | BPF_K, 0),
    ]
}

/// Loads metadata of a frame.
const fn load_extra(what: i32) -> FilterInstruction {
    statement(BPF_LD | BPF_W | BPF_ABS, (SKF_AD_OFF + what).cast_unsigned())
}

/// Buffers for frames received together.
#[derive(Debug)]
pub struct Inbox {
    /// One after the other; unused pages take no memory.
    buffers: Vec<u8>,
    lengths: Vec<usize>,
}

impl Inbox {
    /// Maximum number of frames received in one system call.
    const ROOM: usize = 32;
    /// Enough for an advert with 255 IPv6 addresses and all headers. A longer frame is truncated.
    const MAX_FRAME: usize = 8 << 10;

    /// Whether all buffers were used, so that more frames may be waiting.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == Self::ROOM
    }

    /// The frames, in order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers
            .chunks(Self::MAX_FRAME)
            .zip(&self.lengths)
            .filter_map(|(buffer, length)| buffer.get(..*length))
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self { buffers: vec![0; Self::ROOM * Self::MAX_FRAME], lengths: Vec::with_capacity(Self::ROOM) }
    }
}

impl PacketSocket {
    /// Receives untagged frames of `ethertype` for this machine on the interface `index` that pass `filter`.
    pub fn receiver(
        index: u32,
        ethertype: u16,
        filter: impl IntoIterator<Item = FilterInstruction>,
    ) -> io::Result<Self> {
        // Created without a protocol, so that nothing arrives before it has its filter and interface.
        let socket = Self::open()?;
        let filter: Vec<_> = of_this_interface(index).into_iter().chain(filter).collect();
        socket.0.attach_filter(&filter)?;
        // Beyond the system's limit, if permitted.
        if setsockopt(&socket.0, sockopt::RcvBufForce, &BUFFER).is_err() {
            socket.0.set_recv_buffer_size(BUFFER)?;
        }
        socket.bind(index, ethertype)?;
        Ok(socket)
    }

    /// Sends frames on the interface `index`.
    pub fn sender(index: u32) -> io::Result<Self> {
        let socket = Self::open()?;
        if setsockopt(&socket.0, sockopt::SndBufForce, &BUFFER).is_err() {
            socket.0.set_send_buffer_size(BUFFER)?;
        }
        socket.0.set_priority(PRIORITY)?;
        socket.bind(index, 0)?;
        Ok(socket)
    }

    /// Whether this process may open packet sockets.
    pub fn probe() -> io::Result<()> {
        Self::open().map(drop)
    }

    fn open() -> io::Result<Self> {
        Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(Protocol::from(0))).map(Self)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the family and the length of an address are small")]
    fn bind(&self, index: u32, ethertype: u16) -> io::Result<()> {
        let index = i32::try_from(index).map_err(|_| io::Error::from(Errno::ENODEV))?;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: sockaddr_ll is a socket address, for which the storage is large and aligned enough, and zeros are
        // valid for all its fields.
        let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = ethertype.to_be();
        link.sll_ifindex = index;
        // SAFETY: the storage holds an initialised AF_PACKET address of this length.
        let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
        self.0.bind(&address)
    }

    /// Receives as many frames as are waiting and `inbox` has buffers for. If `inbox` is not full afterwards, no more
    /// are waiting.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        let Inbox { buffers, lengths } = inbox;
        lengths.clear();
        // Without allocations: mostly there is one frame.
        // SAFETY: both are plain old data, for which zeros are valid: no buffers, no address, no control data.
        let (mut slices, mut headers): ([libc::iovec; Inbox::ROOM], [libc::mmsghdr; Inbox::ROOM]) =
            unsafe { (zeroed(), zeroed()) };
        let places = slices.iter_mut().zip(&mut headers).zip(buffers.chunks_mut(Inbox::MAX_FRAME));
        for ((slice, header), buffer) in places {
            *slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            header.msg_hdr.msg_iov = slice;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header names one slice, and each slice a buffer of its own, which nothing else refers to during the
        // call. There are as many headers as is said.
        let received = unsafe {
            libc::recvmmsg(
                self.0.as_raw_fd(),
                headers.as_mut_ptr(),
                libc::c_uint::try_from(headers.len()).unwrap_or(0),
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        match Errno::result(received) {
            Ok(count) => {
                let received = headers.iter().take(usize::try_from(count).unwrap_or(0));
                lengths.extend(received.map(|header| header.msg_len as usize));
            }
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sends `frames` in order, at most [`BATCH`], as far as the queue takes them, and returns their number. An error
    /// concerns the first one.
    pub fn send<F: AsRef<[u8]>>(&self, frames: &[F]) -> io::Result<usize> {
        let frames = frames.get(..BATCH).unwrap_or(frames);
        let mut headers = MultiHeaders::<()>::preallocate(frames.len(), None);
        let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame.as_ref())]).collect();
        let addresses = vec![None; frames.len()];
        match sendmmsg(self.0.as_raw_fd(), &mut headers, &slices, &addresses, [], MsgFlags::empty()) {
            Ok(results) => Ok(results.count()),
            Err(Errno::EAGAIN | Errno::ENOBUFS) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> Self {
        socket.0.into()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
