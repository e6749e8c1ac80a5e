//! The other processes of a group (`-M`): a socket to each, over which the processes send each other the standing of
//! their members.
//!
//! Every process listens at `DIR/vrrpd_IF_VRID.group` and, at its start, connects to all others that listen; so each
//! pair is connected in any order of starts. A connection carries packets: first the network namespace and the name of
//! the router, then [`Message`]s, of which only the newest matters. The end of a process closes its sockets, by which
//! the others notice it. A socket left by a killed process refuses connections, so it is no member; the next process of
//! that name removes it.
//!
//! While members are missing, connecting is repeated from time to time, since a connection may have failed or been
//! closed.
//!
//! Two processes that start at the same time connect to each other. Both then keep the connection made by the one with
//! the lesser name.
//!
//! A complete group also knows surplus processes, by numbers that it does not count, so that each of these hears from
//! the whole group.
//!
//! Sending never blocks: what a peer does not read is dropped, and it gets the newest message once it reads again. A
//! peer that sends an invalid message, or too many, is disconnected.

mod connection;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use socket2::{SockAddr, Socket};
use tracing::{info, warn};
use vrrpd_common::group::{MAX_PEERS, Message, PeerId};
use vrrpd_common::{Duration, Instant};

use crate::datapath::pins;
use crate::datapath::readiness::{Readiness, Source};
use connection::{Connection, LISTENER, MAX_PACKET, SECOND, errno, number, packet_socket};

pub use connection::introduction;

/// Extension of the sockets.
pub const SUFFIX: &str = "group";

/// Maximum number of connections, including those without a name yet, duplicates and surplus processes.
const MAX_CONNECTIONS: usize = 2 * MAX_PEERS;
/// Maximum number of connections waiting to be accepted.
const BACKLOG: i32 = 64;
/// Maximum number of packets taken from one connection before others get their turn.
const TURN: usize = 64;
/// Packets taken from one connection before a deadline counts as missed: more than it can hold.
const DRAIN: usize = 1 << 10;
/// The sockets to the other processes.
#[derive(Debug)]
pub struct Peers {
    /// Name of this process.
    name: String,
    /// Inode of its network namespace; processes in others count as other machines.
    namespace: u64,
    listener: Source<Socket>,
    /// Path of its socket.
    path: PathBuf,
    /// When to accept connections again after a failure, mostly for lack of descriptors.
    accept_at: Option<Instant>,
    connections: [Option<Connection>; MAX_CONNECTIONS],
    /// Names of members that were present before.
    missing: BTreeSet<String>,
    /// When missing members are looked for next; `None`: none is missing.
    search_at: Option<Instant>,
    /// The delay after that.
    search_after: Duration,
    /// The name found at each socket; `None`: not a member of the group.
    found: BTreeMap<OsString, Option<String>>,
    /// The last message to all members.
    newest: Option<Message>,
}

/// An event of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A message.
    Message(PeerId, Message),
    /// The process has ended.
    Gone(PeerId),
}

impl Peers {
    /// Listens at `path`, which must not exist, and connects to all processes that listen in the same directory. They
    /// get our name now, and messages by [`Peers::tell`].
    pub fn open(name: String, path: &Path, now: Instant, readiness: &Readiness) -> io::Result<Self> {
        let listener = packet_socket()?;
        listener.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        // Before looking for others: of two that start together, one must find the other.
        listener.listen(BACKLOG)?;
        let listener = readiness.watch(listener, LISTENER)?;
        let mut peers = Self {
            name,
            namespace: pins::namespace()?,
            listener,
            path: path.to_owned(),
            accept_at: None,
            connections: [const { None }; MAX_CONNECTIONS],
            missing: BTreeSet::new(),
            search_at: None,
            search_after: SECOND,
            found: BTreeMap::new(),
            newest: None,
        };
        peers.search(now, readiness)?;
        Ok(peers)
    }

    /// Whether an event number belongs to these sockets.
    pub const fn is_number(number: u64) -> bool {
        number >= LISTENER
    }

    /// Handles that the socket with this event number is readable or writable.
    pub fn ready(
        &mut self,
        number: u64,
        now: Instant,
        readiness: &Readiness,
        tell: &mut dyn FnMut(PeerEvent),
    ) {
        self.get_to_know(now, readiness, tell);
        if let Some(place) = number.checked_sub(LISTENER + 1).and_then(|place| usize::try_from(place).ok()) {
            self.catch_up(place);
            self.hear(place, TURN, now, tell);
        }
    }

    /// Handles everything that has arrived.
    pub fn hear_all(&mut self, now: Instant, readiness: &Readiness, tell: &mut dyn FnMut(PeerEvent)) {
        self.search_again(now, readiness);
        self.get_to_know(now, readiness, tell);
        for place in 0..MAX_CONNECTIONS {
            self.hear(place, DRAIN, now, tell);
        }
    }

    /// Sends a message to all.
    pub fn tell(&mut self, message: Message) {
        self.newest = Some(message);
        for connection in self.connections.iter_mut().flatten().filter(|connection| !connection.behind) {
            connection.send(&message.to_octets());
        }
    }

    /// When [`Peers::hear_all`] is due; `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        [self.accept_at, self.search_at].into_iter().flatten().min()
    }

    /// The present members.
    pub fn present(&self) -> impl Iterator<Item = (PeerId, &str)> {
        let named = self.connections.iter().flatten().filter_map(|connection| connection.peer.as_ref());
        named.map(|(id, name)| (*id, name.as_str()))
    }

    /// Whether all connections have sent a name.
    pub fn all_are_known(&self) -> bool {
        self.connections.iter().flatten().all(|connection| connection.peer.is_some())
    }

    /// Pids of processes that listen and have not sent a name, since they are stopped. Processes in other network
    /// namespaces do not belong to the group.
    pub fn silent(&self) -> BTreeSet<i32> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            self.connections.iter().flatten().partition(|connection| connection.peer.is_some());
        // Of two mutual connections, perhaps only one has sent a name yet.
        let is_known = |process: i32| known.iter().any(|connection| connection.process == process);
        let listening = unknown.into_iter().filter(|connection| connection.made_to.is_some());
        let processes = listening.map(|connection| connection.process);
        processes.filter(|process| !is_known(*process) && !self.is_elsewhere(*process)).collect()
    }

    fn is_elsewhere(&self, process: i32) -> bool {
        pins::namespace_of(process).is_ok_and(|namespace| namespace != self.namespace)
    }

    /// Members that were present before.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// Accepts new connections first: a peer may have connected again before its old connection is found closed.
    fn get_to_know(&mut self, now: Instant, readiness: &Readiness, tell: &mut dyn FnMut(PeerEvent)) {
        self.accept(now, readiness);
        for place in 0..MAX_CONNECTIONS {
            if self.connections.get(place).and_then(Option::as_ref).is_some_and(|there| there.peer.is_none())
            {
                self.hear(place, TURN, now, tell);
            }
        }
    }

    fn accept(&mut self, now: Instant, readiness: &Readiness) {
        if self.accept_at.is_some_and(|at| now < at) {
            return;
        }
        self.accept_at = None;
        for _ in 0..MAX_CONNECTIONS {
            let accepted = self.listener.accept().and_then(|(socket, _)| {
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            match accepted {
                Ok(socket) => self.admit(socket, None, now, readiness),
                Err(error)
                    if matches!(errno(&error), Some(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED)) =>
                {
                    self.listener.was_read(errno(&error) == Some(Errno::EAGAIN));
                    return;
                }
                Err(error) => {
                    warn!(%error, "cannot accept group peer, retrying");
                    self.accept_at = Some(now + SECOND);
                    return;
                }
            }
        }
        self.listener.was_read(false);
    }

    /// Accepts a connection from root or our own user, and sends our name and last message.
    fn admit(&mut self, socket: Socket, made_to: Option<OsString>, now: Instant, readiness: &Readiness) {
        let peer = getsockopt(&socket, PeerCredentials);
        let of_ours = |uid: u32| uid == 0 || uid == nix::unistd::geteuid().as_raw();
        let Some(peer) = peer.ok().filter(|peer| of_ours(peer.uid())) else {
            warn!(uid = ?peer.map(|peer| peer.uid()), "group peer of another user rejected");
            return;
        };
        // A connection without a name makes room.
        let place = (self.connections.iter().position(Option::is_none))
            .or_else(|| self.connections.iter().flatten().position(|connection| connection.peer.is_none()));
        let Some(place) = place else {
            warn!("too many group peers, disconnecting one");
            return;
        };
        let socket = match readiness.watch_both_ways(socket, number(place)) {
            Ok(socket) => socket,
            Err(error) => {
                warn!(%error, "cannot monitor group peer, disconnecting");
                return;
            }
        };
        let mut connection = Connection::new(socket, peer.pid(), made_to, now);
        let introduction = format!("{} {}", self.namespace, self.name);
        connection.send(introduction.as_bytes());
        if let Some(message) = self.newest {
            connection.send(&message.to_octets());
        }
        if let Some(free) = self.connections.get_mut(place) {
            *free = Some(connection);
        }
    }

    /// Sends the last message to a peer that reads again.
    fn catch_up(&mut self, place: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(place)
            && connection.behind
            && let Some(message) = self.newest
        {
            connection.behind = false;
            connection.send(&message.to_octets());
        }
    }

    /// Handles up to `most` packets of a connection.
    fn hear(&mut self, place: usize, most: usize, now: Instant, tell: &mut dyn FnMut(PeerEvent)) {
        if self.listen(place, most, now, tell) {
            return;
        }
        let closed = self.connections.get_mut(place).and_then(Option::take);
        if let Some((id, name)) = closed.and_then(|connection| connection.peer) {
            warn!(peer = name, "group peer disconnected");
            self.missing.insert(name);
            tell(PeerEvent::Gone(id));
            if counts(id) {
                self.let_go_of_surplus(tell);
            }
        }
    }

    /// There is room again: a surplus process is disconnected, connects again, and counts then.
    fn let_go_of_surplus(&mut self, tell: &mut dyn FnMut(PeerEvent)) {
        for place in &mut self.connections {
            let surplus = place.take_if(|there| there.peer.as_ref().is_some_and(|(id, _)| !counts(*id)));
            if let Some((id, name)) = surplus.and_then(|connection| connection.peer) {
                self.missing.insert(name);
                tell(PeerEvent::Gone(id));
            }
        }
    }

    /// The same; returns false when the connection is to be closed.
    fn listen(&mut self, place: usize, most: usize, now: Instant, tell: &mut dyn FnMut(PeerEvent)) -> bool {
        // More than the longest packet, to detect a longer one.
        let mut buffer = [0; MAX_PACKET + 1];
        for _ in 0..most {
            let Some(Some(connection)) = self.connections.get_mut(place) else { return true };
            let packet = match (&*connection.socket).read(&mut buffer) {
                Ok(length @ 1..) => buffer.get(..length).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.socket.was_read(true);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return false,
            };
            if connection.floods(now) {
                warn!(peer = connection.name(), "group peer sends too many messages, disconnecting");
                return false;
            }
            match (&connection.peer, Message::from_octets(packet)) {
                (Some((id, _)), Some(message)) => tell(PeerEvent::Message(*id, message)),
                (Some((_, name)), None) => {
                    warn!(peer = name, "invalid message from group peer (version mismatch?), disconnecting");
                    return false;
                }
                (None, _) => {
                    let Some((namespace, name)) = introduction(packet) else {
                        warn!("group peer without a name, disconnecting");
                        return false;
                    };
                    let is_of_us = namespace == self.namespace && name != self.name;
                    if let Some(socket) = connection.made_to.clone() {
                        self.found.insert(socket, is_of_us.then(|| name.clone()));
                    }
                    if !is_of_us {
                        info!(peer = name, "group peer of another network namespace ignored");
                        return false;
                    }
                    if !self.introduce(place, name, now, tell) {
                        return false;
                    }
                }
            }
        }
        if let Some(Some(connection)) = self.connections.get(place) {
            connection.socket.was_read(false);
        }
        true
    }

    /// Handles the name of a peer; returns false when the connection is to be closed.
    fn introduce(
        &mut self,
        place: usize,
        name: String,
        now: Instant,
        tell: &mut dyn FnMut(PeerEvent),
    ) -> bool {
        let id = if let Some(before) = self.place_of(&name) {
            if self.listen(before, DRAIN, now, tell) && self.is_kept(before, place, &name) {
                return false;
            }
            // The peer has not gone: this connection replaces the other one.
            let replaced = self.connections.get_mut(before).and_then(Option::take);
            replaced.and_then(|connection| connection.peer).map(|(id, _)| id)
        } else {
            info!(peer = name, "group peer connected");
            (0..MAX_CONNECTIONS).map(PeerId).find(|id| self.present().all(|(taken, _)| taken != *id))
        };
        // There is a number for each connection.
        let Some(id) = id else { return false };
        if !counts(id) {
            warn!(peer = name, "too many group peers, ignoring one");
        }
        self.missing.remove(&name);
        if let Some(Some(connection)) = self.connections.get_mut(place) {
            connection.peer = Some((id, name));
        }
        true
    }

    /// Whether to keep the older of two connections to the same peer. The peer comes to the same result.
    fn is_kept(&self, before: usize, new: usize, name: &str) -> bool {
        let ours = |place: usize| {
            self.connections
                .get(place)
                .and_then(Option::as_ref)
                .is_some_and(|connection| connection.made_to.is_some())
        };
        let lesser_is_ours = self.name.as_str() < name;
        ours(before) != ours(new) && ours(before) == lesser_is_ours
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.connections
            .iter()
            .position(|connection| connection.as_ref().is_some_and(|connection| connection.name() == name))
    }
}

/// Whether a group counts the process with this number.
const fn counts(id: PeerId) -> bool {
    id.0 < MAX_PEERS
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use vrrpd_common::group::{Key, Standing};
    use vrrpd_common::{Family, Vrid};

    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    #[test]
    fn an_introduction_is_a_namespace_and_a_name_and_nothing_else_is() {
        assert_eq!(introduction(b"4026531840 eth0/51"), Some((4_026_531_840, "eth0/51".to_owned())));
        let long = [b"1 ", &[b'x'; MAX_PACKET][..]].concat();
        for other in [&b""[..], b"eth0/51", b"1 ", b"x eth0/51", b"1 eth0\n", b"1 \xff", &long] {
            assert_eq!(introduction(other), None, "{other:?}");
        }
    }

    fn message(term: u64) -> Message {
        Message {
            term,
            standing: Standing::Willing,
            members: 1,
            size: 2,
            first: Key { family: Family::Ipv4, vrid: Vrid::new(51).expect("is legal"), addresses: 0 },
            master_down_interval: SECOND,
        }
    }

    /// Two processes in a directory that are connected to each other.
    struct Pair {
        dir: tempfile::TempDir,
        readiness: Readiness,
        first: Peers,
        second: Peers,
    }

    /// Runs a test in an environment where sockets can be watched.
    fn with_pair(test: impl FnOnce(Pair)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let readiness = Readiness::default();
            let open = |name: &str, file: &str| {
                let opened = Peers::open(name.to_owned(), &dir.path().join(file), NOW, &readiness);
                let mut peers = opened.expect("a socket");
                peers.tell(message(0));
                peers
            };
            let (first, second) = (open("eth0/51", "one.group"), open("eth1/52", "two.group"));
            test(Pair { dir, readiness, first, second });
        });
    }

    fn heard(peers: &mut Peers, readiness: &Readiness) -> Vec<PeerEvent> {
        let mut all = Vec::new();
        peers.hear_all(NOW, readiness, &mut |heard| all.push(heard));
        all
    }

    /// The events until a process has ended. It ends when the last copy of the socket is closed, and a script that
    /// another test is about to start may have one.
    fn heard_until_gone(peers: &mut Peers, readiness: &Readiness) -> Vec<PeerEvent> {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let mut all = Vec::new();
        loop {
            all.append(&mut heard(peers, readiness));
            if all.iter().any(|heard| matches!(heard, PeerEvent::Gone(_))) {
                return all;
            }
            assert!(std::time::Instant::now() < until, "nobody has gone: {all:?}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn two_processes_that_connected_to_each_other_keep_the_same_one_connection() {
        for later in [false, true] {
            with_pair(|Pair { dir, readiness, mut first, mut second }| {
                if later {
                    // The first connection has been in use for some time.
                    heard(&mut first, &readiness);
                    heard(&mut second, &readiness);
                }
                first.connect(&dir.path().join("two.group"), OsStr::new("two.group"), NOW, &readiness);
                for _ in 0..3 {
                    for peers in [&mut first, &mut second] {
                        let gone =
                            heard(peers, &readiness).iter().any(|heard| matches!(heard, PeerEvent::Gone(_)));
                        assert!(!gone, "nobody has gone");
                    }
                }
                for (peers, other) in [(&mut first, "eth1/52"), (&mut second, "eth0/51")] {
                    assert_eq!(peers.present().map(|(_, name)| name).collect::<Vec<_>>(), [other]);
                    assert_eq!(peers.connections.iter().flatten().count(), 1);
                }
                first.tell(message(7));
                assert_eq!(heard(&mut second, &readiness), [PeerEvent::Message(PeerId(0), message(7))]);
                drop(first);
                assert_eq!(heard_until_gone(&mut second, &readiness), [PeerEvent::Gone(PeerId(0))]);
                assert_eq!(second.missing().collect::<Vec<_>>(), ["eth0/51"]);
            });
        }
    }

    #[test]
    fn a_surplus_peer_is_known_and_counts_once_there_is_room() {
        with_pair(|Pair { dir, readiness, mut first, second }| {
            let open = |number: usize| {
                let path = dir.path().join(format!("{number}.group"));
                let mut peers =
                    Peers::open(format!("eth2/{number}"), &path, NOW, &readiness).expect("a socket");
                peers.tell(message(0));
                peers
            };
            let mut others: Vec<_> = (0..MAX_PEERS)
                .map(|number| {
                    let other = open(number);
                    heard(&mut first, &readiness);
                    other
                })
                .collect();
            let mut surplus = others.pop().expect("several");
            // It gets the first process's message, and keeps its connection.
            assert_eq!(heard(&mut surplus, &readiness), [PeerEvent::Message(PeerId(0), message(0))]);
            let numbers: Vec<_> = first.present().map(|(id, _)| id).collect();
            assert!(numbers.contains(&PeerId(MAX_PEERS)), "{numbers:?}");

            drop(second);
            let left = heard_until_gone(&mut first, &readiness);
            assert_eq!(left, [PeerEvent::Gone(PeerId(0)), PeerEvent::Gone(PeerId(MAX_PEERS))]);
            heard_until_gone(&mut surplus, &readiness);
            surplus.search(NOW, &readiness).expect("it can look");
            let here = heard(&mut first, &readiness);
            assert!(here.contains(&PeerEvent::Message(PeerId(0), message(0))), "{here:?}");
            assert_eq!(first.present().count(), MAX_PEERS);
        });
    }

    #[test]
    fn missing_processes_are_looked_for_with_backoff_and_only_while_missing() {
        with_pair(|Pair { dir, readiness, first, mut second }| {
            drop(first);
            heard(&mut second, &readiness);
            let (one, hidden) = (dir.path().join("one.group"), dir.path().join("hidden"));
            fs::rename(&one, &hidden).expect("it has left its socket");
            fs::rename(dir.path().join("two.group"), dir.path().join("two")).expect("it listens");
            let mut again = Peers::open("eth0/51".into(), &one, NOW, &readiness).expect("a socket");
            again.tell(message(0));
            fs::rename(&one, &hidden).expect("it listens");
            heard(&mut again, &readiness);
            assert_eq!(again.present().count(), 0, "it has found nobody");

            let mut now = NOW;
            for after in [1, 2, 4, 8, 16, 32, 60, 60] {
                second.expect_more(true, now);
                let at = second.deadline().expect("somebody is missing");
                assert_eq!(at.saturating_since(now), Duration::from_secs(after));
                now = at;
                second.hear_all(now, &readiness, &mut |_| {});
            }
            fs::rename(&hidden, &one).expect("it listens");
            now = second.deadline().expect("somebody is missing");
            second.hear_all(now, &readiness, &mut |_| {});
            for _ in 0..2 {
                heard(&mut again, &readiness);
                heard(&mut second, &readiness);
            }
            assert_eq!(second.present().map(|(_, name)| name).collect::<Vec<_>>(), ["eth0/51"]);
            assert_eq!(again.present().map(|(_, name)| name).collect::<Vec<_>>(), ["eth1/52"]);

            // Another member is missing: present ones are not affected.
            now = second.deadline().expect("somebody is missing");
            second.hear_all(now, &readiness, &mut |_| {});
            assert_eq!(second.connections.iter().flatten().count(), 1);
            second.expect_more(false, now);
            assert_eq!(second.deadline(), None);
        });
    }

    #[test]
    fn a_process_that_did_not_read_for_long_hears_the_newest_when_it_reads_again() {
        with_pair(|Pair { readiness, mut first, mut second, .. }| {
            heard(&mut first, &readiness);
            for term in 1..=900 {
                first.tell(message(term));
            }
            let last = |heard: Vec<PeerEvent>| heard.last().copied();
            let before = last(heard(&mut second, &readiness));
            assert_ne!(before, Some(PeerEvent::Message(PeerId(0), message(900))), "not all had room");
            let place = first.place_of("eth1/52").expect("it is there");
            first.ready(number(place), NOW, &readiness, &mut |_| {});
            let newest = last(heard(&mut second, &readiness));
            assert_eq!(newest, Some(PeerEvent::Message(PeerId(0), message(900))));
        });
    }
}
