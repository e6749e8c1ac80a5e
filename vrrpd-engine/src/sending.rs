//! Whether a router can send adverts, and when it tries again.
//!
//! An advert longer than the MTU cannot be sent, which is known without trying. Other causes show when sending fails:
//! the interface refuses a frame as invalid, or no frame was sent for a Master_Down_Interval, after which another
//! router is Master anyway. Then the router gives up and tries again with backoff. The first advert after that is a
//! probe: if it is not sent at once, nothing is announced and the router is not reported as Master.

use serde::{Deserialize, Serialize};
use vrrpd_common::router::{StateName, VirtualRouter};
use vrrpd_common::timers::master_down_interval;
use vrrpd_common::{Duration, Instant};

/// State of sending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The last pause; zero while adverts are sent.
    pause: Duration,
    is_pausing: bool,
    /// The interface refused an advert as invalid, so the next one would be refused too.
    refused: bool,
}

impl Sending {
    const MIN_PAUSE: Duration = Duration::from_secs(1);
    const MAX_PAUSE: Duration = Duration::from_secs(60);

    /// Gives up, and returns the pause until the next attempt.
    pub fn give_up(&mut self) -> Duration {
        self.is_pausing = true;
        self.refused = false;
        self.pause = self.pause.saturating_mul(2).clamp(Self::MIN_PAUSE, Self::MAX_PAUSE);
        self.pause
    }

    /// Notes that the interface refused an advert.
    pub const fn refused(&mut self) {
        self.refused = true;
    }

    /// Whether there is no pause and no refusal.
    pub fn is_undisturbed(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the router is waiting for the next attempt.
    pub const fn is_pausing(&self) -> bool {
        self.is_pausing
    }

    /// Ends the pause: it is over, or a possible cause has changed.
    pub const fn try_again(&mut self) {
        self.is_pausing = false;
    }

    /// Whether the next advert is a probe.
    pub fn is_on_trial(&self) -> bool {
        self.pause > Duration::ZERO
    }

    /// Notes that an advert was sent.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// When a router gives up whose first unsent advert was at `since`: at once if the interface refuses adverts; otherwise
    /// one Master_Down_Interval after the last sent advert, when others have taken over, unless it does not track its
    /// interface. `None`: it is not Master, or stays Master.
    pub fn gives_up_at(
        &self,
        machine: &VirtualRouter,
        tracks_interface: bool,
        since: Instant,
    ) -> Option<Instant> {
        if machine.state().name() != StateName::Master || self.is_pausing {
            return None;
        }
        if self.refused {
            return Some(since);
        }
        if !tracks_interface {
            return None;
        }
        let config = machine.config();
        let silence =
            master_down_interval(config.version, machine.priority(), config.interval, config.down_multiplier);
        Some(since + (silence - config.interval.as_duration()))
    }
}

/// How many addresses an advert may have so that its packet fits into `mtu`; with `count` addresses of `each` octets
/// the packet has `octets` octets.
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
