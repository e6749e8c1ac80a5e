//! Sending, and whether adverts of a router can be sent at all, and when that is tried again.
//!
//! An advert that is longer than the interface's MTU cannot; that is known without trying, and ends with the MTU. Other
//! causes show when sending fails: a frame that the interface refuses as such, or none that went out for a
//! Master_Down_Interval, after which another router is Master in any case. Then the router gives up and tries again after a
//! while, longer each time. The first advert after that is a trial: if it does not go out at once, nothing is announced and
//! nobody is told that the router was Master.

use tracing::error;
use vrrpd_common::router::StateName;
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};

use super::Daemon;
use super::instance::Instance;
use super::link::Link;
use crate::clock;
use crate::datapath::RouterId;

/// What is known of sending adverts.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// How long the last pause was; zero as long as adverts go out.
    pause: Duration,
    is_pausing: bool,
    /// The interface refused an advert as such: the next one would be refused as well.
    refused: bool,
}

impl Sending {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    /// Adverts cannot be sent: how long to wait before that is tried again.
    pub(super) fn give_up(&mut self) -> Duration {
        self.is_pausing = true;
        self.refused = false;
        self.pause = self.pause.saturating_mul(2).clamp(Self::SHORTEST, Self::LONGEST);
        self.pause
    }

    /// The interface refused an advert.
    pub(super) const fn refused(&mut self) {
        self.refused = true;
    }

    /// Not to be tried now.
    pub(super) const fn is_pausing(&self) -> bool {
        self.is_pausing
    }

    /// The pause is over, or something has changed that may have been the cause.
    pub(super) const fn try_again(&mut self) {
        self.is_pausing = false;
    }

    /// The next advert shows whether they can be sent again.
    pub(super) fn is_on_trial(&self) -> bool {
        self.pause > Duration::ZERO
    }

    /// An advert went out.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

impl Daemon {
    /// Sends adverts, then announcements in batches.
    pub(super) fn flush(&mut self) {
        let now = clock::now();
        for link in &mut self.links {
            link.flush(now);
            if let Some(transmitter) = link.transmitter() {
                for id in transmitter.take_sent() {
                    let Some(router) = self.routers.get_mut(id.0) else { continue };
                    router.done.adverts_sent += 1;
                    router.sending.succeeded();
                }
            }
            for (id, octets, error) in link.unsendable.drain(..) {
                let Some(router) = self.routers.get_mut(id.0) else { continue };
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
        let unsent = self.links.iter().flat_map(Link::unsent);
        unsent.filter_map(|(id, since)| Some((id, gives_up_at(self.routers.get(id.0)?, since)?)))
    }

    /// Sends the advert that shows whether a router can be Master again, which nobody has been told of yet.
    pub(super) fn try_sending(&mut self, id: RouterId) {
        self.flush();
        if let Some(router) = self.routers.get_mut(id.0)
            && router.sending.is_on_trial()
        {
            router.drop_promotion();
            self.cannot_send(id, clock::now());
        }
    }

    fn cannot_send(&mut self, id: RouterId, now: Instant) {
        let Some(router) = self.routers.get_mut(id.0) else { return };
        let pause = router.sending.give_up();
        error!(router = %router.config.name(), again_in = %pause, "adverts cannot be sent; not master until they can");
        self.to_try_sending.insert(id, now + pause);
        self.check_usable(id);
    }

    /// Routers whose pause is over may be Master again.
    pub(super) fn try_sending_again(&mut self, now: Instant) {
        let due: Vec<_> = self.to_try_sending.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        for id in due {
            if let Some(router) = self.routers.get_mut(id.0) {
                router.sending.try_again();
            }
            self.check_usable(id);
        }
    }

    /// The interface has changed: what kept it from taking adverts may be over.
    pub(super) fn may_send_again(&mut self, id: RouterId) {
        if self.to_try_sending.remove(&id).is_some()
            && let Some(router) = self.routers.get_mut(id.0)
        {
            router.sending.try_again();
        }
    }
}

/// When a router gives up of whose adverts `since` is the first that did not go out: at once where that will not end by
/// itself, or one Master_Down_Interval after the last one that did, when others have taken over. `None`: it is not Master.
fn gives_up_at(router: &Instance, since: Instant) -> Option<Instant> {
    let (machine, sending) = (&router.machine, &router.sending);
    if machine.state().name() != StateName::Master || sending.is_pausing {
        return None;
    }
    if sending.refused {
        return Some(since);
    }
    let config = machine.config();
    let silence = master_down_interval(config.version, machine.priority(), config.interval);
    Some(since + (silence - config.interval.as_duration()))
}

/// How many addresses an advert can name where its packet of `octets` with `count` addresses of `each` octets does not fit.
pub(super) fn addresses_that_fit(octets: usize, count: usize, each: usize, mtu: u32) -> usize {
    let excess = octets.saturating_sub(usize::try_from(mtu).unwrap_or(usize::MAX));
    count.saturating_sub(excess.div_ceil(each)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sending_is_tried_again_less_and_less_often_until_it_succeeds() {
        let mut sending = Sending::default();
        assert!(!sending.is_on_trial() && !sending.is_pausing());
        let pauses: Vec<_> = (0..8).map(|_| sending.give_up().as_millis() / 1000).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(sending.is_pausing());
        sending.try_again();
        assert!(sending.is_on_trial() && !sending.is_pausing());
        sending.succeeded();
        assert!(!sending.is_on_trial());
        assert_eq!(sending.give_up(), Sending::SHORTEST);
    }

    #[test]
    fn an_advert_names_as_many_addresses_as_fit() {
        // 20 octets of IPv4, 8 of VRRP, 4 for each address.
        assert_eq!(addresses_that_fit(828, 200, 4, 1500), 200);
        assert_eq!(addresses_that_fit(828, 200, 4, 828), 200);
        assert_eq!(addresses_that_fit(828, 200, 4, 827), 199);
        assert_eq!(addresses_that_fit(828, 200, 4, 576), 137);
        assert_eq!(addresses_that_fit(828, 200, 4, 20), 1);
    }
}
