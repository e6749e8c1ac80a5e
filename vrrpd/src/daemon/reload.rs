//! SIGHUP: the configuration file is read again, and the difference applied. Routers that did not change miss no advert
//! and change no state.
//!
//! A router that is not in the file any more leaves as at the end of the process. One that has changed in what can be
//! exchanged while it runs goes on with the new values; one that has changed otherwise leaves and comes back as a new
//! one, and so do all members of a group that is not as it was. New ones are begun when all that leave have given back what they held.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use vrrpd_common::abi::{Command, slot};
use vrrpd_common::router::Event;

use super::instance::{Instance, Task};
use super::link::{Link, LinkId};
use super::start::{self, StartError};
use super::{AGAIN, Daemon};
use crate::clock;
use crate::config::{self, Configuration, GroupConfig, RouterConfig, Vmac, Xdp};
use crate::datapath::RouterId;
use crate::datapath::program::Refusal;
use crate::interface::{self, Hold};
use crate::journal::Journal;

/// What is to become of the configuration.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The file; `None`: the routers are on the command line.
    pub(super) file: Option<PathBuf>,
    reading: Option<JoinHandle<Result<Configuration, String>>>,
    /// New interfaces of which nothing has been told yet.
    awaited: BTreeSet<String>,
    /// To be begun when nobody leaves any more.
    arriving: Vec<RouterConfig>,
    /// To be formed then.
    groups: Vec<GroupConfig>,
    /// Somebody leaves, or is to be begun.
    unsettled: bool,
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
    pub(super) async fn read(&mut self) -> Result<Configuration, String> {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        read.map_err(|error| error.to_string()).flatten()
    }
}

impl Daemon {
    /// Reads the file, in a thread for that.
    pub(super) fn reload(&mut self) {
        let Some(file) = self.reload.file.clone() else {
            warn!(
                "SIGHUP: there is no configuration file to read again; the options are on the command line"
            );
            return;
        };
        self.reload.reading = Some(tokio::task::spawn_blocking(move || config::load(&file)));
    }

    /// Makes the routers those of the file.
    pub(super) fn reloaded(&mut self, read: Result<Configuration, String>) {
        let Configuration { routers: configs, groups } = match read.and_then(fits) {
            Ok(configuration) => configuration,
            Err(message) => {
                error!(reason = message, "SIGHUP: the configuration stays as it was");
                return;
            }
        };
        let is_known =
            |config: &RouterConfig| self.present().any(|(_, router)| router.config.name() == config.name());
        let new = configs.iter().filter(|config| !is_known(config)).count();
        let regrouped = self.regrouped(&configs, &groups);
        let (mut left, mut changed, mut unchanged) = (0, 0, 0);
        for id in self.ids().collect::<Vec<_>>() {
            let Some(router) = self.routers.get(id.0) else { continue };
            let wanted = configs.iter().find(|config| config.name() == router.config.name());
            match wanted {
                Some(_) if regrouped.contains(&router.config.name().to_string()) => {
                    changed += 1;
                    self.dismiss(id);
                }
                Some(wanted) if *wanted == router.config => unchanged += 1,
                Some(wanted) if router.config.can_become(wanted) => {
                    changed += 1;
                    self.exchange(id, wanted.clone());
                }
                Some(_) => {
                    changed += 1;
                    self.dismiss(id);
                }
                None => {
                    left += 1;
                    self.dismiss(id);
                }
            }
        }
        let stays = |config: &RouterConfig| {
            self.present().any(|(_, router)| !router.is_leaving() && router.config.name() == config.name())
        };
        let arriving: Vec<_> = configs.into_iter().filter(|config| !stays(config)).collect();
        info!(new, left, changed, unchanged, "the configuration was read again");
        for config in &arriving {
            if self.link_named(&config.interface).is_none() {
                self.links.push(Link::new(config.interface.clone(), config.xdp, config.xdp_pass));
                self.reload.awaited.insert(config.interface.clone());
                self.service.follow(config.interface.clone());
            }
        }
        self.load_programs(&arriving);
        self.reload.arriving = arriving;
        self.reload.groups = groups;
        self.reload.unsettled = true;
    }

    /// Has the programs loaded that interfaces without a router that stays will have.
    fn load_programs(&mut self, arriving: &[RouterConfig]) {
        for place in 0..self.links.len() {
            let id = LinkId(place);
            let Some(link) = self.links.get(place) else { continue };
            let here =
                arriving.iter().filter(|config| config.interface == link.name && config.xdp != Xdp::Off);
            let slots: Vec<_> = here.map(|config| slot(config.family, config.vrid)).collect();
            let stays = |(_, router): (_, &Instance)| router.link == id && !router.is_leaving();
            if !slots.is_empty() && !self.present().any(stays) {
                self.load_program(id, slots);
            }
        }
    }

    /// Goes on with other values.
    fn exchange(&mut self, id: RouterId, config: RouterConfig) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let priority = (router.config.priority != config.priority).then_some(config.priority);
        let scripts = (router.config.up.clone(), router.config.down.clone(), router.config.script_timeout);
        let other_scripts = scripts != (config.up.clone(), config.down.clone(), config.script_timeout);
        router.exchange(config);
        if other_scripts {
            finish_scripts(router);
            if let Err(error) = router.start_scripts(&self.rundir) {
                error!(router = %router.config.name(), %error, "its scripts cannot be run");
            }
        }
        if let Some(link) = self.links.get_mut(router.link.0) {
            start::expect(router, id, link, router.machine.source());
        }
        if let Some(priority) = priority {
            self.event(id, Event::Priority(priority), None);
        } else {
            // Nothing has happened to it, but the kernel may have to look at adverts in another way.
            self.hear_kernel(id);
            self.tell_kernel(id, Event::Timer);
        }
    }

    /// Lets a router leave; [`Daemon::settle`] does what remains when it has given back what it held.
    fn dismiss(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(id.0) {
            router.leave();
        }
        self.event(id, Event::Shutdown, None);
    }

    /// Sees to routers that leave, and begins those that come; `true` when these have begun.
    pub(super) fn settle(&mut self) -> bool {
        if !self.reload.unsettled {
            return false;
        }
        let leaving: Vec<_> =
            self.present().filter(|(_, router)| router.is_leaving()).map(|(id, _)| id).collect();
        for id in leaving {
            self.see_off(id);
        }
        if self.present().any(|(_, router)| router.is_leaving())
            || !self.reload.awaited.is_empty()
            || self.links.iter().any(Link::is_loading)
        {
            return false;
        }
        self.reload.unsettled = false;
        let mut begun = Vec::new();
        for config in std::mem::take(&mut self.reload.arriving) {
            let name = config.name().to_string();
            match self.begin(config.clone()) {
                Ok(id) => begun.extend(id),
                Err(error) => {
                    error!(router = name, %error, "the new router is left out");
                    self.leave_out(&config);
                }
            }
        }
        for link in self.links.iter_mut().filter(|link| link.routers.is_empty()) {
            link.drop_program();
        }
        let groups = std::mem::take(&mut self.reload.groups);
        self.form_groups(&groups);
        // The owner of its addresses takes them at once.
        self.write_journal();
        self.keep_own_macs();
        for id in begun {
            self.event(id, Event::Startup, None);
        }
        true
    }

    /// The members of groups that do not stay as they are, before and after. Such a group begins anew, with all members.
    fn regrouped(&self, configs: &[RouterConfig], groups: &[GroupConfig]) -> BTreeSet<String> {
        let stays = |name: &String| {
            let before = self.present().find(|(_, router)| router.config.name().to_string() == *name);
            let after = configs.iter().find(|config| config.name().to_string() == *name);
            before.zip(after).is_some_and(|((_, router), config)| router.config.can_become(config))
        };
        let is_kept = |group: &GroupConfig| {
            self.groups.configs().any(|before| before == group)
                && groups.contains(group)
                && group.members.iter().all(stays)
        };
        let changed = self.groups.configs().chain(groups).filter(|group| !is_kept(group));
        changed.flat_map(|group| group.members.iter().cloned()).collect()
    }

    fn see_off(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id.0) else { return };
        let Some(link) = self.links.get(router.link.0) else { return };
        // With the last router the socket goes, and what waits there to be sent.
        let last_words = link.routers.len() == 1 && link.deadline(clock::now()).is_some();
        if router.waiting.is_some() || !router.queue.is_empty() || last_words {
            return;
        }
        match router.vmac.made_link() {
            Some(made) => self.request(id, Task::Discard, Hold::nothing(made)),
            None => self.forget(id),
        }
    }

    /// Nothing of the router is left but its place, for another one.
    fn forget(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        finish_scripts(router);
        router.set_gone();
        let (family, vrid, config) = (router.config.family, router.config.vrid, router.config.clone());
        if let Some(scheduled) = router.scheduled.take() {
            self.deadlines.remove(&(scheduled, id));
        }
        if let Some(link) = self.links.get_mut(router.link.0) {
            if let Some(kernel) = link.kernel()
                && let Err(error) = kernel.command(Command { slot: slot(family, vrid), ..Command::default() })
            {
                error!(router = %config.name(), %error, "the kernel goes on looking for its adverts");
            }
            link.routers.retain(|other| *other != id);
            link.table.remove(family, vrid);
            if link.routers.is_empty() {
                link.rest();
            }
        }
        self.release_claims(&config);
    }

    fn release_claims(&self, config: &RouterConfig) {
        self.rundir.release(&config.file_name());
        if config.vmac == Vmac::Interface {
            self.rundir.release(&claim_of_mac(config));
        }
    }

    /// Makes a router that the file has and we had not; it waits for its start. `None`: there is nothing to start.
    fn begin(&mut self, config: RouterConfig) -> Result<Option<RouterId>, StartError> {
        start::claim_router(&self.rundir, &config)?;
        let Some(link_id) = self.link_named(&config.interface) else { return Ok(None) };
        let free = self.routers.iter().position(Instance::is_gone);
        let id = RouterId(free.unwrap_or(self.routers.len()));
        if let Some(link) = self.links.get_mut(link_id.0)
            && link.routers.is_empty()
        {
            (link.xdp, link.xdp_pass) = (config.xdp, config.xdp_pass);
            if link.interface.as_ref().is_some_and(|interface| interface.mac.is_none()) {
                return Err(StartError::NotEthernet(link.name.clone()));
            }
        }
        // What was left behind on the interface by others bears our mark; there is no journal of it.
        let Some(mut router) = start::make_router(config, id, &mut self.links, &Journal::default())? else {
            return Ok(None);
        };
        router.start_scripts(&self.rundir)?;
        let key = (router.config.family, router.config.vrid);
        let mut refused = None;
        if let Some(link) = self.links.get_mut(link_id.0) {
            refused = link
                .serve(link_id, key, &self.readiness, AGAIN)
                .map_err(|error| StartError::System { what: format!("-i {}", link.name), error })?;
            link.join();
        }
        match self.routers.get_mut(id.0) {
            Some(place) => *place = router,
            None => self.routers.push(router),
        }
        if let Some(Refusal(reason)) = refused {
            self.give_up_kernel(link_id, &reason);
        }
        self.prepare_vmac(id);
        Ok(Some(id))
    }

    /// Nothing remains of a router that could not begin.
    fn leave_out(&mut self, config: &RouterConfig) {
        let is_there = |id: &RouterId| self.routers.get(id.0).is_some_and(|router| !router.is_gone());
        if let Some(link) = self.links.iter_mut().find(|link| link.name == config.interface) {
            link.routers.retain(is_there);
            link.table.remove(config.family, config.vrid);
            if link.routers.is_empty() {
                link.rest();
            }
        }
        self.release_claims(config);
    }

    /// Makes the link that a router's virtual MAC address needs.
    pub(super) fn prepare_vmac(&mut self, id: RouterId) {
        let Some(router) = self.routers.get(id.0) else { return };
        let Some(interface) = self.links.get(router.link.0).and_then(|link| link.interface.as_ref()) else {
            return;
        };
        if let Some(vmac @ interface::Vmac::Macvlan(..)) = router.vmac.wanted(&router.config, interface) {
            let hold = Hold { vmac: Some(vmac), ..Hold::nothing(interface.index) };
            self.request(id, Task::Prepare, hold);
        }
    }
}

/// Refuses what the start would refuse of the routers that come.
fn fits(configuration: Configuration) -> Result<Configuration, String> {
    for config in &configuration.routers {
        start::datapath_wanted(&configuration.routers, &config.interface)
            .map_err(|error| error.to_string())?;
    }
    Ok(configuration)
}

/// What is claimed for the MAC address of a router's interface.
pub(super) fn claim_of_mac(config: &RouterConfig) -> String {
    format!("vmac_{}", config.interface)
}

/// Scripts that wait are run to their end, and nobody waits for that.
fn finish_scripts(router: &mut Instance) {
    if let Some(runner) = router.scripts.take() {
        tokio::task::spawn_local(runner.finish());
    }
}
