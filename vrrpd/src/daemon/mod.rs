//! The only event loop: what arrives becomes events of the routers, and their actions become frames, requests to the
//! kernel, scripts and lines of the log.
//!
//! Nothing here waits for anybody but the kernel's readiness: frames go to sockets that do not block, requests about
//! addresses to the netlink thread, scripts and clients to tasks of their own.
//!
//! Start reading at [`Daemon::run`]; `act` carries out actions, `command` answers clients and signals.

mod act;
mod adopt;
mod command;
mod groups;
mod instance;
mod kernel;
mod link;
mod reload;
mod spacing;
mod start;
mod vmac;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;

use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use vrrpd_common::router::{Action, Event, StateName};
use vrrpd_common::{Duration, Instant};

use crate::clock::{self, Alarm, Suspension};
use crate::config::{Configuration, Vmac};
use crate::control::server::Command;
use crate::datapath::program::{Loaded, Refusal};
use crate::datapath::readiness::Readiness;
use crate::datapath::{Arrival, RouterId, vlans};
use crate::guardian::{Guardian, Message};
use crate::interface::service::{Report, Service, Ticket};
use crate::interface::{Hold, Interface};
use crate::peers::Peers;
use crate::report::EventReport;
use crate::rundir::{self, RunDir};
use crate::signals::{Signal, Signals};
use crate::supervisor::Supervisor;
use crate::sys::packet::Inbox;
use command::Changing;
use groups::Groups;
use instance::{Instance, Task};
use link::{FAMILIES, KERNEL, Link, LinkId};
use reload::Reload;

pub use start::{Source, StartError};

/// Frames taken from one socket before others have their turn.
const TURN: usize = 256;
/// Frames taken from one socket before a deadline counts as missed: more than its buffer holds.
const DRAIN: usize = 1 << 14;
/// How long the loop may stand still when a router comes and the kernel has no memory at hand.
const AGAIN: Duration = Duration::from_millis(20);
/// How long an interface that comes may wait for that.
const ASIDE: Duration = Duration::from_secs(1);
/// The number under which the guardian is watched: that of no link and of no other process.
const GUARDIAN: u64 = u64::MAX;
/// How long the kernel may take to remove an address or a link when the daemon leaves.
const LEAVE: Duration = Duration::from_secs(2);

/// All routers of this process.
#[derive(Debug)]
pub struct Daemon {
    routers: Vec<Instance>,
    links: Vec<Link>,
    groups: Groups,
    /// Empty, and kept for its memory, as `actions`.
    group_events: Vec<(RouterId, Event)>,
    deadlines: BTreeSet<(Instant, RouterId)>,
    /// When routers put back what somebody has taken away.
    to_put_back: BTreeMap<RouterId, Instant>,
    alarm: Alarm,
    readiness: Readiness,
    ready: Vec<u64>,
    signals: Signals,
    service: Service,
    reports: mpsc::UnboundedReceiver<Report>,
    tickets: HashMap<Ticket, RouterId>,
    last_ticket: u64,
    commands: mpsc::Receiver<Command>,
    changing: Vec<Changing>,
    /// Programs that were loaded aside; kept with the other end, so that it never closes.
    programs_in: mpsc::UnboundedSender<(LinkId, Result<Loaded, Refusal>)>,
    programs: mpsc::UnboundedReceiver<(LinkId, Result<Loaded, Refusal>)>,
    events: broadcast::Sender<EventReport>,
    /// Elsewhere while it is read.
    inbox: Option<Inbox>,
    actions: Vec<Action>,
    state_file: String,
    journal_file: String,
    /// What stands there, or is written now.
    journal: String,
    journal_written: Option<JoinHandle<()>>,
    rundir: RunDir,
    supervisor: Supervisor,
    guardian: Guardian,
    /// Routers whose role the guardian has not been told of yet.
    untold: BTreeSet<RouterId>,
    /// The service manager has not been told of some transition.
    status_untold: bool,
    reload: Reload,
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
    Reloaded(Result<Configuration, String>),
    Loaded(LinkId, Result<Loaded, Refusal>),
}

impl Daemon {
    /// Runs until a signal ends it, or something breaks that nothing works without.
    pub async fn run(mut self) -> io::Result<()> {
        self.supervisor.ready();
        for id in self.ids().collect::<Vec<_>>() {
            self.event(id, Event::Startup, None);
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
            Wake::Loaded(link, program) => self.loaded(link, program),
        }
        self.expire();
        self.answer_changes();
        self.supervisor.turned(clock::now());
        Ok(signal)
    }

    async fn wait(&mut self) -> io::Result<Wake> {
        tokio::select! {
            ready = self.readiness.ready(&mut self.ready) => ready.map(|()| Wake::Frames),
            fired = self.alarm.fired() => fired.map(|()| Wake::Timer),
            report = self.reports.recv() => {
                report.map(Wake::Report).ok_or_else(|| io::Error::other("the netlink thread has ended"))
            }
            Some(command) = self.commands.recv() => Ok(Wake::Command(command)),
            signal = self.signals.next() => Ok(Wake::Signal(signal)),
            read = self.reload.read() => Ok(Wake::Reloaded(read)),
            Some((link, program)) = self.programs.recv() => Ok(Wake::Loaded(link, program)),
        }
    }

    /// Every router, but for places that are free.
    fn present(&self) -> impl Iterator<Item = (RouterId, &Instance)> {
        let numbered = self.routers.iter().enumerate();
        numbered.filter(|(_, router)| !router.is_gone()).map(|(place, router)| (RouterId(place), router))
    }

    fn ids(&self) -> impl Iterator<Item = RouterId> {
        self.present().map(|(id, _)| id)
    }

    /// Sends adverts, then announcements in batches.
    fn flush(&mut self) {
        let now = clock::now();
        for link in &mut self.links {
            link.flush(now);
            for (id, octets, error) in link.unsendable.drain(..) {
                let Some(router) = self.routers.get_mut(id.0) else { continue };
                router.adverts_sent = router.adverts_sent.saturating_sub(1);
                if let Some(more) = router.unsendable.admit(now, ()) {
                    error!(router = %router.config.name(), octets, more, %error, "the interface does not take the advert");
                }
            }
        }
    }

    /// Tells the guardian who has become Master and who is not any more; adverts have gone out by then.
    fn tell_guardian(&mut self) {
        while let Some(id) = self.untold.pop_first() {
            let Some(router) = self.routers.get_mut(id.0) else { continue };
            let Some(link) = self.links.get(router.link.0) else { continue };
            let message = match router.state_told() {
                StateName::Master => Message::Master(router.mastery(id, link)),
                StateName::Init | StateName::Backup | StateName::Fault => Message::Over(id.0),
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
        if self.readiness.remove(&self.guardian).is_ok() && self.guardian.is_lost() {
            error!(
                "the guardian has ended; if this process is killed, the next start gives back what it had"
            );
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        let now = clock::now();
        let due = self.deadlines.first().map(|(at, _)| *at);
        let unsent = self.links.iter().filter_map(|link| link.deadline(now)).min();
        let put_back = self.to_put_back.values().min().copied();
        let other = [self.groups.deadline(), self.supervisor.deadline(), self.changes_due(), put_back];
        self.alarm.arm(due.into_iter().chain(unsent).chain(other.into_iter().flatten()).min())
    }

    fn receive_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for number in ready.drain(..) {
            if number == GUARDIAN {
                self.guardian_lost();
                continue;
            }
            if Peers::is_number(number) {
                self.groups.ready(number, &self.readiness);
                continue;
            }
            match LinkId::from_number(number) {
                (link, KERNEL) => self.kernel_reports(link),
                (link, place) => self.receive(link, place, TURN),
            }
        }
        self.ready = ready;
    }

    /// Handles about `most` frames of a socket, or all that are there.
    fn receive(&mut self, link: LinkId, place: usize, most: usize) {
        let Some(mut inbox) = self.inbox.take() else { return };
        let mut taken = 0;
        while taken < most && self.links.get(link.0).is_some_and(|link| link.receive(place, &mut inbox)) {
            for frame in inbox.frames() {
                taken += 1;
                self.frame(link, frame);
            }
            if !inbox.is_full() {
                break;
            }
        }
        self.inbox = Some(inbox);
    }

    fn frame(&mut self, link: LinkId, frame: &[u8]) {
        let Some(link) = self.links.get_mut(link.0) else { return };
        match link.table.judge(frame) {
            Some(Arrival::Advert { router, advert }) => {
                self.event(router, Event::Advert(advert), Some(frame));
            }
            Some(Arrival::Rejected { router: id, rejection }) => {
                let name = id.and_then(|id| Some(self.routers.get(id.0)?.config.name().to_string()));
                link.say_rejected(clock::now(), id, name.as_deref(), &rejection);
            }
            None => {}
        }
    }

    /// Handles every deadline that has passed. Before a router may miss its master, all that has arrived is heard: a
    /// process that was kept from running must not declare a live master dead.
    fn expire(&mut self) {
        let now = clock::now();
        let due = |daemon: &Self| {
            let passed = daemon.deadlines.iter().take_while(|(at, _)| *at <= now);
            passed.map(|(_, id)| *id).collect::<Vec<_>>()
        };
        let listening: BTreeSet<LinkId> = due(self)
            .into_iter()
            .filter_map(|id| self.routers.get(id.0))
            .filter(|router| router.machine.state().name() == StateName::Backup)
            .map(|router| router.link)
            .collect();
        for link in listening {
            for place in 0..FAMILIES.len() {
                self.receive(link, place, DRAIN);
            }
        }
        for id in due(self) {
            self.event(id, Event::Timer, None);
        }
        self.groups.expire(now, &self.readiness);
        self.put_back(now);
        self.look_after_programs(now);
    }

    /// After the machine was suspended, what was true before is not to be believed.
    fn notice_suspension(&mut self) {
        let Some(slept) = self.suspension.end() else { return };
        warn!(%slept, "the machine was suspended; listening before acting");
        for id in self.ids().collect::<Vec<_>>() {
            self.event(id, Event::StoodStill, None);
        }
    }

    /// Hands an event to a router and carries out what comes of it. `frame` is the one that an advert came in.
    fn event(&mut self, id: RouterId, event: Event, frame: Option<&[u8]>) {
        if !matches!(event, Event::Advert(_) | Event::Timer) {
            // The kernel has told nothing of a master that goes on as before.
            self.hear_kernel(id);
        }
        self.event_at(id, clock::now(), event, frame);
    }

    /// The same for an event that happened at `at`.
    fn event_at(&mut self, id: RouterId, at: Instant, event: Event, frame: Option<&[u8]>) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let mut actions = std::mem::take(&mut self.actions);
        router.machine.handle(at, event, &mut |action| actions.push(action));
        if let Some(place) = router.group {
            self.groups.note(place, &router.machine);
        }
        for action in actions.drain(..) {
            match action {
                Action::Notice(notice) => act::notice(router, at, &notice, frame),
                other => router.enqueue(other),
            }
        }
        self.actions = actions;
        self.tell_kernel(id, event);
        self.schedule(id);
        self.act(id);
    }

    /// Files the router under its deadline, unless the kernel watches that.
    fn schedule(&mut self, id: RouterId) {
        let watched = self.kernel_watches(id);
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let deadline = if watched { None } else { router.machine.deadline() };
        if deadline == router.scheduled {
            return;
        }
        if let Some(before) = router.scheduled {
            self.deadlines.remove(&(before, id));
        }
        if let Some(next) = deadline {
            self.deadlines.insert((next, id));
        }
        router.scheduled = deadline;
    }

    /// What the netlink thread says.
    fn report(&mut self, report: Report) {
        match report {
            Report::Changed(interface) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.vmac_link_changed(id, &interface);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                }
            }
            Report::Removed(interface) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.vmac_link_removed(id);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_removed(id, &interface);
                }
            }
            Report::Lost(interface, address) => {
                if let Some(id) = self.router_of_link(&interface) {
                    self.address_lost(id, address);
                } else if let Some(id) = self.link_named(&interface.name) {
                    self.link_changed(id, &interface);
                    for router in self.links.get(id.0).map(|link| link.routers.clone()).unwrap_or_default() {
                        self.address_lost(router, address);
                    }
                }
            }
            Report::Followed(name) => self.reload.followed(&name),
            Report::Done(ticket, outcome) => self.done(ticket, outcome),
        }
    }

    fn link_named(&self, name: &str) -> Option<LinkId> {
        self.links.iter().position(|link| link.name == name).map(LinkId)
    }

    fn link_changed(&mut self, id: LinkId, interface: &Interface) {
        let Some(link) = self.links.get_mut(id.0) else { return };
        if link.routers.is_empty() {
            link.interface = Some(interface.clone());
            return;
        }
        if !link.is_open_on(interface.index) {
            let Some(program) = link.take_program(interface) else {
                link.arriving = Some(interface.clone());
                let slots = link.slots();
                self.load_program(id, slots);
                return;
            };
            if let Err(error) = link.open(id, interface, program, &self.readiness) {
                // Gone again already: its own notification follows.
                if error.raw_os_error() != Some(libc::ENODEV) {
                    error!(interface = link.name, %error, "the interface cannot be opened");
                }
                return;
            }
        }
        if link.is_in_kernel() && vlans::are_on(&link.name) {
            self.give_up_kernel(
                id,
                "the interface has VLANs by now, and their adverts would look like its own",
            );
        }
        let Some(link) = self.links.get_mut(id.0) else { return };
        let came_up = interface.admin_up && link.interface.as_ref().is_none_or(|before| !before.admin_up);
        link.note_carrier(interface);
        let other_mac = link.interface.as_ref().is_none_or(|before| before.mac != interface.mac);
        let is_link_event = link
            .interface
            .as_ref()
            .is_some_and(|before| before.addresses == interface.addresses && before != interface);
        link.interface = Some(interface.clone());
        if came_up {
            link.join();
        }
        let routers = link.routers.clone();
        if other_mac {
            for id in &routers {
                if let Some(router) = self.routers.get_mut(id.0) {
                    router.vmac.note_own(interface);
                }
            }
            self.write_journal();
            self.keep_own_macs();
        }
        for router in routers {
            self.check_vmac(router);
            self.check_usable(router);
            if is_link_event {
                self.enforce_settings(router);
            }
        }
    }

    /// Loads the program for an interface aside, unless that has begun: routers on other interfaces have adverts to send.
    fn load_program(&mut self, id: LinkId, slots: Vec<u32>) {
        if self.links.get_mut(id.0).is_some_and(Link::begins_loading) {
            let programs = self.programs_in.clone();
            tokio::task::spawn_blocking(move || {
                // Nobody listens when the daemon leaves.
                let _ = programs.send((id, Loaded::load(slots, ASIDE)));
            });
        }
    }

    /// The program for an interface is there.
    fn loaded(&mut self, id: LinkId, program: Result<Loaded, Refusal>) {
        let Some(link) = self.links.get_mut(id.0) else { return };
        link.loaded(program);
        if let Some(interface) = link.arriving.take() {
            self.link_changed(id, &interface);
        }
    }

    /// An address has gone from where a router has its addresses. If it had put it there as Master, it goes back.
    fn address_lost(&mut self, id: RouterId, address: IpAddr) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        if let Some(pending) = router.waiting.as_mut().filter(|pending| pending.task == Task::Take) {
            pending.lost.extend(pending.hold.addresses.iter().filter(|taken| taken.address == address));
        }
        let lost = router.addresses_held().into_iter().find(|held| held.address == address);
        let (Some(lost), true) = (lost, router.is_holding()) else { return };
        if let Some(more) = router.losses.admit(clock::now(), address) {
            warn!(router = %router.config.name(), address = %lost, more, "somebody removed the address; putting it back");
        }
        router.set_held(&lost, false);
        self.take_again(id);
    }

    /// The router whose macvlan link this is.
    fn router_of_link(&self, interface: &Interface) -> Option<RouterId> {
        interface.vmac_of.as_ref()?;
        self.present().find(|(_, router)| router.vmac.is_link(interface.index)).map(|(id, _)| id)
    }

    fn vmac_link_changed(&mut self, id: RouterId, interface: &Interface) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        if !router.is_settled_master() {
            return;
        }
        if !interface.admin_up {
            warn!(router = %router.config.name(), link = interface.name, "somebody set the link down; setting it up again");
            // The kernel has forgotten IPv6 addresses with that; those that it has not are found to be there.
            router.set_none_held();
        } else if !router.vmac.is_on(interface) {
            warn!(
                router = %router.config.name(), link = interface.name,
                "somebody changed the MAC address of the link; putting the virtual one back"
            );
        } else {
            return;
        }
        self.take_again(id);
    }

    fn vmac_link_removed(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let was_master = router.is_settled_master();
        router.vmac.link_gone();
        router.set_none_held();
        if was_master {
            warn!(router = %router.config.name(), "somebody removed the link of the virtual MAC address; making it anew");
            self.take_again(id);
        } else if router.waiting.is_none() && router.machine.state().name() != StateName::Init {
            // Its alias was to say how the settings of the interface below were; so it is there until we leave.
            self.prepare_vmac(id);
        }
    }

    /// Puts in force again what a Master has to have: at once, or after a while where somebody takes it away again and
    /// again.
    fn take_again(&mut self, id: RouterId) {
        let now = clock::now();
        let Some(router) = self.routers.get_mut(id.0) else { return };
        self.to_put_back.entry(id).or_insert_with(|| router.patience.again_at(now));
        self.put_back(now);
    }

    /// Puts back what is due.
    fn put_back(&mut self, now: Instant) {
        let due: Vec<_> = self.to_put_back.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            if self.routers.get(id.0).is_some_and(Instance::is_holding) {
                self.take_now(id);
            }
        }
    }

    fn take_now(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        // Those that wait already would come before what is taken now is there.
        router.queue.retain(|action| *action != Action::AnnounceAddresses);
        router.enqueue(Action::TakeAddresses);
        router.enqueue(Action::AnnounceAddresses);
        self.act(id);
    }

    fn link_removed(&mut self, id: LinkId, gone: &Interface) {
        let Some(link) = self.links.get_mut(id.0) else { return };
        link.arriving.take_if(|interface| interface.index == gone.index);
        if link.interface.as_ref().is_none_or(|interface| interface.index != gone.index) {
            return;
        }
        link.close();
        let routers = link.routers.clone();
        self.forget_kernel(id);
        for router in routers {
            self.check_usable(router);
            self.discard_stranded(router);
        }
    }

    /// Writes down again what has to be undone after a crash, in a thread for that. What it says of an interface whose
    /// MAC address is replaced stays.
    fn write_journal(&mut self) {
        let text = start::journal_text(self.present().map(|(_, router)| router), &self.links);
        if text == self.journal {
            return;
        }
        self.journal.clone_from(&text);
        let path = self.rundir.path().join(&self.journal_file);
        let before = self.journal_written.take();
        self.journal_written = Some(tokio::task::spawn_local(async move {
            // The newest is to stand there in the end. One that panicked is over as well.
            if let Some(before) = before {
                let _ = before.await;
            }
            let written = tokio::task::spawn_blocking(move || rundir::write_aside(&path, 0o600, &text)).await;
            if let Err(error) = written
                .map_err(|error| error.to_string())
                .and_then(|written| written.map_err(|error| error.to_string()))
            {
                warn!(error, "what has to be undone after a crash cannot be written down");
            }
        }));
    }

    /// Has interfaces that get a virtual MAC address take in frames to their own one as well.
    fn keep_own_macs(&mut self) {
        for (place, link) in self.links.iter_mut().enumerate() {
            let of_link = |router: &&Instance| router.link == LinkId(place) && !router.is_gone();
            if link.interface.is_some() {
                link.keep_own_mac(
                    self.routers.iter().filter(of_link).find_map(|router| router.vmac.own_mac()),
                );
            }
        }
    }

    /// Whoever manages links may have set what decides who answers for the addresses on a macvlan link, and with what.
    fn enforce_settings(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        if router.is_settled_master() && router.vmac.mode() == Vmac::Macvlan {
            router.enqueue(Action::TakeAddresses);
            self.act(id);
        }
    }

    /// Somebody may have given the interface another MAC address while a router had the virtual one there.
    fn check_vmac(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id.0) else { return };
        let Some(interface) = self.links.get(router.link.0).and_then(|link| link.interface.as_ref()) else {
            return;
        };
        if router.is_settled_master() && router.vmac.is_lost(interface) {
            warn!(
                router = %router.config.name(), interface = interface.name,
                "somebody changed the MAC address of the interface; putting the virtual one back"
            );
            self.take_again(id);
        }
    }

    /// Tells a router when its interface has become usable or unusable, or has another address to send from.
    fn check_usable(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id.0) else { return };
        let Some(link) = self.links.get_mut(router.link.0) else { return };
        if router.is_changing_mac() {
            // The interface may be down for that; it is looked at when that is done.
            return;
        }
        let usable = start::usable(router, link);
        if router.machine.interface() == usable {
            return;
        }
        let family = router.config.family;
        let is_used = |other: &RouterId| {
            let other = self.routers.get(other.0);
            other.is_some_and(|other| other.config.family == family && other.machine.source().is_some())
        };
        if usable.is_ok() && !link.routers.iter().any(is_used) {
            link.rejoin(family);
        }
        start::expect(router, id, link, usable.ok());
        self.event(id, usable.map_or_else(Event::InterfaceDown, Event::InterfaceUp), None);
    }

    /// Hands every router over, gives everything back, and waits until that is done.
    async fn leave(mut self) -> io::Result<()> {
        info!("leaving");
        // Nobody begins any more.
        self.reload = Reload::default();
        self.supervisor.stopping();
        for id in self.ids().collect::<Vec<_>>() {
            self.event(id, Event::Shutdown, None);
        }
        self.settle_groups();
        self.flush();
        let mut until = clock::now() + LEAVE;
        while self.is_busy() && clock::now() < until {
            let patience = until.saturating_since(clock::now());
            let answered = self.answered();
            match tokio::time::timeout(patience.into(), self.turn()).await {
                Ok(turn) => drop(turn?),
                Err(_) => break,
            }
            if self.answered() > answered {
                until = clock::now() + LEAVE;
            }
        }
        if self.is_busy() {
            error!("the kernel did not remove all addresses in time");
        }
        self.discard_links().await?;
        if self.routers.iter().all(Instance::holds_nothing) {
            // Removed with the others; what could not be given back is left to the guardian, or to the next daemon.
            self.rundir.file(&self.journal_file);
            self.guardian.dismiss();
        }
        // From here on another daemon may serve these routers, with a program of its own in the kernel; its scripts wait
        // for ours.
        self.links.clear();
        drop(self.groups);
        drop(self.rundir);
        let scripts: Vec<_> = self.routers.iter_mut().filter_map(|router| router.scripts.take()).collect();
        let finish = async {
            for runner in scripts {
                runner.finish().await;
            }
        };
        let asked_again = async { while self.signals.next().await != Signal::Leave {} };
        tokio::select! {
            () = finish => {}
            () = asked_again => info!("scripts still run; not waited for"),
        }
        Ok(())
    }

    /// Takes the links of virtual MAC addresses away, and waits until that is done.
    async fn discard_links(&mut self) -> io::Result<()> {
        for id in self.ids().collect::<Vec<_>>() {
            if let Some(made) = self.routers.get(id.0).and_then(|router| router.vmac.made_link()) {
                self.request(id, Task::Discard, Hold::nothing(made));
            }
        }
        let mut until = clock::now() + LEAVE;
        while self.routers.iter().any(|router| router.waiting.is_some()) && clock::now() < until {
            let patience = until.saturating_since(clock::now());
            let answered = self.answered();
            match tokio::time::timeout(patience.into(), self.reports.recv()).await {
                Ok(Some(report)) => self.report(report),
                Ok(None) => return Err(io::Error::other("the netlink thread has ended")),
                Err(_) => error!("the kernel did not remove all links in time"),
            }
            if self.answered() > answered {
                until = clock::now() + LEAVE;
            }
        }
        Ok(())
    }

    /// How many requests the kernel has answered: with hundreds of links it takes seconds over all of them.
    fn answered(&self) -> u64 {
        self.last_ticket - self.tickets.len() as u64
    }

    fn is_busy(&self) -> bool {
        let now = clock::now();
        self.routers.iter().any(|router| router.waiting.is_some())
            || self.links.iter().any(|link| link.deadline(now).is_some())
    }
}
