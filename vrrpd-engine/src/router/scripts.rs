//! The scripts of a router.

use vrrpd_common::router::{Backup, State, StateName, Transition, Waiting};

use super::Router;
use crate::config::VirtualAddress;
use crate::script::{Call, PREPARE, Run, ScriptStyle, Subject};

impl Router {
    /// The scripts to run for this transition.
    pub fn call(&self, transition: Transition) -> Option<Call> {
        let scripts = &self.config.scripts;
        if scripts.is_empty() { None } else { scripts.call(transition, &self.subject()) }
    }

    /// The `prepare` script, if configured and the router is about to become Master.
    pub fn preparation(&self) -> Option<Run> {
        let scripts = &self.config.scripts;
        let script = scripts.prepare.as_ref()?;
        let State::Backup(Backup { waiting: Waiting::ForScript(reason), .. }) = self.machine.state() else {
            return None;
        };
        let transition =
            Transition { from: StateName::Backup, to: StateName::Master, reason: *reason, cause: None };
        let is_told = scripts.style == ScriptStyle::Vrrpd;
        Some(scripts.run(script, transition, PREPARE, is_told, &self.subject()))
    }

    fn subject(&self) -> Subject {
        let config = &self.config;
        let addresses: Vec<_> = config.held_addresses().map(VirtualAddress::to_string).collect();
        Subject {
            kind: "INSTANCE",
            name: config.title().into_owned(),
            priority: self.machine.priority().0,
            environment: vec![
                ("VRRP_INTERFACE".into(), config.interface.clone()),
                ("VRRP_VRID".into(), config.vrid.to_string()),
                ("VRRP_ADDRESSES".into(), addresses.join(" ")),
                ("VRRP_VMAC".into(), self.vmac.mac().map(|mac| mac.to_string()).unwrap_or_default()),
                ("VRRP_VMAC_INTERFACE".into(), self.place_of_addresses().to_owned()),
            ],
        }
    }
}
