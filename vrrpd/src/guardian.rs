//! The guardian: a second, small process that outlives the daemon by some milliseconds. When the daemon is killed or
//! crashes, it resigns for every Master, gives back addresses, MAC addresses and links, and runs the scripts for that.
//! Without it they would remain, and the machine would still answer for addresses that another router has taken.
//!
//! It is forked before there is a second thread or a configuration, so it takes only some pages of memory, and it
//! sleeps until a router becomes Master or ceases to be it. What it has to undo is in the
//! [journal](vrrpd_engine::ledger::journal), which the next start uses if both processes were killed. What has to be
//! done within milliseconds, the resignations and scripts, is sent to it in messages. It resigns at the end of the
//! daemon's main [thread](crate::sys::lifeline), the only one that sends adverts. The end of their socket, which
//! follows every death, shows that no other thread is still working. It holds [`copies`] of descriptors that the kernel
//! is slow to close, so that the end of the socket comes soon; a daemon that crashes [says so](crate::sys::crash)
//! before its core is written.
//!
//! [`Guardian`] is the daemon's side; [`watch`] is the process itself, and [`last_words`] what it sends.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use vrrpd_common::Duration;

use crate::clock;
use crate::sys::lifeline::Lifeline;
use crate::sys::{crash, fork};

pub mod copies;
mod last_words;
mod message;
pub mod watch;

use copies::Keeper;
use message::{DYING, READY};

pub use message::{GuardianMessage, LastScript, Mastery, Resignation};

/// Timeout of that message, in seconds.
const ANSWER: i64 = 5;
/// How long it may take to end after its dismissal: normally milliseconds.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the daemon may block for a guardian that is about to end, and the polling interval.
const LAST_MOMENT: Duration = Duration::from_millis(10);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);
/// Octets of messages that may be queued: enough for thousands of routers that become Master at once.
const BUFFER: usize = 8 << 20;

/// The guardian, seen from the daemon.
#[derive(Debug)]
pub struct Guardian {
    socket: Arc<OwnedFd>,
    keeper: Keeper,
    process: Pid,
}

/// The two processes after the fork.
#[derive(Debug)]
pub enum Part {
    /// The daemon.
    Daemon(Guardian),
    /// The guardian.
    Guardian(watch::Watch),
}

impl Guardian {
    /// Forks this process, which must have only one thread, into the daemon and its guardian. This thread remains the
    /// one that sends adverts.
    pub fn divide() -> io::Result<Part> {
        let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let life = Lifeline::of_this_thread()?;
        Ok(match fork::alone()? {
            ForkResult::Child => {
                drop(ours);
                Part::Guardian(watch::Watch::new(its, life))
            }
            ForkResult::Parent { child } => {
                setsockopt(&ours, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER))?;
                // Beyond the system's limit, if permitted.
                if setsockopt(&ours, sockopt::SndBufForce, &BUFFER).is_err() {
                    setsockopt(&ours, sockopt::SndBuf, &BUFFER)?;
                }
                crash::say(DYING, ours.as_fd())?;
                let socket = Arc::new(ours);
                Part::Daemon(Self { keeper: Keeper::new(Arc::clone(&socket)), socket, process: child })
            }
        })
    }

    /// Makes it watch over the journal of this name, and waits until it does.
    pub fn charge(&self, directory: &Path, base: &str) -> io::Result<()> {
        self.tell(&GuardianMessage::Charge { directory: directory.to_owned(), base: base.to_owned() })?;
        let mut answer = [0; 1024];
        let length = recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        match answer.get(..length) {
            Some(READY) => Ok(()),
            Some([]) | None => Err(io::Error::other("it has ended")),
            Some(reason) => Err(io::Error::other(String::from_utf8_lossy(reason).into_owned())),
        }
    }

    /// Sends a message; `WouldBlock` if its socket is full.
    pub fn tell(&self, message: &GuardianMessage) -> io::Result<()> {
        self.keeper.catch_up();
        message.send(&self.socket, None)
    }

    /// Makes the guardian hold copies of descriptors.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Whether its socket reports its end; readable alone does not mean that.
    pub fn has_ended(&self) -> bool {
        let mut message = [0; 1];
        loop {
            return match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => true,
                // It answers the charge and says nothing else.
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => false,
                Err(_) => true,
            };
        }
    }

    /// Handles that its socket reports its end.
    pub fn see_off(&self) {
        // If it was stopped at the last moment, this is repeated when the daemon ends.
        self.ends_within(LAST_MOMENT);
    }

    /// Its socket, readable when it has ended.
    pub fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Dismisses it: nothing is left to undo. A guardian that does not end, for example after SIGSTOP, is killed.
    pub fn dismiss(self) {
        crash::say_nothing();
        let patience = self.tell(&GuardianMessage::Farewell).map_or(Duration::ZERO, |()| FAREWELL);
        // The pid is valid until it has been waited for.
        if !self.ends_within(patience) && kill(self.process, Signal::SIGKILL).is_ok() {
            self.ends_within(FAREWELL);
        }
    }

    /// Waits up to this time for its end; returns whether it has ended.
    fn ends_within(&self, patience: Duration) -> bool {
        let until = clock::now() + patience;
        loop {
            match waitpid(self.process, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if clock::now() < until => thread::sleep(LOOK_AGAIN),
                Ok(WaitStatus::StillAlive) => return false,
                Ok(_) | Err(_) => return true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::send;

    use super::*;

    #[test]
    fn guardian_has_ended_when_its_socket_is_closed_and_not_when_it_says_something() {
        let (ours, its) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .expect("sockets can be made");
        let socket = Arc::new(ours);
        // The number of no child of this process.
        let process = Pid::this();
        let guardian = Guardian { keeper: Keeper::new(Arc::clone(&socket)), socket, process };
        assert!(!guardian.has_ended());
        send(its.as_raw_fd(), b"ready", MsgFlags::empty()).expect("there is room");
        assert!(!guardian.has_ended());
        drop(its);
        assert!(guardian.has_ended());
    }

    #[test]
    fn the_crash_message_is_the_serialized_dying_message() {
        assert!(matches!(serde_json::from_slice(DYING), Ok(GuardianMessage::Dying)));
    }
}
