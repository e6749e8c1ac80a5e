//! The state of routers and their addresses, for the checks.

use vrrpd_common::Priority;
use vrrpd_engine::priority::Weight;
use vrrpd_engine::router::Router;

use super::World;
use crate::daemon::Daemon;
use crate::kernel::Owner;
use crate::plan::virtual_address;
use crate::watch::{Presence, RouterView};

impl World {
    /// Whether a router's check fails and keeps it from serving.
    pub fn check_fails(&self, host: usize, lan: usize) -> bool {
        self.plan.machines[host].check == Some(Weight::NONE) && !self.hosts[host].checks[lan]
    }

    /// Whether a router has the expected priority, and a Master its addresses.
    pub fn is_as_configured(&self, host: usize, lan: usize) -> Result<(), String> {
        let Some(router) = self.router(host, lan) else { return Ok(()) };
        let base = self.hosts[host].configs[lan].priority;
        let weight = self.plan.machines[host].check.filter(|_| !self.hosts[host].checks[lan]);
        let (priority, wanted) = (router.machine.priority(), with_weight(base, weight));
        if priority != wanted {
            return Err(format!("{host}/{lan} has priority {priority} where it has to have {wanted}"));
        }
        if router.is_master() && self.presence(host, lan) != Presence::Present {
            return Err(format!("{host}/{lan} is Master, and its addresses have not been put back"));
        }
        Ok(())
    }

    /// The observed state of a router.
    pub(super) fn view(&self, host: usize, lan: usize) -> RouterView {
        let slot = self.slot_of(host, lan);
        let process = self.hosts[host].slots[slot].process.as_ref();
        let router = process.and_then(|process| process.router(lan));
        let settled = router.filter(|router| !router.is_busy() && process.is_some_and(Daemon::is_serving));
        let kernel = &self.hosts[host].kernel;
        let owner = settled.and_then(|_| kernel.owner(lan, virtual_address(lan)));
        RouterView {
            settled: settled.map(|router| router.machine.state().name()),
            presence: self.presence(host, lan),
            has_put_them_there: owner == Some(Owner::Daemon(slot)),
            is_running_master: router.is_some_and(Router::is_master) && self.is_running(host, slot),
            is_held: self.is_held(host, lan),
            done: router.map(|router| router.done),
            waiting: router.map_or(0, Router::waiting_actions),
            adverts: self.hosts[host].slots[slot].adverts.get(&lan).copied().unwrap_or_default(),
        }
    }

    /// State of the addresses of a router.
    pub(super) fn presence(&self, host: usize, lan: usize) -> Presence {
        let kernel = &self.hosts[host].kernel;
        if kernel.has(lan, virtual_address(lan)) {
            Presence::Present
        } else if kernel.robbed[lan] {
            Presence::Robbed
        } else {
            Presence::Absent
        }
    }
}

/// The priority of a router with a failed check of this weight.
fn with_weight(base: Priority, weight: Option<Weight>) -> Priority {
    let sum = i16::from(base.0) + weight.map_or(0, |weight| weight.get().min(0));
    if base == Priority::OWNER { base } else { Priority(u8::try_from(sum.clamp(1, 254)).expect("in range")) }
}
