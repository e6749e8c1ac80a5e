//! Adverts to peers: a packet for each, by the system's routes.
//!
//! An advert counts as sent if it was sent to at least one peer. An unreachable peer neither affects the others nor
//! makes the router give up; if all are unreachable, that counts as an interface that accepts no frames.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use vrrpd_common::Instant;
use vrrpd_engine::RouterId;

use super::routed::{Packet, Route, RoutedSocket};
use super::{ADVERT_DOUBLINGS, BackOff, RESIGNATION};

/// A socket that packets of a route are sent on.
pub trait PacketSender: Sized {
    /// Opens a socket for this route.
    fn open(route: &Route) -> io::Result<Self>;

    /// Sends packets in order, as far as the queue takes them, and returns their number. An error concerns the first
    /// one.
    fn send(&self, packets: &[Packet]) -> io::Result<usize>;
}

impl PacketSender for RoutedSocket {
    fn open(route: &Route) -> io::Result<Self> {
        Self::open(route)
    }

    fn send(&self, packets: &[Packet]) -> io::Result<usize> {
        Self::send(self, packets)
    }
}

/// The transmit side of routers with peers.
#[derive(Debug)]
pub struct PeerTransmitter<S = RoutedSocket> {
    routes: BTreeMap<RouterId, Route>,
    /// A socket for each route in use.
    sockets: BTreeMap<Route, S>,
    adverts: Vec<QueuedAdvert>,
    wait: BackOff,
    /// Routers whose last advert was sent to no peer, with the time of their first such advert.
    unsent: BTreeMap<RouterId, Instant>,
    /// Routers of sent adverts, one entry per advert.
    sent: Vec<RouterId>,
    /// Peers to which the last advert could not be sent, with the error.
    failing: BTreeMap<(RouterId, IpAddr), io::Error>,
    /// New ones among them.
    failed: Vec<PeerFailure>,
}

#[derive(Debug)]
struct QueuedAdvert {
    router: RouterId,
    packets: Rc<[Packet]>,
    /// Number of packets that were sent or failed.
    done: usize,
    /// At least one was sent.
    has_gone: bool,
    resigns: bool,
}

/// A peer that has become unreachable.
#[derive(Debug)]
pub struct PeerFailure {
    /// Its router.
    pub router: RouterId,
    /// Its address.
    pub peer: IpAddr,
    /// The error of the system.
    pub error: String,
}

impl<S> Default for PeerTransmitter<S> {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            sockets: BTreeMap::new(),
            adverts: Vec::new(),
            wait: BackOff::default(),
            unsent: BTreeMap::new(),
            sent: Vec::new(),
            failing: BTreeMap::new(),
            failed: Vec::new(),
        }
    }
}

impl<S: PacketSender> PeerTransmitter<S> {
    /// Sets the route of a router, and opens its socket.
    pub fn set_route(&mut self, router: RouterId, route: Route) -> io::Result<()> {
        if self.routes.insert(router, route) != Some(route) {
            self.close_unused();
        }
        if let Entry::Vacant(place) = self.sockets.entry(route) {
            place.insert(S::open(&route)?);
        }
        Ok(())
    }

    /// Closes sockets of unused routes.
    fn close_unused(&mut self) {
        let Self { routes, sockets, .. } = self;
        sockets.retain(|route, _| routes.values().any(|used| used == route));
    }

    /// The route of a router.
    pub fn route(&self, router: RouterId) -> Option<&Route> {
        self.routes.get(&router)
    }

    /// Removes a router.
    pub fn remove(&mut self, router: RouterId) {
        self.adverts.retain(|advert| advert.router != router);
        self.unsent.remove(&router);
        self.failing.retain(|(whose, _), _| *whose != router);
        self.routes.remove(&router);
        self.close_unused();
    }

    /// Queues an advert for the next [`PeerTransmitter::flush`]; replaces any queued advert of this router.
    pub fn advert(&mut self, router: RouterId, packets: Rc<[Packet]>, resigns: bool) {
        let is_peer = |peer: &IpAddr| packets.iter().any(|packet| packet.to == *peer);
        self.failing.retain(|(whose, peer), _| *whose != router || is_peer(peer));
        self.adverts.retain(|waiting| waiting.router != router);
        self.adverts.push(QueuedAdvert { router, packets, done: 0, has_gone: false, resigns });
    }

    /// Drops the queued advert of a router that is no longer Master, except its resignation.
    pub fn withdraw(&mut self, router: RouterId) {
        self.adverts.retain(|advert| advert.router != router || advert.resigns);
        self.unsent.remove(&router);
    }

    /// Sends queued adverts, as far as the queue takes them.
    pub fn flush(&mut self, now: Instant) {
        if self.adverts.is_empty() || !self.wait.is_over(now) {
            return;
        }
        let mut waiting = Vec::new();
        for mut advert in std::mem::take(&mut self.adverts) {
            if self.send(&mut advert) {
                self.note_done(now, &advert);
            } else {
                let since = *self.unsent.entry(advert.router).or_insert(now);
                if advert.resigns && now.saturating_since(since) >= RESIGNATION {
                    self.unsent.remove(&advert.router);
                } else {
                    waiting.push(advert);
                }
            }
        }
        if waiting.is_empty() {
            self.wait.reset();
        } else {
            self.wait.begin(now, 0, ADVERT_DOUBLINGS);
        }
        self.adverts = waiting;
    }

    /// Sends the packets of an advert; `false`: the queue is full, and some remain.
    fn send(&mut self, advert: &mut QueuedAdvert) -> bool {
        let socket = self.routes.get(&advert.router).and_then(|route| self.sockets.get(route));
        while let Some(rest @ [first, ..]) = advert.packets.get(advert.done..) {
            let result =
                socket.map_or_else(|| Err(io::ErrorKind::NotConnected.into()), |socket| socket.send(rest));
            match result {
                Ok(0) => return false,
                Ok(count) => {
                    for packet in rest.iter().take(count) {
                        self.failing.remove(&(advert.router, packet.to));
                    }
                    advert.done += count;
                    advert.has_gone = true;
                }
                Err(error) => {
                    let (router, peer) = (advert.router, first.to);
                    let is_new = |before: &io::Error| before.kind() != error.kind();
                    if self.failing.get(&(router, peer)).is_none_or(is_new) {
                        self.failed.push(PeerFailure { router, peer, error: error.to_string() });
                    }
                    self.failing.insert((router, peer), error);
                    advert.done += 1;
                }
            }
        }
        true
    }

    fn note_done(&mut self, now: Instant, advert: &QueuedAdvert) {
        if advert.has_gone {
            self.unsent.remove(&advert.router);
            self.sent.push(advert.router);
        } else if advert.resigns {
            self.unsent.remove(&advert.router);
        } else {
            self.unsent.entry(advert.router).or_insert(now);
        }
    }

    /// Routers whose last advert was sent to no peer, with the time of their first such advert.
    pub fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        self.unsent.iter().map(|(router, since)| (*router, *since))
    }

    /// Takes the routers of sent adverts, one entry per advert.
    pub fn take_sent(&mut self) -> impl Iterator<Item = RouterId> {
        self.sent.drain(..)
    }

    /// Takes the peers that have become unreachable.
    pub fn take_failed(&mut self) -> impl Iterator<Item = PeerFailure> {
        self.failed.drain(..)
    }

    /// The error if the last advert of a router could not be sent to a peer.
    pub fn failure(&self, router: RouterId, peer: IpAddr) -> Option<&io::Error> {
        self.failing.get(&(router, peer))
    }

    /// When [`PeerTransmitter::flush`] is due again; `None`: nothing is queued.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.adverts.is_empty()).then(|| self.wait.until(now))
    }

    /// Number of queued adverts.
    pub fn waiting(&self) -> usize {
        self.adverts.len()
    }

    /// The sockets, to be closed.
    pub fn into_senders(self) -> impl Iterator<Item = S> {
        self.sockets.into_values()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use nix::errno::Errno;
    use vrrpd_common::Duration;

    use super::*;

    thread_local! {
        /// Room in the sockets of a test.
        static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
        /// Unreachable peers.
        static UNREACHABLE: RefCell<Vec<IpAddr>> = const { RefCell::new(Vec::new()) };
        static TAKEN: RefCell<Vec<IpAddr>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    struct FakeSocket;

    impl PacketSender for FakeSocket {
        fn open(_: &Route) -> io::Result<Self> {
            Ok(Self)
        }

        fn send(&self, packets: &[Packet]) -> io::Result<usize> {
            let is_reachable = |packet: &&Packet| !UNREACHABLE.with_borrow(|all| all.contains(&packet.to));
            let good = packets.iter().take_while(is_reachable).count();
            if good == 0 {
                return Err(Errno::ENETUNREACH.into());
            }
            let sent = good.min(ROOM.get());
            ROOM.set(ROOM.get() - sent);
            TAKEN.with_borrow_mut(|taken| taken.extend(packets.iter().take(sent).map(|packet| packet.to)));
            Ok(sent)
        }
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1) + Duration::from_millis(millis)
    }

    fn transmitter() -> PeerTransmitter<FakeSocket> {
        let mut transmitter = PeerTransmitter::default();
        let route = Route { source: peer(1), protocol: 112, interface: 2, vrf: None };
        transmitter.set_route(RouterId::FIRST, route).expect("it opens");
        transmitter
    }

    /// Sends an advert to the peers 2 to 4; returns which of them got it.
    fn advertise(transmitter: &mut PeerTransmitter<FakeSocket>, now: u64) -> Vec<IpAddr> {
        let packets = (2..5).map(|last| Packet { to: peer(last), frame: Rc::from([last]) }).collect();
        transmitter.advert(RouterId::FIRST, packets, false);
        transmitter.flush(at(now));
        TAKEN.with_borrow_mut(std::mem::take)
    }

    #[test]
    fn an_unreachable_peer_does_not_affect_the_others_and_is_logged_once() {
        let mut transmitter = transmitter();
        UNREACHABLE.set(vec![peer(3)]);
        for now in [0, 100] {
            assert_eq!(advertise(&mut transmitter, now), [peer(2), peer(4)]);
            assert_eq!((transmitter.take_sent().count(), transmitter.unsent().count()), (1, 0));
        }
        let failed: Vec<_> = transmitter.take_failed().map(|failure| failure.peer).collect();
        assert_eq!(failed, [peer(3)]);
        assert!(transmitter.failure(RouterId::FIRST, peer(3)).is_some());
        UNREACHABLE.set(Vec::new());
        assert_eq!(advertise(&mut transmitter, 200).len(), 3);
        assert!(transmitter.failure(RouterId::FIRST, peer(3)).is_none());
    }

    #[test]
    fn an_advert_that_reaches_no_peer_counts_as_unsent() {
        let mut transmitter = transmitter();
        UNREACHABLE.set(vec![peer(2), peer(3), peer(4)]);
        for now in [0, 100] {
            assert!(advertise(&mut transmitter, now).is_empty());
            assert_eq!(transmitter.take_sent().count(), 0);
            assert!(transmitter.unsent().eq([(RouterId::FIRST, at(0))]));
        }
        UNREACHABLE.set(vec![peer(2), peer(3)]);
        assert_eq!(advertise(&mut transmitter, 200), [peer(4)]);
        assert_eq!(transmitter.unsent().count(), 0);
    }

    #[test]
    fn an_advert_waits_for_room_and_goes_on_where_it_stopped() {
        let mut transmitter = transmitter();
        ROOM.set(1);
        assert_eq!(advertise(&mut transmitter, 0), [peer(2)]);
        assert_eq!((transmitter.take_sent().count(), transmitter.waiting()), (0, 1));
        let next = transmitter.deadline(at(0)).expect("it waits");
        assert!(next > at(0));
        ROOM.set(usize::MAX);
        transmitter.flush(next);
        assert_eq!(TAKEN.with_borrow_mut(std::mem::take), [peer(3), peer(4)]);
        assert_eq!((transmitter.take_sent().count(), transmitter.deadline(next)), (1, None));
    }

    #[test]
    fn a_router_that_is_master_no_more_sends_nothing_but_its_resignation() {
        let mut transmitter = transmitter();
        ROOM.set(0);
        let packets: Rc<[Packet]> = Rc::from([Packet { to: peer(2), frame: Rc::from([2]) }]);
        transmitter.advert(RouterId::FIRST, Rc::clone(&packets), false);
        transmitter.withdraw(RouterId::FIRST);
        assert_eq!(transmitter.waiting(), 0);
        transmitter.advert(RouterId::FIRST, packets, true);
        transmitter.withdraw(RouterId::FIRST);
        assert_eq!(transmitter.waiting(), 1);
        transmitter.flush(at(0));
        transmitter.flush(at(1100));
        assert_eq!(transmitter.waiting(), 0, "later nobody needs it");
    }
}
