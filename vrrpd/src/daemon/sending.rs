//! Sending, and what follows when adverts do not go out; [`vrrpd_engine::sending`] says when a router gives up and tries again.

use nix::errno::Errno;
use tracing::{error, warn};
use vrrpd_common::Instant;
use vrrpd_engine::sending::gives_up_at;
use vrrpd_engine::{Input, RouterId};

use super::Daemon;
use super::link::LinkIo;
use crate::clock;
use crate::transmit::peers::PeerFailure;

impl Daemon {
    /// Sends adverts, then announcements in batches.
    pub(super) fn flush(&mut self) {
        let now = clock::now();
        for (link_id, link) in self.links.iter_mut() {
            link.flush(now);
            for id in link.take_sent() {
                let Some(router) = self.engine.router_mut(id) else { continue };
                router.done.adverts_sent += 1;
                router.sending.succeeded();
            }
            for PeerFailure { router, peer, error } in link.peers.take_failed() {
                let Some(router) = self.engine.router_mut(router) else { continue };
                if let Some(more) = router.unsendable.admit(now, ()) {
                    warn!(router = %router.config.title(), %peer, more, error, "cannot send advertisement to peer");
                }
            }
            for (id, octets, error) in link.unsendable.drain(..) {
                if error.raw_os_error().map(Errno::from_raw) == Some(Errno::EMSGSIZE)
                    && let Some(link) = self.engine.link_mut(link_id)
                {
                    link.mtu_has_fallen();
                }
                let Some(router) = self.engine.router_mut(id) else { continue };
                router.sending.refused();
                if let Some(more) = router.unsendable.admit(now, ()) {
                    error!(router = %router.config.title(), octets, more, %error, "cannot send advertisement");
                }
            }
        }
    }

    /// Masters whose adverts cannot be sent give up; `true` if there was one.
    pub(super) fn give_up_unsendable(&mut self) -> bool {
        let now = clock::now();
        let due: Vec<_> = self.unsent().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in &due {
            self.input(Input::CannotSend(*id));
        }
        !due.is_empty()
    }

    /// When [`Daemon::give_up_unsendable`] has something to do.
    pub(super) fn sending_due(&self) -> Option<Instant> {
        self.unsent().map(|(_, at)| at).min()
    }

    /// Masters whose adverts do not go out, and when they give up.
    fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        let unsent = self.links.values().flat_map(LinkIo::unsent);
        unsent.filter_map(|(id, since)| {
            let router = self.engine.router(id)?;
            Some((id, gives_up_at(router, since)?))
        })
    }
}
