//! Packet sockets of one interface: whole Ethernet frames, received and sent outside the IP stack and its filters.
//!
//! A receiving socket gets one EtherType and only what its BPF filter accepts, so other traffic costs a few
//! instructions and never wakes the daemon. A sending socket receives nothing.
//!
//! A [`RingSocket`] receives frames in memory shared with the kernel, and a plain receiving socket beside it those for which
//! the ring has no room.

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::rc::Rc;

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SKF_AD_IFINDEX, SKF_AD_OFF, SKF_AD_PKTTYPE,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recv, sendmmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::ring::{InRing, Ring};

/// Buffer size in octets for the frames of a thousand routers due at the same time; the kernel also counts its
/// overhead.
pub(crate) const BUFFER: usize = 4 << 20;
/// The same for a queue behind a ring: the kernel uses three quarters of it.
const QUEUE: usize = BUFFER / 3 * 4;
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

/// Frames received together.
#[derive(Debug)]
pub struct Inbox {
    /// One after the other; unused pages take no memory.
    buffers: Vec<u8>,
    /// Start and length of each frame in `buffers`.
    frames: Vec<(usize, usize)>,
    /// More may be waiting.
    has_more: bool,
}

impl Inbox {
    /// Maximum number of frames received together.
    const ROOM: usize = 32;
    /// Enough for an advert with 255 IPv6 addresses and all headers. A longer frame is truncated.
    const MAX_FRAME: usize = 8 << 10;

    /// Whether more frames may be waiting.
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Whether there are no frames.
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frames, in order of arrival.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().filter_map(|(start, length)| self.buffers.get(*start..start + length))
    }

    /// Notes that more may be waiting.
    pub const fn expect_more(&mut self) {
        self.has_more = true;
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.has_more = false;
    }

    /// Room for one more frame, and where it starts.
    fn room(&mut self) -> Option<(usize, &mut [u8])> {
        let start = self.frames.last().map_or(0, |(start, length)| start + length);
        Some((start, self.buffers.get_mut(start..start + Self::MAX_FRAME)?))
    }

    /// Adds a frame.
    fn add(&mut self, frame: &[u8]) {
        if let Some((start, room)) = self.room()
            && let Some(place) = room.get_mut(..frame.len())
        {
            place.copy_from_slice(frame);
            self.frames.push((start, frame.len()));
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            buffers: vec![0; Self::ROOM * Self::MAX_FRAME],
            frames: Vec::with_capacity(Self::ROOM),
            has_more: false,
        }
    }
}

/// The length of a value of an option.
fn socket_length<T>() -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL.into())
}

/// Sets an option of a socket.
pub(super) fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = socket_length::<T>()?;
    // SAFETY: the kernel reads as many octets of the value as is said. For options that hold pointers the caller keeps what
    // they point to.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const *value).cast(), length) };
    Errno::result(result)?;
    Ok(())
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
        socket.filter(index, filter)?;
        socket.set_buffer(QUEUE)?;
        socket.bind(index, ethertype)?;
        Ok(socket)
    }

    /// Sets which frames of an interface it receives.
    fn filter(&self, index: u32, filter: impl IntoIterator<Item = FilterInstruction>) -> io::Result<()> {
        let filter: Vec<_> = of_this_interface(index).into_iter().chain(filter).collect();
        self.0.attach_filter(&filter)
    }

    /// Sets the size of the queue in octets, beyond the system's limit if permitted.
    fn set_buffer(&self, octets: usize) -> io::Result<()> {
        if setsockopt(&self.0, sockopt::RcvBufForce, &octets).is_err() {
            self.0.set_recv_buffer_size(octets)?;
        }
        Ok(())
    }

    /// The fan-out group of the socket: the kernel gives each frame to one of its sockets. Without one, a new group is made.
    fn group(&self) -> io::Result<u16> {
        let mut group = self.group_or_none()?;
        if group == 0 {
            set_option(
                &self.0,
                libc::SOL_PACKET,
                libc::PACKET_FANOUT,
                &fanout(0, libc::PACKET_FANOUT_FLAG_UNIQUEID),
            )?;
            group = self.group_or_none()?;
        }
        // The lower half is its number.
        Ok((group & 0xffff) as u16)
    }

    /// The number and mode of its group; 0: none.
    fn group_or_none(&self) -> io::Result<u32> {
        let mut group: u32 = 0;
        let mut length = socket_length::<u32>()?;
        // SAFETY: the kernel writes at most as many octets as is said to the value.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_FANOUT,
                (&raw mut group).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        Ok(group)
    }

    /// Has frames go to the ring from now on, if they pass this filter, and here only while the ring has no room. A frame
    /// goes to one of them, and none is lost meanwhile.
    ///
    /// # Errors
    /// The kernel does not support it, or, before Linux 6.10, the interface is down. All frames go on to this socket then.
    pub fn put_behind(
        &self,
        ring: &RingSocket,
        index: u32,
        filter: impl IntoIterator<Item = FilterInstruction>,
    ) -> io::Result<()> {
        // The first socket of a group receives all until there is a program that chooses.
        let group = self.group()?;
        set_option(&ring.socket.0, libc::SOL_PACKET, libc::PACKET_FANOUT, &fanout(group, 0))?;
        ring.socket.filter(index, filter)?;
        #[expect(clippy::cast_possible_truncation, reason = "every opcode is below 256")]
        let mut second = [libc::sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: 1 }];
        let program = libc::sock_fprog { len: 1, filter: second.as_mut_ptr() };
        set_option(&self.0, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &program)
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

    /// Receives as many frames as are waiting and `inbox` has buffers for.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        inbox.clear();
        let Inbox { buffers, frames, has_more } = inbox;
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
                let starts = (0..).step_by(Inbox::MAX_FRAME);
                frames.extend(starts.zip(received.map(|header| header.msg_len as usize)));
                *has_more = frames.len() == Inbox::ROOM;
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

/// A receiving socket whose frames are in memory shared with the kernel. It receives nothing until
/// [`PacketSocket::put_behind`].
#[derive(Debug)]
pub struct RingSocket {
    socket: PacketSocket,
    ring: Ring,
}

impl RingSocket {
    /// For frames of `ethertype` on the interface `index`: room for at least `count` frames of up to `length` octets. Longer
    /// ones are queued. Waits for all processors, some ten milliseconds.
    pub fn prepare(index: u32, ethertype: u16, count: usize, length: usize) -> io::Result<Self> {
        let socket = PacketSocket::open()?;
        socket.0.attach_filter(&[statement(BPF_RET | BPF_K, 0)])?;
        socket.set_buffer(BUFFER)?;
        let ring = Ring::of(&socket.0, count, length)?;
        socket.bind(index, ethertype)?;
        Ok(Self { socket, ring })
    }

    /// Whether at least a quarter of the ring is full. From three quarters on the kernel gives frames to the other socket.
    pub fn is_a_quarter_full(&self) -> bool {
        self.ring.is_a_quarter_full()
    }

    /// Number of frames that wait in the ring.
    pub fn waiting(&self) -> usize {
        self.ring.waiting()
    }

    /// Moves at most `most` frames from the ring to `inbox`, as many as are waiting and `inbox` has room for. Returns how many
    /// slots were read.
    pub fn receive(&self, inbox: &mut Inbox, most: usize) -> usize {
        inbox.clear();
        let most = most.min(Inbox::ROOM);
        let read = (0..most).take_while(|_| {
            let taken = self.ring.take(|frame| match frame {
                InRing::Whole(frame) => {
                    inbox.add(frame);
                    false
                }
                InRing::Queued => true,
                InRing::Lost => false,
            });
            if taken == Some(true) {
                self.receive_queued(inbox);
            }
            taken.is_some()
        });
        let read = read.count();
        inbox.has_more = self.ring.has_frame();
        read
    }

    /// Reads a frame that is longer than a slot.
    fn receive_queued(&self, inbox: &mut Inbox) {
        let Some((start, room)) = inbox.room() else { return };
        // Once an error is reported that happened before, such as that the interface was down.
        let received =
            (0..2).find_map(|_| recv(self.socket.0.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT).ok());
        inbox.frames.extend(received.map(|length| (start, length)));
    }
}

/// The value of the option `PACKET_FANOUT`: a program chooses the socket, and another one gets the frame if that has no room.
const fn fanout(group: u16, flags: u32) -> u32 {
    group as u32 | (libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_ROLLOVER | flags) << 16
}

impl AsRawFd for RingSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for RingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
