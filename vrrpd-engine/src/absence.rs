//! How long an interface stays on raw sockets after its program was given up because of adverts from another subnet.

use serde::{Deserialize, Serialize};
use vrrpd_common::{Duration, Instant};

/// When the program of an interface is attached again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Absence {
    pause: Duration,
    at: Option<Instant>,
    /// When it was last attached again.
    back_at: Option<Instant>,
}

impl Absence {
    /// The first pause; doubled each time up to the maximum.
    const MIN_PAUSE: Duration = Duration::from_secs(10);
    const MAX_PAUSE: Duration = Duration::from_secs(3600);

    /// Handles that the program was given up, or could not be attached; returns the pause. If it was attached for at
    /// least the longest pause, pauses start from the first again.
    pub(crate) fn begin(&mut self, now: Instant) -> Duration {
        let was_there_long =
            self.back_at.take().is_some_and(|at| now.saturating_since(at) >= Self::MAX_PAUSE);
        let doubled = if was_there_long { Duration::ZERO } else { self.pause.saturating_mul(2) };
        self.pause = doubled.clamp(Self::MIN_PAUSE, Self::MAX_PAUSE);
        self.at = Some(now + self.pause);
        self.pause
    }

    /// Handles another advert from another subnet: restarts the pause.
    pub(crate) fn prolong(&mut self, now: Instant) {
        if self.at.is_some() {
            self.at = Some(now + self.pause);
        }
    }

    /// When the program is attached again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether the pause has ended; true once.
    pub(crate) fn ends(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// Handles that the program cannot be attached now.
    pub(crate) fn try_later(&mut self, now: Instant) {
        self.at = Some(now + Self::MIN_PAUSE);
    }

    /// Handles that the program is attached again.
    pub(crate) fn over(&mut self, now: Instant) {
        self.at = None;
        self.back_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_grow_each_time_that_the_program_is_given_up_again() {
        let (mut absence, mut now) = (Absence::default(), at(100));
        let mut pauses = Vec::new();
        for _ in 0..11 {
            pauses.push(absence.begin(now).as_millis() / 1000);
            now = absence.deadline().expect("it is to be put back");
            assert!(!absence.ends(at(99)) && absence.ends(now) && !absence.ends(now));
            absence.over(now);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!(absence.begin(now + Duration::from_secs(3599)), Duration::from_secs(3600));
        absence.over(now);
        assert_eq!(
            absence.begin(now + Duration::from_secs(3600)),
            Duration::from_secs(10),
            "it was there for an hour"
        );
    }

    #[test]
    fn each_advert_from_another_subnet_restarts_the_pause() {
        let mut absence = Absence::default();
        absence.prolong(at(1));
        assert_eq!(absence.deadline(), None, "the program is there");
        absence.begin(at(1));
        absence.prolong(at(9));
        assert_eq!(absence.deadline(), Some(at(19)));
    }
}
