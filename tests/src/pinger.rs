//! A client that pings an address at a short interval.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Host, checksum, wait_until};

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Latency of ending the receiver.
const STOP_POLL: Duration = Duration::from_millis(50);
/// How long to wait for the last answers.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Sends ICMP echo requests to an address at an interval, and records the times of the answers.
///
/// Ends after 65,535 requests.
#[derive(Debug)]
pub struct Pinger {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop_sending: AtomicBool,
    stop_receiving: AtomicBool,
    sent: AtomicU16,
    answered: AtomicUsize,
    /// Time of each answer. Duplicates are not counted.
    answers: Mutex<Vec<(u16, Instant)>>,
}

/// The result of pinging.
#[derive(Clone, Copy, Debug)]
pub struct PingReport {
    /// Number of requests.
    pub sent: usize,
    /// Number of requests without an answer.
    pub lost: usize,
    /// The longest time between two answers; without losses about the interval.
    pub longest_gap: Duration,
    /// Time of the last answer before that gap; `None` without two answers.
    pub gap_began: Option<Instant>,
}

impl Pinger {
    /// Starts pinging.
    pub fn start(from: &Host, address: Ipv4Addr, every: Duration) -> Self {
        /// Distinguishes the pingers of a machine.
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = from.namespace().enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)));
        let socket = Arc::new(socket.expect("root may ping"));
        socket.set_read_timeout(Some(STOP_POLL)).expect("sockets have time limits");
        let shared = Arc::new(Shared::default());

        let (sending, on) = (Arc::clone(&shared), Arc::clone(&socket));
        let sender = thread::spawn(move || send(&sending, &on, id, address, every));
        let receiving = Arc::clone(&shared);
        let receiver = thread::spawn(move || receive(&receiving, &socket, id, address));
        Self { shared, threads: vec![sender, receiver] }
    }

    /// Number of answers.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits for this many further answers.
    pub fn wait_answers(&self, more: usize, limit: Duration) {
        let wanted = self.answered() + more;
        wait_until(limit, "the address answers pings", || self.answered() >= wanted);
    }

    /// Stops pinging, waits a moment for the last answers, and returns the result.
    pub fn stop(mut self) -> PingReport {
        self.end();
        let answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = usize::from(self.shared.sent.load(Ordering::Relaxed));
        let gaps = answers.windows(2).map(|pair| (pair[1].1 - pair[0].1, pair[0].1));
        let longest = gaps.max();
        PingReport {
            sent,
            lost: sent - answers.len(),
            longest_gap: longest.map_or(Duration::ZERO, |(gap, _)| gap),
            gap_began: longest.map(|(_, began)| began),
        }
    }

    fn end(&mut self) {
        self.shared.stop_sending.store(true, Ordering::Relaxed);
        let mut threads = self.threads.drain(..);
        drop(threads.next().map(JoinHandle::join));
        // Answers in transit still count.
        let start = Instant::now();
        while start.elapsed() < LAST_ANSWERS
            && self.shared.answered.load(Ordering::Relaxed)
                < usize::from(self.shared.sent.load(Ordering::Relaxed))
        {
            thread::sleep(Duration::from_millis(2));
        }
        self.shared.stop_receiving.store(true, Ordering::Relaxed);
        drop(threads.next().map(JoinHandle::join));
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.end();
    }
}

fn send(shared: &Shared, socket: &Socket, id: u16, address: Ipv4Addr, every: Duration) {
    let to = SocketAddrV4::new(address, 0).into();
    let mut due = Instant::now();
    for sequence in 1..=u16::MAX {
        if shared.stop_sending.load(Ordering::Relaxed) {
            return;
        }
        // Without a route or neighbour there is just no answer.
        drop(socket.send_to(&echo_request(id, sequence), &to));
        shared.sent.store(sequence, Ordering::Relaxed);
        // After a delay it continues from now, instead of sending the missed requests in a burst.
        due = (due + every).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn receive(shared: &Shared, socket: &Socket, id: u16, address: Ipv4Addr) {
    let mut answered = vec![false; 1 << 16];
    let mut buffer = [0; 128];
    while !shared.stop_receiving.load(Ordering::Relaxed) {
        let Ok(len) = (&*socket).read(&mut buffer) else { continue };
        let at = Instant::now();
        let Some(sequence) = echo_reply(&buffer[..len], id, address) else { continue };
        if !std::mem::replace(&mut answered[usize::from(sequence)], true) {
            shared.answers.lock().unwrap_or_else(PoisonError::into_inner).push((sequence, at));
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn echo_request(id: u16, sequence: u16) -> Vec<u8> {
    let mut message = vec![ECHO_REQUEST, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    let checksum = checksum::internet(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// The sequence number, if the packet (with its IPv4 header) answers one of our requests.
fn echo_reply(packet: &[u8], id: u16, from: Ipv4Addr) -> Option<u16> {
    let message = packet.get(usize::from(packet.first()? & 0xf) * 4..)?;
    let header = message.get(..8)?;
    let ours = header[0] == ECHO_REPLY && header[4..6] == id.to_be_bytes() && packet[12..16] == from.octets();
    ours.then(|| u16::from_be_bytes([header[6], header[7]]))
}
