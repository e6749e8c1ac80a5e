//! The process connector: notifications of the kernel about started programs. It reports those of the whole machine,
//! and only in the initial network and pid namespaces, so it is used only while a process is missing.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::rc::{Rc, Weak};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use nix::errno::Errno;
use nix::sys::socket::{NetlinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use vrrpd_engine::track::ProcessName;

use super::proc::is_called;
use crate::sys::packet::{jump, statement};
use crate::sys::watch::{self, Watched};

/// `NETLINK_CONNECTOR`
const CONNECTOR: i32 = 11;
/// `CN_IDX_PROC`, as multicast group and as part of the address of messages.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`, `PROC_CN_MCAST_IGNORE`
const LISTEN: u32 = 1;
const IGNORE: u32 = 2;
/// Kinds of events: acknowledgement, exec, change of the process name.
const ACK: u32 = 0;
const EXEC: u32 = 2;
const COMM: u32 = 0x200;
/// Offset of an event's kind, after the headers of netlink (16 octets) and the connector (20).
const KIND_AT: usize = 36;
/// Offset of its process, or of the error in an acknowledgement.
const ERROR_AT: usize = 52;
const PROCESS_AT: usize = 56;
/// Maximum length of an event with its headers.
const MAX_LEN: usize = 256;
/// Maximum number of queued starts; on overflow /proc is read.
const WAITING: usize = 256;

/// The subscription shared by all checks, while it exists.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    feed: RefCell<Weak<Feed>>,
    /// The kernel refused the subscription.
    is_refused: Cell<bool>,
}

/// A subscription, active while it exists.
#[derive(Debug)]
pub(super) struct Subscription {
    started: broadcast::Receiver<u32>,
    _feed: Rc<Feed>,
}

#[derive(Debug)]
struct Feed {
    told: broadcast::Sender<u32>,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriptions {
    /// Subscribes to started programs; `None` if the kernel refuses.
    pub(super) fn subscribe(&self) -> Option<Subscription> {
        if self.is_refused.get() {
            return None;
        }
        if let Some(feed) = self.feed.borrow().upgrade() {
            return Some(Subscription { started: feed.told.subscribe(), _feed: feed });
        }
        let Ok(connector) = Connector::open() else {
            self.is_refused.set(true);
            return None;
        };
        let (told, started) = broadcast::channel(WAITING);
        let task = tokio::task::spawn_local(pass_on(connector, told.clone()));
        let feed = Rc::new(Feed { told, task });
        *self.feed.borrow_mut() = Rc::downgrade(&feed);
        Some(Subscription { started, _feed: feed })
    }
}

impl Subscription {
    /// Returns when a process with this name has started or may have.
    pub(super) async fn hears_of(&mut self, name: &ProcessName) {
        while let Ok(pid) = self.started.recv().await {
            if is_called(pid, name) {
                return;
            }
        }
    }
}

async fn pass_on(connector: Connector, told: broadcast::Sender<u32>) {
    let mut buffer = [0; MAX_LEN];
    while let Ok(mut ready) = connector.0.readable().await {
        match connector.read(&mut buffer) {
            Ok(message) => {
                if let Some(Event { kind: EXEC | COMM, process, .. }) = Event::parse(message) {
                    // Without receivers this task ends soon.
                    let _ = told.send(process);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            // Events were lost: all checks look again.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                for _ in 0..=WAITING {
                    let _ = told.send(0);
                }
            }
            Err(_) => return,
        }
    }
}

/// A socket of the process connector.
#[derive(Debug)]
struct Connector(AsyncFd<Watched<Socket>>);

impl Connector {
    /// Subscribes. The kernel's acknowledgement has arrived when the request was sent, or never comes.
    fn open() -> io::Result<Self> {
        let socket =
            Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(Protocol::from(CONNECTOR)))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&only([ACK, EXEC, COMM]))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, PROC))?;
        let connector = Self(watch::socket(socket)?);
        connector.say(LISTEN)?;
        let mut buffer = [0; MAX_LEN];
        loop {
            match Event::parse(connector.read(&mut buffer)?) {
                Some(Event { kind: ACK, error: 0, .. }) => return Ok(connector),
                Some(Event { kind: ACK, .. }) => return Err(io::ErrorKind::PermissionDenied.into()),
                Some(_) | None => {}
            }
        }
    }

    fn say(&self, what: u32) -> io::Result<usize> {
        self.0.get_ref().0.send(&request(what))
    }

    fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = (&self.0.get_ref().0).read(buffer)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        // Older kernels count listeners by these requests, not by sockets.
        let _ = self.say(IGNORE);
    }
}

/// A request to the connector: a netlink message with a connector message with a number.
fn request(what: u32) -> Vec<u8> {
    const LEN: u32 = 16 + 20 + 4;
    const DONE: u32 = 3;
    // Length; type (`NLMSG_DONE`) and flags; sequence number; port. Index and value of the connector's address; sequence
    // number; acknowledgement; length of the data and flags; the data.
    let words = [LEN, native_pair(DONE, 0), 0, 0, PROC, 1, 0, 0, native_pair(4, 0), what];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Two 16-bit numbers as one word in memory order.
const fn native_pair(first: u32, second: u32) -> u32 {
    if cfg!(target_endian = "little") { first | second << 16 } else { first << 16 | second }
}

/// A filter for events of these kinds. It reads words in network byte order.
fn only(kinds: [u32; 3]) -> [socket2::SockFilter; 6] {
    const OFFSET: u32 = 36;
    let [ack, exec, comm] = kinds.map(u32::to_be);
    [
        statement(BPF_LD | BPF_W | BPF_ABS, OFFSET),
        jump(BPF_JMP | BPF_JEQ | BPF_K, ack, 3, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, exec, 2, 0),
        jump(BPF_JMP | BPF_JEQ | BPF_K, comm, 1, 0),
        statement(BPF_RET | BPF_K, 0),
        statement(BPF_RET | BPF_K, u32::MAX),
    ]
}

/// A message of the connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    kind: u32,
    /// For an acknowledgement.
    error: u32,
    /// The process, not the thread, for other events.
    process: u32,
}

impl Event {
    fn parse(message: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
        let (kind, error) = (word(KIND_AT)?, word(ERROR_AT)?);
        Some(Self { kind, error, process: word(PROCESS_AT).unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_kind_behind_the_headers_and_its_process_behind_that() {
        let mut message = vec![0; 80];
        message[36..40].copy_from_slice(&EXEC.to_ne_bytes());
        message[52..56].copy_from_slice(&4711_u32.to_ne_bytes());
        message[56..60].copy_from_slice(&4712_u32.to_ne_bytes());
        assert_eq!(Event::parse(&message), Some(Event { kind: EXEC, error: 4711, process: 4712 }));
        assert_eq!(Event::parse(&message[..52]), None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_kernel_tells_of_a_program_that_starts_or_refuses_to() {
        match Connector::open() {
            Ok(connector) => {
                let mut child = std::process::Command::new("/bin/true").spawn().expect("it can be started");
                let mut buffer = [0; MAX_LEN];
                loop {
                    let mut ready = connector.0.readable().await.expect("the socket is open");
                    match connector.read(&mut buffer).map(Event::parse) {
                        Ok(Some(Event { kind: EXEC, process, .. })) if process == child.id() => break,
                        Ok(_) => {}
                        Err(_) => ready.clear_ready(),
                    }
                }
                assert!(child.wait().expect("it is a child").success());
            }
            // In another namespace, or without the capability.
            Err(error) => {
                let number = error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw);
                let refusals = [Errno::EPERM, Errno::ECONNREFUSED, Errno::EAGAIN, Errno::EPROTONOSUPPORT];
                assert!(refusals.contains(&number), "{error}");
            }
        }
    }

    #[test]
    fn a_request_is_forty_octets() {
        let request = request(LISTEN);
        assert_eq!(request.len(), 40);
        assert_eq!(request[..4], 40_u32.to_ne_bytes());
        assert_eq!(request[4..6], 3_u16.to_ne_bytes());
        assert_eq!(request[32..34], 4_u16.to_ne_bytes());
        assert_eq!(request[36..], LISTEN.to_ne_bytes());
    }
}
