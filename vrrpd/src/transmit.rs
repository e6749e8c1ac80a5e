//! What goes out on one interface: adverts first, then announcements of addresses in batches, so that hundreds of
//! addresses do not delay an advert.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use nix::errno::Errno;
use vrrpd_common::wire::frame::{gratuitous_arp, unsolicited_na};
use vrrpd_common::{Duration, Instant, MacAddr};

use crate::datapath::RouterId;
use crate::interface::Interface;
use crate::sys::packet::{BATCH, PacketSocket};

/// How long to wait for a queue that is full, at first; doubled each time it is still full.
const FULL_QUEUE: Duration = Duration::from_millis(1);
/// How often it is doubled: to 64 ms.
const FULL_QUEUE_DOUBLINGS: u32 = 6;
/// Announcements that may wait: those of a thousand routers with a few addresses each.
const MOST_WAITING: usize = 1 << 16;

/// A complete Ethernet frame.
pub type Frame = Rc<[u8]>;

/// The sending side of an interface.
#[derive(Debug)]
pub struct Transmitter {
    socket: PacketSocket,
    adverts: Vec<Advert>,
    announcements: VecDeque<(RouterId, Frame)>,
    /// How often in a row the queue of the interface was full.
    full: u32,
    /// Nothing is tried before this time.
    full_until: Option<Instant>,
}

#[derive(Debug)]
struct Advert {
    router: RouterId,
    frame: Frame,
    resigns: bool,
}

/// Frames that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum Unsent {
    /// The interface takes nothing.
    #[error("{count} frames were not sent: {error}")]
    All {
        /// How many there were.
        count: usize,
        /// Why.
        error: io::Error,
    },
    /// It does not take this one.
    #[error("a frame of {octets} octets was not sent: {error}")]
    One {
        /// Whose it was.
        router: RouterId,
        /// How long it was.
        octets: usize,
        /// Why.
        error: io::Error,
    },
}

impl Transmitter {
    /// Sends on the interface `index`.
    pub fn open(index: u32) -> io::Result<Self> {
        let socket = PacketSocket::sender(index)?;
        Ok(Self { socket, adverts: Vec::new(), announcements: VecDeque::new(), full: 0, full_until: None })
    }

    /// Sent with the next [`Transmitter::flush`]. One that still waits is out of date.
    pub fn advert(&mut self, router: RouterId, frame: Frame, resigns: bool) {
        let advert = Advert { router, frame, resigns };
        match self.adverts.iter_mut().find(|waiting| waiting.router == router) {
            Some(waiting) => *waiting = advert,
            None => self.adverts.push(advert),
        }
    }

    /// Sent some time after the adverts.
    pub fn announcement(&mut self, router: RouterId, frame: Frame) {
        if self.announcements.len() < MOST_WAITING {
            self.announcements.push_back((router, frame));
        }
    }

    /// The router is not Master any more: nothing of it is sent but that it resigns.
    pub fn withdraw(&mut self, router: RouterId) {
        self.adverts.retain(|advert| advert.router != router || advert.resigns);
        self.announcements.retain(|(whose, _)| *whose != router);
    }

    /// Sends the adverts and one batch of announcements.
    pub fn flush(&mut self, now: Instant) -> Result<(), Unsent> {
        if self.full_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.full_until = None;
        while !self.adverts.is_empty() {
            let frames: Vec<Frame> =
                self.adverts.iter().take(BATCH).map(|advert| Rc::clone(&advert.frame)).collect();
            match self.socket.send(&frames) {
                Ok(0) => {
                    self.wait_for_room(now);
                    return Ok(());
                }
                Ok(sent) => drop(self.adverts.drain(..sent)),
                Err(error) if is_the_frame_s(&error) => {
                    let Advert { router, frame, .. } = self.adverts.remove(0);
                    return Err(Unsent::One { router, octets: frame.len(), error });
                }
                Err(error) => return Err(self.drop_all(error)),
            }
        }
        let batch: Vec<Frame> =
            self.announcements.iter().take(BATCH).map(|(_, frame)| Rc::clone(frame)).collect();
        if batch.is_empty() {
            self.full = 0;
            return Ok(());
        }
        match self.socket.send(&batch) {
            Ok(sent) => {
                self.announcements.drain(..sent);
                if sent < batch.len() {
                    self.wait_for_room(now);
                } else {
                    self.full = 0;
                }
                Ok(())
            }
            Err(error) => Err(self.drop_all(error)),
        }
    }

    /// When [`Transmitter::flush`] has something to do again; `None`: nothing waits.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = !self.adverts.is_empty() || !self.announcements.is_empty();
        waiting.then(|| self.full_until.unwrap_or(now))
    }

    fn wait_for_room(&mut self, now: Instant) {
        self.full_until = Some(now + FULL_QUEUE.saturating_mul(1 << self.full));
        self.full = (self.full + 1).min(FULL_QUEUE_DOUBLINGS);
    }

    fn drop_all(&mut self, error: io::Error) -> Unsent {
        let count = self.adverts.len() + self.announcements.len();
        self.adverts.clear();
        self.announcements.clear();
        Unsent::All { count, error }
    }
}

/// What tells hosts with which MAC address an interface answers for its own addresses.
pub fn own_announcements(interface: &Interface, mac: MacAddr) -> Vec<Frame> {
    let own = interface.addresses.iter().filter(|there| !there.ours && !there.tentative);
    own.map(|there| match there.address {
        IpAddr::V4(address) => Frame::from(&gratuitous_arp(mac, address)[..]),
        IpAddr::V6(address) => Frame::from(&unsolicited_na(mac, address)[..]),
    })
    .collect()
}

/// Whether it is this frame that the interface does not take, rather than any.
fn is_the_frame_s(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMSGSIZE | Errno::EINVAL))
}
