//! SIGHUP: the configuration file is read again, and the difference applied. Routers that did not change miss no advert
//! and change no state.
//!
//! A router that is not in the file any more leaves as at the end of the process. One that has changed in what can be
//! exchanged while it runs goes on with the new values; one that has changed otherwise leaves and comes back as a new
//! one. New ones are begun when all that leave have given back what they held.
//!
//! Nobody leaves for a file that the start would refuse: first all is looked at, and claimed, that those that come need.
//! If some of it is not to be had, the configuration stays as it was.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use vrrpd_common::Duration;
use vrrpd_common::abi::{KernelCommand, slot};
use vrrpd_common::router::Event;
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::link::Link;
use vrrpd_engine::router::Router;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::adopt;
use super::begin;
use super::link::LinkIo;
use super::start_error::StartError;
use super::{AGAIN, Daemon, scripts};
use crate::clock;
use crate::config::{self, Configuration, GroupConfig, RouterConfig, Settings, VmacMode, Xdp};

/// What is to become of the configuration. One file is done with before the next one is looked at.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The file; `None`: the routers are on the command line.
    pub(super) file: Option<PathBuf>,
    reading: Option<JoinHandle<Result<Configuration, Vec<String>>>>,
    /// It has been asked for again while it was read.
    again: bool,
    /// Read, and not looked at yet.
    read: Option<Configuration>,
    stage: Stage,
    /// New interfaces of which nothing has been told yet.
    awaited: BTreeSet<String>,
    /// Names that routers which are to be begun have been promised.
    claims: BTreeSet<String>,
}

#[derive(Debug, Default)]
enum Stage {
    /// There is nothing to do.
    #[default]
    Idle,
    /// Interfaces and programs have been asked for that it needs.
    Looking(Configuration),
    /// Somebody leaves. These are to be begun when nobody does any more, and then these groups to be formed.
    Changing(Vec<RouterConfig>, Vec<GroupConfig>),
}

/// What a file changes.
#[derive(Debug, Default)]
struct Plan {
    leaving: Vec<RouterId>,
    exchanged: Vec<(RouterId, RouterConfig)>,
    arriving: Vec<RouterConfig>,
    new: usize,
    left: usize,
    changed: usize,
    unchanged: usize,
}

/// Why a file is refused, and for the sake of which router.
struct Refused {
    router: String,
    error: StartError,
}

impl Reload {
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        Self { file, ..Self::default() }
    }

    /// All is known of this interface.
    pub(super) fn followed(&mut self, interface: &str) {
        self.awaited.remove(interface);
    }

    /// The file as it is now, once it has been asked for and read.
    pub(super) async fn read(&mut self) -> Result<Configuration, Vec<String>> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        read.map_err(|error| vec![error.to_string()])?
    }
}

impl Daemon {
    /// Reads the file, in a thread for that. Asked again meanwhile, it is read once more when that is done.
    pub(super) fn reload(&mut self) {
        let Some(file) = self.reload.file.clone() else {
            warn!("reload ignored: no configuration file");
            return;
        };
        if self.reload.reading.is_some() {
            self.reload.again = true;
            return;
        }
        let lane = self.lanes.configuration.clone();
        let what = format!("reading {}", file.display());
        let job = move || {
            let configuration = config::load(&file).map_err(|error| error.lines())?;
            if let Some(warning) = config::exposed_secret(&file, &configuration) {
                warn!(reason = warning, "configuration file readable by other users");
            }
            Ok(configuration)
        };
        self.reload.reading = Some(tokio::task::spawn_local(async move {
            lane.run(what, job).await.map_err(|error| vec![error.to_string()]).flatten()
        }));
    }

    /// Takes what was read for the configuration to come.
    pub(super) fn reloaded(&mut self, read: Result<Configuration, Vec<String>>) {
        if std::mem::take(&mut self.reload.again) {
            return self.reload();
        }
        match read {
            Ok(configuration) => self.reload.read = Some(configuration),
            Err(mistakes) => {
                for reason in mistakes {
                    error!(reason, "reload refused");
                }
            }
        }
    }

    /// Does what can be done now to make the routers those of the file; `true` when that was something.
    pub(super) fn settle(&mut self) -> bool {
        if matches!((&self.reload.stage, &self.reload.read), (Stage::Idle, None)) {
            return false;
        }
        let mut has_done = false;
        loop {
            if let Stage::Changing(..) = self.reload.stage {
                // Once all is sent, nothing may wake us any more.
                self.flush();
                let leaving: Vec<_> = self
                    .engine
                    .routers()
                    .iter()
                    .filter(|(_, router)| router.is_leaving())
                    .map(|(id, _)| id)
                    .collect();
                for id in leaving {
                    self.see_off(id);
                }
            }
            if self.engine.routers().values().any(Router::is_leaving)
                || !self.reload.awaited.is_empty()
                || self.links.values().any(|link| link.path.is_loading())
            {
                return has_done;
            }
            has_done = true;
            match (std::mem::take(&mut self.reload.stage), self.reload.read.take()) {
                (Stage::Idle, None) => return has_done,
                (Stage::Idle, Some(read)) => self.look(read),
                (Stage::Looking(_), Some(newer)) => {
                    self.forget_programs();
                    self.look(newer);
                }
                (Stage::Looking(wanted), None) => self.make_so(wanted),
                (Stage::Changing(arriving, groups), newer) => {
                    self.reload.read = newer;
                    self.begin_all(arriving, &groups);
                }
            }
        }
    }

    /// Asks for all that is to be known of a new configuration, and for the programs that its interfaces will have.
    fn look(&mut self, wanted: Configuration) {
        begin::make_room(&wanted.routers, wanted.checks.len());
        let plan = self.plan(&wanted.routers);
        for config in &plan.arriving {
            if self.engine.link_named(&config.interface).is_none() {
                let datapath = (config.xdp, config.xdp_pass);
                let link = LinkIo::new(config.interface.clone(), datapath, self.guardian.keeper().clone());
                let id = self.engine.add_link(Link::new(config.interface.clone()));
                self.links.put(id, link);
                self.reload.awaited.insert(config.interface.clone());
                self.service.follow(config.interface.clone());
            }
        }
        for (id, here) in self.links_to_open(&plan) {
            let slots = here.iter().map(|config| slot(config.family, config.vrid)).collect();
            let wants_program = here.iter().any(|config| config.xdp != Xdp::Off);
            if wants_program && self.links.get_mut(id).is_some_and(|link| link.path.begin_loading()) {
                self.spawn_loading(id, slots, None);
            }
        }
        self.reload.stage = Stage::Looking(wanted);
    }

    /// What becomes of each router.
    fn plan(&self, configs: &[RouterConfig]) -> Plan {
        let mut plan = Plan::default();
        let mut staying = BTreeSet::new();
        for (id, router) in self.engine.routers().iter() {
            let has_secret = |wanted: &RouterConfig| {
                self.handles.get(id).is_some_and(|handles| handles.authentication == wanted.authentication)
            };
            match configs.iter().find(|config| config.name() == router.config.name()) {
                Some(wanted) if router.config == wanted.settings && has_secret(wanted) => {
                    plan.unchanged += 1;
                    staying.insert(wanted.name().to_string());
                }
                Some(wanted) if router.config.can_become(&wanted.settings) && has_secret(wanted) => {
                    plan.changed += 1;
                    staying.insert(wanted.name().to_string());
                    plan.exchanged.push((id, wanted.clone()));
                }
                Some(_) => {
                    plan.changed += 1;
                    plan.leaving.push(id);
                }
                None => {
                    plan.left += 1;
                    plan.leaving.push(id);
                }
            }
        }
        let comes = |config: &&RouterConfig| !staying.contains(&config.name().to_string());
        plan.arriving = configs.iter().filter(comes).cloned().collect();
        plan.new = configs.len() - plan.changed - plan.unchanged;
        plan
    }

    /// The interfaces that no router stays on and some come to, with these.
    fn links_to_open<'a>(&self, plan: &'a Plan) -> Vec<(LinkId, Vec<&'a RouterConfig>)> {
        let mut opened = Vec::new();
        for (id, link) in self.engine.links().iter() {
            let here: Vec<_> = plan.arriving.iter().filter(|config| config.interface == link.name).collect();
            if !here.is_empty() && link.routers.iter().all(|id| plan.leaving.contains(id)) {
                opened.push((id, here));
            }
        }
        opened
    }

    /// Makes the routers those that are wanted, unless the start would refuse them.
    fn make_so(&mut self, wanted: Configuration) {
        let Configuration { routers: configs, groups, checks } = wanted;
        let plan = self.plan(&configs);
        if let Err(Refused { router, error }) = self.admit(&plan) {
            let file = self.reload.file.clone().unwrap_or_default();
            error!(file = %file.display(), router, reason = %error, "reload refused");
            self.forget_programs();
            return;
        }
        let Plan { leaving, exchanged, arriving, new, left, changed, unchanged } = plan;
        info!(new, left, changed, unchanged, "configuration reloaded");
        // Before anybody leaves, so that nobody is taken along.
        self.form_groups(&without(&groups, &arriving));
        self.configure_checks(&checks, configs.iter().map(|config| &config.settings));
        for (id, config) in exchanged {
            self.exchange(id, config);
        }
        for id in leaving {
            self.dismiss(id);
        }
        self.reload.stage = Stage::Changing(arriving, groups);
    }

    /// Looks at all that those that come need, and claims it; if some of it is not to be had, nothing is claimed.
    fn admit(&mut self, plan: &Plan) -> Result<(), Refused> {
        let refused = |config: &RouterConfig, error| Refused { router: config.name().to_string(), error };
        for config in &plan.arriving {
            self.check(config).map_err(|error| refused(config, error))?;
        }
        for (id, config) in &plan.exchanged {
            if let Some(link) = self.engine.router(*id).and_then(|router| self.engine.link(router.link)) {
                begin::check_peers(config, link).map_err(|error| refused(config, error))?;
            }
        }
        let held: BTreeSet<String> =
            self.engine.routers().values().flat_map(|router| claims_of(&router.config)).collect();
        let wanted: BTreeSet<String> = plan.arriving.iter().flat_map(|config| claims_of(config)).collect();
        let mut admitted = plan.arriving.iter().try_for_each(|config| {
            begin::claim_router(&self.rundir, config).map_err(|error| refused(config, error))
        });
        for (id, here) in self.links_to_open(plan) {
            let (interface, Some(link)) = (self.engine.interface(id), self.links.get_mut(id)) else {
                continue;
            };
            let named = here.iter().find(|config| matches!(config.xdp, Xdp::Native | Xdp::Generic));
            if let (Ok(()), Some(config)) = (&admitted, named)
                && let Err(refusal) = link.try_datapath(interface, config.xdp)
            {
                admitted = Err(refused(config, StartError::no_datapath(config.xdp, refusal)));
            }
        }
        match admitted {
            Ok(()) => self.reload.claims = wanted,
            Err(_) => wanted.difference(&held).for_each(|name| self.rundir.release(name)),
        }
        admitted
    }

    /// What the start would refuse of a router on an interface as it is now.
    fn check(&self, config: &RouterConfig) -> Result<(), StartError> {
        let naming = || format!("interface = {:?}", config.interface);
        let Some(id) = self.engine.link_named(&config.interface) else { return Ok(()) };
        let (Some(there), Some(link)) = (self.engine.link(id), self.links.get(id)) else { return Ok(()) };
        let Some(interface) = &there.interface else {
            // One that was there comes back.
            let is_new = there.routers.is_empty() && !link.path.has_waiting();
            return if is_new { Err(StartError::NoInterface(naming())) } else { Ok(()) };
        };
        if interface.mac.is_none() {
            return Err(StartError::NotEthernet(naming()));
        }
        let router = Router::new(config.settings.clone(), id, clock::time_of_day_now());
        begin::check_length(&router, there)?;
        begin::check_peers(config, there)?;
        let gives_back = |router: &Router| {
            router.link == id && router.config.vmac == VmacMode::Interface && router.vmac.is_on(interface)
        };
        if !self.engine.routers().values().any(gives_back) {
            adopt::left_vmac(&router, there, &Journal::default())?;
        }
        Ok(())
    }

    /// Begins those that come, and forms the groups.
    fn begin_all(&mut self, arriving: Vec<RouterConfig>, groups: &[GroupConfig]) {
        self.reload.claims.clear();
        let mut begun = Vec::new();
        for config in arriving {
            let name = config.name().to_string();
            match self.begin(config.clone()) {
                Ok(id) => begun.extend(id),
                Err(error) => {
                    error!(router = name, %error, "cannot start router");
                    self.leave_out(&config);
                }
            }
        }
        self.forget_programs();
        self.form_groups(groups);
        // The owner of its addresses takes them at once.
        self.write_journal();
        self.keep_own_macs();
        for id in begun {
            if let Some(router) = self.engine.router_mut(id) {
                router.machine.skip_start_delay();
            }
            self.start_up(id);
        }
    }

    /// Lets go of programs that were loaded for an interface and are not needed now.
    fn forget_programs(&mut self) {
        for link in self.links.values_mut().filter(|link| !link.path.has_waiting()) {
            link.path.forget();
        }
    }

    /// Goes on with other values.
    fn exchange(&mut self, id: RouterId, config: RouterConfig) {
        let (Some(router), Some(handles)) = (self.engine.router_mut(id), self.handles.get_mut(id)) else {
            return;
        };
        let leaves_group = router.config.grouped && !config.grouped;
        let other_priority = router.config.priority != config.priority;
        let other_scripts = router.config.scripts != config.scripts;
        router.exchange(config.settings);
        handles.forget_frame();
        if other_scripts {
            scripts::finish(handles);
            if let Err(error) = scripts::start(&router.config, handles, &self.rundir, &self.scripts) {
                error!(router = %router.config.title(), %error, "cannot run scripts");
            }
        }
        let source = router.machine.source();
        self.expect(id, source);
        self.track(id);
        self.input(Input::CheckUsable(id));
        let Some(router) = self.engine.router(id) else { return };
        let priority = router.policy.priority();
        if other_priority || router.machine.priority() != priority {
            self.event(id, Event::Priority(priority), None);
        } else {
            // Nothing has happened to it, but the kernel may have to look at adverts in another way.
            self.hear_kernel(id);
            self.input(Input::Tell(id));
        }
        if leaves_group {
            // It may have waited for the others.
            self.event(id, Event::GroupReady { hold: Duration::ZERO }, None);
        }
    }

    /// Lets a router leave; [`Daemon::settle`] does what remains when it has given back what it held.
    fn dismiss(&mut self, id: RouterId) {
        if let Some(router) = self.engine.router_mut(id) {
            router.leave();
        }
        self.event(id, Event::Shutdown, None);
    }

    fn see_off(&mut self, id: RouterId) {
        let Some(router) = self.engine.router(id) else { return };
        let (Some(there), Some(link)) = (self.engine.link(router.link), self.links.get(router.link)) else {
            return;
        };
        // With the last router the socket goes, and what waits there to be sent.
        let last_words = there.routers.len() == 1 && link.deadline(clock::now()).is_some();
        if router.is_busy() || last_words {
            return;
        }
        if router.ledger.link().is_some() {
            self.input(Input::Discard(id));
        } else {
            self.forget(id);
        }
    }

    /// Nothing of the router is left but its place, for another one.
    fn forget(&mut self, id: RouterId) {
        if let Some(mut handles) = self.handles.remove(id) {
            scripts::finish(&mut handles);
        }
        let Some(router) = self.engine.remove(id) else { return };
        let (link_id, config) = (router.link, &router.config);
        let (family, vrid) = (config.family, config.vrid);
        if let Some(link) = self.links.get_mut(link_id) {
            let slot = slot(family, vrid);
            if let Some(kernel) = link.kernel()
                && let Err(error) = kernel
                    .command(KernelCommand { slot, ..KernelCommand::default() })
                    .and_then(|()| kernel.set_virtual_addresses(slot, &[]))
            {
                error!(router = %config.title(), %error, "cannot remove router from the XDP program");
            }
            link.peers.remove(id);
            link.table.remove(family, vrid);
            if self.engine.routers_on(link_id).is_empty() {
                let remaining = link.rest(&self.readiness);
                self.change_own_mac(link_id, remaining);
            }
        }
        self.release_claims(config);
    }

    /// Gives back what was claimed for a router, unless another one has been promised it.
    fn release_claims(&self, config: &Settings) {
        let names = claims_of(config).filter(|name| !self.reload.claims.contains(name));
        names.for_each(|name| self.rundir.release(&name));
    }

    /// Makes a router that the file has and we had not; it waits for its start. `None`: there is nothing to start.
    fn begin(&mut self, config: RouterConfig) -> Result<Option<RouterId>, StartError> {
        begin::claim_router(&self.rundir, &config)?;
        let Some(link_id) = self.engine.link_named(&config.interface) else { return Ok(None) };
        if let Some(link) = self.links.get_mut(link_id)
            && self.engine.routers_on(link_id).is_empty()
        {
            (link.xdp, link.xdp_pass) = (config.xdp, config.xdp_pass);
            if self.engine.interface(link_id).is_some_and(|interface| interface.mac.is_none()) {
                return Err(StartError::NotEthernet(link.name.clone()));
            }
        }
        // What was left behind on the interface by others bears our mark; there is no journal of it.
        let Some((mut router, mut handles)) =
            begin::make_router(config, &self.engine, &mut self.links, &Journal::default())?
        else {
            return Ok(None);
        };
        scripts::start(&router.config, &mut handles, &self.rundir, &self.scripts)?;
        let key = (router.config.family, router.config.vrid);
        let mut refused = None;
        if let Some(link) = self.links.get_mut(link_id) {
            refused = link
                .serve(link_id, self.engine.interface(link_id), key, &self.readiness, AGAIN)
                .map_err(|error| StartError::System { what: format!("-i {}", link.name), error })?;
            link.join();
            if let Some(record) = link.kernel_record(key.0, key.1) {
                router.kernel.begin_with(&record);
            }
        }
        let id = self.engine.add(router);
        self.handles.put(id, handles);
        self.note_kernel(link_id);
        self.track(id);
        self.input(Input::CheckUsable(id));
        self.apply_priority(id);
        if let Some(refusal) = refused {
            self.give_up_kernel(link_id, refusal);
        }
        self.input(Input::Prepare(id));
        Ok(Some(id))
    }

    /// Nothing remains of a router that could not begin.
    fn leave_out(&mut self, config: &RouterConfig) {
        if let Some(id) = self.engine.link_named(&config.interface)
            && let Some(link) = self.links.get_mut(id)
        {
            link.table.remove(config.family, config.vrid);
            if self.engine.routers_on(id).is_empty() {
                let remaining = link.rest(&self.readiness);
                self.change_own_mac(id, remaining);
            }
        }
        self.release_claims(config);
    }
}

/// The groups without those members that are not there yet.
fn without(groups: &[GroupConfig], arriving: &[RouterConfig]) -> Vec<GroupConfig> {
    let arriving: BTreeSet<String> = arriving.iter().map(|config| config.name().to_string()).collect();
    let mut groups = groups.to_vec();
    for group in &mut groups {
        group.members.retain(|member| !arriving.contains(member));
    }
    groups
}

/// The names that no other process may have as well.
fn claims_of(config: &Settings) -> impl Iterator<Item = String> + use<> {
    let mac = (config.vmac == VmacMode::Interface).then(|| begin::claim_of_mac(config));
    std::iter::once(config.name().file_stem()).chain(mac)
}
