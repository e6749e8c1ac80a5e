//! What goes out on one interface: adverts first, then announcements of addresses in batches, so that hundreds of
//! addresses do not delay an advert.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use vrrpd_common::{Duration, Instant};

use crate::sys::packet::{BATCH, PacketSocket};

/// How long to wait for a queue that is full.
const FULL_QUEUE: Duration = Duration::from_millis(1);
/// Announcements that may wait: those of a thousand routers with a few addresses each.
const MOST_WAITING: usize = 1 << 16;

/// A complete Ethernet frame.
pub type Frame = Rc<[u8]>;

/// The sending side of an interface.
#[derive(Debug)]
pub struct Transmitter {
    socket: PacketSocket,
    adverts: Vec<Frame>,
    announcements: VecDeque<Frame>,
    /// The queue of the interface was full; nothing is tried before this time.
    full_until: Option<Instant>,
}

/// Frames that could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("{count} frames were not sent: {error}")]
pub struct Unsent {
    /// How many.
    pub count: usize,
    /// Why.
    pub error: io::Error,
}

impl Transmitter {
    /// Sends on the interface `index`.
    pub fn open(index: u32) -> io::Result<Self> {
        let socket = PacketSocket::sender(index)?;
        Ok(Self { socket, adverts: Vec::new(), announcements: VecDeque::new(), full_until: None })
    }

    /// Sent with the next [`Transmitter::flush`].
    pub fn advert(&mut self, frame: Frame) {
        self.adverts.push(frame);
    }

    /// Sent some time after the adverts.
    pub fn announcement(&mut self, frame: Frame) {
        if self.announcements.len() < MOST_WAITING {
            self.announcements.push_back(frame);
        }
    }

    /// Sends the adverts and one batch of announcements.
    pub fn flush(&mut self, now: Instant) -> Result<(), Unsent> {
        if self.full_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        self.full_until = None;
        if !self.adverts.is_empty() {
            let wanted = self.adverts.len();
            match self.socket.send(&self.adverts) {
                Ok(sent) => drop(self.adverts.drain(..sent)),
                Err(error) => {
                    self.adverts.clear();
                    self.announcements.clear();
                    return Err(Unsent { count: wanted, error });
                }
            }
            if !self.adverts.is_empty() {
                self.full_until = Some(now + FULL_QUEUE);
                return Ok(());
            }
        }
        let batch: Vec<Frame> = self.announcements.iter().take(BATCH).cloned().collect();
        if batch.is_empty() {
            return Ok(());
        }
        match self.socket.send(&batch) {
            Ok(sent) => {
                self.announcements.drain(..sent);
                if sent < batch.len() {
                    self.full_until = Some(now + FULL_QUEUE);
                }
                Ok(())
            }
            Err(error) => {
                let count = self.announcements.len();
                self.announcements.clear();
                Err(Unsent { count, error })
            }
        }
    }

    /// When [`Transmitter::flush`] has something to do again; `None`: nothing waits.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = !self.adverts.is_empty() || !self.announcements.is_empty();
        waiting.then(|| self.full_until.unwrap_or(now))
    }
}
