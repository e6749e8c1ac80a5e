//! Packet sockets of one interface: whole Ethernet frames in and out, past the IP stack and its filters.
//!
//! A receiving socket takes one EtherType and only what its filter lets through, so traffic that is not VRRP costs
//! a few instructions of compiled filter and never wakes the daemon. A sending socket receives nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SKF_AD_IFINDEX, SKF_AD_OFF, SKF_AD_PKTTYPE,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// Room for the frames of a thousand routers that are due at the same time; the kernel counts more than the octets.
pub(crate) const BUFFER: usize = 4 << 20;
/// `TC_PRIO_CONTROL`: the first band of the default queueing discipline.
pub(crate) const PRIORITY: u32 = 7;
/// Frames handed over in one system call.
pub const BATCH: usize = 64;

/// A complete Ethernet frame to send.
pub type Frame = Rc<[u8]>;

/// A packet socket, non-blocking, closed on exec.
#[derive(Debug)]
pub struct PacketSocket(Socket);

/// One instruction of a classic BPF filter.
pub type FilterInstruction = SockFilter;

/// An instruction that does not jump.
pub const fn statement(code: u32, k: u32) -> FilterInstruction {
    jump(code, k, 0, 0)
}

/// An instruction that jumps over `jt` further ones where it holds, over `jf` where not.
pub const fn jump(code: u32, k: u32, jt: u8, jf: u8) -> FilterInstruction {
    // The kernel's opcodes are 16 bits wide; libc declares their parts as 32.
    #[expect(clippy::cast_possible_truncation, reason = "every opcode is below 256")]
    SockFilter::new(code as u16, jt, jf, k)
}

/// At the start of every filter: ignores frames for other machines and frames of other interfaces. Frames of a VLAN arrive
/// here without their tag, and only their interface tells them from those of the port. They belong to the interface of the
/// VLAN, or, if the VLAN has none, to no router here.
const fn of_this_interface(index: u32) -> [FilterInstruction; 5] {
    [
        load_extra(SKF_AD_PKTTYPE),
        jump(BPF_JMP | BPF_JEQ | BPF_K, libc::PACKET_OTHERHOST as u32, 2, 0),
        load_extra(SKF_AD_IFINDEX),
        jump(BPF_JMP | BPF_JEQ | BPF_K, index, 1, 0),
        statement(BPF_RET | BPF_K, 0),
    ]
}

/// Loads what the kernel knows of a frame beside its octets.
const fn load_extra(what: i32) -> FilterInstruction {
    statement(BPF_LD | BPF_W | BPF_ABS, (SKF_AD_OFF + what).cast_unsigned())
}

/// Room for frames that arrive together.
#[derive(Debug)]
pub struct Inbox {
    /// One behind the other; what was never needed takes no memory.
    buffers: Vec<u8>,
    lengths: Vec<usize>,
}

impl Inbox {
    /// Frames that are taken in one system call.
    const ROOM: usize = 32;
    /// The longest frame that can hold an advert with 255 IPv6 addresses, with room for every header. A longer one is cut.
    const MAX_FRAME: usize = 8 << 10;

    /// Whether more frames may be there than there was room for.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == Self::ROOM
    }

    /// The frames, in the order in which they came.
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
    /// Receives frames of `ethertype` for this machine from the interface `index` that pass `filter`, without a tag.
    pub fn receiver(
        index: u32,
        ethertype: u16,
        filter: impl IntoIterator<Item = FilterInstruction>,
    ) -> io::Result<Self> {
        // Created for no protocol, so that nothing arrives before the filter stands and the interface is chosen.
        let socket = Self::open()?;
        let filter: Vec<_> = of_this_interface(index).into_iter().chain(filter).collect();
        socket.0.attach_filter(&filter)?;
        // Past the system's limit if we may, up to it if not.
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
        // SAFETY: a sockaddr_ll is one of the kernel's socket addresses, for which the storage is large enough and
        // suitably aligned, and any of whose octets may be zero.
        let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        link.sll_family = libc::AF_PACKET as u16;
        link.sll_protocol = ethertype.to_be();
        link.sll_ifindex = index;
        // SAFETY: the storage holds an initialised address of AF_PACKET of this length.
        let address = unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
        self.0.bind(&address)
    }

    /// Takes as many frames as there are and `inbox` has room for. If that is not full then, there are no more.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        let Inbox { buffers, lengths } = inbox;
        lengths.clear();
        let mut headers = MultiHeaders::<()>::preallocate(Inbox::ROOM, None);
        let mut slices: Vec<_> =
            buffers.chunks_mut(Inbox::MAX_FRAME).map(|buffer| [IoSliceMut::new(buffer)]).collect();
        match recvmmsg(self.0.as_raw_fd(), &mut headers, &mut slices, MsgFlags::MSG_DONTWAIT, None) {
            Ok(frames) => lengths.extend(frames.map(|frame| frame.bytes)),
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sends as many of `frames`, at most [`BATCH`], as the queue takes, in order, and says how many that were. An error
    /// is about the first of them.
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
