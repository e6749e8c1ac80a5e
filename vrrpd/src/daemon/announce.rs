//! Gratuitous ARP and unsolicited neighbour advertisements: where the addresses of a router are.

use vrrpd_engine::RouterId;
use vrrpd_engine::pace::Announced;

use super::Daemon;
use super::instance::Instance;
use super::link::Link;
use crate::config::VmacMode;
use crate::sys::packet::Frame;
use crate::transmit::own_announcements;

impl Daemon {
    /// Tells hosts where the addresses of a router are.
    pub(super) fn announce(&mut self, id: RouterId, announced: Announced) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        let Some(mac) = router.source_mac(link) else { return };
        let mut frames = match announced {
            Announced::All => router.announcements(mac),
            Announced::Own => Vec::new(),
        };
        if let Some(interface) = &link.interface {
            frames.extend(match (router.vmac.mode(), announced) {
                (VmacMode::Interface, _) => own_announcements(interface, mac, |_| false),
                // Hosts know what an owner owns by the virtual MAC address, and the rest by the interface's own.
                (VmacMode::Macvlan, Announced::Own) => own_announcements(interface, mac, |address| {
                    router.config.addresses.iter().all(|owned| owned.address != address)
                }),
                (VmacMode::Macvlan | VmacMode::None, _) => Vec::new(),
            });
        }
        enqueue(router, id, link, &frames);
        if announced == Announced::All {
            router.send_magic();
        }
    }
}

/// Puts announcements in the queue, as often as the router wants each.
fn enqueue(router: &mut Instance, id: RouterId, link: &mut Link, frames: &[Frame]) {
    let Some(transmitter) = link.transmitter() else { return };
    for _ in 0..router.config.announce.count {
        for frame in frames {
            transmitter.announcement(id, frame.clone());
            router.done.garp_sent += 1;
        }
    }
}
