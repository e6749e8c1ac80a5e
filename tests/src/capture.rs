//! Captures frames on an interface with kernel timestamps, and sends frames there.

use std::collections::BTreeSet;
use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, recvmsg, sendmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{self, Advert};
use crate::{Host, sys, wait_for};

const EVERY_PROTOCOL: u16 = 0x0003;
const MAX_FRAME: usize = 9_216;
const BUFFER: usize = 64 << 20;
/// Maximum number of frames in one system call.
const BATCH: usize = 64;
/// Latency of ending a capture.
const STOP_POLL: Duration = Duration::from_millis(50);

/// A captured frame, received or sent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The kernel's timestamp.
    pub at: Instant,
    /// Its octets.
    pub frame: Vec<u8>,
}

/// Captures everything received and sent on an interface, from its creation on.
///
/// A bridge without snooping floods multicast and broadcast, so a third machine sees the adverts and gratuitous ARPs of
/// all.
#[derive(Debug)]
pub struct Capture {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts on the `eth0` of a machine.
    pub fn on(host: &Host) -> Self {
        Self::on_interface(host, "eth0")
    }

    /// Starts on an interface of a machine.
    pub fn on_interface(host: &Host, interface: &str) -> Self {
        let socket = packet_socket(host, interface, EVERY_PROTOCOL);
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("root may have a large buffer");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("packet sockets have times");
        socket.set_read_timeout(Some(STOP_POLL)).expect("sockets have time limits");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (into, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; MAX_FRAME];
            while !end.load(Ordering::Relaxed) {
                if let Some(frame) = receive(&socket, &mut buffer) {
                    lock(&into).push(frame);
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// The frames so far.
    pub fn frames(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// The VRRP packets so far, with times.
    pub fn adverts(&self) -> Vec<(Instant, Advert)> {
        lock(&self.seen).iter().filter_map(|seen| Some((seen.at, Advert::read(&seen.frame)?))).collect()
    }

    /// The addresses announced so far by gratuitous ARP or unsolicited neighbour advertisement.
    pub fn announcements(&self) -> Vec<(Instant, IpAddr)> {
        lock(&self.seen).iter().filter_map(|seen| Some((seen.at, frame::announced(&seen.frame)?))).collect()
    }

    /// The MAC addresses for this address in ARP and neighbour advertisements so far, without duplicates.
    pub fn claims(&self, address: IpAddr) -> BTreeSet<[u8; 6]> {
        let claims = self.frames().into_iter().filter_map(|seen| frame::claimed(&seen.frame));
        claims.filter(|(claimed, _)| *claimed == address).map(|(_, mac)| mac).collect()
    }

    /// Waits for a VRRP packet that `wanted` accepts, or returns the first one captured already.
    pub fn wait_advert(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Advert) -> bool,
    ) -> (Instant, Advert) {
        wait_for(limit, what, || self.adverts().into_iter().find(|(_, advert)| wanted(advert)))
    }

    /// Forgets all captured frames.
    pub fn clear(&self) {
        lock(&self.seen).clear();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was reported; repeating it in a destructor would hide the test's message.
            drop(thread.join());
        }
    }
}

/// Sends raw frames.
#[derive(Debug)]
pub struct Injector(Socket);

impl Injector {
    /// Sends out of the `eth0` of a machine.
    pub fn on(host: &Host) -> Self {
        Self::on_interface(host, "eth0")
    }

    /// Sends out of an interface of a machine.
    pub fn on_interface(host: &Host, interface: &str) -> Self {
        Self(packet_socket(host, interface, 0))
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) {
        let sent = self.0.send(frame).expect("the frame can be sent");
        assert_eq!(sent, frame.len(), "the whole frame is sent");
    }

    /// Sends frames in order, many in one system call.
    pub fn send_all<F: AsRef<[u8]>>(&self, frames: &[F]) {
        assert_eq!(self.send_what_goes(frames), frames.len(), "every frame is sent");
    }

    /// The same, but drops frames that do not fit into the queue at the other end of the link. Returns the number sent.
    pub fn send_what_goes<F: AsRef<[u8]>>(&self, frames: &[F]) -> usize {
        let mut sent = 0;
        for batch in frames.chunks(BATCH) {
            let slices: Vec<_> = batch.iter().map(|frame| [IoSlice::new(frame.as_ref())]).collect();
            let addresses = vec![None; batch.len()];
            let mut done = 0;
            while done < batch.len() {
                let mut headers = MultiHeaders::<()>::preallocate(batch.len() - done, None);
                let (slices, addresses) = (&slices[done..], &addresses[done..]);
                let fd = self.0.as_raw_fd();
                match sendmmsg(fd, &mut headers, slices, addresses, [], MsgFlags::empty()) {
                    Ok(gone) => {
                        let gone = gone.count();
                        done += gone;
                        sent += gone;
                    }
                    Err(Errno::ENOBUFS) => done += 1,
                    Err(error) => panic!("the frames cannot be sent: {error}"),
                }
            }
        }
        sent
    }
}

fn packet_socket(host: &Host, interface: &str, protocol: u16) -> Socket {
    host.namespace().enter(|| {
        // Protocol 0 until it is bound; otherwise it would receive from every interface first.
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).expect("root may capture");
        let ifindex = if_nametoindex(interface).expect("the interface is there");
        sys::bind_to_interface(&socket, ifindex, protocol).expect("the interface can be bound to");
        socket
    })
}

/// The next frame; `None` if none arrives within [`STOP_POLL`].
fn receive(socket: &Socket, buffer: &mut [u8]) -> Option<Seen> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
    let message = match message {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return None,
        Err(error) => panic!("capture: {error}"),
    };
    let stamp = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    })?;
    let len = message.bytes;
    Some(Seen { at: to_monotonic(stamp), frame: buffer.get(..len)?.to_vec() })
}

/// The kernel's timestamps are wall-clock time; tests use the monotonic clock.
fn to_monotonic(since_epoch: Duration) -> Instant {
    let (monotonic, of_day) = both_clocks();
    let age = of_day.duration_since(SystemTime::UNIX_EPOCH + since_epoch).unwrap_or_default();
    monotonic.checked_sub(age).unwrap_or(monotonic)
}

/// Both clocks at the same moment; read again if there was a delay in between.
fn both_clocks() -> (Instant, SystemTime) {
    const NO_LONGER: Duration = Duration::from_micros(10);
    const TRIES: u32 = 20;
    let look = || {
        let before = Instant::now();
        let of_day = SystemTime::now();
        (before.elapsed(), before, of_day)
    };
    let first_good = (0..TRIES).map(|_| look()).find(|(took, ..)| *took <= NO_LONGER);
    let (_, monotonic, of_day) = first_good.unwrap_or_else(look);
    (monotonic, of_day)
}

fn lock(seen: &Mutex<Vec<Seen>>) -> MutexGuard<'_, Vec<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
