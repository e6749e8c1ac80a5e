//! The guardian itself: it sleeps until its daemon tells it something or dies. Then, in this order, it resigns, takes
//! addresses off, gives back the rest, closes its copies of the daemon's sockets, and runs scripts.

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
use super::{GuardianMessage, LastScript, Mastery, READY};
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

/// What it is called, and its command line: not like the daemon, since who ends or counts daemons by either does not
/// mean it.
const NAME: &std::ffi::CStr = c"vrrp-guard";
/// The name of the claim that a guardian has while there may be something that it undoes.
pub const CLAIM: &str = "guardian";
/// How long the kernel may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long queues that are full may keep addresses on interfaces, then MAC addresses, and then scripts and the next
/// daemon: who is to hear of it waits as well.
const BEFORE_ADDRESSES: vrrpd_common::Duration = vrrpd_common::Duration::from_millis(2);
const BEFORE_MACS: vrrpd_common::Duration = vrrpd_common::Duration::from_millis(20);
const BEFORE_THE_END: vrrpd_common::Duration = vrrpd_common::Duration::from_secs(1);
/// How long the other threads of a daemon that was killed are waited for, in milliseconds, before the rest is given back. The
/// kernel may hold one up: what it still puts on an interface is taken off after its end.
const OTHER_THREADS_MS: u8 = 20;
/// Octets of the stack of the thread that waits for the daemon's.
const STACK: usize = 16 << 10;
/// What ends or moves a daemon, but not this process: it ends with the daemon.
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

/// A guardian that has not begun.
#[derive(Debug)]
pub struct Watch {
    socket: Arc<OwnedFd>,
    life: Lifeline,
    /// Copies of the daemon's descriptors, by their numbers.
    copies: BTreeMap<u64, OwnedFd>,
    /// Those that are to be closed.
    closing: Vec<OwnedFd>,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has given everything back, or had nothing.
    Farewell,
    /// It says and decides nothing any more, but is not gone: its core is being written, or the kernel holds up a thread.
    Dying,
    /// It has gone.
    Dead,
}

/// What it watches over.
#[derive(Debug)]
struct Charge {
    directory: Directory,
    base: String,
    masters: BTreeMap<RouterId, Mastery>,
    /// Held until everything is given back: the next daemon waits for that.
    claim: Claim,
}

impl Watch {
    pub(super) fn new(socket: OwnedFd, life: Lifeline) -> Self {
        Self { socket: Arc::new(socket), life, copies: BTreeMap::new(), closing: Vec::new() }
    }

    /// Watches, and ends soon after the daemon. `start_log` is called when there is something to say.
    pub fn run(mut self, role: Role, start_log: impl FnOnce() -> Result<(), LogError>) -> ExitCode {
        if let Err(error) = withdraw(role) {
            // The daemon learns of it when it waits for an answer.
            eprintln!("vrrpd: the guardian cannot begin: {error}");
            return ExitCode::FAILURE;
        }
        // The daemon says if that is not possible.
        let _ = memory::keep_program();
        // Without it the end is heard later, by the socket.
        let _ = end_of_thread_ends_reading(self.life, Arc::clone(&self.socket));
        let mut charge = None;
        let mut end = self.wait_for_the_end(&mut charge);
        let Some(charge) = charge.filter(|_| end != End::Farewell) else { return ExitCode::SUCCESS };
        // Before anything else: others wait for it.
        let mut words = LastWords::new();
        words.resign(&charge.masters);
        words.send(clock::now() + BEFORE_ADDRESSES);
        let taken_off = take_off_addresses(&charge.masters);
        words.send(clock::now() + BEFORE_MACS);
        // Without a log everything is given back all the same.
        let _ = start_log();
        warn!("daemon died, cleaning up");
        if let Err(error) = taken_off {
            warn!(%error, "batch removal of addresses failed, removing one by one");
        }
        // What they were about to put on an interface goes with the rest.
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

    /// Listens as long as the daemon lives, and notes what it is in charge of.
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

    /// The next message, and what came with it; `None` when there are no more.
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

    /// Octets of the next message. While it has to be waited for, a thread closes what is to be closed: who waits for the
    /// kernel does not hear of a death.
    fn next_length(&mut self) -> Option<usize> {
        loop {
            let waiting = if self.closing.is_empty() { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | waiting;
            match recv(self.socket.as_raw_fd(), &mut [], flags) {
                // No message is empty.
                Ok(0) => return None,
                Ok(length) => return Some(length),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => closing::let_go(std::mem::take(&mut self.closing)),
                Err(_) => return None,
            }
        }
    }

    /// Waits until the daemon has gone, with each of its threads, but not for longer; says whether it has.
    fn gone_within(&self, patience: PollTimeout) -> bool {
        let mut peer = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut peer, patience) {
                Err(Errno::EINTR) => {}
                Ok(0) => return false,
                // There is no other end to wait for where the socket cannot be asked.
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
            // Each member of a group has said those of the group.
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
            // One that panicked is over as well.
            let _ = gone.await;
            let mut claimed = Vec::new();
            if end == End::Dying {
                // Its other threads may have been in the middle of something.
                given_back = give_back(&journal, &mut LastWords::new()).await;
                // The scripts of the next daemon wait for ours, which have begun without them.
                claimed.extend(claims.iter().filter_map(|name| Claim::of(&directory, name).ok()));
                for claim in &claimed {
                    claim.take();
                }
            }
            if given_back.is_ok() {
                // That it is not there is as good.
                let _ = directory.remove(&file);
            }
            // The next daemon may begin.
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

/// Has a thread end the reading of the socket when the daemon's main thread has ended: what was sent before is still read.
fn end_of_thread_ends_reading(life: Lifeline, socket: Arc<OwnedFd>) -> io::Result<()> {
    let waits = thread::Builder::new().name("lifeline".to_owned()).stack_size(STACK);
    waits.spawn(move || {
        if life.wait() == Waited::Ended {
            // It has ended by itself otherwise.
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Read);
        }
    })?;
    Ok(())
}

/// Leaves the user's terminal and the daemon's name and command line, and lets signals pass that are meant for the daemon.
fn withdraw(role: Role) -> io::Result<()> {
    nix::sys::prctl::set_name(NAME)?;
    // It watches all the same under the daemon's.
    let _ = command_line::replace(NAME);
    // A leader of a group already: it is as good.
    let _ = nix::unistd::setsid();
    let mut signals = SigSet::empty();
    for signal in NOT_FOR_US {
        signals.add(signal);
    }
    signals.thread_block()?;
    nix::unistd::chdir("/")?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    // The command that started the daemon reads until the last writer has closed it.
    nix::unistd::dup2_stdout(&null)?;
    if role == Role::Background {
        nix::unistd::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Takes off the addresses that the daemon has told of.
fn take_off_addresses(masters: &BTreeMap<RouterId, Mastery>) -> io::Result<()> {
    let mut addresses: BTreeMap<u32, Vec<VirtualAddress>> = BTreeMap::new();
    for placed in masters.values().flat_map(|mastery| &mastery.holds) {
        addresses.entry(placed.on.number(None)).or_default().push(placed.address);
    }
    at_once::remove(&addresses, masters.values().all(|mastery| mastery.marks))
}

/// Has the kernel take off what a dead daemon has put on interfaces, and says of their own addresses where they are.
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
        words.announce(interface.index, transmit::own_announcements(interface, *own, is_virtual));
    }
    info!(interfaces = interfaces.len(), "cleanup complete");
    failed.map_or(Ok(()), |error| Err(io::Error::other(error)))
}

/// Runs the scripts of a router. Those of the next daemon wait for it.
fn run(
    directory: &Directory,
    (name, script): (String, LastScript),
    end: End,
    context: &script::Context,
) -> Option<Runner> {
    let LastScript { call, limit_ns, mut claim } = script;
    if end == End::Dying {
        // A daemon that has not gone still has its own.
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
