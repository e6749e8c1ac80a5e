//! Whether adverts of a router can be sent at all, and when that is tried again.
//!
//! An advert that is longer than the interface's MTU cannot; that is known without trying, and ends with the MTU. Other
//! causes show when sending fails: a frame that the interface refuses as such, or none that went out for a
//! Master_Down_Interval, after which another router is Master in any case. Then the router gives up and tries again after a
//! while, longer each time. The first advert after that is a trial: if it does not go out at once, nothing is announced and
//! nobody is told that the router was Master.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::StateName;
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};

use crate::router::Router;

/// What is known of sending adverts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// How long the last pause was; zero as long as adverts go out.
    pause: Duration,
    is_pausing: bool,
    /// The interface refused an advert as such: the next one would be refused as well.
    refused: bool,
}

impl Sending {
    const MIN_PAUSE: Duration = Duration::from_secs(1);
    const MAX_PAUSE: Duration = Duration::from_secs(60);

    /// Adverts cannot be sent: how long to wait before that is tried again.
    pub fn give_up(&mut self) -> Duration {
        self.is_pausing = true;
        self.refused = false;
        self.pause = self.pause.saturating_mul(2).clamp(Self::MIN_PAUSE, Self::MAX_PAUSE);
        self.pause
    }

    /// The interface refused an advert.
    pub const fn refused(&mut self) {
        self.refused = true;
    }

    /// Whether adverts go out, and nothing was known against it.
    pub fn is_undisturbed(&self) -> bool {
        *self == Self::default()
    }

    /// Not to be tried now.
    pub const fn is_pausing(&self) -> bool {
        self.is_pausing
    }

    /// The pause is over, or something has changed that may have been the cause.
    pub const fn try_again(&mut self) {
        self.is_pausing = false;
    }

    /// The next advert shows whether they can be sent again.
    pub fn is_on_trial(&self) -> bool {
        self.pause > Duration::ZERO
    }

    /// An advert went out.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// When a router gives up of whose adverts `since` is the first that did not go out: at once where that will not end by
/// itself, or one Master_Down_Interval after the last one that did, when others have taken over, unless it does not track its interface. `None`: it is not Master, or stays it.
pub fn gives_up_at(router: &Router, since: Instant) -> Option<Instant> {
    let Router { machine, sending, config, .. } = router;
    if machine.state().name() != StateName::Master || sending.is_pausing {
        return None;
    }
    if sending.refused {
        return Some(since);
    }
    if !config.track_interface {
        return None;
    }
    let config = machine.config();
    let silence =
        master_down_interval(config.version, machine.priority(), config.interval, config.down_multiplier);
    Some(since + (silence - config.interval.as_duration()))
}

/// How many addresses an advert can name where its packet of `octets` with `count` addresses of `each` octets does not fit.
pub fn addresses_that_fit(octets: usize, count: usize, each: usize, mtu: u32) -> usize {
    let excess = octets.saturating_sub(usize::try_from(mtu).unwrap_or(usize::MAX));
    count.saturating_sub(excess.div_ceil(each)).max(count.min(1))
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
        assert_eq!(sending.give_up(), Sending::MIN_PAUSE);
    }

    #[test]
    fn an_advert_names_as_many_addresses_as_fit() {
        // 20 octets of IPv4, 8 of VRRP, 4 for each address.
        assert_eq!(addresses_that_fit(828, 200, 4, 1500), 200);
        assert_eq!(addresses_that_fit(828, 200, 4, 828), 200);
        assert_eq!(addresses_that_fit(828, 200, 4, 827), 199);
        assert_eq!(addresses_that_fit(828, 200, 4, 576), 137);
        assert_eq!(addresses_that_fit(828, 200, 4, 20), 1);
        assert_eq!(addresses_that_fit(28, 0, 4, 1500), 0);
    }
}
