//! The virtual MAC address of a router, as configured and as in effect.

use serde::{Deserialize, Serialize};
use vrrpd_common::{Family, MacAddr};

use crate::config::{RouterConfig, VirtualAddress, VmacMode};
use crate::interface::{Interface, Obstacle};
use crate::ledger::{Cause, Ledger, Macvlan, OwnMac, Resource, SystemError};

/// The virtual MAC address of a router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VmacSide {
    mode: VmacMode,
    mac: MacAddr,
    /// The router serves without it.
    without: Option<Without>,
    /// Why the router has none: the error of the last attempt, or the permanent obstacle.
    reason: Option<Box<str>>,
    /// Index of the last evaluated interface, and its obstacle.
    met: Option<(u32, Option<Obstacle>)>,
    /// The interface's own MAC address, as last seen without the virtual one.
    own: Option<MacAddr>,
}

/// How long a router goes without the virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Without {
    /// Permanently on this interface: it has an obstacle, or the driver refuses.
    ForGood,
    /// Until the router gives back what it holds; then it tries again.
    ForNow,
}

/// Consequence of a refused virtual MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutVmac {
    /// It becomes Master with the interface's own one.
    GoesOn,
    /// It does not become Master.
    StaysBackup,
}

impl Without {
    const fn after(error: &SystemError) -> Self {
        match error.cause {
            Cause::Unsupported | Cause::Absent => Self::ForGood,
            Cause::NoInterface | Cause::Exists | Cause::Other => Self::ForNow,
        }
    }
}

impl VmacSide {
    /// As configured; not in effect yet.
    pub fn new(config: &RouterConfig) -> Self {
        Self {
            mode: config.vmac,
            mac: MacAddr::virtual_router(config.family, config.vrid),
            without: None,
            reason: None,
            met: None,
            own: None,
        }
    }

    /// How it is put on the wire.
    pub const fn mode(&self) -> VmacMode {
        if self.without.is_some() { VmacMode::None } else { self.mode }
    }

    /// The virtual router MAC address; `None` if the router goes without.
    pub fn mac(&self) -> Option<MacAddr> {
        (self.mode() != VmacMode::None).then_some(self.mac)
    }

    /// The virtual router MAC address, even if the router goes without.
    pub const fn address(&self) -> MacAddr {
        self.mac
    }

    /// Evaluates the interface if it is new or changed its kind. Returns the new obstacle, if any.
    pub fn meet(&mut self, interface: &Interface) -> Option<Obstacle> {
        let now = (interface.index, interface.obstacle.clone());
        if self.mode == VmacMode::None || self.met.as_ref() == Some(&now) {
            return None;
        }
        self.met = Some(now);
        // The refusal was by another interface.
        self.without = None;
        self.reason = None;
        interface.obstacle.clone()
    }

    /// Why the router has no virtual MAC address, or cannot become Master.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// What is to be taken on this interface in addition to the ledger.
    pub fn wanted(&self, config: &RouterConfig, interface: &Interface, ledger: &Ledger) -> Option<Resource> {
        match self.mode() {
            VmacMode::None => None,
            VmacMode::Interface => {
                let mut wanted = OwnMac::of(interface, self.own?, self.mac);
                if let Some(taken) = ledger.own_mac()
                    && taken.index == interface.index
                {
                    wanted.addr_gen_mode.clone_from(&taken.addr_gen_mode);
                }
                Some(Resource::Mac(Box::new(wanted)))
            }
            VmacMode::Macvlan => Some(Resource::Link(Box::new(self.macvlan(config, interface, ledger)))),
        }
    }

    /// The macvlan link to be created or set up on this interface.
    fn macvlan(&self, config: &RouterConfig, interface: &Interface, ledger: &Ledger) -> Macvlan {
        let family = match config.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        let usual = || format!("vrrp{family}.{}", config.vrid);
        Macvlan {
            router: config.name().to_string(),
            family: config.family,
            name: config.vmac_name.clone().unwrap_or_else(usual),
            mac: self.mac,
            owned: owned(config, interface),
            parent: interface.index,
            parent_name: interface.name.clone(),
            vrf: interface.vrf,
            obstacle: interface.obstacle.clone(),
            settings: ledger.settings_of(interface.index).map(str::to_owned),
            made: ledger.made().cloned().filter(|_| !ledger.is_stranded(Some(interface))),
        }
    }

    /// Whether the interface's own virtual addresses have changed since the router became Master.
    pub fn owns_others(config: &RouterConfig, interface: &Interface, ledger: &Ledger) -> bool {
        ledger.link_in_force().is_some_and(|link| link.owned != owned(config, interface))
    }

    /// Whether the interface has it already, so that nothing is to be done.
    pub fn stands_on(&self, interface: &Interface, ledger: &Ledger) -> bool {
        ledger.own_mac().is_some_and(|taken| taken.index == interface.index) && self.is_on(interface)
    }

    /// A virtual MAC address that an earlier daemon left on the interface with this own one.
    pub fn left(&mut self, interface: &Interface, own: MacAddr) -> OwnMac {
        self.own = Some(own);
        OwnMac::of(interface, own, self.mac)
    }

    /// Learns the interface's own MAC address, including changes by other programs.
    pub fn note_own(&mut self, interface: &Interface) {
        let is_to_change = self.mode == VmacMode::Interface && self.without != Some(Without::ForGood);
        if is_to_change && !self.is_on(interface) {
            self.own = interface.mac;
        }
    }

    /// Whether the interface has the virtual MAC address of this router.
    pub fn is_on(&self, interface: &Interface) -> bool {
        interface.mac == Some(self.mac)
    }

    /// The virtual MAC address is in effect.
    pub fn taken(&mut self) {
        self.reason = None;
    }

    /// Handles a refusal; returns whether the error is new.
    pub fn refused(&mut self, error: &SystemError) -> bool {
        let reason = error.to_string().into_boxed_str();
        let is_new = self.reason.as_ref() != Some(&reason);
        self.reason = Some(reason);
        is_new
    }

    /// The router serves without it after this refusal.
    pub const fn go_without(&mut self, error: &SystemError) {
        self.without = Some(Without::after(error));
    }

    /// Handles that the router gives back what it holds; a temporary obstacle may be gone by the next time.
    pub fn may_try_again(&mut self) {
        if self.without.take_if(|without| *without == Without::ForNow).is_some() {
            self.reason = None;
        }
    }

    /// The interface's own MAC address; `None` if it is not changed.
    pub const fn own_mac(&self) -> Option<MacAddr> {
        self.own
    }
}

/// The virtual addresses that the interface has permanently, as the owner's (RFC 9568 §6.1).
fn owned(config: &RouterConfig, interface: &Interface) -> Vec<VirtualAddress> {
    let is_there =
        |address: &VirtualAddress| interface.address(address.address).is_some_and(|there| !there.ours);
    config.held_addresses().filter(|address| is_there(address)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_driver_support_is_permanent() {
        for (cause, without) in [
            (Cause::Unsupported, Without::ForGood),
            // The driver refuses this MAC address.
            (Cause::Absent, Without::ForGood),
            (Cause::NoInterface, Without::ForNow),
            (Cause::Exists, Without::ForNow),
            (Cause::Other, Without::ForNow),
        ] {
            let error = SystemError { cause, text: String::new() };
            assert_eq!(Without::after(&error), without, "{cause:?}");
        }
    }
}
