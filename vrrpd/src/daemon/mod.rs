//! The event loop: inputs become events of the routers, and their outputs become frames, requests to the kernel,
//! scripts and log lines.
//!
//! Nothing in it blocks: frames go to non-blocking sockets, requests about addresses to the netlink thread, scripts and
//! clients to their own tasks.
//!
//! Start reading at [`Daemon::run`]; `act` executes outputs, `command` handles clients and signals, `interfaces`
//! handles links and addresses, `leave` ends the daemon.

mod absence;
mod act;
mod announce;
mod begin;
mod burst;
mod changes;
mod command;
mod describe;
mod files;
mod group_scripts;
mod groups;
mod guardian;
mod handles;
mod interfaces;
mod kernel;
mod leave;
mod link;
mod log;
mod others;
mod prepare;
mod reload;
mod reload_state;
mod scripts;
mod sending;
mod start;
mod start_error;
mod tracking;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;
use vrrpd_common::Instant;
use vrrpd_common::router::Event;
use vrrpd_engine::rate_limit::RateLimit;
use vrrpd_engine::{Engine, Input, LinkId, Now, RouterId, Slots};

use crate::clock::{self, Alarm, Suspension};
use crate::config::Configuration;
use crate::control::followers::Followers;
use crate::control::server::Command;
use crate::datapath::Arrival;
use crate::datapath::loaded::Loaded;
use crate::datapath::object::Objects;
use crate::datapath::own_mac::OwnMacChanged;
use crate::datapath::readiness::{self, Readiness};
use crate::datapath::refusal::Refusal;
use crate::datapath::tier::Tier;
use crate::datapath::xdp::{Retired, XdpPath};
use crate::guardian::Guardian;
use crate::interface::service::{Report, Service};
use crate::lane::Lanes;
use crate::peers::Peers;
use crate::rundir::RunDir;
use crate::script;
use crate::signals::{Signal, Signals};
use crate::supervisor::Supervisor;
use crate::sys::packet::{Inbox, RingSocket};
use crate::track::{Found, Watchers};
use burst::Burst;
use changes::Changes;
use group_scripts::GroupRunners;
use handles::Handles;
use link::{FAMILIES, LinkIo};
use others::Others;
use reload_state::Reload;

pub use start::Source;
pub use start_error::StartError;

/// Maximum number of frames taken from one socket before others get their turn.
const TURN: usize = 256;
/// Number of frames taken from one socket before a deadline counts as missed: more than its buffer holds.
const DRAIN: usize = 1 << 14;
/// Event numbers of the guardian, the timer and of all that wakes the loop rarely; no link or process has them.
const GUARDIAN: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
const OTHERS: u64 = u64::MAX - 2;

/// All routers of this process.
#[derive(Debug)]
pub struct Daemon {
    /// The engine, with the routers.
    engine: Engine,
    /// The resources of the routers.
    handles: Slots<RouterId, Handles>,
    links: Slots<LinkId, LinkIo>,
    others: Others,
    /// More has happened than adverts that change nothing, so there may be something to send or to settle.
    is_stirred: bool,
    /// The earliest deadline apart from those of the engine, by the end of the last turn with changes.
    others_due: Option<Instant>,
    /// An output is being executed; its consequences are the next inputs.
    is_performing: bool,
    /// The other processes of the `-M` group.
    group_peers: Option<Peers>,
    group_runners: GroupRunners,
    alarm: Alarm,
    burst: Burst,
    readiness: Readiness,
    /// The programs in the kernel.
    objects: Objects,
    /// Programs that are not in use any more, to be taken off when no router of the interface is Master.
    retired: Vec<(LinkId, Retired)>,
    ready: Vec<u64>,
    /// Wakes the loop under the number [`OTHERS`].
    others_waker: Waker,
    /// Something that wakes the loop rarely may have happened.
    are_others_due: bool,
    signals: Signals,
    service: Service,
    reports: mpsc::UnboundedReceiver<Report>,
    commands: mpsc::Receiver<Command>,
    changes: Changes,
    /// Results of other threads; the sender is kept so that the channel never closes.
    aside_in: mpsc::UnboundedSender<(LinkId, Aside)>,
    aside: mpsc::UnboundedReceiver<(LinkId, Aside)>,
    /// The last change of the MAC addresses that an interface accepts; changes are made one after the other.
    own_macs_changed: BTreeMap<LinkId, JoinHandle<()>>,
    lanes: Lanes,
    /// Shared by the scripts of all routers.
    scripts: script::Context,
    followers: Followers,
    /// Taken out while it is read.
    inbox: Option<Inbox>,
    state_file: String,
    journal_file: String,
    /// Content of the journal file, written or being written.
    journal: String,
    /// The last file to be written; files are written one after the other.
    written: Option<JoinHandle<()>>,
    rundir: RunDir,
    supervisor: Supervisor,
    guardian: Guardian,
    /// Its socket, readable when it has ended.
    guardian_ends: Option<readiness::Source<Arc<OwnedFd>>>,
    /// Routers whose role was not sent to the guardian yet.
    untold: BTreeSet<RouterId>,
    /// A transition was not reported to the service manager yet.
    status_untold: bool,
    reload: Reload,
    watchers: Watchers,
    /// When to try again to open interfaces.
    open_again_at: Option<Instant>,
    /// How often attached programs are checked.
    program_checks: RateLimit<()>,
    suspension: Suspension,
}

/// What woke the loop, apart from sockets and the timer.
enum Wake {
    Report(Report),
    Command(Command),
    Signal(Signal),
    Reloaded(Result<Configuration, Vec<String>>),
    Found(Found),
    Aside(LinkId, Aside),
}

/// The result of moving the program of an interface to another object.
#[derive(Debug)]
struct Moved {
    /// The hook that it was at.
    tier: Tier,
    /// The program; `None` if the move could not begin.
    kernel: Option<Box<XdpPath>>,
    result: Result<(), Refusal>,
}

/// Results of work for an interface in another thread, since the kernel is slow.
#[derive(Debug)]
enum Aside {
    /// The ring for the interface with this index and this family, or the reason why there is none.
    Ring((u32, usize), io::Result<RingSocket>),
    /// The program was loaded, or the reason why not.
    Loaded(Result<Loaded, Refusal>),
    /// The program was moved to a larger object, or the reason why not.
    Moved(Moved),
    /// The interface accepts frames to its own MAC address.
    OwnMac(OwnMacChanged),
    /// The `prepare` script with this number has ended.
    Prepared(RouterId, u64),
}

impl Daemon {
    /// Runs until a signal ends it, or an essential part fails.
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

    /// Waits for an input, handles it and everything that is due, and sends the resulting frames. Signals are returned
    /// to the caller.
    async fn turn(&mut self) -> io::Result<Option<Signal>> {
        let was_stirred = std::mem::take(&mut self.is_stirred);
        if was_stirred {
            self.send_and_settle();
        }
        let now = clock::now();
        self.alarm.arm(now, self.next_due())?;
        if let Some(pause) = self.burst.pause(now, self.alarm.at()) {
            thread::sleep(pause.into());
        }
        let other = self.wait().await?;
        let now = clock::now();
        self.notice_suspension(now);
        self.receive_ready();
        self.is_stirred |= other.is_some() || self.has_work(now);
        // Mostly there was an advert that changes nothing.
        if !self.is_stirred && !was_stirred {
            self.look_after_programs(now);
            return Ok(None);
        }
        let mut signal = None;
        match other {
            None => {}
            Some(Wake::Report(report)) => self.report(report),
            Some(Wake::Command(command)) => self.command(command),
            Some(Wake::Signal(caught)) => signal = Some(caught),
            Some(Wake::Reloaded(read)) => self.reloaded(read),
            Some(Wake::Found(found)) => self.found(&found),
            Some(Wake::Aside(link, Aside::Ring(on, ring))) => self.put_ring(link, on, ring),
            Some(Wake::Aside(link, Aside::Loaded(program))) => self.loaded(link, program),
            Some(Wake::Aside(link, Aside::Moved(moved))) => self.moved(link, moved),
            Some(Wake::Aside(link, Aside::OwnMac(changed))) => self.own_mac_changed(link, changed),
            Some(Wake::Aside(link, Aside::Prepared(id, number))) => self.prepared(link, id, number),
        }
        self.expire();
        self.answer_changes();
        self.supervisor.turned(clock::now());
        Ok(signal)
    }

    /// Whether something is due, or waits for changes of the routers that have no outputs.
    fn has_work(&self, now: Instant) -> bool {
        self.next_due().is_some_and(|due| due <= now)
            || self.engine.groups().has_news()
            || !self.reload.stages.is_idle()
            || !self.changes.is_empty()
    }

    /// Sends what has to be sent after inputs that have changed something, and does what follows from that.
    fn send_and_settle(&mut self) {
        self.settle_groups();
        self.flush();
        if self.give_up_unsendable() {
            self.settle_groups();
            self.flush();
        }
        // After that: a leaving router is removed when its last frames have been sent, and nothing else may wake the
        // loop then.
        if self.settle() {
            self.settle_groups();
            self.flush();
        }
        self.tell_guardian();
        // The socket to the guardian was full: at the next turn.
        self.is_stirred |= !self.untold.is_empty();
        self.say_status();
        self.make_rings();
        self.others_due = self.due_without_engine(clock::now());
    }

    /// Waits until a socket or the timer is ready, or something else has happened, which is returned.
    async fn wait(&mut self) -> io::Result<Option<Wake>> {
        loop {
            // The runtime and its tasks get their turn although there is always something to do.
            tokio::task::coop::consume_budget().await;
            if std::mem::take(&mut self.are_others_due)
                && let Poll::Ready(other) = self.poll_others()
            {
                self.are_others_due = true;
                self.readiness.take_ready(&mut self.ready);
                return other.map(Some);
            }
            self.readiness.ready(&mut self.ready).await;
            let before = self.ready.len();
            self.ready.retain(|number| *number != OTHERS);
            self.are_others_due = self.ready.len() < before;
            if !self.ready.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Asks all that wakes the loop rarely. An advert takes much less time than this, so it is done only after one of them
    /// has rung or had something; each of them keeps the waker.
    fn poll_others(&mut self) -> Poll<io::Result<Wake>> {
        let waker = self.others_waker.clone();
        pin!(self.next_other()).poll(&mut Context::from_waker(&waker))
    }

    async fn next_other(&mut self) -> io::Result<Wake> {
        tokio::select! {
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

    /// The earliest deadline.
    fn next_due(&self) -> Option<Instant> {
        self.engine.deadline().into_iter().chain(self.others_due).min()
    }

    /// The earliest deadline apart from those of the engine. Adverts that change nothing do not move it.
    fn due_without_engine(&self, now: Instant) -> Option<Instant> {
        let unsent = self.links.values().filter_map(|link| link.deadline(now)).min();
        let other = [
            self.group_peers_due(),
            self.supervisor.deadline(),
            self.changes.deadline(),
            self.open_again_at,
            self.sending_due(),
            self.others.deadline(now),
        ];
        unsent.into_iter().chain(other.into_iter().flatten()).min()
    }

    fn receive_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            match number {
                GUARDIAN => self.guardian_ready(),
                TIMER => self.alarm.fired(),
                // Looked at when the loop waits.
                OTHERS => continue,
                _ if Objects::is_number(number) => self.kernel_reports(number),
                _ if Peers::is_number(number) => self.group_peer_ready(number),
                _ => {
                    let (link, source) = link::source_of(number);
                    self.receive(link, source, TURN);
                    continue;
                }
            }
            self.is_stirred = true;
        }
        self.ready = ready;
    }

    /// Handles about `most` frames of a source, or all that have arrived.
    fn receive(&mut self, link: LinkId, source: usize, most: usize) {
        if let Some(link) = self.links.get(link) {
            link.is_ready(source);
        }
        let all = self.take_frames(link, most, |links, inbox| {
            links.get(link).is_some_and(|link| link.receive(source, inbox))
        });
        if let Some(link) = self.links.get(link) {
            link.was_read(source, all);
        }
    }

    /// Handles about `most` frames that came to an interface, or all that `receive` takes; returns whether these were all.
    fn take_frames(
        &mut self,
        link: LinkId,
        most: usize,
        receive: impl Fn(&Slots<LinkId, LinkIo>, &mut Inbox) -> bool,
    ) -> bool {
        let Some(mut inbox) = self.inbox.take() else { return false };
        let (mut taken, mut all) = (0, false);
        while taken < most && !all && receive(&self.links, &mut inbox) {
            let now = clock::moment();
            if !inbox.is_empty() {
                self.burst.note(now.at);
            }
            for frame in inbox.frames() {
                taken += 1;
                self.frame(now, link, frame);
            }
            all = !inbox.has_more();
        }
        self.inbox = Some(inbox);
        if !all {
            self.burst.note_rest();
        }
        all
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

    /// Handles every deadline that has passed.
    fn expire(&mut self) {
        let now = clock::now();
        for link in self.engine.hears_before(&self.engine.due(now)) {
            // Reads a socket and its ring.
            for family in 0..FAMILIES.len() {
                self.receive(link, family, DRAIN);
            }
        }
        for id in self.engine.due(now) {
            self.input(Input::Due(id));
        }
        self.hear_group_peers();
        self.engine.expire(clock::moment());
        self.perform_outputs();
        self.open_again(now);
        self.look_after_programs(now);
        self.take_off_programs();
    }

    /// After a suspension, the state from before is not trusted.
    fn notice_suspension(&mut self, now: Instant) {
        let Some(slept) = self.suspension.end(now) else { return };
        self.is_stirred = true;
        warn!(%slept, "resumed from suspend, listening before take-over");
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.event(id, Event::StoodStill);
        }
    }

    /// Hands an event to a router and executes the outputs.
    fn event(&mut self, id: RouterId, event: Event) {
        self.input(Input::Event(id, event, None));
    }

    /// Hands an input to the engine and executes the outputs.
    fn input(&mut self, input: Input<'_>) {
        self.input_at(clock::moment(), input);
    }

    fn input_at(&mut self, now: Now, input: Input<'_>) {
        self.engine.handle(now, input);
        self.perform_outputs();
    }
}
