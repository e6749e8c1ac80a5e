//! The service manager that started the daemon: systemd's notification protocol.
//!
//! Messages are sent without blocking, and dropped if the socket is full.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;
use vrrpd_common::{Duration, Instant};

/// Its environment variables, which scripts must not inherit.
pub const VARIABLES: [&str; 3] = [SOCKET, WATCHDOG_USEC, WATCHDOG_PID];

const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The service manager.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    every: Duration,
    due: Instant,
}

impl Supervisor {
    /// The service manager named by the environment. Without one, or if it cannot be reached, nothing is reported.
    pub fn from_environment(now: Instant) -> Self {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return Self::default() };
        let socket = match connect(&name) {
            Ok(socket) => socket,
            Err(error) => {
                let socket = name.display();
                warn!(%socket, %error, "cannot reach service manager, continuing without it");
                return Self::default();
            }
        };
        let variable = |name: &str| env::var(name).ok();
        let every = watchdog_every(variable(WATCHDOG_USEC).as_deref(), variable(WATCHDOG_PID).as_deref());
        let watchdog = every.map(|every| Watchdog { every, due: now });
        Self { socket: Some(socket), watchdog }
    }

    /// Reports readiness.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// Reports that the daemon is stopping.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=leaving");
    }

    /// Reports a status line.
    pub fn status(&self, status: &str) {
        self.say(&format!("STATUS={status}"));
    }

    /// Whether there is a service manager.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// When the next report to the watchdog is due; `None`: no watchdog.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.due)
    }

    /// Reports to the watchdog, if due, that the event loop is running.
    pub fn turned(&mut self, now: Instant) {
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.due <= now) {
            watchdog.due = now + watchdog.every;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // Lost if the manager does not listen or its queue is full.
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address(name)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Its address: a path, or after `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Interval of reports to the watchdog: half its timeout. `None` without a watchdog, or if it is for another process.
fn watchdog_every(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let microseconds: u64 = microseconds?.parse().ok()?;
    (ours && microseconds > 1).then(|| Duration::from_micros(microseconds / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_applies_with_our_pid_or_without_a_pid() {
        let us = std::process::id().to_string();
        let every = Some(Duration::from_secs(5));
        assert_eq!(watchdog_every(Some("10000000"), None), every);
        assert_eq!(watchdog_every(Some("10000000"), Some(&us)), every);
        for (microseconds, pid) in
            [(None, None), (Some("0"), None), (Some("soon"), None), (Some("10000000"), Some("1"))]
        {
            assert_eq!(watchdog_every(microseconds, pid), None, "{microseconds:?} {pid:?}");
        }
    }

    #[test]
    fn notifications_arrive_at_an_abstract_socket_and_a_full_one_does_not_block() {
        let name = format!("vrrpd-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&address(OsStr::new(&format!("@{name}"))).expect("a name"));
        let manager = manager.expect("the name is free");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.connect_addr(&address(OsStr::new(&format!("@{name}"))).expect("a name")).expect("it is there");
        socket.set_nonblocking(true).expect("it can");
        let every = Duration::from_secs(1);
        let watchdog = Some(Watchdog { every, due: Instant::ZERO + every });
        let mut supervisor = Supervisor { socket: Some(socket), watchdog };
        supervisor.turned(Instant::ZERO);
        supervisor.turned(Instant::ZERO + every);
        supervisor.turned(Instant::ZERO + every);
        supervisor.ready();
        let mut buffer = [0; 64];
        let mut hear = || {
            let length = manager.recv(&mut buffer).expect("something was said");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "READY=1".to_owned()));
        for _ in 0..10_000 {
            supervisor.status("nobody reads this");
        }
    }
}
