//! Tracking: a task for each check, which reports its results; the engine evaluates them ([`vrrpd_engine::track`]).
//!
//! No check waits for another one, and the event loop waits for none. Where the kernel has notifications, nothing is
//! polled: processes use pidfds, files inotify, interfaces and routes netlink.

mod command;
mod file;
mod http;
mod ping;
mod poll;
mod proc;
mod process;
mod process_events;
mod reporter;
mod route;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vrrpd_engine::interface::Interface;
use vrrpd_engine::priority::TrackId;
use vrrpd_engine::track::{CheckConfig, CheckKind, Finding};

use crate::lane::Lane;
use process::Processes;
use reporter::Reporter;

pub use reporter::Found;

/// All running checks.
#[derive(Debug)]
pub struct Watchers {
    running: BTreeMap<TrackId, Running>,
    /// Last known state of interfaces, by name.
    interfaces: BTreeMap<String, Link>,
    processes: Rc<Processes>,
    lane: Lane,
    /// The sender, kept so that the channel never closes.
    told: mpsc::UnboundedSender<Found>,
    found: mpsc::UnboundedReceiver<Found>,
    last_run: u64,
}

/// A running check.
#[derive(Debug)]
struct Running {
    run: u64,
    /// The interface, for a check without a task.
    interface: Option<String>,
    task: Option<JoinHandle<()>>,
}

/// State of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not known yet.
    Unknown,
    /// It does not exist.
    Missing,
    Down,
    NoCarrier,
    Running,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Watchers {
    /// Without checks.
    pub fn new(lane: Lane) -> Self {
        let (told, found) = mpsc::unbounded_channel();
        let processes = Rc::new(Processes::new(lane.clone()));
        Self {
            running: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            processes,
            lane,
            told,
            found,
            last_run: 0,
        }
    }

    /// Starts a check, replacing an earlier one with the same identifier. If an interface must be followed for it,
    /// returns its name; [`Watchers::interface`] and [`Watchers::followed`] must be called for it.
    pub fn start(&mut self, id: TrackId, config: &CheckConfig) -> Option<String> {
        // Before the new one starts.
        self.stop(id);
        self.last_run += 1;
        let reporter = Reporter { id, run: self.last_run, told: self.told.clone() };
        let mut interface = None;
        let lane = self.lane.clone();
        let task = match config.kind.clone() {
            CheckKind::Interface(name) => {
                interface = Some(name);
                None
            }
            CheckKind::Process(name) => {
                let processes = Rc::clone(&self.processes);
                let (least, most) = config.rules.quorum;
                // With a maximum, every process counts.
                let needed =
                    if most == u32::MAX { usize::try_from(least).unwrap_or(usize::MAX) } else { usize::MAX };
                Some(spawn(async move { processes.watch(name, needed, &reporter).await }))
            }
            CheckKind::Command(command) => Some(spawn(command::watch(command, reporter, lane))),
            CheckKind::File(path) => Some(spawn(file::watch(path, reporter, lane))),
            CheckKind::Route(prefix) => Some(spawn(route::watch(prefix, reporter, lane))),
            CheckKind::Tcp(server, polling) => Some(spawn(poll::poll(polling, reporter, async move || {
                poll::connect(server).await.map(drop)
            }))),
            CheckKind::Http(request, polling) => {
                Some(spawn(poll::poll(polling, reporter, async move || http::get(&request).await)))
            }
            CheckKind::Ping(host, polling) => {
                let mut sequence = 0;
                Some(spawn(poll::poll(polling, reporter, async move || {
                    sequence = u16::wrapping_add(sequence, 1);
                    ping::ping(host, sequence).await
                })))
            }
        };
        self.running.insert(id, Running { run: self.last_run, interface: interface.clone(), task });
        let name = interface?;
        if let Some(link) = self.interfaces.get(&name).copied() {
            self.report_link(id, link);
            return None;
        }
        self.interfaces.insert(name.clone(), Link::Unknown);
        Some(name)
    }

    /// Stops a check.
    pub fn stop(&mut self, id: TrackId) {
        drop(self.running.remove(&id));
        let followed: BTreeSet<_> =
            self.running.values().filter_map(|running| running.interface.clone()).collect();
        self.interfaces.retain(|name, _| followed.contains(name));
    }

    /// The next result.
    pub async fn next(&mut self) -> Found {
        loop {
            // `self` has a sender.
            let Some(found) = self.found.recv().await else { return std::future::pending().await };
            if self.running.get(&found.id).is_some_and(|running| running.run == found.run) {
                return found;
            }
        }
    }

    /// Handles the state of an interface.
    pub fn interface(&mut self, interface: &Interface) {
        let link = match (interface.admin_up, interface.carrier) {
            (false, _) => Link::Down,
            (true, false) => Link::NoCarrier,
            (true, true) => Link::Running,
        };
        self.set_interface(&interface.name, link);
    }

    /// Handles that the interface with this name is gone.
    pub fn interface_removed(&mut self, name: &str) {
        self.set_interface(name, Link::Missing);
    }

    /// Handles that the present state of the interface with this name was reported.
    pub fn followed(&mut self, name: &str) {
        if self.interfaces.get(name) == Some(&Link::Unknown) {
            self.set_interface(name, Link::Missing);
        }
    }

    fn set_interface(&mut self, name: &str, link: Link) {
        let Some(known) = self.interfaces.get_mut(name) else { return };
        if *known == link {
            return;
        }
        *known = link;
        let tracking = self.running.iter().filter(|(_, running)| running.interface.as_deref() == Some(name));
        for id in tracking.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.report_link(id, link);
        }
    }

    fn report_link(&self, id: TrackId, link: Link) {
        let Some(running) = self.running.get(&id) else { return };
        let reporter = Reporter { id, run: running.run, told: self.told.clone() };
        match link {
            Link::Unknown => {}
            Link::Running => reporter.tell(Finding::Holds, "up and running"),
            Link::NoCarrier => reporter.tell(Finding::Fails, "no carrier"),
            Link::Down => reporter.tell(Finding::Fails, "set down"),
            Link::Missing => reporter.tell(Finding::Fails, "no such interface"),
        }
    }
}

fn spawn(task: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    tokio::task::spawn_local(task)
}
