//! The virtual MAC address of a router: how it is wanted, and what is in force.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;
use vrrpd_common::{Family, MacAddr};

use crate::config::{self, RouterConfig, VirtualAddress};
use crate::interface::{Interface, Macvlan, Made, Obstacle, OwnMac, Vmac};

#[derive(Debug)]
pub(super) struct VmacSide {
    mode: config::VmacMode,
    mac: MacAddr,
    /// The router serves without.
    without: Option<Without>,
    /// Why it cannot be had, when the last attempt failed or none can succeed.
    reason: Option<Box<str>>,
    /// The interface that was looked at, by number, and why none can work there.
    met: Option<(u32, Option<Obstacle>)>,
    /// The macvlan link that was made.
    link: Option<(u32, String)>,
    /// The interface below that link.
    parent: u32,
    /// Its settings before there was a link of ours, until they have been put back.
    settings: Option<String>,
    /// The interface's own MAC address, as seen last without the virtual one.
    own: Option<MacAddr>,
    /// What is to be undone. Boxed: most of thousands of routers are Backup, or have none.
    in_force: Option<Box<Vmac>>,
}

/// For how long a router goes without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    /// It cannot work on this interface, or the driver does not take it: as long as the interface is this one.
    ForGood,
    /// Something was in the way: until it gives up what it has.
    ForNow,
}

impl Without {
    fn after(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::Unsupported {
            return Self::ForGood;
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(
                Errno::EOPNOTSUPP
                | Errno::EINVAL
                | Errno::EADDRNOTAVAIL
                | Errno::ENOSYS
                | Errno::EPERM
                | Errno::EACCES,
            ) => Self::ForGood,
            Some(_) | None => Self::ForNow,
        }
    }
}

impl VmacSide {
    pub(super) fn new(config: &RouterConfig) -> Self {
        Self {
            mode: config.vmac,
            mac: MacAddr::virtual_router(config.family, config.vrid),
            without: None,
            reason: None,
            met: None,
            link: None,
            parent: 0,
            settings: None,
            own: None,
            in_force: None,
        }
    }

    /// How it is put on the wire.
    pub(super) const fn mode(&self) -> config::VmacMode {
        if self.without.is_some() { config::VmacMode::None } else { self.mode }
    }

    /// The virtual router MAC address, unless the router goes without.
    pub(super) fn mac(&self) -> Option<MacAddr> {
        (self.mode() != config::VmacMode::None).then_some(self.mac)
    }

    /// Looks at the interface, if it is another one than before or made of something else. Says why no virtual MAC address can
    /// work on it.
    pub(super) fn meet(&mut self, interface: &Interface) -> Option<Obstacle> {
        let now = (interface.index, interface.obstacle.clone());
        if self.mode == config::VmacMode::None || self.met.as_ref() == Some(&now) {
            return None;
        }
        self.met = Some(now);
        // What was refused was refused by another interface.
        self.without = None;
        self.reason = None;
        interface.obstacle.clone()
    }

    /// Why the router is without the virtual MAC address that it was to have, or cannot become Master.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The MAC address that the addresses are announced with, if it is not the interface's own.
    pub(super) fn in_force(&self) -> Option<MacAddr> {
        self.in_force.as_ref().map(|_| self.mac)
    }

    /// The link that was made, to be taken away.
    pub(super) fn made_link(&self) -> Option<u32> {
        self.link.as_ref().map(|(index, _)| *index)
    }

    /// Whether the link that was made is not above this interface: that has another name by now, or is another one.
    pub(super) fn is_stranded(&self, interface: Option<&Interface>) -> bool {
        self.link.is_some() && interface.is_none_or(|interface| interface.index != self.parent)
    }

    /// What is to be taken, on this interface.
    pub(super) fn wanted(&self, config: &RouterConfig, interface: &Interface) -> Option<Vmac> {
        match self.mode() {
            config::VmacMode::None => None,
            config::VmacMode::Interface => {
                let mut wanted = OwnMac::of(interface, self.own?, self.mac);
                if let Some(Vmac::Interface(taken)) = self.in_force.as_deref()
                    && taken.index == interface.index
                {
                    wanted.addr_gen_mode.clone_from(&taken.addr_gen_mode);
                }
                Some(Vmac::Interface(wanted))
            }
            config::VmacMode::Macvlan => {
                let link = self.link.clone().filter(|_| !self.is_stranded(Some(interface)));
                Some(Vmac::Macvlan(self.macvlan(config, interface), link))
            }
        }
    }

    fn macvlan(&self, config: &RouterConfig, interface: &Interface) -> Macvlan {
        let family = match config.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        Macvlan {
            router: config.name().to_string(),
            family: config.family,
            name: format!("vrrp{family}.{}", config.vrid),
            mac: self.mac,
            owned: owned(config, interface),
            parent: interface.index,
            parent_name: interface.name.clone(),
            vrf: interface.vrf,
            obstacle: interface.obstacle.clone(),
            settings: self.settings.clone().filter(|_| self.parent == interface.index),
        }
    }

    /// Whether this is one of the addresses of the interface below that the macvlan link has as well.
    pub(super) fn is_owned(&self, address: IpAddr) -> bool {
        self.owned_addresses().iter().any(|owned| owned.address == address)
    }

    /// Whether the interface has other virtual addresses of its own than when the router became Master.
    pub(super) fn owns_others(&self, config: &RouterConfig, interface: &Interface) -> bool {
        matches!(self.in_force.as_deref(), Some(Vmac::Macvlan(..)))
            && self.owned_addresses() != owned(config, interface)
    }

    fn owned_addresses(&self) -> &[VirtualAddress] {
        match self.in_force.as_deref() {
            Some(Vmac::Macvlan(link, _)) => &link.owned,
            Some(Vmac::Interface(_)) | None => &[],
        }
    }

    /// Whether it is on the interface already, so that nothing has to be done for it.
    pub(super) fn stands_on(&self, interface: &Interface) -> bool {
        matches!(self.in_force.as_deref(), Some(Vmac::Interface(taken)) if taken.index == interface.index)
            && interface.mac == Some(self.mac)
    }

    /// An earlier daemon has left it on the interface, whose own address is this one.
    pub(super) fn adopt(&mut self, interface: &Interface, own: MacAddr) {
        self.own = Some(own);
        self.in_force = Some(Box::new(Vmac::Interface(OwnMac::of(interface, own, self.mac))));
    }

    /// Learns the interface's own MAC address, whoever gave it that.
    pub(super) fn note_own(&mut self, interface: &Interface) {
        let is_to_change = self.mode == config::VmacMode::Interface && self.without != Some(Without::ForGood);
        if is_to_change && !self.is_on(interface) {
            self.own = interface.mac;
        }
    }

    /// Whether the interface has the virtual MAC address of this router.
    pub(super) fn is_on(&self, interface: &Interface) -> bool {
        interface.mac == Some(self.mac)
    }

    /// What is to be given back.
    pub(super) fn held(&self) -> Option<Vmac> {
        self.in_force.as_deref().cloned()
    }

    /// The link that was made is there, above this interface.
    pub(super) fn made(&mut self, Made { index, name, settings }: Made, parent: u32) {
        self.link = Some((index, name));
        self.settings = Some(settings);
        self.parent = parent;
    }

    pub(super) fn taken(&mut self, mut vmac: Vmac, addr_gen_mode: Option<String>) {
        self.reason = None;
        match &mut vmac {
            // The link may be newer than the wish.
            Vmac::Macvlan(_, known) => known.clone_from(&self.link),
            Vmac::Interface(taken) => taken.addr_gen_mode = addr_gen_mode,
        }
        self.in_force = Some(Box::new(vmac));
    }

    pub(super) fn released(&mut self) {
        self.in_force = None;
    }

    /// It was refused with this error. Says whether that is something new.
    pub(super) fn refused(&mut self, error: &io::Error) -> bool {
        let reason = error.to_string().into_boxed_str();
        let is_new = self.reason.as_ref() != Some(&reason);
        self.reason = Some(reason);
        is_new
    }

    /// The router serves without it, since it was refused with this error.
    pub(super) fn go_without(&mut self, error: &io::Error) {
        self.without = Some(Without::after(error));
        self.in_force = None;
    }

    /// The router gives up what it has; what was in the way may be gone when it is Master again.
    pub(super) fn may_try_again(&mut self) {
        if self.without.take_if(|without| *without == Without::ForNow).is_some() {
            self.reason = None;
        }
    }

    /// Somebody has removed the link, or the interface below it.
    pub(super) fn link_gone(&mut self) {
        self.link = None;
        self.in_force = None;
    }

    /// We have removed the link, and put the settings of the interface below back.
    pub(super) fn link_discarded(&mut self) {
        self.link_gone();
        self.settings = None;
    }

    /// Whether this is the link that was made.
    pub(super) fn is_link(&self, index: u32) -> bool {
        self.link.as_ref().is_some_and(|(made, _)| *made == index)
    }

    /// The name of the link that has the address, if it is not the interface itself.
    pub(super) fn link_name(&self) -> Option<&str> {
        self.link.as_ref().filter(|_| self.mode() == config::VmacMode::Macvlan).map(|(_, name)| name.as_str())
    }

    /// Somebody has given the interface another MAC address than the one in force.
    pub(super) fn is_lost(&self, interface: &Interface) -> bool {
        matches!(self.in_force.as_deref(), Some(Vmac::Interface(taken)) if taken.index == interface.index)
            && interface.mac != Some(self.mac)
    }

    /// The interface's own MAC address; `None` where it is not touched.
    pub(super) const fn own_mac(&self) -> Option<MacAddr> {
        self.own
    }
}

/// The virtual addresses that the interface has anyhow: those of an owner (RFC 9568 §6.1).
fn owned(config: &RouterConfig, interface: &Interface) -> Vec<VirtualAddress> {
    let is_there =
        |address: &VirtualAddress| interface.address(address.address).is_some_and(|there| !there.ours);
    config.addresses.iter().filter(|address| is_there(address)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_driver_does_not_do_is_given_up_for_good() {
        for (errno, without) in [
            (Errno::EOPNOTSUPP, Without::ForGood),
            (Errno::EINVAL, Without::ForGood),
            (Errno::EPERM, Without::ForGood),
            (Errno::ENOBUFS, Without::ForNow),
            (Errno::ENOMEM, Without::ForNow),
            (Errno::EBUSY, Without::ForNow),
        ] {
            assert_eq!(Without::after(&errno.into()), without, "{errno}");
        }
        assert_eq!(Without::after(&io::Error::other("no answer")), Without::ForNow);
    }
}
