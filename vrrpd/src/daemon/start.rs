//! Everything that can fail before the daemon takes part in an election, so that the user's command can report it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use tokio::sync::mpsc;
use tracing::warn;
use vrrpd_common::Duration;
use vrrpd_engine::ledger::{Journal, Order, Undo};
use vrrpd_engine::rate_limit::RateLimit;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Engine, Input, RouterId, Slots};

use super::Daemon;
use super::begin;
use super::burst::Burst;
use super::changes::Changes;
use super::group_scripts::GroupRunners;
use super::link::LinkIo;
use super::others::Others;
use super::reload_state::Reload;
use super::start_error::StartError;
use crate::abandoned;
use crate::clock::{self, Alarm, Suspension};
use crate::config::{Configuration, RouterConfig, VmacFallback};
use crate::control::followers::Followers;
use crate::control::server;
use crate::datapath::leftovers;
use crate::datapath::loaded::Loaded;
use crate::datapath::object::{Need, Objects};
use crate::datapath::privileges;
use crate::datapath::readiness::Readiness;
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
use crate::track::Watchers;

/// How long the start may wait for kernel memory.
const START: Duration = Duration::from_secs(10);
/// How long the guardian of an earlier daemon may take, and the polling interval.
const GUARDIAN: Duration = Duration::from_secs(5);
/// How long the end of a start that fails may wait until its programs are detached.
const DETACHED: Duration = Duration::from_secs(2);
/// How long a killed process may take to end.
const DYING: Duration = Duration::from_millis(200);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(2);
/// Maximum number of queued requests of clients.
const COMMANDS: usize = 16;

/// Where the routers come from; determines the names of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One router on the command line.
    CommandLine,
    /// Any number of routers in this file.
    File(PathBuf),
}

impl Source {
    /// The file that a reload reads.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::CommandLine => None,
            Self::File(path) => Some(path.clone()),
        }
    }
}

impl Daemon {
    /// Opens everything that is needed. The daemon sends nothing before [`Daemon::run`].
    pub async fn start(
        configuration: Configuration,
        source: &Source,
        dir: Option<&Path>,
        guardian: Guardian,
    ) -> Result<Self, StartError> {
        let objects = Objects::default();
        let started = Self::open(configuration, source, dir, guardian, objects.clone()).await;
        if started.is_err() {
            // The next start may follow at once.
            objects.detaching().wait_for_all(DETACHED);
        }
        started
    }

    async fn open(
        configuration: Configuration,
        source: &Source,
        dir: Option<&Path>,
        guardian: Guardian,
        objects: Objects,
    ) -> Result<Self, StartError> {
        let Configuration { routers: configs, groups, checks } = configuration;
        let system = |what: &str| {
            let what = what.to_owned();
            move |error| StartError::System { what, error }
        };
        let signals = Signals::catch().map_err(system("signals"))?;
        check_privileges()?;
        begin::make_room(&configs, checks.len());
        let rundir = RunDir::open(dir)?;
        // First of all, since an earlier daemon may be about to give things back.
        let base = claim_patiently(&rundir, source, &configs)?;
        wait_for_guardian(&rundir, &base)?;

        let journal_file = format!("{base}.journal");
        let journal = abandoned::read_journal(rundir.directory(), &journal_file);
        let names: BTreeSet<String> = configs.iter().map(|config| config.interface.clone()).collect();
        let others = configs.iter().flat_map(|config| config.other_interfaces()).map(str::to_owned).collect();
        let (report_queue, reports) = mpsc::unbounded_channel();
        let (service, interfaces) = Service::start(
            &(&names | &others) | &journal.interfaces(),
            report_queue,
            guardian.keeper().clone(),
        )
        .map_err(system("netlink"))?;
        let others = Others::of(&configs, &interfaces);
        let lanes = Lanes::default();
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (aside_in, aside) = mpsc::unbounded_channel();
        let readiness = Readiness::default();
        let mut daemon = Self {
            engine: Engine::new(service.marks_addresses()),
            handles: Slots::with_capacity(configs.len()),
            links: Slots::with_capacity(names.len()),
            group_peers: None,
            group_runners: GroupRunners::default(),
            is_stirred: true,
            others_due: None,
            is_performing: false,
            alarm: Alarm::new(&readiness, super::TIMER).map_err(system("timerfd"))?,
            burst: Burst::default(),
            others_waker: readiness.waker(super::OTHERS),
            are_others_due: true,
            readiness,
            objects,
            retired: Vec::new(),
            guardian_ends: None,
            ready: Vec::new(),
            signals,
            service,
            reports,
            commands,
            changes: Changes::default(),
            aside_in,
            aside,
            own_macs_changed: BTreeMap::new(),
            watchers: Watchers::new(lanes.checks.clone()),
            scripts: script::Context::new(lanes.scripts.clone()),
            lanes,
            followers: Followers::default(),
            inbox: Some(Inbox::default()),
            state_file: format!("{base}.state"),
            others,
            journal_file,
            journal: String::new(),
            written: None,
            rundir,
            supervisor: Supervisor::from_environment(clock::now()),
            open_again_at: None,
            program_checks: RateLimit::default(),
            suspension: Suspension::watch(),
            guardian,
            untold: BTreeSet::new(),
            status_untold: false,
            reload: Reload::of(source.file()),
        };
        daemon.meet_interfaces(&configs, &interfaces, &journal)?;
        daemon.configure_checks(&checks, configs.iter().map(|config| &config.settings));
        daemon.begin_first(configs, &journal)?;
        let undo =
            Undo::plan(&journal, &interfaces, daemon.engine.marks(), |found| daemon.engine.sees_to(found));
        let nobody_s = abandoned::ask(&undo, &daemon.service);
        abandoned::remove_classifiers(&undo);
        publish(&mut daemon.rundir, source, &base, daemon.engine.routers())?;
        let socket = daemon.rundir.socket_path(&format!("{base}.sock"))?;
        let followers = daemon.followers.clone();
        server::start(&socket, server::Daemon { commands: commands_in, followers })
            .map_err(system(&socket.display().to_string()))?;
        memory::give_back();
        daemon.charge_guardian(&base)?;
        daemon.form_groups(&groups);
        match daemon.begin_serving(nobody_s, source, &base).await {
            Ok(()) => Ok(daemon),
            Err(error) => Err(daemon.take_back(error).await),
        }
    }

    /// Checks whether all routers can run on the interfaces in their present state, and loads their programs.
    fn meet_interfaces(
        &mut self,
        configs: &[RouterConfig],
        interfaces: &[Interface],
        journal: &Journal,
    ) -> Result<(), StartError> {
        for config in configs {
            let interface = interfaces.iter().find(|interface| interface.name == config.interface);
            if let Some(interface) = interface
                && self.engine.link_named(&config.interface).is_none()
            {
                self.add_link(&config.interface, config.datapath, Some(interface.clone()));
            }
            self.check(config, journal)?;
        }
        for (id, link) in self.links.iter_mut() {
            let Some(interface) = self.engine.interface(id) else { continue };
            if link.obstacle(interface).is_none() && link.path.begin_loading() {
                let here = configs.iter().filter(|config| config.interface == link.name);
                let (wanted, keeper) = (link.wanted, link.keeper().clone());
                let (routers, in_all) = (here.count(), configs.len());
                let need = Need { wanted, routers, in_all, patience: START };
                // A failure shows when the interface is opened.
                drop(link.loaded(Loaded::load(need, self.objects.clone(), keeper)));
            }
        }
        Ok(())
    }

    /// Creates the routers of the start, and opens their interfaces.
    fn begin_first(&mut self, configs: Vec<RouterConfig>, journal: &Journal) -> Result<(), StartError> {
        let begun = configs.into_iter().map(|config| self.begin(config, journal));
        for id in begun.collect::<Result<Vec<_>, _>>()? {
            self.open_for(id)?;
        }
        self.links.values().try_for_each(check_datapath)?;
        if self.links.values().any(LinkIo::is_in_kernel) {
            leftovers::remove();
        }
        self.objects.forget_unused();
        Ok(())
    }

    /// Makes the guardian watch over this process, whose files are named `base`, from now on.
    fn charge_guardian(&mut self, base: &str) -> Result<(), StartError> {
        let failed = |error| StartError::System { what: "guardian".to_owned(), error };
        self.guardian.charge(self.rundir.path(), base).map_err(failed)?;
        let ends = self.readiness.watch(self.guardian.socket(), super::GUARDIAN).map_err(failed)?;
        self.guardian_ends = Some(ends);
        Ok(())
    }

    /// The part that is undone if any of it fails.
    async fn begin_serving(
        &mut self,
        nobody_s: usize,
        source: &Source,
        base: &str,
    ) -> Result<(), StartError> {
        self.prepare(nobody_s).await?;
        self.meet_group(source, base)?;
        self.begin_journal()?;
        // No router is running yet, so blocking is harmless.
        for (id, change) in self.own_mac_changes() {
            if let Some(changed) = change.carry_out() {
                self.own_mac_changed(id, changed);
            }
        }
        Ok(())
    }

    /// Joins the other processes of `-M`, as a late step, since they then count on this one.
    fn meet_group(&mut self, source: &Source, base: &str) -> Result<(), StartError> {
        if *source == Source::CommandLine
            && self.engine.routers().values().any(|router| router.group.is_some())
        {
            let path = self.rundir.socket_path(&format!("{base}.{}", peers::SUFFIX))?;
            self.meet_group_peers(&path)?;
        }
        Ok(())
    }

    /// Creates the macvlan links, so that a failure is reported to the user, and waits for the answers to requests that
    /// belong to no router.
    async fn prepare(&mut self, mut nobody_s: usize) -> Result<(), StartError> {
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.input(Input::Prepare(id));
        }
        let mut refused = None;
        while nobody_s > 0 || self.engine.waits_for_system() {
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

    /// Replaces the journal of an earlier daemon. This is the last step that can fail, since a failed start must not
    /// lose the earlier journal.
    fn begin_journal(&mut self) -> Result<(), StartError> {
        self.journal = self.engine.journal().to_string();
        Ok(self.rundir.directory().write(&self.journal_file, 0o600, &self.journal)?)
    }

    /// Removes the links that were created, since the start fails with this error; returns it, or an error of the
    /// removal. The journal is still the earlier one.
    async fn take_back(mut self, failure: StartError) -> StartError {
        if let Err(error) = self.discard_links().await {
            return StartError::System { what: "netlink".to_owned(), error };
        }
        self.guardian.dismiss();
        failure
    }
}

/// Waits until the guardian of a dead daemon with our name has given everything back.
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

/// Checks that a data path without fallback is in use.
fn check_datapath(link: &LinkIo) -> Result<(), StartError> {
    match link.refused() {
        Some(refusal) if link.wanted.is_required() && !link.is_in_kernel() => {
            Err(StartError::no_datapath(link.datapath_option, link.wanted, refusal.clone()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Reports missing capabilities in one sentence, before a system call fails.
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

/// Claims the names that only one process may have; waits for a daemon that was just killed, whose locks are released
/// before it has ended.
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

/// Claims every router, and returns the base name of this process's files.
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
        // The first process on an interface gets the short name, known from Vrrpd.
        if rundir.claim(&short)? && rundir.vacant(&short).is_ok() {
            rundir.write(&format!("{short}.pid"), 0o644, &pid)?;
        }
    }
    Ok(rundir.write(&format!("{base}.pid"), 0o644, &pid)?)
}
