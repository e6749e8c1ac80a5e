//! The transmit side of one interface: adverts first, then announcements in batches, so that hundreds of addresses do
//! not delay an advert.

pub mod peers;
pub mod routed;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use nix::errno::Errno;
use vrrpd_common::wire::frame::{gratuitous_arp, unsolicited_na};
use vrrpd_common::{Duration, Instant, MacAddr};
use vrrpd_engine::RouterId;
use vrrpd_engine::config::Pauses;
use vrrpd_engine::spaced::{Kind, Spaced};

use crate::sys::packet::{BATCH, Frame, PacketSocket};
use routed::Packet;

/// Initial backoff after a full queue; doubled while it is still full.
const FULL_QUEUE: Duration = Duration::from_millis(1);
/// Doublings for adverts, of which the next ones are due soon: up to 4 ms.
const ADVERT_DOUBLINGS: u32 = 2;
/// Doublings for announcements: up to 64 ms.
const ANNOUNCEMENT_DOUBLINGS: u32 = 6;
/// How long a resignation may wait for a full queue; later it is of no use.
const RESIGNATION: Duration = Duration::from_secs(1);
/// Maximum number of queued announcements: a thousand routers with a few addresses each.
const MAX_WAITING: usize = 1 << 16;

/// The frames of an advert.
#[derive(Clone, Debug)]
pub enum AdvertFrames {
    /// To a multicast group.
    Group(Frame),
    /// To each of the peers.
    Peers(Rc<[Packet]>),
}

/// The transmit side of an interface.
#[derive(Debug)]
pub struct Transmitter<S = PacketSocket> {
    socket: S,
    adverts: Vec<QueuedAdvert>,
    announcements: VecDeque<(RouterId, Frame)>,
    /// Announcements with pauses.
    spaced: Spaced<Frame>,
    /// Routers whose last advert was not sent, with the time of their first unsent one.
    unsent: BTreeMap<RouterId, Instant>,
    /// Routers of sent adverts, one entry per advert.
    sent: Vec<RouterId>,
    /// Separate, since adverts wait less than announcements.
    adverts_wait: BackOff,
    announcements_wait: BackOff,
}

/// A socket that frames are sent on.
pub trait Sender {
    /// Sends frames in order, as far as the queue takes them, and returns their number. An error concerns the first
    /// one.
    fn send(&self, frames: &[Frame]) -> io::Result<usize>;
}

impl Sender for PacketSocket {
    fn send(&self, frames: &[Frame]) -> io::Result<usize> {
        Self::send(self, frames)
    }
}

/// Backoff for a full queue.
#[derive(Debug, Default)]
struct BackOff {
    /// Number of times in a row that it was full.
    full: u32,
    /// No attempt before this time.
    until: Option<Instant>,
}

impl BackOff {
    /// Whether an attempt may be made.
    fn is_over(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now);
        self.until.is_none()
    }

    /// Handles that the queue was full after `sent` frames.
    fn begin(&mut self, now: Instant, sent: usize, doublings: u32) {
        if sent > 0 {
            self.full = 0;
        }
        self.until = Some(now + FULL_QUEUE.saturating_mul(1 << self.full));
        self.full = (self.full + 1).min(doublings);
    }

    /// Time of the next attempt.
    fn until(&self, now: Instant) -> Instant {
        self.until.unwrap_or(now)
    }

    /// Handles that the queue took all frames.
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[derive(Debug)]
struct QueuedAdvert {
    router: RouterId,
    frame: Frame,
    resigns: bool,
}

/// Frames that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// The interface accepts no frames.
    #[error("{count} frames were not sent: {error}")]
    All {
        /// Number of frames.
        count: usize,
        /// The error.
        error: io::Error,
    },
    /// The interface refuses this frame.
    #[error("a frame of {octets} octets was not sent: {error}")]
    One {
        /// Its router.
        router: RouterId,
        /// Its length in octets.
        octets: usize,
        /// The error.
        error: io::Error,
    },
}

impl Transmitter {
    /// A transmitter for the interface `index`.
    pub fn open(index: u32) -> io::Result<Self> {
        Ok(Self::over(PacketSocket::sender(index)?))
    }
}

impl AsFd for Transmitter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: Sender> Transmitter<S> {
    /// A transmitter for this socket.
    pub(crate) fn over(socket: S) -> Self {
        Self {
            socket,
            adverts: Vec::new(),
            announcements: VecDeque::new(),
            spaced: Spaced::default(),
            unsent: BTreeMap::new(),
            sent: Vec::new(),
            adverts_wait: BackOff::default(),
            announcements_wait: BackOff::default(),
        }
    }

    /// Drops all queued frames, and returns the socket.
    pub fn into_sender(self) -> S {
        self.socket
    }

    /// Queues an advert for the next [`Transmitter::flush`]. Replaces any queued advert of this router.
    pub fn advert(&mut self, router: RouterId, frame: Frame, resigns: bool) {
        let advert = QueuedAdvert { router, frame, resigns };
        match self.adverts.iter_mut().find(|waiting| waiting.router == router) {
            Some(waiting) => {
                if waiting.resigns && !resigns {
                    self.unsent.remove(&router);
                }
                *waiting = advert;
            }
            None => self.adverts.push(advert),
        }
    }

    /// Routers whose last advert was not sent, with the time of their first unsent one.
    pub fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        self.unsent.iter().map(|(router, since)| (*router, *since))
    }

    /// Takes the routers of sent adverts, one entry per advert.
    pub fn take_sent(&mut self) -> impl Iterator<Item = RouterId> {
        self.sent.drain(..)
    }

    /// Queues an announcement, sent after the adverts.
    pub fn announcement(&mut self, router: RouterId, frame: Frame) {
        if self.announcements.len() < MAX_WAITING {
            self.announcements.push_back((router, frame));
        }
    }

    /// Queues announcements for the addresses of a router, `count` times each, with these pauses. Returns the number of
    /// frames.
    pub fn announce(&mut self, router: RouterId, frames: &[Frame], count: u8, pauses: Pauses) -> usize {
        let mut taken = 0;
        for (kind, pause) in [(Kind::Arp, pauses.arp), (Kind::NeighbourAdvert, pauses.na)] {
            let of_kind: Vec<Frame> =
                frames.iter().filter(|frame| kind_of(frame) == kind).map(Frame::clone).collect();
            if of_kind.is_empty() {
                continue;
            }
            if pause == Duration::ZERO {
                for frame in (0..count).flat_map(|_| &of_kind) {
                    self.announcement(router, Frame::clone(frame));
                }
                taken += of_kind.len() * usize::from(count);
            } else {
                taken += self.spaced.push(router, kind, &of_kind, count, pause);
            }
        }
        taken
    }

    /// Drops the queued frames of a router that is no longer Master, except its resignation.
    pub fn withdraw(&mut self, router: RouterId) {
        self.adverts.retain(|advert| advert.router != router || advert.resigns);
        self.announcements.retain(|(whose, _)| *whose != router);
        self.spaced.withdraw(router);
        self.unsent.remove(&router);
    }

    /// Sends the adverts, then one batch of announcements if no advert is left.
    pub fn flush(&mut self, now: Instant) -> Result<(), Unsent> {
        while !self.adverts.is_empty() {
            if !self.adverts_wait.is_over(now) {
                return Ok(());
            }
            let frames: Vec<Frame> =
                self.adverts.iter().take(BATCH).map(|advert| Rc::clone(&advert.frame)).collect();
            match self.socket.send(&frames) {
                Ok(0) => {
                    self.adverts_wait.begin(now, 0, ADVERT_DOUBLINGS);
                    self.note_waiting(now);
                }
                Ok(sent) => {
                    for advert in self.adverts.drain(..sent) {
                        self.unsent.remove(&advert.router);
                        self.sent.push(advert.router);
                    }
                    self.adverts_wait.reset();
                }
                Err(error) if is_the_frame_s(&error) => {
                    let advert = self.adverts.remove(0);
                    self.note_failed(now, &advert);
                    let QueuedAdvert { router, frame, .. } = advert;
                    return Err(Unsent::One { router, octets: frame.len(), error });
                }
                Err(error) => return Err(self.drop_all(now, error)),
            }
        }
        let batch: Vec<Frame> =
            self.announcements.iter().take(BATCH).map(|(_, frame)| Rc::clone(frame)).collect();
        if batch.is_empty() && self.spaced.is_empty() {
            self.announcements_wait.reset();
            return Ok(());
        }
        if !self.announcements_wait.is_over(now) {
            return Ok(());
        }
        if batch.is_empty() {
            return self.flush_spaced(now);
        }
        match self.socket.send(&batch) {
            Ok(sent) => {
                self.announcements.drain(..sent);
                if sent < batch.len() {
                    self.announcements_wait.begin(now, sent, ANNOUNCEMENT_DOUBLINGS);
                } else {
                    self.announcements_wait.reset();
                }
                Ok(())
            }
            Err(error) => Err(self.drop_all(now, error)),
        }
    }

    /// Sends the announcement of each kind whose pause is over.
    fn flush_spaced(&mut self, now: Instant) -> Result<(), Unsent> {
        let due: Vec<(Kind, Frame)> =
            self.spaced.due(now).map(|(kind, frame)| (kind, Frame::clone(frame))).collect();
        for (kind, frame) in due {
            match self.socket.send(&[frame]) {
                Ok(0) => {
                    self.announcements_wait.begin(now, 0, ANNOUNCEMENT_DOUBLINGS);
                    return Ok(());
                }
                Ok(_) => self.spaced.sent(now, kind),
                Err(error) => return Err(self.drop_all(now, error)),
            }
        }
        self.announcements_wait.reset();
        Ok(())
    }

    /// When [`Transmitter::flush`] is due again; `None`: nothing is queued.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.adverts.is_empty() {
            return Some(self.adverts_wait.until(now));
        }
        if !self.announcements.is_empty() {
            return Some(self.announcements_wait.until(now));
        }
        self.spaced.due_at().map(|due_at| due_at.max(self.announcements_wait.until(now)))
    }

    /// Notes that the queue is full.
    fn note_waiting(&mut self, now: Instant) {
        let unsent = &mut self.unsent;
        self.adverts.retain(|advert| {
            let since = *unsent.entry(advert.router).or_insert(now);
            let is_late = advert.resigns && now.saturating_since(since) >= RESIGNATION;
            if is_late {
                unsent.remove(&advert.router);
            }
            !is_late
        });
    }

    /// Notes that this advert failed; it is not sent again.
    fn note_failed(&mut self, now: Instant, advert: &QueuedAdvert) {
        if advert.resigns {
            self.unsent.remove(&advert.router);
        } else {
            self.unsent.entry(advert.router).or_insert(now);
        }
    }

    /// Number of queued frames.
    pub fn waiting(&self) -> usize {
        self.adverts.len() + self.announcements.len() + self.spaced.len()
    }

    fn drop_all(&mut self, now: Instant, error: io::Error) -> Unsent {
        let count = self.waiting();
        for advert in std::mem::take(&mut self.adverts) {
            self.note_failed(now, &advert);
        }
        self.announcements.clear();
        self.spaced.clear();
        Unsent::All { count, error }
    }
}

/// Announcements of these addresses with this MAC address, one for each.
pub fn announcements(mac: MacAddr, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Frame> {
    let frame = |address| match address {
        IpAddr::V4(address) => Frame::from(&gratuitous_arp(mac, address)[..]),
        IpAddr::V6(address) => Frame::from(&unsolicited_na(mac, address)[..]),
    };
    addresses.into_iter().map(frame).collect()
}

/// The kind of an announcement, by its EtherType.
fn kind_of(frame: &Frame) -> Kind {
    match frame.get(12..14) {
        Some([0x86, 0xdd]) => Kind::NeighbourAdvert,
        Some(_) | None => Kind::Arp,
    }
}

/// Whether the error concerns this frame only.
fn is_the_frame_s(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMSGSIZE | Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use vrrpd_engine::ids::Id as _;

    use super::*;

    /// Takes as many frames as there is room for, or fails.
    #[derive(Default)]
    struct FakeSocket {
        room: Cell<usize>,
        refuses: Cell<Option<Errno>>,
        taken: RefCell<Vec<u8>>,
    }

    impl Sender for FakeSocket {
        fn send(&self, frames: &[Frame]) -> io::Result<usize> {
            if let Some(errno) = self.refuses.get() {
                return Err(errno.into());
            }
            let sent = frames.len().min(self.room.get());
            self.room.set(self.room.get() - sent);
            self.taken.borrow_mut().extend(frames[..sent].iter().map(|frame| frame[0]));
            Ok(sent)
        }
    }

    const ADVERT: u8 = 1;
    const ANNOUNCEMENT: u8 = 2;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1) + Duration::from_millis(millis)
    }

    /// With announcements that wait for room.
    fn full() -> Transmitter<FakeSocket> {
        let mut transmitter = Transmitter::over(FakeSocket::default());
        for _ in 0..3 * BATCH {
            transmitter.announcement(RouterId::FIRST, Frame::from([ANNOUNCEMENT]));
        }
        transmitter
    }

    /// Flushes whenever due, until this time.
    fn run(transmitter: &mut Transmitter<FakeSocket>, from: u64, to: u64) -> u64 {
        let mut flushes = 0;
        let mut now = at(from);
        while now < at(to) {
            transmitter.flush(now).expect("the queue takes what it takes");
            flushes += 1;
            let Some(next) = transmitter.deadline(now) else { break };
            now = next;
        }
        flushes
    }

    #[test]
    fn an_advert_does_not_wait_behind_announcements_for_which_there_is_no_room() {
        let mut transmitter = full();
        run(&mut transmitter, 0, 500);
        assert!(transmitter.deadline(at(500)) >= Some(at(505)), "they are tried seldom by now");
        transmitter.advert(RouterId::FIRST, Frame::from([ADVERT]), false);
        transmitter.socket.room.set(1);
        transmitter.flush(at(500)).expect("there is room");
        assert_eq!(transmitter.socket.taken.borrow()[..], [ADVERT]);
    }

    #[test]
    fn an_advert_for_which_there_is_no_room_is_tried_again_within_4_ms_and_before_any_announcement() {
        let mut transmitter = full();
        transmitter.advert(RouterId::FIRST, Frame::from([ADVERT]), false);
        let flushes = run(&mut transmitter, 0, 100);
        assert!((25..30).contains(&flushes), "{flushes} times in 100 ms");
        transmitter.socket.room.set(3);
        run(&mut transmitter, 104, 105);
        assert_eq!(transmitter.socket.taken.borrow()[..], [ADVERT, ANNOUNCEMENT, ANNOUNCEMENT]);
    }

    #[test]
    fn announcements_are_tried_soon_again_once_the_queue_takes_some() {
        let mut transmitter = full();
        run(&mut transmitter, 0, 500);
        transmitter.socket.room.set(1);
        let next = transmitter.deadline(at(500)).expect("they wait");
        transmitter.flush(next).expect("there is room for one");
        assert_eq!(transmitter.deadline(next), Some(next + FULL_QUEUE));
    }

    #[test]
    fn adverts_and_announcements_without_a_pause_do_not_wait_for_those_with_one() {
        let mut transmitter = Transmitter::over(FakeSocket::default());
        transmitter.socket.room.set(100);
        let frame = |number: u8| Frame::from([[number; 12].as_slice(), &[0x08, 0x06]].concat());
        let pauses = Pauses { arp: Duration::from_millis(100), na: Duration::ZERO };
        assert_eq!(transmitter.announce(RouterId::FIRST, &[frame(3), frame(4)], 2, pauses), 4);
        transmitter.announcement(RouterId::FIRST, Frame::from([ANNOUNCEMENT]));
        transmitter.advert(RouterId::FIRST, Frame::from([ADVERT]), false);
        run(&mut transmitter, 0, 250);
        assert_eq!(transmitter.socket.taken.borrow()[..], [ADVERT, ANNOUNCEMENT, 3, 4, 3]);
        assert_eq!(transmitter.deadline(at(250)), Some(at(300)));
        transmitter.withdraw(RouterId::FIRST);
        assert_eq!((transmitter.waiting(), transmitter.deadline(at(250))), (0, None));
    }

    fn unsent(transmitter: &Transmitter<FakeSocket>) -> Vec<(u32, Instant)> {
        transmitter.unsent().map(|(router, since)| (router.place(), since)).collect()
    }

    #[test]
    fn it_is_known_since_when_no_advert_of_a_router_has_gone_out() {
        let mut transmitter = Transmitter::over(FakeSocket::default());
        let advertise = |transmitter: &mut Transmitter<FakeSocket>, now: u64, errno| {
            transmitter.socket.refuses.set(errno);
            transmitter.advert(RouterId::new(1, 0), Frame::from([ADVERT]), false);
            let result = transmitter.flush(at(now));
            (result.is_ok(), unsent(transmitter), transmitter.take_sent().count())
        };
        let since = |millis| vec![(1, at(millis))];
        assert_eq!(advertise(&mut transmitter, 0, None), (true, since(0), 0), "the queue is full");
        for (now, errno) in [(100, Errno::EPERM), (200, Errno::EMSGSIZE), (300, Errno::ENETDOWN)] {
            assert_eq!(advertise(&mut transmitter, now, Some(errno)), (false, since(0), 0), "{errno}");
        }
        transmitter.socket.room.set(1);
        assert_eq!(advertise(&mut transmitter, 400, None), (true, vec![], 1));
        assert_eq!(advertise(&mut transmitter, 500, Some(Errno::EPERM)), (false, since(500), 0));
        transmitter.withdraw(RouterId::new(1, 0));
        assert_eq!(unsent(&transmitter), []);
    }

    #[test]
    fn a_resignation_waits_a_second_for_room_and_no_longer() {
        let mut transmitter = Transmitter::over(FakeSocket::default());
        transmitter.advert(RouterId::FIRST, Frame::from([ADVERT]), true);
        run(&mut transmitter, 0, 1000);
        assert!(transmitter.deadline(at(1000)).is_some());
        run(&mut transmitter, 1000, 1010);
        assert_eq!((transmitter.deadline(at(1010)), unsent(&transmitter)), (None, vec![]));
    }

    #[test]
    fn all_go_out_when_there_is_room() {
        let mut transmitter = full();
        transmitter.socket.room.set(usize::MAX);
        transmitter.flush(at(0)).expect("there is room");
        assert_eq!(transmitter.socket.taken.borrow().len(), BATCH, "one batch at a time");
        transmitter.flush(at(0)).expect("there is room");
        transmitter.flush(at(0)).expect("there is room");
        assert_eq!(transmitter.deadline(at(0)), None);
    }
}
