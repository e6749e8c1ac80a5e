//! The guardian itself: it sleeps until its daemon tells it something or dies.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tracing::{error, info, warn};

use super::{LastScript, Mastery, Message, READY};
use crate::abandoned::{Abandoned, Found};
use crate::background::Role;
use crate::clock;
use crate::datapath::RouterId;
use crate::interface::service::{Report, Service};
use crate::journal::Journal;
use crate::lane::Lane;
use crate::limits;
use crate::rundir::Claim;
use crate::script::{self, Runner};
use crate::sys::command_line;
use crate::transmit::{self, Transmitter};

/// What it is called, and its command line: not like the daemon, since who ends or counts daemons by either does not
/// mean it.
const NAME: &std::ffi::CStr = c"vrrp-guard";
/// The name of the claim that a guardian has while there may be something that it undoes.
pub const CLAIM: &str = "guardian";
/// How long the kernel may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
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
    socket: OwnedFd,
}

/// What it watches over.
#[derive(Debug)]
struct Charge {
    directory: PathBuf,
    base: String,
    masters: BTreeMap<usize, Mastery>,
    /// Held until everything is given back: the next daemon waits for that.
    claim: Claim,
}

impl Watch {
    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Watches, and ends soon after the daemon. `start_log` is called when there is something to say.
    pub fn run(self, role: Role, start_log: impl FnOnce() -> Result<(), String>) -> ExitCode {
        if let Err(error) = withdraw(role) {
            // The daemon learns of it when it waits for an answer.
            eprintln!("vrrpd: the guardian cannot begin: {error}");
            return ExitCode::FAILURE;
        }
        let Some(charge) = self.wait_for_the_end() else { return ExitCode::SUCCESS };
        // Before anything else: others wait for it.
        let unsent = resign(&charge.masters);
        // Without a log everything is given back all the same.
        let _ = start_log();
        warn!("vrrpd has died; giving back what it had");
        for (interface, error) in unsent {
            error!(interface, %error, "its routers did not resign");
        }
        let result = undo(charge);
        if let Err(error) = &result {
            error!(%error, "not everything was given back; the next start will try again");
        }
        crate::logging::flush();
        if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Listens as long as the daemon lives; `None` when it has left nothing to do.
    fn wait_for_the_end(&self) -> Option<Charge> {
        let mut charge: Option<Charge> = None;
        let mut buffer = Vec::new();
        loop {
            let length =
                match recv(self.socket.as_raw_fd(), &mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC) {
                    // No message is empty.
                    Ok(0) => return charge,
                    Ok(length) => length,
                    Err(Errno::EINTR) => continue,
                    Err(_) => return charge,
                };
            buffer.resize(length, 0);
            if recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) != Ok(length) {
                return charge;
            }
            match (serde_json::from_slice(&buffer).ok()?, &mut charge) {
                (Message::Charge { directory, base }, _) => {
                    let taken = Charge::take(directory, base);
                    let answer = taken.as_ref().map_or_else(String::as_bytes, |_| READY);
                    send(self.socket.as_raw_fd(), answer, MsgFlags::MSG_NOSIGNAL).ok()?;
                    charge = taken.ok();
                }
                (Message::Master(mastery), Some(charge)) => {
                    charge.masters.insert(mastery.router, mastery);
                }
                (Message::Over(router), Some(charge)) => {
                    charge.masters.remove(&router);
                }
                (Message::Master(_) | Message::Over(_), None) => {}
                (Message::Farewell, _) => return None,
            }
            if buffer.capacity() > length {
                buffer.shrink_to(0);
            }
        }
    }
}

impl Charge {
    fn take(directory: PathBuf, base: String) -> Result<Self, String> {
        let claim = Claim::of(&directory, &format!("{base}.{CLAIM}")).map_err(|error| error.to_string())?;
        if !claim.take() {
            return Err(format!("{}: that of another vrrpd is at it", directory.display()));
        }
        Ok(Self { directory, base, masters: BTreeMap::new(), claim })
    }
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
    // The command that started the daemon reads until nobody writes there any more.
    nix::unistd::dup2_stdout(&null)?;
    if role == Role::Background {
        nix::unistd::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Sends the adverts that a daemon sends when it leaves; returns the interfaces that did not take them.
fn resign(masters: &BTreeMap<usize, Mastery>) -> Vec<(u32, io::Error)> {
    let mut interfaces: BTreeMap<u32, Vec<(usize, &[u8])>> = BTreeMap::new();
    for mastery in masters.values() {
        if let Some(frame) = &mastery.resignation {
            interfaces.entry(mastery.interface).or_default().push((mastery.router, frame));
        }
    }
    let send = |interface: u32, frames: Vec<(usize, &[u8])>| {
        let mut transmitter = Transmitter::open(interface)?;
        for (router, frame) in frames {
            transmitter.advert(RouterId(router), Rc::from(frame), true);
        }
        transmitter.flush(clock::now()).map_err(io::Error::other)
    };
    let results = interfaces.into_iter().map(|(interface, frames)| (interface, send(interface, frames)));
    results.filter_map(|(interface, sent)| Some((interface, sent.err()?))).collect()
}

/// Gives back what the journal says, then runs the scripts.
fn undo(charge: Charge) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let Charge { directory, base, masters, claim } = charge;
        let path = directory.join(format!("{base}.journal"));
        let given_back = give_back(&Journal::read(&path)).await;
        if given_back.is_ok() {
            // That it is not there is as good.
            let _ = fs::remove_file(&path);
        }
        // The next daemon may begin; its scripts wait for these.
        drop(claim);
        let scripts = masters.into_values().filter_map(|mastery| Some((mastery.name, mastery.script?)));
        let scripts: Vec<_> = scripts.collect();
        limits::make_room_for_scripts(scripts.len());
        let context = script::Context::new(Lane::scripts());
        let runners: Vec<_> = scripts
            .into_iter()
            .filter_map(|(name, script)| run(&directory, name, script, &context))
            .collect();
        for runner in runners {
            runner.finish().await;
        }
        given_back
    })
}

/// Has the kernel take off what a dead daemon has put on interfaces, and says of their own addresses where they are.
async fn give_back(journal: &Journal) -> io::Result<()> {
    let (queue, mut reports) = mpsc::unbounded_channel();
    let (service, interfaces) = Service::start(journal.interfaces(), queue)?;
    let mut abandoned = Abandoned::of(journal, &interfaces, service.marks_addresses(), |found| match found {
        Found::Address(..) | Found::Mac(_) | Found::Classifier(_) => false,
        Found::Link { noted, .. } => !noted,
    });
    let mut answers = abandoned.ask(&service);
    let mut failed = None;
    while answers > 0 {
        let report = tokio::time::timeout(PATIENCE, reports.recv()).await;
        match report.map_err(|_| io::Error::other("the kernel does not answer"))? {
            Some(Report::Done(_, outcome)) => {
                answers -= 1;
                failed = failed.or_else(|| outcome.failure());
            }
            Some(_) => {}
            None => return Err(io::Error::other("the netlink thread has ended")),
        }
    }
    abandoned.remove_classifiers();
    for (interface, own) in abandoned.macs() {
        let announced = Transmitter::open(interface.index).and_then(|mut transmitter| {
            for frame in transmit::own_announcements(interface, *own) {
                transmitter.announcement(RouterId(0), frame);
            }
            transmitter.flush(clock::now()).map_err(io::Error::other)
        });
        if let Err(error) = announced {
            warn!(interface = interface.name, %error, "hosts are not told of its own MAC address");
        }
    }
    info!(interfaces = interfaces.len(), "everything has been given back");
    failed.map_or(Ok(()), Err)
}

fn run(directory: &Path, name: String, script: LastScript, context: &script::Context) -> Option<Runner> {
    let LastScript { run, limit_ns, claim } = script;
    let claim = match Claim::of(directory, &claim) {
        Ok(claim) => claim,
        Err(error) => {
            error!(router = name, %error, "its script cannot be run");
            return None;
        }
    };
    let runner = Runner::start(name, vrrpd_common::Duration::from_nanos(limit_ns), claim, context.clone());
    runner.run(run);
    Some(runner)
}
