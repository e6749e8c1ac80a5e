//! Sending, and what follows when adverts do not go out; [`vrrpd_engine::sending`] says when a router gives up and tries again.

use tracing::error;
use vrrpd_common::Instant;
use vrrpd_engine::RouterId;
use vrrpd_engine::sending::gives_up_at;

use super::Daemon;
use super::link::Link;
use crate::clock;

impl Daemon {
    /// Sends adverts, then announcements in batches.
    pub(super) fn flush(&mut self) {
        let now = clock::now();
        for link in self.links.values_mut() {
            link.flush(now);
            if let Some(transmitter) = link.transmitter() {
                for id in transmitter.take_sent() {
                    let Some(router) = self.routers.get_mut(id) else { continue };
                    router.done.adverts_sent += 1;
                    router.sending.succeeded();
                }
            }
            for (id, octets, error) in link.unsendable.drain(..) {
                let Some(router) = self.routers.get_mut(id) else { continue };
                router.sending.refused();
                if let Some(more) = router.unsendable.admit(now, ()) {
                    error!(router = %router.config.name(), octets, more, %error, "the interface does not take the advert");
                }
            }
        }
    }

    /// Masters whose adverts cannot be sent give up; `true` if there was one.
    pub(super) fn give_up_unsendable(&mut self) -> bool {
        let now = clock::now();
        let due: Vec<_> = self.unsent().filter(|(_, at)| *at <= now).map(|(id, _)| id).collect();
        for id in &due {
            self.cannot_send(*id, now);
        }
        !due.is_empty()
    }

    /// When [`Daemon::give_up_unsendable`] or [`Daemon::try_sending_again`] has something to do.
    pub(super) fn sending_due(&self) -> Option<Instant> {
        self.unsent().map(|(_, at)| at).chain(self.to_try_sending.values().copied()).min()
    }

    /// Masters whose adverts do not go out, and when they give up.
    fn unsent(&self) -> impl Iterator<Item = (RouterId, Instant)> {
        let unsent = self.links.values().flat_map(Link::unsent);
        unsent.filter_map(|(id, since)| {
            let router = self.routers.get(id)?;
            Some((id, gives_up_at(&router.machine, &router.sending, since)?))
        })
    }

    /// Sends the advert that shows whether a router can be Master again, which nobody has been told of yet.
    pub(super) fn try_sending(&mut self, id: RouterId) {
        self.flush();
        if let Some(router) = self.routers.get_mut(id)
            && router.sending.is_on_trial()
        {
            router.drop_promotion();
            self.cannot_send(id, clock::now());
        }
    }

    fn cannot_send(&mut self, id: RouterId, now: Instant) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let pause = router.sending.give_up();
        error!(router = %router.config.name(), again_in = %pause, "adverts cannot be sent; not master until they can");
        self.to_try_sending.insert(id, now + pause);
        self.check_usable(id);
    }

    /// Routers whose pause is over may be Master again.
    pub(super) fn try_sending_again(&mut self, now: Instant) {
        let due: Vec<_> = self.to_try_sending.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            if let Some(router) = self.routers.get_mut(id) {
                router.sending.try_again();
            }
            self.check_usable(id);
        }
    }

    /// The interface has changed: what kept it from taking adverts may be over.
    pub(super) fn may_send_again(&mut self, id: RouterId) {
        if self.to_try_sending.remove(&id).is_some()
            && let Some(router) = self.routers.get_mut(id)
        {
            router.sending.try_again();
        }
    }
}
