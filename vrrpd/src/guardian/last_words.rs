//! What the guardian sends for a dead daemon: resignations, then announcements. Everything is sent, in several steps if
//! queues are full.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread;

use vrrpd_common::{Duration, Instant};
use vrrpd_engine::RouterId;

use super::message::{Mastery, Resignation};
use crate::clock;
use crate::sys::packet::{Frame, PacketSocket};
use crate::transmit::peers::PeerTransmitter;
use crate::transmit::routed::Packet;
use crate::transmit::{Sender, Transmitter};

/// Frames to send, by interface.
#[derive(Debug)]
pub(super) struct LastWords<S = PacketSocket> {
    transmitters: BTreeMap<u32, Transmitter<S>>,
    peers: PeerTransmitter,
    failed: Vec<Failed>,
}

/// An interface on which not everything could be sent.
#[derive(Debug)]
pub(super) struct Failed {
    /// Its index.
    pub(super) interface: u32,
    /// The error.
    pub(super) error: io::Error,
}

impl LastWords {
    pub(super) fn new() -> Self {
        Self { transmitters: BTreeMap::new(), peers: PeerTransmitter::default(), failed: Vec::new() }
    }

    /// Queues the adverts that a daemon sends at its end.
    pub(super) fn resign(&mut self, masters: &BTreeMap<RouterId, Mastery>) {
        for mastery in masters.values() {
            match &mastery.resignation {
                Some(Resignation::Group(frame)) => {
                    if let Some(transmitter) = self.on(mastery.interface) {
                        transmitter.advert(mastery.router, Rc::from(&frame[..]), true);
                    }
                }
                Some(Resignation::Peers { route, packets }) => {
                    if let Err(error) = self.peers.set_route(mastery.router, *route) {
                        self.failed.push(Failed { interface: mastery.interface, error });
                    }
                    let packet =
                        |(to, frame): &(IpAddr, Vec<u8>)| Packet { to: *to, frame: Rc::from(&frame[..]) };
                    self.peers.advert(mastery.router, packets.iter().map(packet).collect(), true);
                }
                None => {}
            }
        }
    }

    /// Queues announcements.
    pub(super) fn announce(&mut self, interface: u32, frames: Vec<Frame>) {
        if let Some(transmitter) = self.on(interface) {
            for frame in frames {
                transmitter.announcement(RouterId::FIRST, frame);
            }
        }
    }

    /// The transmitter of this interface. Its socket stays open, since closing it would take longer than everything
    /// else together.
    fn on(&mut self, interface: u32) -> Option<&mut Transmitter> {
        match self.transmitters.entry(interface) {
            Entry::Occupied(open) => Some(open.into_mut()),
            Entry::Vacant(place) => match Transmitter::open(interface) {
                Ok(opened) => Some(place.insert(opened)),
                Err(error) => {
                    self.failed.push(Failed { interface, error });
                    None
                }
            },
        }
    }

    /// The sockets, to be closed.
    pub(super) fn into_sockets(self) -> impl Iterator<Item = OwnedFd> {
        let to_groups = self.transmitters.into_values().map(|one| OwnedFd::from(one.into_sender()));
        to_groups.chain(self.peers.into_senders().map(OwnedFd::from))
    }
}

impl<S: Sender> LastWords<S> {
    /// Sends until this time as queues permit; returns whether everything was sent.
    pub(super) fn send(&mut self, until: Instant) -> bool {
        loop {
            let now = clock::now();
            match self.send_now(now) {
                None => return true,
                Some(next) if next < until => thread::sleep(next.saturating_since(now).into()),
                Some(_) => return false,
            }
        }
    }

    /// Sends what fits into the queues; returns when to try again.
    fn send_now(&mut self, now: Instant) -> Option<Instant> {
        self.peers.flush(now);
        let mut next = self.peers.deadline(now);
        for (interface, transmitter) in &mut self.transmitters {
            loop {
                if let Err(unsent) = transmitter.flush(now) {
                    let error = io::Error::other(unsent);
                    self.failed.push(Failed { interface: *interface, error });
                }
                match transmitter.deadline(now) {
                    None => break,
                    Some(due) if due <= now => {}
                    Some(due) => {
                        next = Some(next.map_or(due, |next| next.min(due)));
                        break;
                    }
                }
            }
        }
        next
    }

    /// Sends the rest within this time; returns what could not be sent.
    pub(super) fn finish(&mut self, patience: Duration) -> Vec<Failed> {
        if !self.send(clock::now() + patience) {
            let to_peers = self.peers.waiting();
            if to_peers > 0 {
                let error =
                    io::Error::other(format!("adverts of {to_peers} routers with peers were not sent"));
                self.failed.push(Failed { interface: 0, error });
            }
            for (interface, transmitter) in &self.transmitters {
                let count = transmitter.waiting();
                if count > 0 {
                    let error = io::Error::other(format!("{count} frames were not sent: its queue is full"));
                    self.failed.push(Failed { interface: *interface, error });
                }
            }
        }
        std::mem::take(&mut self.failed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use vrrpd_engine::ids::Id as _;

    use super::*;

    /// Accepts a few frames per call, and none in every other call.
    #[derive(Default)]
    struct Slow {
        calls: Cell<usize>,
        taken: Cell<usize>,
    }

    impl Sender for Slow {
        fn send(&self, frames: &[Frame]) -> io::Result<usize> {
            self.calls.set(self.calls.get() + 1);
            let sent = if self.calls.get().is_multiple_of(2) { 0 } else { frames.len().min(30) };
            self.taken.set(self.taken.get() + sent);
            Ok(sent)
        }
    }

    /// A queue that stays full.
    struct FullQueue;

    impl Sender for FullQueue {
        fn send(&self, _: &[Frame]) -> io::Result<usize> {
            Ok(0)
        }
    }

    fn frame() -> Frame {
        Frame::from([0_u8; 60])
    }

    #[test]
    fn all_are_sent_by_a_queue_that_is_full_again_and_again() {
        let mut transmitter = Transmitter::over(Slow::default());
        for router in 0..100 {
            transmitter.advert(RouterId::new(router, 0), frame(), true);
            transmitter.announcement(RouterId::FIRST, frame());
        }
        let mut words = LastWords {
            transmitters: [(1, transmitter)].into(),
            peers: PeerTransmitter::default(),
            failed: Vec::new(),
        };
        assert!(words.finish(Duration::from_secs(60)).is_empty());
        let sent: Vec<_> =
            words.transmitters.into_values().map(|there| there.into_sender().taken.get()).collect();
        assert_eq!(sent, [200]);
    }

    #[test]
    fn a_queue_that_is_full_for_good_is_not_waited_for_without_end() {
        let mut transmitter = Transmitter::over(FullQueue);
        transmitter.advert(RouterId::FIRST, frame(), true);
        let mut words = LastWords {
            transmitters: [(7, transmitter)].into(),
            peers: PeerTransmitter::default(),
            failed: Vec::new(),
        };
        let failed = words.finish(Duration::from_millis(20));
        let said: Vec<_> = failed.iter().map(|failed| (failed.interface, failed.error.to_string())).collect();
        assert_eq!(said, [(7, "1 frames were not sent: its queue is full".to_owned())]);
    }
}
