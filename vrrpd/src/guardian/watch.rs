//! The guardian process: it sleeps until its daemon sends a message or dies. Then, in this order, it resigns, removes
//! addresses, gives back the rest, closes its copies of the daemon's sockets, and runs scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_blocking};
use tracing::{error, info, warn};
use vrrpd_engine::RouterId;
use vrrpd_engine::ledger::{Journal, Leftover, Undo};

use super::copies::Keeper;
use super::last_words::LastWords;
use super::message::{GuardianMessage, LastScript, Mastery, READY};
use crate::abandoned;
use crate::background::Role;
use crate::clock;
use crate::config::VirtualAddress;
use crate::datapath::closing;
use crate::interface::at_once;
use crate::interface::service::{Report, Service};
use crate::lane::Lane;
use crate::limits;
use crate::logging::LogError;
use crate::rundir::{Claim, Directory, RunDirError};
use crate::script::{self, Runner};
use crate::sys::lifeline::{Lifeline, Waited};
use crate::sys::{command_line, memory, pass};
use crate::transmit;

/// Its process name and command line: different from the daemon's, so that programs that count or end daemons by name
/// do not mean it.
const NAME: &std::ffi::CStr = c"vrrp-guard";
/// The claim of a guardian while there may be something that it has to undo.
pub const CLAIM: &str = "guardian";
/// Timeout of one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long full queues may delay removing addresses, then MAC addresses, then scripts and the next daemon: the
/// receivers are not ready either.
const BEFORE_ADDRESSES: vrrpd_common::Duration = vrrpd_common::Duration::from_millis(2);
const BEFORE_MACS: vrrpd_common::Duration = vrrpd_common::Duration::from_millis(20);
const BEFORE_THE_END: vrrpd_common::Duration = vrrpd_common::Duration::from_secs(1);
/// How long to wait for the other threads of a killed daemon, in milliseconds, before the rest is given back. The
/// kernel may block one; what it still adds to an interface is removed after its end.
const OTHER_THREADS_MS: u8 = 20;
/// Stack size of the thread that waits for the daemon's main thread, in octets.
const STACK: usize = 16 << 10;
/// Signals for a daemon that the guardian ignores: it ends with the daemon.
const NOT_FOR_US: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGTSTP,
];

/// A guardian before it runs.
#[derive(Debug)]
pub struct Watch {
    socket: Arc<OwnedFd>,
    life: Lifeline,
    /// Copies of the daemon's descriptors, by number.
    copies: BTreeMap<u64, OwnedFd>,
    /// Copies to be closed.
    closing: Vec<OwnedFd>,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has given everything back, or had nothing.
    Farewell,
    /// It does nothing more, but still exists: its core is being written, or the kernel blocks a thread.
    Dying,
    /// It has ended.
    Dead,
}

/// What it watches over.
#[derive(Debug)]
struct Charge {
    directory: Directory,
    base: String,
    masters: BTreeMap<RouterId, Mastery>,
    /// Held until everything is given back, since the next daemon waits for that.
    claim: Claim,
}

impl Watch {
    pub(super) fn new(socket: OwnedFd, life: Lifeline) -> Self {
        Self { socket: Arc::new(socket), life, copies: BTreeMap::new(), closing: Vec::new() }
    }

    /// Runs until shortly after the end of the daemon. `start_log` is called when there is something to log.
    pub fn run(mut self, role: Role, start_log: impl FnOnce() -> Result<(), LogError>) -> ExitCode {
        if let Err(error) = withdraw(role) {
            // The daemon notices while it waits for the answer.
            eprintln!("vrrpd: the guardian cannot start: {error}");
            return ExitCode::FAILURE;
        }
        // The daemon logs it if that is not possible.
        let _ = memory::keep_program();
        // Otherwise the end is noticed later, by the socket.
        let _ = end_of_thread_ends_reading(self.life, Arc::clone(&self.socket));
        let mut charge = None;
        let mut end = self.wait_for_the_end(&mut charge);
        let Some(charge) = charge.filter(|_| end != End::Farewell) else { return ExitCode::SUCCESS };
        // Before anything else: other routers wait for it.
        let mut words = LastWords::new();
        words.resign(&charge.masters);
        words.send(clock::now() + BEFORE_ADDRESSES);
        let taken_off = take_off_addresses(&charge.masters);
        words.send(clock::now() + BEFORE_MACS);
        // Everything is given back even without a log.
        let _ = start_log();
        warn!("daemon died, cleaning up");
        if let Err(error) = taken_off {
            warn!(%error, "batch removal of addresses failed, removing one by one");
        }
        // What those threads were about to add is given back as well.
        if end == End::Dead && !self.gone_within(OTHER_THREADS_MS.into()) {
            end = End::Dying;
        }
        let result = self.undo(charge, words, end);
        if let Err(error) = &result {
            error!(%error, "cleanup incomplete, the next start will retry");
        }
        crate::logging::flush();
        if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Listens as long as the daemon lives, and keeps its messages.
    fn wait_for_the_end(&mut self, charge: &mut Option<Charge>) -> End {
        let mut buffer = Vec::new();
        loop {
            let Some((message, descriptor)) = self.hear(&mut buffer) else { return End::Dead };
            match (message, &mut *charge) {
                (GuardianMessage::Charge { directory, base }, _) => {
                    let taken = Charge::take(&directory, base);
                    let answer = match &taken {
                        Ok(_) => READY.to_vec(),
                        Err(error) => error.to_string().into_bytes(),
                    };
                    if send(self.socket.as_raw_fd(), &answer, MsgFlags::MSG_NOSIGNAL).is_err() {
                        return End::Dead;
                    }
                    *charge = taken.ok();
                }
                (GuardianMessage::Master(mastery), Some(charge)) => {
                    charge.masters.insert(mastery.router, *mastery);
                }
                (GuardianMessage::Over(router), Some(charge)) => {
                    charge.masters.remove(&router);
                }
                (GuardianMessage::Master(_) | GuardianMessage::Over(_), None) => {}
                (GuardianMessage::Hold(number), _) => {
                    self.copies.extend(descriptor.map(|descriptor| (number, descriptor)));
                    limits::make_room_for_copies(self.copies.len() + self.closing.len());
                }
                (GuardianMessage::LetGo(number), _) => self.closing.extend(self.copies.remove(&number)),
                (GuardianMessage::Dying, _) => return End::Dying,
                (GuardianMessage::Farewell, _) => return End::Farewell,
            }
        }
    }

    /// The next message with its descriptor, if any; `None` when there are no more.
    fn hear(&mut self, buffer: &mut Vec<u8>) -> Option<(GuardianMessage, Option<OwnedFd>)> {
        let length = self.next_length()?;
        buffer.resize(length, 0);
        let (received, descriptor) = pass::receive(self.socket.as_fd(), buffer).ok()?;
        let message = serde_json::from_slice(buffer.get(..received)?).ok()?;
        if buffer.capacity() > length {
            buffer.shrink_to(0);
        }
        Some((message, descriptor))
    }

    /// Length of the next message in octets. While waiting for it, another thread closes what is to be closed, since a
    /// thread that waits for the kernel cannot notice a death.
    fn next_length(&mut self) -> Option<usize> {
        loop {
            let waiting = if self.closing.is_empty() { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | waiting;
            match recv(self.socket.as_raw_fd(), &mut [], flags) {
                // Messages are never empty.
                Ok(0) => return None,
                Ok(length) => return Some(length),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => closing::let_go(std::mem::take(&mut self.closing)),
                Err(_) => return None,
            }
        }
    }

    /// Waits up to this time until the daemon has ended with all its threads; returns whether it has.
    fn gone_within(&self, patience: PollTimeout) -> bool {
        let mut peer = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut peer, patience) {
                Err(Errno::EINTR) => {}
                Ok(0) => return false,
                // If the socket cannot be polled, no other end is known.
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// Gives back what is left, and runs the scripts.
    fn undo(mut self, charge: Charge, mut words: LastWords, end: End) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let Charge { directory, base, masters, claim } = charge;
            let file = format!("{base}.journal");
            let journal = abandoned::read_journal(&directory, &file);
            let mut given_back = give_back(&journal, &mut words).await;
            for failed in words.finish(BEFORE_THE_END) {
                error!(
                    interface = failed.interface, error = %failed.error,
                    "cannot send all resignations and announcements"
                );
            }
            let scripts = masters.into_values().flat_map(|mastery| {
                let name = mastery.name;
                mastery.scripts.into_iter().map(move |script| (name.clone(), script))
            });
            let mut scripts: Vec<_> = scripts.collect();
            // Each member of a group has sent the scripts of the group.
            let mut known = BTreeSet::new();
            scripts.retain(|(_, script)| known.insert(script.claim.clone()));
            let runs: usize = scripts.iter().map(|(_, script)| script.call.runs.len()).sum();
            limits::make_room_for_scripts(runs + self.copies.len());
            let claims: Vec<_> = scripts.iter().map(|(_, script)| script.claim.clone()).collect();
            let context = script::Context::new(Lane::scripts());
            let runners: Vec<_> =
                scripts.into_iter().filter_map(|script| run(&directory, script, end, &context)).collect();
            let sockets = words.into_sockets();
            let mut closing: Vec<_> = sockets.chain(std::mem::take(&mut self.closing)).collect();
            closing.extend(std::mem::take(&mut self.copies).into_values());
            let gone = spawn_blocking(move || {
                closing::let_go_of_all(closing);
                if end == End::Dying {
                    self.gone_within(PollTimeout::NONE);
                }
            });
            // A task that panicked has ended, too.
            let _ = gone.await;
            let mut claimed = Vec::new();
            if end == End::Dying {
                // Its other threads may have been at work until now.
                given_back = give_back(&journal, &mut LastWords::new()).await;
                // The scripts of the next daemon wait for ours.
                claimed.extend(claims.iter().filter_map(|name| Claim::of(&directory, name).ok()));
                for claim in &claimed {
                    claim.take();
                }
            }
            if given_back.is_ok() {
                // It may not exist.
                let _ = directory.remove(&file);
            }
            // The next daemon may start.
            drop(claim);
            for runner in runners {
                runner.finish().await;
            }
            context.finish().await;
            drop(claimed);
            given_back
        })
    }
}

/// Why a guardian cannot watch over a daemon.
#[derive(Debug, Error)]
enum ChargeError {
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    #[error("{}: in use by another vrrpd", .0.display())]
    Taken(PathBuf),
}

impl Charge {
    fn take(directory: &Path, base: String) -> Result<Self, ChargeError> {
        let directory = Directory::make(directory)?;
        let claim = Claim::of(&directory, &format!("{base}.{CLAIM}"))?;
        if !claim.take() {
            return Err(ChargeError::Taken(directory.path().to_owned()));
        }
        Ok(Self { directory, base, masters: BTreeMap::new(), claim })
    }
}

/// Starts a thread that shuts down reading of the socket when the daemon's main thread has ended; earlier messages are
/// still read.
fn end_of_thread_ends_reading(life: Lifeline, socket: Arc<OwnedFd>) -> io::Result<()> {
    let waits = thread::Builder::new().name("lifeline".to_owned()).stack_size(STACK);
    waits.spawn(move || {
        if life.wait() == Waited::Ended {
            // Otherwise it has ended already.
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Read);
        }
    })?;
    Ok(())
}

/// Leaves the user's terminal and the daemon's name and command line, and ignores signals for the daemon.
fn withdraw(role: Role) -> io::Result<()> {
    nix::sys::prctl::set_name(NAME)?;
    // Under the daemon's name it still works.
    let _ = command_line::replace(NAME);
    // An error means that it leads a group already.
    let _ = nix::unistd::setsid();
    let mut signals = SigSet::empty();
    for signal in NOT_FOR_US {
        signals.add(signal);
    }
    signals.thread_block()?;
    nix::unistd::chdir("/")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    // The command that started the daemon reads until the last writer has closed the pipe.
    nix::unistd::dup2_stdout(&null)?;
    if role == Role::Background {
        nix::unistd::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Removes the addresses that the daemon has sent.
fn take_off_addresses(masters: &BTreeMap<RouterId, Mastery>) -> io::Result<()> {
    let mut addresses: BTreeMap<u32, Vec<VirtualAddress>> = BTreeMap::new();
    for placed in masters.values().flat_map(|mastery| &mastery.holds) {
        addresses.entry(placed.on.number(None)).or_default().push(placed.address);
    }
    at_once::remove(&addresses, masters.values().all(|mastery| mastery.marks))
}

/// Undoes on interfaces what a dead daemon has left, and announces the interfaces' own addresses.
async fn give_back(journal: &Journal, words: &mut LastWords) -> io::Result<()> {
    let (queue, mut reports) = mpsc::unbounded_channel();
    let (service, interfaces) = Service::start(journal.interfaces(), queue, Keeper::default())?;
    let undo = Undo::plan(journal, &interfaces, service.marks_addresses(), |found| match found {
        Leftover::Address { .. } | Leftover::Mac { .. } => false,
        Leftover::Link { noted, .. } => !noted,
    });
    let mut answers = abandoned::ask(&undo, &service);
    let mut failed = None;
    while answers > 0 {
        let report = tokio::time::timeout(PATIENCE, reports.recv()).await;
        match report.map_err(|_| io::Error::other("the kernel does not answer"))? {
            Some(Report::Done(_, outcome)) => {
                answers -= 1;
                failed = failed.or_else(|| outcome.failure().cloned());
            }
            Some(_) => {}
            None => return Err(io::Error::other("the netlink thread has ended")),
        }
    }
    abandoned::remove_classifiers(&undo);
    for (interface, own) in &undo.macs {
        let is_virtual = |address| journal.addresses_on(&interface.name).any(|ours| ours.address == address);
        words.announce(interface.index, transmit::announcements(*own, interface.own_addresses(is_virtual)));
    }
    info!(interfaces = interfaces.len(), "cleanup complete");
    failed.map_or(Ok(()), |error| Err(io::Error::other(error)))
}

/// Runs the scripts of a router. Those of the next daemon wait for them.
fn run(
    directory: &Directory,
    (name, script): (String, LastScript),
    end: End,
    context: &script::Context,
) -> Option<Runner> {
    let LastScript { call, limit_ns, mut claim } = script;
    if end == End::Dying {
        // A daemon that still exists holds its own claim.
        claim.push_str(".last");
    }
    let claim = match Claim::of(directory, &claim) {
        Ok(claim) => claim,
        Err(error) => {
            error!(router = name, %error, "cannot run script");
            return None;
        }
    };
    let runner = Runner::start(name, vrrpd_common::Duration::from_nanos(limit_ns), claim, context.clone());
    runner.run(call);
    Some(runner)
}
