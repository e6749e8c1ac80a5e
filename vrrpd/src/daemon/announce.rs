//! Gratuitous ARP and unsolicited neighbour advertisements for the addresses of a router.

use vrrpd_engine::RouterId;
use vrrpd_engine::pace::Announced;

use super::Daemon;
use crate::transmit::announcements;

impl Daemon {
    /// Announces the addresses of a router.
    pub(super) fn announce(&mut self, id: RouterId, announced: Announced) {
        let Some(announcement) = self.engine.announcement(id, announced) else { return };
        let mut taken = 0;
        let link = self.engine.router(id).and_then(|router| self.links.get_mut(router.link));
        if let (Some((mac, addresses)), Some(transmitter)) =
            (&announcement.here, link.and_then(|link| link.transmitter()))
        {
            let frames = announcements(*mac, addresses.iter().copied());
            taken += transmitter.announce(id, &frames, announcement.count, announcement.pauses);
        }
        taken += self.others.announce(id, &announcement);
        self.engine.count_announced(id, taken);
        if let (true, Some(router), Some(handles)) =
            (announcement.with_magic, self.engine.router(id), self.handles.get_mut(id))
        {
            handles.send_magic(router);
        }
    }
}
