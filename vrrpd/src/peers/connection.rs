//! A connection to another process of the group.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tracing::debug;
use vrrpd_common::group::PeerId;
use vrrpd_common::{Duration, Instant};

use crate::datapath::readiness::Source;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Maximum number of packets per second; a correct peer sends a few in each of its intervals, which are 10 ms or
/// longer.
const MAX_PER_SECOND: u32 = 1000;
/// Maximum length of a packet: a number, an interface, a VRID and a family.
pub(super) const MAX_PACKET: usize = 64;
/// Event number of the listening socket, followed by those of the connections. Those of interfaces are lower.
pub(super) const LISTENER: u64 = 1 << 63;

/// A connection; its peer may not have sent a name yet.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: Source<Socket>,
    /// Pid of the peer.
    pub(super) process: i32,
    /// The socket that this process connected to; `None`: the peer made the connection.
    pub(super) made_to: Option<OsString>,
    /// The peer, once it has sent its name.
    pub(super) peer: Option<(PeerId, String)>,
    /// The last message did not fit into the socket.
    pub(super) behind: bool,
    /// Start of the second in which packets are counted.
    counted_since: Instant,
    count: u32,
}

impl Connection {
    /// A connection without packets yet.
    pub(super) fn new(socket: Source<Socket>, process: i32, made_to: Option<OsString>, now: Instant) -> Self {
        Self { socket, process, made_to, peer: None, behind: false, counted_since: now, count: 0 }
    }

    pub(super) fn name(&self) -> &str {
        self.peer.as_ref().map_or("", |(_, name)| name)
    }

    pub(super) fn send(&mut self, packet: &[u8]) {
        // The end of a peer is found when reading.
        if let Err(error) = self.socket.send(packet)
            && errno(&error) == Some(Errno::EAGAIN)
        {
            debug!(peer = self.name(), "group peer does not read");
            self.behind = true;
            self.socket.wants_room();
        }
    }

    /// Counts a packet; returns whether there are too many.
    pub(super) fn floods(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.counted_since) >= SECOND {
            (self.counted_since, self.count) = (now, 0);
        }
        self.count += 1;
        self.count > MAX_PER_SECOND
    }
}

/// A non-blocking, close-on-exec packet socket.
pub(super) fn packet_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The network namespace and name in the first packet of a connection; `None` if it is not such a packet.
pub fn introduction(packet: &[u8]) -> Option<(u64, String)> {
    let text = std::str::from_utf8(packet).ok().filter(|text| text.len() <= MAX_PACKET)?;
    let (namespace, name) = text.split_once(' ')?;
    let is_name = !name.is_empty() && !name.contains(char::is_control);
    is_name.then(|| Some((namespace.parse().ok()?, name.to_owned())))?
}

pub(super) fn number(place: usize) -> u64 {
    LISTENER + 1 + place as u64
}

pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}
