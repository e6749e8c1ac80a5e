//! A second, small process that outlives the daemon by some milliseconds: when the daemon is killed, or dies of a fault of
//! its own, it resigns in the place of every Master, gives back addresses, MAC addresses and links, and runs the scripts
//! for that. Without it they would stay: the machine would go on answering for addresses that another router has by then.
//!
//! It is forked off before there is a second thread or a configuration, so it takes some pages of memory, and it sleeps
//! until a router becomes Master or ceases to be it. What it has to undo stands in the [journal](vrrpd_engine::ledger::journal), as
//! for the next start, which does the same if both processes were killed; what has to be done within milliseconds, and what
//! a dead daemon's routers would have said and run, comes by messages. It notices the end of the daemon by the end of its
//! main [thread](crate::sys::lifeline), the only one that sends adverts, and resigns; and by the end of their socket, which no
//! death can prevent, that no other thread is in the middle of something. It holds [`copies`] of what the kernel is slow
//! to close, so that the end of the socket comes soon, and a daemon that dies of a fault [says so](crate::sys::crash)
//! before its core is written.
//!
//! [`Guardian`] is the daemon's side; [`watch`] is the process itself, and [`last_words`] what it sends.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use serde::{Deserialize, Serialize};
use vrrpd_common::Duration;
use vrrpd_engine::RouterId;
use vrrpd_engine::ledger::PlacedAddress;
use vrrpd_engine::script::Call;

use crate::clock;
use crate::sys::lifeline::Lifeline;
use crate::sys::{crash, fork};
use crate::transmit::routed::Route;

pub mod copies;
mod last_words;
pub mod watch;

use copies::Keeper;

/// What it says when it watches; everything else is why it does not.
const READY: &[u8] = b"ready";
/// How long it may take to say that it is there, in seconds.
const ANSWER: i64 = 5;
/// How long it may take to end once it has been let go: milliseconds, unless it stands still.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the daemon may stand still for one that has ended but for its last moment, and how often it is looked after.
const LAST_MOMENT: Duration = Duration::from_millis(10);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(1);
/// Octets of messages that may wait: those of thousands of routers that become Master at once.
const BUFFER: usize = 8 << 20;
/// [`GuardianMessage::Dying`], as it is sent.
const DYING: &[u8] = b"\"Dying\"";

/// The guardian, seen from the daemon.
#[derive(Debug)]
pub struct Guardian {
    socket: Arc<OwnedFd>,
    keeper: Keeper,
    process: Pid,
}

/// The two processes that there are from then on.
#[derive(Debug)]
pub enum Part {
    /// This is the daemon.
    Daemon(Guardian),
    /// This is the guardian.
    Guardian(watch::Watch),
}

/// What the guardian is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum GuardianMessage {
    /// From now on there may be something to undo: what stands in the journal of this name in this directory.
    Charge {
        /// The run directory.
        directory: PathBuf,
        /// What the files of the daemon are called.
        base: String,
    },
    /// A router is Master.
    Master(Box<Mastery>),
    /// The router is not Master any more.
    Over(RouterId),
    /// Hold the descriptor that comes with this, under this number.
    Hold(u64),
    /// Close the one of this number.
    LetGo(u64),
    /// The daemon dies of a fault: it does nothing any more, and ends when its core has been written.
    Dying,
    /// Everything has been given back.
    Farewell,
}

/// What a Master would say and run if it could do so before its death.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mastery {
    /// The router.
    pub router: RouterId,
    /// Its name, for the log.
    pub name: String,
    /// The interface it sends on.
    pub interface: u32,
    /// The addresses that it has put on interfaces.
    pub holds: Vec<PlacedAddress>,
    /// The kernel keeps our mark with addresses.
    pub marks: bool,
    /// The advert with priority 0; `None` where only the daemon can make one.
    pub resignation: Option<Resignation>,
    /// What it runs, and its group.
    pub scripts: Vec<LastScript>,
}

/// An advert with priority 0, as it goes out.
#[derive(Debug, Serialize, Deserialize)]
pub enum Resignation {
    /// This frame from the interface.
    Group(Vec<u8>),
    /// A packet to each of the peers.
    Peers {
        /// Where they come from.
        route: Route,
        /// The frames, with the address that each is for.
        packets: Vec<(IpAddr, Vec<u8>)>,
    },
}

/// The scripts of a router or a group whose daemon has died.
#[derive(Debug, Serialize, Deserialize)]
pub struct LastScript {
    /// What to run.
    pub call: Call,
    /// How long each may run, in nanoseconds.
    pub limit_ns: u64,
    /// What orders the scripts of this router and of the daemon that comes.
    pub claim: String,
}

impl Guardian {
    /// Divides this process, which has one thread only, into the daemon and its guardian. This thread remains the one that
    /// sends adverts.
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
                // Past the system's limit if we may.
                if setsockopt(&ours, sockopt::SndBufForce, &BUFFER).is_err() {
                    setsockopt(&ours, sockopt::SndBuf, &BUFFER)?;
                }
                crash::say(DYING, ours.as_fd())?;
                let socket = Arc::new(ours);
                Part::Daemon(Self { keeper: Keeper::new(Arc::clone(&socket)), socket, process: child })
            }
        })
    }

    /// Has it watch over what stands in the journal of this name, and waits until it does.
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

    /// Tells it something; `WouldBlock` when it has not yet listened to what came before.
    pub fn tell(&self, message: &GuardianMessage) -> io::Result<()> {
        self.keeper.catch_up();
        message.send(&self.socket, None)
    }

    /// What has it hold copies of descriptors.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Sees it off, now that its socket says that it has ended.
    pub fn see_off(&self) {
        // If it was stopped in its last moment, this is done when the daemon leaves.
        self.ends_within(LAST_MOMENT);
    }

    /// Its socket, which can be read when it has ended.
    pub fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }

    /// Lets it go: there is nothing left to undo. One that stands still, by SIGSTOP for one, is killed.
    pub fn dismiss(self) {
        crash::say_nothing();
        let patience = self.tell(&GuardianMessage::Farewell).map_or(Duration::ZERO, |()| FAREWELL);
        // Its number is its own until it has been waited for.
        if !self.ends_within(patience) && kill(self.process, Signal::SIGKILL).is_ok() {
            self.ends_within(FAREWELL);
        }
    }

    /// Waits for its end, but not longer than this; says whether it has ended, now or before.
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
    use super::*;

    #[test]
    fn what_a_dying_daemon_says_is_the_message_for_it() {
        assert!(matches!(serde_json::from_slice(DYING), Ok(GuardianMessage::Dying)));
    }
}
