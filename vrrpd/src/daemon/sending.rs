//! Sending, and handling of adverts that are not sent; [`vrrpd_engine::sending`] decides when a router gives up and
//! tries again.

use nix::errno::Errno;
use vrrpd_common::Instant;
use vrrpd_engine::engine::NotSent;
use vrrpd_engine::{Input, RouterId};

use super::Daemon;
use super::link::LinkIo;
use crate::clock;
use crate::transmit::peers::PeerFailure;

impl Daemon {
    /// Sends adverts, then announcements in batches.
    pub(super) fn flush(&mut self) {
        let now = clock::moment();
        let mut has_failed = false;
        self.others.flush(now.at);
        for link in self.links.values_mut() {
            link.flush(now.at);
            for id in link.take_sent() {
                self.engine.handle(now, Input::Sent(id));
            }
            for PeerFailure { router, peer, error } in link.peers.take_failed() {
                has_failed = true;
                self.engine.handle(now, Input::NotSentToPeer { router, peer, error });
            }
            for (id, octets, error) in link.unsendable.drain(..) {
                has_failed = true;
                let is_too_long = error.raw_os_error().map(Errno::from_raw) == Some(Errno::EMSGSIZE);
                let failure = NotSent { octets, is_too_long, error: error.to_string() };
                self.engine.handle(now, Input::NotSent(id, failure));
            }
        }
        if has_failed {
            self.perform_outputs();
        }
    }

    /// Masters whose adverts cannot be sent give up; returns whether there was one.
    pub(super) fn give_up_unsendable(&mut self) -> bool {
        if self.unsent().next().is_none() {
            return false;
        }
        let now = clock::now();
        let due: Vec<_> = self.unsent().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in &due {
            self.input(Input::CannotSend(*id));
        }
        !due.is_empty()
    }

    /// When [`Daemon::give_up_unsendable`] is due.
    pub(super) fn sending_due(&self) -> Option<Instant> {
        self.unsent().map(|(_, at)| at).min()
    }

    /// Masters whose adverts are not sent, with the time at which they give up.
    fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        let unsent = self.links.values().flat_map(LinkIo::unsent);
        unsent.filter_map(|(id, since)| {
            let router = self.engine.router(id)?;
            let at = router.sending.gives_up_at(&router.machine, router.config.track_interface, since)?;
            Some((id, at))
        })
    }
}
