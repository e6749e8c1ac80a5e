//! Everything that can fail before the daemon takes part in an election, so that the command the user typed can say so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use tokio::sync::mpsc;
use tracing::{info, warn};
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::ledger::{Journal, Order, Undo};
use vrrpd_engine::link::Link;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Engine, Input, LinkId, RouterId, Slots};

use super::Daemon;
use super::adopt;
use super::group_scripts::GroupScripts;
use super::groups::Groups;
use super::handles::Handles;
use super::link::{LinkIo, LoadedProgram};
use super::reload::Reload;
use super::start_error::StartError;
use super::tracking::Tracking;
use super::{begin, scripts};
use crate::abandoned;
use crate::clock::{self, Alarm, Suspension};
use crate::config::{Configuration, RouterConfig, VmacFallback, Xdp};
use crate::control::followers::Followers;
use crate::control::server;
use crate::datapath::leftovers;
use crate::datapath::privileges;
use crate::datapath::program::Loaded;
use crate::datapath::readiness::Readiness;
use crate::guardian::copies::Keeper;
use crate::guardian::{Guardian, watch};
use crate::interface::Interface;
use crate::interface::service::{Report, Service};
use crate::lane::Lanes;
use crate::peers;
use crate::rundir::{self, RunDir, RunDirError};
use crate::script;
use crate::signals::Signals;
use crate::supervisor::Supervisor;
use crate::sys::memory;
use crate::sys::packet::{Inbox, PacketSocket};

/// How long the start may take while the kernel has no memory at hand.
const START: Duration = Duration::from_secs(10);
/// How long the guardian of a daemon before us may take, and how often it is looked after.
const GUARDIAN: Duration = Duration::from_secs(5);
/// How long a process may take to end that was killed.
const DYING: Duration = Duration::from_millis(200);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(2);
/// Requests of clients that wait.
const COMMANDS: usize = 16;

/// Where the routers come from; it decides how the files are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One router from the command line.
    CommandLine,
    /// Any number from this file.
    File(PathBuf),
}

impl Source {
    /// The file that is read again for a reload.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::CommandLine => None,
            Self::File(path) => Some(path.clone()),
        }
    }

    /// An interface as the user named it.
    fn naming(&self, interface: &str) -> String {
        match self {
            Self::CommandLine => format!("-i {interface}"),
            Self::File(_) => format!("interface = {interface:?}"),
        }
    }
}

impl Daemon {
    /// Opens all that is needed. The daemon is not heard of on the network before [`Daemon::run`].
    pub async fn start(
        configuration: Configuration,
        source: &Source,
        dir: Option<&Path>,
        guardian: Guardian,
    ) -> Result<Self, StartError> {
        let Configuration { routers: configs, groups, checks } = configuration;
        let system = |what: &str| {
            let what = what.to_owned();
            move |error| StartError::System { what, error }
        };
        let signals = Signals::catch().map_err(system("signals"))?;
        check_privileges()?;
        begin::make_room(&configs, checks.len());
        let mut rundir = RunDir::open(dir)?;
        // Before anything is looked at that a daemon before us may be about to give back.
        let base = claim_patiently(&rundir, source, &configs)?;
        wait_for_guardian(&rundir, &base)?;

        let journal_file = format!("{base}.journal");
        let journal = abandoned::read_journal(rundir.directory(), &journal_file);
        let names: BTreeSet<String> = configs.iter().map(|config| config.interface.clone()).collect();
        let (report_queue, reports) = mpsc::unbounded_channel();
        let (service, interfaces) =
            Service::start(&names | &journal.interfaces(), report_queue, guardian.keeper().clone())
                .map_err(system("netlink"))?;
        let mut engine = Engine::new(service.marks_addresses());
        let mut links = make_links(&mut engine, &configs, &names, &interfaces, source, guardian.keeper())?;
        let mut handles = make_routers(configs, &mut engine, &mut links, &journal)?;

        let readiness = Readiness::new().map_err(system("epoll"))?;
        for (id, link) in links.iter_mut() {
            open_link(id, engine.interface(id), link, &readiness)?;
        }
        for router in engine.routers_mut() {
            router.in_kernel = links.get(router.link).is_some_and(LinkIo::is_in_kernel);
        }
        if links.values().any(LinkIo::is_in_kernel) {
            leftovers::remove();
        }

        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let followers = Followers::default();
        let (aside_in, aside) = mpsc::unbounded_channel();
        let undo = Undo::plan(&journal, &interfaces, service.marks_addresses(), |found| {
            adopt::is_ours(engine.routers(), found)
        });
        let nobody_s = abandoned::ask(&undo, &service);
        abandoned::remove_classifiers(&undo);
        publish(&mut rundir, source, &base, engine.routers())?;
        let socket = rundir.socket_path(&format!("{base}.sock"))?;
        server::start(&socket, server::Daemon { commands: commands_in, followers: followers.clone() })
            .map_err(system(&socket.display().to_string()))?;
        let lanes = Lanes::default();
        let runners = script::Context::new(lanes.scripts.clone());
        for (id, router) in engine.routers().iter() {
            if let Some(handles) = handles.get_mut(id) {
                scripts::start(&router.config, handles, &rundir, &runners)?;
            }
        }
        memory::give_back();
        let mut daemon = Self {
            engine,
            handles,
            links,
            groups: Groups::default(),
            group_scripts: GroupScripts::default(),
            group_events: Vec::new(),
            is_performing: false,
            alarm: Alarm::new().map_err(system("timerfd"))?,
            readiness,
            ready: Vec::new(),
            signals,
            service,
            reports,
            commands,
            changing: Vec::new(),
            aside_in,
            aside,
            own_macs_changed: BTreeMap::new(),
            tracking: Tracking::new(lanes.checks.clone()),
            lanes,
            scripts: runners,
            followers,
            inbox: Some(Inbox::default()),
            state_file: format!("{base}.state"),
            journal_file,
            journal: String::new(),
            written: None,
            rundir,
            supervisor: Supervisor::from_environment(clock::now()),
            open_again_at: None,
            programs_looked_after: Instant::ZERO,
            suspension: Suspension::watch(),
            guardian,
            untold: BTreeSet::new(),
            status_untold: false,
            reload: Reload::of(source.file()),
        };
        daemon.charge_guardian(&base)?;
        daemon.form_groups(&groups);
        daemon.begin_tracking(&checks);
        match daemon.begin_serving(nobody_s, source, &base).await {
            Ok(()) => Ok(daemon),
            Err(error) => Err(daemon.take_back(error).await),
        }
    }

    /// Has the guardian watch over what this process of the name `base` does from now on.
    fn charge_guardian(&self, base: &str) -> Result<(), StartError> {
        self.guardian
            .charge(self.rundir.path(), base)
            .and_then(|()| self.readiness.add(&self.guardian, super::GUARDIAN))
            .map_err(|error| StartError::System { what: "guardian".to_owned(), error })
    }

    /// All that is undone when some of it fails.
    async fn begin_serving(
        &mut self,
        nobody_s: usize,
        source: &Source,
        base: &str,
    ) -> Result<(), StartError> {
        self.prepare(nobody_s).await?;
        self.meet_group(source, base)?;
        self.begin_journal()?;
        // Nobody waits for us yet.
        for (id, change) in self.own_mac_changes() {
            if let Some(changed) = change.carry_out() {
                self.own_mac_changed(id, changed);
            }
        }
        Ok(())
    }

    /// Joins the other processes with `-M`, late: they count on one that is there.
    fn meet_group(&mut self, source: &Source, base: &str) -> Result<(), StartError> {
        if *source == Source::CommandLine
            && self.engine.routers().values().any(|router| router.group.is_some())
        {
            let path = self.rundir.socket_path(&format!("{base}.{}", peers::SUFFIX))?;
            self.groups.meet(&path, &self.readiness)?;
        }
        Ok(())
    }

    /// Makes the links that virtual MAC addresses need, so that whoever starts us is told when that is not possible, and
    /// waits for the answers about what is nobody's.
    async fn prepare(&mut self, mut nobody_s: usize) -> Result<(), StartError> {
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.input(Input::Prepare(id));
        }
        let mut refused = None;
        while nobody_s > 0 || self.engine.routers().values().any(|router| router.waiting.is_some()) {
            let report = self.reports.recv().await;
            if matches!(report, Some(Report::Done(abandoned::TICKET, _))) {
                nobody_s -= 1;
            }
            if let Some(Report::Done(ticket, outcome)) = &report
                && let Some(Err(error)) = outcome.results.first()
                && let Some(router) = self.engine.waits_for(*ticket)
                && router.waiting.as_ref().is_some_and(|pending| matches!(pending.order, Order::Prepare(_)))
                && router.config.vmac_fallback == VmacFallback::Refuse
            {
                let (router, error) = (router.config.title().into_owned(), error.clone());
                refused = Some(StartError::NoVmac { router, error });
            }
            let ended = || io::Error::other("the netlink thread has ended");
            let report =
                report.ok_or_else(|| StartError::System { what: "netlink".to_owned(), error: ended() })?;
            self.report(report);
        }
        match refused {
            None => Ok(()),
            Some(refused) => Err(refused),
        }
    }

    /// Writes the journal in the place of an earlier daemon's. Nothing can fail after that: a start that fails must not
    /// forget what that one has left.
    fn begin_journal(&mut self) -> Result<(), StartError> {
        self.journal = begin::journal_text(&self.engine);
        Ok(self.rundir.directory().write(&self.journal_file, 0o600, &self.journal)?)
    }

    /// Takes the links away that were made, since the start fails with this error, or with one in doing so. The journal is
    /// still that of an earlier daemon.
    async fn take_back(mut self, failure: StartError) -> StartError {
        if let Err(error) = self.discard_links().await {
            return StartError::System { what: "netlink".to_owned(), error };
        }
        self.guardian.dismiss();
        failure
    }
}

/// The interfaces of these names, which must be there at the start.
fn make_links(
    engine: &mut Engine,
    configs: &[RouterConfig],
    names: &BTreeSet<String>,
    interfaces: &[Interface],
    source: &Source,
    keeper: &Keeper,
) -> Result<Slots<LinkId, LinkIo>, StartError> {
    let mut links = Slots::with_capacity(names.len());
    for name in names {
        let interface = interfaces
            .iter()
            .find(|interface| interface.name == *name)
            .ok_or_else(|| StartError::NoInterface(source.naming(name)))?;
        if interface.mac.is_none() {
            return Err(StartError::NotEthernet(source.naming(name)));
        }
        let mut there = Link::new(name.clone());
        if there.assumes_carrier(interface) {
            info!(interface = name, "carrier state unknown, assuming up");
        }
        there.interface = Some(interface.clone());
        let id = engine.add_link(there);
        links.put(id, LinkIo::new(name.clone(), datapath_wanted(configs, name), keeper.clone()));
    }
    Ok(links)
}

/// The routers of a configuration, which their interfaces know of from now on.
fn make_routers(
    configs: Vec<RouterConfig>,
    engine: &mut Engine,
    links: &mut Slots<LinkId, LinkIo>,
    journal: &Journal,
) -> Result<Slots<RouterId, Handles>, StartError> {
    let mut handles = Slots::with_capacity(configs.len());
    for config in configs {
        if let Some((router, of_router)) = begin::make_router(config, engine, links, journal)? {
            handles.put(engine.add(router), of_router);
        }
    }
    Ok(handles)
}

/// Opens what adverts come and go by.
fn open_link(
    id: LinkId,
    interface: Option<&Interface>,
    link: &mut LinkIo,
    readiness: &Readiness,
) -> Result<(), StartError> {
    let Some(interface) = interface else { return Ok(()) };
    let program = match link.obstacle(interface) {
        Some(obstacle) => Err(obstacle),
        None => Loaded::load(link.slots(), START, link.keeper().clone())
            .map(|loaded| LoadedProgram::Loaded(Box::new(loaded))),
    };
    link.open(id, interface, program, readiness)
        .map_err(|error| StartError::System { what: format!("-i {}", link.name), error })?;
    check_datapath(link)?;
    link.join();
    Ok(())
}

/// Waits until the guardian of a daemon of our name that has died has given back what that one had.
fn wait_for_guardian(rundir: &RunDir, base: &str) -> Result<(), StartError> {
    let claim = rundir.later(&format!("{base}.{}", watch::CLAIM))?;
    let until = clock::now() + GUARDIAN;
    while !claim.take() {
        if clock::now() > until {
            warn!("earlier guardian still cleaning up, continuing");
            break;
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// What the routers of an interface want of the kernel. They agree.
fn datapath_wanted(configs: &[RouterConfig], interface: &str) -> (Xdp, bool) {
    let first = configs.iter().find(|config| config.interface == interface);
    first.map(|config| (config.xdp, config.xdp_pass)).unwrap_or_default()
}

/// A data path that was asked for by name has to be had.
fn check_datapath(link: &LinkIo) -> Result<(), StartError> {
    match (link.xdp, link.refused()) {
        (Xdp::Native | Xdp::Generic, Some(refusal)) if !link.is_in_kernel() => {
            Err(StartError::no_datapath(link.xdp, refusal.clone()))
        }
        (Xdp::Off | Xdp::Auto | Xdp::Native | Xdp::Generic, _) => Ok(()),
    }
}

/// One clear sentence instead of whatever would fail first.
fn check_privileges() -> Result<(), StartError> {
    if let Some(missing) = privileges::missing_to_start() {
        return Err(StartError::NotPermitted { because: missing });
    }
    match PacketSocket::probe() {
        Ok(()) => Ok(()),
        Err(error) if Errno::from_raw(error.raw_os_error().unwrap_or(0)) == Errno::EPERM => {
            let because = "packet sockets are not permitted here".to_owned();
            Err(StartError::NotPermitted { because })
        }
        Err(error) => Err(StartError::System { what: "packet socket".to_owned(), error }),
    }
}

/// Claims what no other process may have as well, with patience for a daemon that was killed just now, whose locks have gone
/// before it has.
fn claim_patiently(rundir: &RunDir, source: &Source, configs: &[RouterConfig]) -> Result<String, StartError> {
    let until = clock::now() + DYING;
    loop {
        match claim(rundir, source, configs) {
            Err(StartError::RunDir(RunDirError::Living { .. } | RunDirError::Answers(_)))
                if clock::now() < until =>
            {
                thread::sleep(LOOK_AGAIN);
            }
            claimed => return claimed,
        }
    }
}

/// Claims every router, and returns what the files of this process are called.
fn claim(rundir: &RunDir, source: &Source, configs: &[RouterConfig]) -> Result<String, StartError> {
    configs.iter().try_for_each(|config| begin::claim_router(rundir, config))?;
    match (source, configs) {
        (Source::CommandLine, [config, ..]) => Ok(config.name().file_stem()),
        (Source::CommandLine, []) | (Source::File(_), _) => {
            let what = format!("{}: the directory", rundir.path().display());
            rundir.require(rundir::PROCESS, &what)?;
            rundir.vacant(rundir::PROCESS)?;
            Ok(rundir::PROCESS.to_owned())
        }
    }
}

/// Writes the pid files.
fn publish(
    rundir: &mut RunDir,
    source: &Source,
    base: &str,
    routers: &Slots<RouterId, Router>,
) -> Result<(), StartError> {
    let pid = format!("{}\n", std::process::id());
    if let (Source::CommandLine, Some(router)) = (source, routers.values().next()) {
        let short = format!("vrrpd_{}", router.config.interface);
        // The first process on an interface has the short name, which Vrrpd's users know.
        if rundir.claim(&short)? && rundir.vacant(&short).is_ok() {
            rundir.write(&format!("{short}.pid"), 0o644, &pid)?;
        }
    }
    Ok(rundir.write(&format!("{base}.pid"), 0o644, &pid)?)
}
