//! An interface with routers of this process: what decisions depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vrrpd_common::{Family, Reject, Vrid};

use crate::absence::Absence;
use crate::config::VirtualAddress;
use crate::ids::RouterId;
use crate::interface::Interface;
use crate::ledger::OwnMac;
use crate::rate_limit::RateLimit;
use crate::router::Done;

/// One interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// `None` while the interface does not exist or is not open.
    pub interface: Option<Interface>,
    /// The routers on it.
    pub routers: Vec<RouterId>,
    /// Counters and history of routers that have left, by family and VRID, in case they come back.
    #[serde(skip)]
    pub(crate) left: BTreeMap<(Family, Vrid), Done>,
    /// Rate limit of log lines about discarded adverts.
    pub(crate) rejects_said: RateLimit<(Option<RouterId>, Reject)>,
    /// How long it stays on raw sockets, since adverts came from another subnet.
    #[serde(default)]
    pub(crate) absence: Absence,
    /// The interface refused an advert as longer than its MTU, so the MTU has fallen and the notification has not
    /// arrived.
    mtu_has_fallen: bool,
}

impl Link {
    /// An interface of which only the name is known.
    pub fn new(name: String) -> Self {
        Self {
            name,
            interface: None,
            routers: Vec::new(),
            left: BTreeMap::new(),
            rejects_said: RateLimit::default(),
            absence: Absence::default(),
            mtu_has_fallen: false,
        }
    }

    /// A copy with this state of the interface and only these routers.
    pub(crate) fn with(&self, interface: Option<Interface>, routers: Vec<RouterId>) -> Self {
        Self {
            interface,
            routers,
            rejects_said: self.rejects_said.clone(),
            absence: self.absence.clone(),
            mtu_has_fallen: self.mtu_has_fallen,
            ..Self::new(self.name.clone())
        }
    }

    /// MTU in octets, as last notified.
    pub fn mtu(&self) -> u32 {
        self.interface.as_ref().map_or(u32::MAX, |interface| interface.mtu)
    }

    /// MTU in octets for a packet that can be shortened and must not fail; 0 after a packet was refused as too long.
    pub fn sure_mtu(&self) -> u32 {
        if self.mtu_has_fallen { 0 } else { self.mtu() }
    }

    /// Notes that the interface refused an advert as longer than its MTU.
    pub const fn mtu_has_fallen(&mut self) {
        self.mtu_has_fallen = true;
    }

    /// Notes that the notified MTU is correct.
    pub const fn mtu_is_known(&mut self) {
        self.mtu_has_fallen = false;
    }

    /// Whether to log that the carrier of the interface is unknown and assumed up.
    pub fn assumes_carrier(&self, now: &Interface) -> bool {
        let known = self
            .interface
            .as_ref()
            .is_some_and(|before| before.index == now.index && before.carrier_unknown && before.admin_up);
        now.carrier_unknown && now.admin_up && !known
    }

    /// Restores the interface's own MAC address ahead of the notification.
    pub(crate) fn own_mac_is_back(&mut self, taken: &OwnMac) {
        if let Some(interface) = self.interface.as_mut().filter(|interface| interface.index == taken.index) {
            interface.mac = Some(taken.own);
        }
    }

    /// Removes an address of the interface ahead of the notification.
    pub(crate) fn address_is_off(&mut self, index: u32, address: &VirtualAddress) {
        if let Some(interface) = &mut self.interface {
            interface.address_is_off(index, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::tests::{address, eth0};

    #[test]
    fn nothing_is_short_enough_after_an_interface_has_refused_an_advert() {
        let mut link = Link::new("eth0".to_owned());
        assert_eq!(link.mtu(), u32::MAX, "nothing is known of it");
        link.interface = Some(eth0(Vec::new()));
        assert_eq!((link.mtu(), link.sure_mtu()), (1500, 1500));
        link.mtu_has_fallen();
        assert_eq!((link.mtu(), link.sure_mtu()), (1500, 0));
        link.mtu_is_known();
        assert_eq!(link.sure_mtu(), 1500);
    }

    #[test]
    fn an_unknown_carrier_is_logged_once_while_the_interface_is_up() {
        let mut link = Link::new("eth0".to_owned());
        let mut now = eth0(Vec::new());
        assert!(!link.assumes_carrier(&now), "it knows");
        now.carrier_unknown = true;
        assert!(link.assumes_carrier(&now));
        link.interface = Some(now.clone());
        assert!(!link.assumes_carrier(&now), "that was said");
        now.index += 1;
        assert!(link.assumes_carrier(&now), "it is another one");
    }

    #[test]
    fn only_the_address_that_was_taken_off_goes_ahead_of_the_notification() {
        let mut link = Link::new("eth0".to_owned());
        let both = vec![address("192.0.2.1/24"), address("192.0.2.100/24")];
        link.interface = Some(eth0(both.clone()));
        let gone = VirtualAddress { address: both[1].address, prefix_len: 24 };
        for (index, gone) in [(7, gone), (2, VirtualAddress { prefix_len: 32, ..gone })] {
            link.address_is_off(index, &gone);
            assert_eq!(link.interface.as_ref().map(|there| there.addresses.len()), Some(2));
        }
        link.address_is_off(2, &gone);
        assert_eq!(link.interface.map(|there| there.addresses), Some(vec![both[0]]));
    }
}
