//! SIGHUP: reads the configuration file again and applies the difference. Unchanged routers miss no advert and keep
//! their state.
//!
//! A router that is not in the file any more leaves as at the end of the process. A router continues if only options
//! differ that can change while it runs; otherwise it leaves and is created again. New routers start when all leaving
//! ones have given back what they held.
//!
//! No router leaves for a file that a start would refuse: everything that new routers need is checked and claimed
//! first. If that fails, the configuration stays as it was.

use std::collections::BTreeSet;

use tracing::{error, info, warn};
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::link::Link;
use vrrpd_engine::plan::Plan;
use vrrpd_engine::reload::Step;
use vrrpd_engine::{Input, LinkId, RouterId};

use super::begin;
use super::link::LinkIo;
use super::start_error::StartError;
use super::{Daemon, log, scripts};
use crate::clock;
use crate::config::{self, Configuration, Datapath, GroupConfig, RouterConfig, Settings, VmacMode};
use crate::interface::Interface;

/// Why a file is refused, and for which router.
struct Refused {
    router: String,
    error: StartError,
}

impl Refused {
    fn of(config: &RouterConfig, error: StartError) -> Self {
        Self { router: config.name().to_string(), error }
    }
}

impl Daemon {
    /// Reads the file in another thread. A request during that reads it once more afterwards.
    pub(super) fn reload(&mut self) {
        let Some(file) = self.reload.file.clone() else {
            warn!("reload ignored: no configuration file");
            return;
        };
        if !self.reload.stages.ask() {
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
        self.are_others_due = true;
        self.reload.reading = Some(tokio::task::spawn_local(async move {
            lane.run(what, job).await.map_err(|error| vec![error.to_string()]).flatten()
        }));
    }

    /// Handles the configuration that was read.
    pub(super) fn reloaded(&mut self, read: Result<Configuration, Vec<String>>) {
        if self.reload.stages.is_out_of_date() {
            return self.reload();
        }
        match read {
            Ok(configuration) => self.reload.stages.take_in(configuration),
            Err(mistakes) => {
                for reason in mistakes {
                    error!(reason, "reload refused");
                }
            }
        }
    }

    /// Continues the reload as far as possible now; returns whether there was something to do.
    pub(super) fn settle(&mut self) -> bool {
        if self.reload.stages.is_idle() {
            return false;
        }
        let mut has_done = false;
        loop {
            // Once everything is sent, nothing may wake the loop any more.
            self.flush();
            for id in self.engine.leaving() {
                self.see_off(id);
            }
            let is_loading = self.links.values().any(|link| link.path.is_loading());
            match self.reload.stages.next(&self.engine, is_loading) {
                Step::Wait => return has_done,
                Step::Look { wanted, supersedes } => {
                    if supersedes {
                        self.forget_programs();
                    }
                    self.look(wanted);
                }
                Step::TryOut(wanted) => self.try_out(wanted),
                // No router is Master where a program is attached now.
                Step::Begin(arriving) if self.attach_programs(|_| true) | self.move_programs() => {
                    self.reload.stages.change(arriving);
                }
                Step::Begin((arriving, groups)) => self.begin_all(arriving, &groups),
            }
            has_done = true;
        }
    }

    /// Requests everything that is to be known for a new configuration, and the programs of its interfaces.
    fn look(&mut self, wanted: Configuration) {
        begin::make_room(&wanted.routers, wanted.checks.len());
        let (plan, in_all) = (self.plan(&wanted.routers), wanted.routers.len());
        for config in plan.arriving.iter().filter_map(|place| wanted.routers.get(*place)) {
            for other in config.other_interfaces().into_iter().filter(|name| self.others.add(name)) {
                self.reload.stages.await_interface(other.to_owned());
                self.service.follow(other.to_owned());
            }
            if self.engine.link_named(&config.interface).is_none() {
                self.add_link(&config.interface, config.datapath, None);
                self.reload.stages.await_interface(config.interface.clone());
                self.service.follow(config.interface.clone());
            }
        }
        for (id, here) in plan.links_to_open(&self.engine, &settings(&wanted.routers)) {
            let here: Vec<_> = here.iter().filter_map(|place| wanted.routers.get(*place)).collect();
            let wanted = here.first().map(|config| config.datapath).unwrap_or_default();
            let wants_program = wanted != Datapath::Raw;
            if wants_program && self.links.get_mut(id).is_some_and(|link| link.path.begin_loading()) {
                self.spawn_loading(id, wanted, (here.len(), in_all), None);
            }
        }
        for (id, more) in plan.links_with_more(&self.engine, &settings(&wanted.routers)) {
            let Some(link) = self.links.get_mut(id) else { continue };
            let routers = (link.router_count() + more, in_all);
            let Some(kernel) = link.kernel() else { continue };
            // The same hook is used.
            let wanted = kernel.tier().alone();
            if !kernel.keep_room(more) && link.path.begin_loading() {
                self.spawn_loading(id, wanted, routers, None);
            }
        }
        self.reload.stages.look_at(wanted);
    }

    /// The changes to the running routers.
    fn plan(&self, wanted: &[RouterConfig]) -> Plan {
        let has_secret = |id: RouterId, place: usize| {
            let (handles, wanted) = (self.handles.get(id), wanted.get(place));
            handles
                .zip(wanted)
                .is_some_and(|(handles, wanted)| handles.authentication == wanted.authentication)
        };
        Plan::new(&self.engine, &settings(wanted), has_secret)
    }

    /// Adds an interface that was unknown.
    pub(super) fn add_link(&mut self, name: &str, wanted: Datapath, interface: Option<Interface>) -> LinkId {
        let mut there = Link::new(name.to_owned());
        if interface.as_ref().is_some_and(|interface| there.assumes_carrier(interface)) {
            log::carrier_unknown(name);
        }
        there.interface = interface;
        let id = self.engine.add_link(there);
        self.links.put(id, LinkIo::new(name.to_owned(), wanted, self.guardian.keeper().clone()));
        id
    }

    /// Applies the configuration, unless a start would refuse it.
    fn try_out(&mut self, wanted: Configuration) {
        let plan = self.plan(&wanted.routers);
        if let Err(refused) = self.check_all(&plan, &wanted.routers) {
            return self.refuse(&refused);
        }
        // Last, since some drivers take the link down for it.
        if self.attach_programs(Datapath::is_required) {
            self.reload.stages.look_at(wanted);
            return;
        }
        match self.admit(&plan, &wanted.routers) {
            Ok(()) => self.make_so(plan, wanted),
            Err(refused) => self.refuse(&refused),
        }
    }

    fn refuse(&mut self, Refused { router, error }: &Refused) {
        let file = self.reload.file.clone().unwrap_or_default();
        error!(file = %file.display(), router, reason = %error, "reload refused");
        self.forget_programs();
    }

    fn make_so(&mut self, plan: Plan, wanted: Configuration) {
        let Configuration { routers: configs, groups, checks } = wanted;
        let Plan { new, left, changed, unchanged, .. } = plan;
        info!(new, left, changed, unchanged, "configuration reloaded");
        // Before any router leaves, so that it does not affect other members of its group.
        self.form_groups(&plan.groups_until_then(&groups, &settings(&configs)));
        self.configure_checks(&checks, configs.iter().map(|config| &config.settings));
        for (id, place) in plan.exchanged {
            if let Some(config) = configs.get(place) {
                self.exchange(id, config.settings.clone());
            }
        }
        for id in plan.leaving {
            self.input(Input::Leave(id));
        }
        let arriving = plan.arriving.iter().filter_map(|place| configs.get(*place)).cloned().collect();
        self.reload.stages.change((arriving, groups));
    }

    /// Checks whether all routers could run, without changing anything.
    fn check_all(&self, plan: &Plan, configs: &[RouterConfig]) -> Result<(), Refused> {
        for config in plan.arriving.iter().filter_map(|place| configs.get(*place)) {
            self.check(config, &Journal::default()).map_err(|error| Refused::of(config, error))?;
        }
        for (id, place) in &plan.exchanged {
            let Some(config) = configs.get(*place) else { continue };
            let admitted = self.engine.admit_exchange(*id, config);
            admitted.map_err(|why| Refused::of(config, self.reload.inadmissible(config, why)))?;
        }
        Ok(())
    }

    /// Claims everything that new routers need, or nothing.
    fn admit(&mut self, plan: &Plan, configs: &[RouterConfig]) -> Result<(), Refused> {
        let arriving: Vec<_> = plan.arriving.iter().filter_map(|place| configs.get(*place)).collect();
        let held: BTreeSet<String> =
            self.engine.routers().values().flat_map(|router| claims_of(&router.config)).collect();
        let wanted: BTreeSet<String> = arriving.iter().flat_map(|config| claims_of(config)).collect();
        let mut admitted = arriving.iter().try_for_each(|config| {
            begin::claim_router(&self.rundir, config).map_err(|error| Refused::of(config, error))
        });
        for (id, here) in plan.links_to_open(&self.engine, &settings(configs)) {
            let (interface, Some(link)) = (self.engine.interface(id), self.links.get_mut(id)) else {
                continue;
            };
            let mut here = here.iter().filter_map(|place| configs.get(*place));
            let named = here.find(|config| config.datapath.is_required());
            if let (Ok(()), Some(config)) = (&admitted, named)
                && let Err(refusal) = link.try_datapath(id, interface, config.datapath)
            {
                let error = StartError::no_datapath(config.datapath_option, config.datapath, refusal);
                admitted = Err(Refused::of(config, error));
            }
        }
        match admitted {
            Ok(()) => self.reload.stages.promise(wanted),
            Err(_) => wanted.difference(&held).for_each(|name| self.rundir.release(name)),
        }
        admitted
    }

    /// Checks whether a router could run on its interface in its present state.
    pub(super) fn check(&self, config: &Settings, journal: &Journal) -> Result<(), StartError> {
        let link = self.engine.link_named(&config.interface).and_then(|id| self.links.get(id));
        let is_awaited = link.is_some_and(|link| link.path.has_waiting());
        let admitted = self.engine.admit(clock::moment(), config, is_awaited, journal);
        admitted.map_err(|why| self.reload.inadmissible(config, why))
    }

    /// Starts the new routers, and forms the groups.
    fn begin_all(&mut self, arriving: Vec<RouterConfig>, groups: &[GroupConfig]) {
        self.reload.stages.promise(BTreeSet::new());
        let mut begun = Vec::new();
        for config in arriving {
            let claimed = begin::claim_router(&self.rundir, &config);
            match claimed.and_then(|()| self.begin(config.clone(), &Journal::default())) {
                Ok(id) => begun.push(id),
                Err(error) => {
                    say_not_begun(&config, &error);
                    self.leave_out(&config);
                }
            }
        }
        begun.retain(|id| {
            let opened = self.open_for(*id);
            if let (Err(error), Some(router)) = (&opened, self.engine.router(*id)) {
                say_not_begun(&router.config, error);
                self.forget(*id);
            }
            opened.is_ok()
        });
        self.forget_programs();
        self.form_groups(groups);
        // The owner of its addresses takes them at once.
        self.write_journal();
        self.keep_own_macs();
        for id in &begun {
            self.input(Input::Prepare(*id));
        }
        for id in begun {
            self.input(Input::SkipStartDelay(id));
            self.input(Input::StartUp(id));
        }
    }

    /// Releases programs that were loaded for an interface and are not needed now.
    fn forget_programs(&mut self) {
        for link in self.links.values_mut() {
            if !link.path.has_waiting() {
                link.path.forget();
            }
            if let Some(kernel) = link.kernel() {
                kernel.keep_room(0);
            }
        }
        self.objects.forget_unused();
    }

    /// Changes the configuration of a running router.
    fn exchange(&mut self, id: RouterId, config: Settings) {
        let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get_mut(id)) else {
            return;
        };
        handles.forget_frame();
        if router.config.scripts != config.scripts {
            scripts::finish(handles.scripts.take());
            match scripts::start(&config, &self.rundir, &self.scripts) {
                Ok(runner) => handles.scripts = runner,
                Err(error) => error!(router = %config.title(), %error, "cannot run scripts"),
            }
        }
        self.input(Input::Exchange(id, Box::new(config)));
    }

    /// Removes a leaving router if it has finished.
    fn see_off(&mut self, id: RouterId) {
        let link = self.engine.router(id).and_then(|router| self.links.get(router.link));
        let is_spoken = link.is_none_or(|link| link.deadline(clock::now()).is_none());
        self.input(Input::SeeOff { router: id, is_spoken });
    }

    /// Removes everything of the router but its slot.
    pub(super) fn forget(&mut self, id: RouterId) {
        if let Some(handles) = self.handles.remove(id) {
            scripts::finish(handles.scripts);
        }
        let Some(router) = self.engine.remove(id) else { return };
        let (link_id, config) = (router.link, &router.config);
        let (family, vrid) = (config.family, config.vrid);
        if let Some(link) = self.links.get_mut(link_id) {
            if let Err(error) = link.forget(id, family, vrid) {
                error!(router = %config.title(), %error, "cannot remove router from the program in the kernel");
            }
            if self.engine.routers_on(link_id).is_empty() {
                let remaining = link.rest();
                self.change_own_mac(link_id, remaining);
            }
        }
        self.release_claims(config);
    }

    /// Releases the claims of a router, unless a new router needs them.
    fn release_claims(&self, config: &Settings) {
        let names = claims_of(config).filter(|name| !self.reload.stages.is_promised(name));
        names.for_each(|name| self.rundir.release(&name));
    }

    /// Removes a router that could not start.
    fn leave_out(&mut self, config: &RouterConfig) {
        if let Some(id) = self.engine.link_named(&config.interface)
            && let Some(link) = self.links.get_mut(id)
        {
            link.table.remove(config.family, config.vrid);
            if self.engine.routers_on(id).is_empty() {
                let remaining = link.rest();
                self.change_own_mac(id, remaining);
            }
        }
        self.release_claims(config);
    }
}

/// The engine's settings of each router.
fn settings(configs: &[RouterConfig]) -> Vec<&Settings> {
    configs.iter().map(|config| &config.settings).collect()
}

fn say_not_begun(config: &Settings, error: &StartError) {
    error!(router = %config.name(), %error, "cannot start router");
}

/// The names that only one process may have.
fn claims_of(config: &Settings) -> impl Iterator<Item = String> + use<> {
    let mac = (config.vmac == VmacMode::Interface).then(|| begin::claim_of_mac(config));
    std::iter::once(config.name().file_stem()).chain(mac)
}
