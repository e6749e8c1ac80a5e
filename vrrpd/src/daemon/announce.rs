//! Gratuitous ARP and unsolicited neighbour advertisements for the addresses of a router.

use std::net::IpAddr;

use vrrpd_common::MacAddr;
use vrrpd_common::router::Occasion;
use vrrpd_common::wire::frame::{gratuitous_arp, unsolicited_na};
use vrrpd_engine::RouterId;
use vrrpd_engine::pace::Announced;

use super::Daemon;
use crate::config::{Settings, VirtualAddress, VmacMode};
use crate::sys::packet::Frame;
use crate::transmit::own_announcements;

impl Daemon {
    /// Announces the addresses of a router.
    pub(super) fn announce(&mut self, id: RouterId, announced: Announced) {
        let Some((router, there)) = self.engine.router_on_link(id) else { return };
        if announced == Announced::All(Occasion::Elsewhere) {
            return self.others.announce(id, router, Occasion::Elsewhere);
        }
        let Some(link) = self.links.get_mut(router.link) else { return };
        let Some(mac) = router.source_mac(there.interface.as_ref()) else { return };
        let mut frames = match announced {
            Announced::All(_) => of_addresses(&router.config, &router.config.interface, mac),
            Announced::Own => Vec::new(),
        };
        if let Some(interface) = &there.interface {
            frames.extend(match (router.vmac.mode(), announced) {
                (VmacMode::Interface, _) => own_announcements(interface, mac, |_| false),
                // Hosts know an owner's own addresses by the virtual MAC address, and others by the interface's own
                // one.
                (VmacMode::Macvlan, Announced::Own) => {
                    own_announcements(interface, mac, |address| !router.config.holds(address))
                }
                (VmacMode::Macvlan | VmacMode::None, _) => Vec::new(),
            });
        }
        let occasion = announced.occasion();
        let announce = &router.config.announce;
        if let Some(transmitter) = link.transmitter() {
            let taken = transmitter.announce(id, &frames, announce.count_on(occasion), announce.pauses);
            router.done.garp_sent += taken as u64;
        }
        if matches!(announced, Announced::All(_)) {
            self.others.announce(id, router, occasion);
        }
        if matches!(announced, Announced::All(_))
            && let Some(handles) = self.handles.get_mut(id)
        {
            handles.send_magic(router);
        }
    }
}

/// The frames that announce the addresses of a router on this interface, one for each address.
pub(super) fn of_addresses(config: &Settings, interface: &str, mac: MacAddr) -> Vec<Frame> {
    let frame = |held: &VirtualAddress| match held.address {
        IpAddr::V4(address) => Frame::from(&gratuitous_arp(mac, address)[..]),
        IpAddr::V6(address) => Frame::from(&unsolicited_na(mac, address)[..]),
    };
    config.addresses_on(interface).map(frame).collect()
}
