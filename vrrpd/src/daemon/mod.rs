//! The only event loop: what arrives becomes events of the routers, and their actions become frames, requests to the
//! kernel, scripts and lines of the log.
//!
//! Nothing here waits for anybody but the kernel's readiness: frames go to sockets that do not block, requests about
//! addresses to the netlink thread, scripts and clients to tasks of their own.
//!
//! Start reading at [`Daemon::run`]; `act` carries out actions, `command` answers clients and signals, `interfaces` hears of
//! links and addresses, `leave` ends it.

mod absence;
mod act;
mod announce;
mod begin;
mod command;
mod describe;
mod group_scripts;
mod groups;
mod handles;
mod interfaces;
mod kernel;
mod leave;
mod link;
mod log;
mod others;
mod prepare;
mod reload;
mod scripts;
mod sending;
mod start;
mod start_error;
mod tracking;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, warn};
use vrrpd_common::router::{Event, StateName};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::router::Router;
use vrrpd_engine::{Engine, Input, LinkId, Now, RouterId, Slots};

use crate::clock::{self, Alarm, Suspension};
use crate::config::Configuration;
use crate::control::followers::Followers;
use crate::control::server::Command;
use crate::datapath::Arrival;
use crate::datapath::own_mac::OwnMacChanged;
use crate::datapath::program::Loaded;
use crate::datapath::readiness::{self, Readiness};
use crate::datapath::refusal::Refusal;
use crate::guardian::{Guardian, GuardianMessage};
use crate::interface::service::{Report, Service};
use crate::lane::Lanes;
use crate::peers::Peers;
use crate::rundir::RunDir;
use crate::script;
use crate::signals::{Signal, Signals};
use crate::supervisor::Supervisor;
use crate::sys::packet::Inbox;
use crate::track::{Found, Watchers};
use command::Changing;
use group_scripts::GroupRunners;
use handles::Handles;
use link::{FAMILIES, KERNEL, LinkIo};
use others::Others;
use reload::Reload;

pub use start::Source;
pub use start_error::StartError;

/// Frames taken from one socket before others have their turn.
const TURN: usize = 256;
/// Frames taken from one socket before a deadline counts as missed: more than its buffer holds.
const DRAIN: usize = 1 << 14;
/// How long the loop may stand still when a router comes and the kernel has no memory at hand.
const AGAIN: Duration = Duration::from_millis(20);
/// The number under which the guardian is watched: that of no link and of no other process.
const GUARDIAN: u64 = u64::MAX;

/// All routers of this process.
#[derive(Debug)]
pub struct Daemon {
    /// What it decides, and the routers.
    engine: Engine,
    /// What the routers have of the machine.
    handles: Slots<RouterId, Handles>,
    links: Slots<LinkId, LinkIo>,
    others: Others,
    /// What the engine says is being done: what comes of that is its next input.
    is_performing: bool,
    /// The other processes of the one group that is not of this process alone.
    group_peers: Option<Peers>,
    group_runners: GroupRunners,
    alarm: Alarm,
    readiness: Readiness,
    ready: Vec<u64>,
    signals: Signals,
    service: Service,
    reports: mpsc::UnboundedReceiver<Report>,
    commands: mpsc::Receiver<Command>,
    changing: Vec<Changing>,
    /// What was done aside; kept with the other end, so that it never closes.
    aside_in: mpsc::UnboundedSender<(LinkId, Aside)>,
    aside: mpsc::UnboundedReceiver<(LinkId, Aside)>,
    /// The last change of what interfaces take in; they come one after the other.
    own_macs_changed: BTreeMap<LinkId, JoinHandle<()>>,
    lanes: Lanes,
    /// What the scripts of all routers share.
    scripts: script::Context,
    followers: Followers,
    /// Elsewhere while it is read.
    inbox: Option<Inbox>,
    state_file: String,
    journal_file: String,
    /// What stands there, or is written now.
    journal: String,
    /// The last file that was to be written; they are written one after the other.
    written: Option<JoinHandle<()>>,
    rundir: RunDir,
    supervisor: Supervisor,
    guardian: Guardian,
    /// Its socket, which can be read when it has ended.
    guardian_ends: Option<readiness::Source<Arc<OwnedFd>>>,
    /// Routers whose role the guardian has not been told of yet.
    untold: BTreeSet<RouterId>,
    /// The service manager has not been told of some transition.
    status_untold: bool,
    reload: Reload,
    watchers: Watchers,
    /// When interfaces that could not be opened are tried again.
    open_again_at: Option<Instant>,
    /// When it was looked last whether programs are where they were put.
    programs_looked_after: Instant,
    suspension: Suspension,
}

/// What woke the loop.
enum Wake {
    Frames,
    Timer,
    Report(Report),
    Command(Command),
    Signal(Signal),
    Reloaded(Result<Configuration, Vec<String>>),
    Found(Found),
    Aside(LinkId, Aside),
}

/// What was done for an interface outside the loop, since the kernel takes its time over it.
#[derive(Debug)]
enum Aside {
    /// The program is loaded, or why it is not.
    Loaded(Result<Loaded, Refusal>),
    /// It takes in frames to its own MAC address.
    OwnMac(OwnMacChanged),
    /// The script of this number that prepares a router is over.
    Prepared(RouterId, u64),
}

impl Daemon {
    /// Runs until a signal ends it, or something breaks that nothing works without.
    pub async fn run(mut self) -> io::Result<()> {
        self.supervisor.ready();
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.input(Input::StartUp(id));
        }
        loop {
            match self.turn().await? {
                Some(Signal::Leave) => break,
                Some(signal) => self.signal(signal),
                None => {}
            }
        }
        self.leave().await
    }

    /// Waits for something, handles it and all that is due, and sends what came of it. Signals are left to the caller.
    async fn turn(&mut self) -> io::Result<Option<Signal>> {
        self.settle_groups();
        self.flush();
        if self.give_up_unsendable() {
            self.settle_groups();
            self.flush();
        }
        // Behind that: a router that leaves is gone when its last words have been sent, and nothing else may wake us then.
        if self.settle() {
            self.settle_groups();
            self.flush();
        }
        self.tell_guardian();
        self.say_status();
        self.arm()?;
        let wake = self.wait().await?;
        self.notice_suspension();
        let mut signal = None;
        match wake {
            Wake::Frames => self.receive_ready(),
            Wake::Timer => {}
            Wake::Report(report) => self.report(report),
            Wake::Command(command) => self.command(command),
            Wake::Signal(caught) => signal = Some(caught),
            Wake::Reloaded(read) => self.reloaded(read),
            Wake::Found(found) => self.found(&found),
            Wake::Aside(link, Aside::Loaded(program)) => self.loaded(link, program),
            Wake::Aside(link, Aside::OwnMac(changed)) => self.own_mac_changed(link, changed),
            Wake::Aside(link, Aside::Prepared(id, number)) => self.prepared(link, id, number),
        }
        self.expire();
        self.answer_changes();
        self.supervisor.turned(clock::now());
        Ok(signal)
    }

    async fn wait(&mut self) -> io::Result<Wake> {
        tokio::select! {
            () = self.readiness.ready(&mut self.ready) => Ok(Wake::Frames),
            fired = self.alarm.fired() => fired.map(|()| Wake::Timer),
            report = self.reports.recv() => {
                report.map(Wake::Report).ok_or_else(|| io::Error::other("the netlink thread has ended"))
            }
            Some(command) = self.commands.recv() => Ok(Wake::Command(command)),
            signal = self.signals.next() => Ok(Wake::Signal(signal)),
            read = self.reload.read() => Ok(Wake::Reloaded(read)),
            found = self.watchers.next() => Ok(Wake::Found(found)),
            Some((link, done)) = self.aside.recv() => Ok(Wake::Aside(link, done)),
        }
    }

    /// Tells the guardian who has become Master and who is not any more; adverts have gone out by then.
    fn tell_guardian(&mut self) {
        while let Some(id) = self.untold.pop_first() {
            let marks = self.engine.marks();
            let of_group = self.engine.groups().with_scripts(id).cloned();
            let Some((router, there)) = self.engine.router_on_link(id) else { continue };
            let (Some(link), Some(handles)) = (self.links.get(router.link), self.handles.get_mut(id)) else {
                continue;
            };
            let message = match router.state_told() {
                StateName::Master => {
                    let link = (there, &link.peers);
                    GuardianMessage::Master(Box::new(handles.mastery(
                        router,
                        id,
                        link,
                        marks,
                        of_group.as_ref(),
                    )))
                }
                StateName::Init | StateName::Backup | StateName::Fault => GuardianMessage::Over(id),
            };
            match self.guardian.tell(&message) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It has heard more by the next turn.
                    self.untold.insert(id);
                    return;
                }
                // That it has ended is said when its socket says so.
                Err(_) => self.untold.clear(),
            }
        }
    }

    fn guardian_lost(&mut self) {
        if self.guardian_ends.take().is_some() {
            self.guardian.see_off();
            error!("guardian process lost: after a crash, addresses stay until the next start");
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        let now = clock::now();
        let due = self.engine.deadline();
        let unsent = self.links.values().filter_map(|link| link.deadline(now)).min();
        let other = [
            self.group_peers_due(),
            self.supervisor.deadline(),
            self.changes_due(),
            self.open_again_at,
            self.sending_due(),
            self.others.deadline(now),
        ];
        self.alarm.arm(now, due.into_iter().chain(unsent).chain(other.into_iter().flatten()).min())
    }

    fn receive_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            if number == GUARDIAN {
                self.guardian_lost();
                continue;
            }
            if Peers::is_number(number) {
                self.group_peer_ready(number);
                continue;
            }
            match link::source_of(number) {
                (link, KERNEL) => self.kernel_reports(link),
                (link, place) => self.receive(link, place, TURN),
            }
        }
        self.ready = ready;
    }

    /// Handles about `most` frames of a socket, or all that are there.
    fn receive(&mut self, link: LinkId, place: usize, most: usize) {
        let Some(mut inbox) = self.inbox.take() else { return };
        let (mut taken, mut all) = (0, false);
        while taken < most && !all && self.links.get(link).is_some_and(|link| link.receive(place, &mut inbox))
        {
            let now = clock::moment();
            for frame in inbox.frames() {
                taken += 1;
                self.frame(now, link, frame);
            }
            all = !inbox.is_full();
        }
        self.inbox = Some(inbox);
        if let Some(link) = self.links.get(link) {
            link.was_read(place, all);
        }
    }

    fn frame(&mut self, now: Now, link_id: LinkId, frame: &[u8]) {
        let Some(link) = self.links.get_mut(link_id) else { return };
        match link.table.judge(frame) {
            Some(Arrival::Advert { router, advert }) => {
                self.input_at(now, Input::Event(router, Event::Advert(advert), Some(Cow::Borrowed(frame))));
            }
            Some(Arrival::Rejected { router, rejection }) => {
                self.input_at(now, Input::Rejected { link: link_id, router, why: rejection });
            }
            None => {}
        }
    }

    /// Handles every deadline that has passed. Before a router may miss its master, all that has arrived is heard: a
    /// process that was kept from running must not declare a live master dead.
    fn expire(&mut self) {
        let now = clock::now();
        let listening: BTreeSet<LinkId> = self
            .engine
            .due(now)
            .into_iter()
            .filter_map(|id| self.engine.router(id))
            .filter(|router| router.machine.state().name() == StateName::Backup)
            .map(|router| router.link)
            .collect();
        for link in listening {
            for place in 0..FAMILIES.len() {
                self.receive(link, place, DRAIN);
            }
        }
        for id in self.engine.due(now) {
            if self.engine.router(id).is_some_and(Router::is_watched_by_kernel) {
                self.hold_is_over(id);
            } else {
                self.event(id, Event::Timer);
            }
        }
        self.hear_group_peers();
        self.engine.expire(clock::moment());
        self.perform_outputs();
        self.open_again(now);
        self.look_after_programs(now);
    }

    /// After the machine was suspended, what was true before is not to be believed.
    fn notice_suspension(&mut self) {
        let Some(slept) = self.suspension.end() else { return };
        warn!(%slept, "resumed from suspend, listening before take-over");
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.event(id, Event::StoodStill);
        }
    }

    /// Hands an event to a router and carries out what comes of it.
    fn event(&mut self, id: RouterId, event: Event) {
        self.input(Input::Event(id, event, None));
    }

    /// Tells the engine what happened, and does what it says.
    fn input(&mut self, input: Input<'_>) {
        self.input_at(clock::moment(), input);
    }

    fn input_at(&mut self, now: Now, input: Input<'_>) {
        self.engine.handle(now, input);
        self.perform_outputs();
    }

    /// Writes down again what has to be undone after a crash. What it says of an interface whose
    /// MAC address is replaced stays.
    fn write_journal(&mut self) {
        let text = begin::journal_text(&self.engine);
        if text == self.journal {
            return;
        }
        self.journal.clone_from(&text);
        self.write_behind(self.journal_file.clone(), 0o600, text, |_, written| {
            if let Err(error) = written {
                warn!(error, "cannot write journal");
            }
        });
    }

    /// Writes a file whole, in a thread for that and behind those that were to be written before: the newest is to stand
    /// there in the end, and a full or slow disk must not delay an advert. `then` is told how it went.
    fn write_behind(
        &mut self,
        name: String,
        mode: u32,
        text: String,
        then: impl FnOnce(&Path, Result<(), String>) + 'static,
    ) {
        let (before, files) = (self.written.take(), self.lanes.files.clone());
        let directory = self.rundir.directory().clone();
        self.written = Some(tokio::task::spawn_local(async move {
            // One that panicked is over as well.
            if let Some(before) = before {
                let _ = before.await;
            }
            let path = directory.join(&name);
            let what = format!("writing {}", path.display());
            let written = files.run(what, move || directory.write(&name, mode, &text)).await;
            let written = written.map_err(|error| error.to_string());
            then(&path, written.and_then(|written| written.map_err(|error| error.to_string())));
        }));
    }
}
