//! Starting a router, at the start of the daemon or by a reload.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vrrpd_engine::ledger::Journal;
use vrrpd_engine::{Input, RouterId};

use super::handles::Handles;
use super::start_error::StartError;
use super::{Daemon, scripts};
use crate::ah::SecurityAssociation;
use crate::clock;
use crate::config::{RouterConfig, Settings, VmacMode};
use crate::limits;
use crate::rundir::RunDir;

/// Raises the limit of open files for these routers and this number of checks.
pub(super) fn make_room(routers: &[RouterConfig], checks: usize) {
    let interfaces: BTreeSet<&str> = routers.iter().map(|router| router.interface.as_str()).collect();
    let scripts = routers.iter().map(|router| router.scripts.each().count()).sum();
    limits::make_room(interfaces.len(), scripts, checks);
}

/// Claims the names that only one process may have.
pub(super) fn claim_router(rundir: &RunDir, config: &RouterConfig) -> Result<(), StartError> {
    let what = format!("-i {} -v {}: this virtual router", config.interface, config.vrid);
    rundir.require(&config.name().file_stem(), &what)?;
    rundir.vacant(&config.name().file_stem())?;
    if config.vmac == VmacMode::Interface && !rundir.claim(&claim_of_mac(config))? {
        return Err(StartError::VmacTaken { interface: config.interface.clone(), holder: String::new() });
    }
    Ok(())
}

/// The claim for the MAC address of a router's interface.
pub(super) fn claim_of_mac(config: &Settings) -> String {
    format!("vmac_{}", config.interface)
}

impl Daemon {
    /// Creates a router, which waits for its start. [`Daemon::open_for`] opens its interface later, once all routers
    /// are known, since the sockets depend on all of them.
    pub(super) fn begin(&mut self, config: RouterConfig, journal: &Journal) -> Result<RouterId, StartError> {
        let RouterConfig { settings, authentication, datapath_option } = config;
        let (family, vrid) = (settings.family, settings.vrid);
        let others = self.others.of_router(&settings);
        let begun = self.engine.begin(clock::moment(), settings.clone(), others, journal);
        let id = begun.map_err(|why| self.reload.inadmissible(&settings, why))?;
        let association = authentication.key().map(SecurityAssociation::new);
        self.handles.put(id, Handles::new(authentication));
        self.perform_outputs();
        let link_id = self.engine.link_named(&settings.interface);
        if let Some((link_id, link)) = link_id.and_then(|id| Some((id, self.links.get_mut(id)?))) {
            if self.engine.routers_on(link_id) == [id] {
                link.wanted = settings.datapath;
                link.datapath_option = datapath_option;
            }
            let of_family = settings.held_addresses().filter(|address| address.family() == family);
            link.table.set_virtual_addresses(family, vrid, of_family.map(|address| address.address));
            if let Some(association) = association {
                link.table.associate(family, vrid, association);
            }
        }
        Ok(id)
    }

    /// Opens the sockets that only this router needs on its interface, and starts its script runner.
    pub(super) fn open_for(&mut self, id: RouterId) -> Result<(), StartError> {
        let Some(router) = self.engine.router(id) else { return Ok(()) };
        let (link_id, key) = (router.link, (router.config.family, router.config.vrid));
        if let Some(handles) = self.handles.get_mut(id) {
            handles.scripts = scripts::start(&router.config, &self.rundir, &self.scripts)?;
        }
        let Some(link) = self.links.get_mut(link_id) else { return Ok(()) };
        let refused = link
            .serve(link_id, self.engine.interface(link_id), key, &self.readiness)
            .map_err(|error| StartError::System { what: format!("-i {}", link.name), error })?;
        link.join();
        self.note_kernel(link_id);
        self.input(Input::Track(id));
        if let Some(refusal) = refused {
            let reason = refusal.to_string();
            self.give_up_kernel(link_id, refusal);
            // A larger object is loaded later.
            self.input(Input::NotReturned(link_id, reason));
        }
        Ok(())
    }

    /// Sets how adverts of the router are validated, and the destination of its own. `source` is its own source
    /// address.
    pub(super) fn expect(&mut self, id: RouterId, source: Option<IpAddr>) {
        let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get(id)) else { return };
        let interface = self.engine.interface(router.link);
        let config = &router.config;
        let expected = router.expected.with(config, handles.authentication.in_message());
        if let Some(link) = self.links.get_mut(router.link) {
            link.table.set(config.family, config.vrid, id, expected);
            link.table.set_destination(config.family, config.vrid, &config.destination);
            if let Some(source) = source {
                link.set_source(id, config, interface, source);
            }
        }
    }
}
