//! The states of a virtual router. Each owns its deadlines, so none can stay armed in another state.

use crate::advert::Advert;
use crate::params::Interval;
use crate::time::{Duration, Instant};

use super::config::AnnounceTimes;
use super::event::{Cause, Occasion};
use super::fault::Faults;
use super::reason::Reason;
use super::state_name::StateName;

/// State of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// Not started, or stopped (RFC 9568 §6.4.1).
    Initialize,
    /// Initialize in the RFC: the router cannot serve.
    Fault(Faults),
    /// Follows a master (RFC 9568 §6.4.2).
    Backup(Backup),
    /// Holds the addresses (RFC 9568 §6.4.3).
    Master(Master),
}

/// State Backup, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Backup {
    /// Start of the wait.
    pub armed_at: Instant,
    /// Master_Down_Timer.
    pub master_down_at: Instant,
    /// What the timer waits for.
    pub waiting: Waiting,
    /// Master_Adver_Interval (RFC 9568 §6.1).
    pub master_adver_interval: Interval,
    /// The last master; `None` if none was heard or it resigned.
    pub master: Option<HeardAdvert>,
    /// The cause of the transition after the wait: the master that falls silent, resigned or is preempted.
    pub cause: Option<Cause>,
    /// Master_Down_Timer has expired, and [damping](super::damping) delays the take-over.
    pub held: bool,
}

/// What a Backup waits for, and so the reason of becoming Master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Waiting {
    /// Master_Down_Interval without an advert.
    ForSilence,
    /// Another Master_Down_Interval, since adverts may have been missed.
    AfterGap,
    /// Skew_Time after the master resigned.
    AfterResignation,
    /// Master_Down_Interval in which only lower masters are heard.
    ToPreempt,
    /// The other members of its group; with the reason of becoming Master. There is no deadline.
    ForGroup(Reason),
    /// Its `prepare` script; with the reason of becoming Master. There is no deadline.
    ForScript(Reason),
}

/// An advert with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HeardAdvert {
    /// The advert.
    pub advert: Advert,
    /// Time of arrival.
    pub at: Instant,
}

/// State Master, and the times of its adverts and announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Master {
    /// Adver_Timer.
    pub advert_at: Instant,
    /// Time of the second announcement, or [`NEVER`].
    #[cfg_attr(feature = "serde", serde(with = "or_never"))]
    pub announce_again_at: Instant,
    /// Time of the next periodic announcement, or [`NEVER`].
    #[cfg_attr(feature = "serde", serde(with = "or_never"))]
    pub refresh_at: Instant,
    /// Time of the next announcement on other interfaces, or [`NEVER`].
    #[cfg_attr(feature = "serde", serde(with = "or_never", default = "or_never::never"))]
    pub elsewhere_at: Instant,
    /// Time of the repeated announcement after a lower-priority advert, or [`NEVER`].
    #[cfg_attr(feature = "serde", serde(with = "or_never"))]
    pub after_lower_at: Instant,
    /// Earliest time of the next answer to a lower-priority advert or resignation.
    pub assert_after: Instant,
    /// Earliest time of the next announcement upon a lower-priority advert.
    pub announce_after: Instant,
    /// How long a better master is tolerated; only in a [group](crate::group).
    pub hold: Duration,
    /// The better master that is tolerated.
    pub rival: Option<Rival>,
}

/// A better master that a member of a group hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rival {
    /// Time of its first advert.
    pub since: Instant,
    /// Time of its last advert.
    pub heard_at: Instant,
}

/// State of the preemption delay of a Backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Preemption {
    /// No lower master was heard yet: its first advert starts the delay.
    Idle,
    /// A lower master is followed until then.
    DelayedUntil(Instant),
    /// The delay is over, or none is configured.
    Ready,
}

/// A time that never comes; cheaper than an `Option` in the path of each advert of a Master.
pub const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The time this long after `now`, or [`NEVER`].
pub(super) fn after(now: Instant, wait: Option<Duration>) -> Instant {
    wait.map_or(NEVER, |wait| now + wait)
}

/// [`NEVER`] is serialized as a missing time.
#[cfg(feature = "serde")]
mod or_never {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Instant, NEVER};

    pub(super) const fn never() -> Instant {
        NEVER
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(at: &Instant, to: S) -> Result<S::Ok, S::Error> {
        (*at != NEVER).then_some(*at).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Instant, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(NEVER))
    }
}

impl State {
    /// The name.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Initialize => StateName::Init,
            Self::Fault(_) => StateName::Fault,
            Self::Backup(_) => StateName::Backup,
            Self::Master(_) => StateName::Master,
        }
    }
}

impl Master {
    /// The next advert is due an interval after this one was due, so that lateness does not add up; after a delay of
    /// more than an interval it counts from now.
    pub(super) fn advert_sent(&mut self, now: Instant, interval: Interval) {
        let next = self.advert_at + interval.as_duration();
        self.advert_at = if next > now { next } else { now + interval.as_duration() };
    }
}

impl Master {
    /// Time of the next announcement, or [`NEVER`].
    pub fn announce_at(&self) -> Instant {
        self.announce_again_at.min(self.refresh_at).min(self.elsewhere_at).min(self.after_lower_at)
    }

    /// The most urgent announcement due at `now`, if any. It replaces the others that are due.
    pub(super) fn announces(&mut self, now: Instant, times: &AnnounceTimes) -> Option<Occasion> {
        if now < self.announce_at() {
            return None;
        }
        let mut due = None;
        if now >= self.announce_again_at {
            self.announce_again_at = NEVER;
            due = Some(Occasion::TakeOver);
        }
        if now >= self.after_lower_at {
            self.after_lower_at = NEVER;
            due = due.max(Some(Occasion::LowerMaster));
        }
        if now >= self.refresh_at {
            self.refresh_at = after(now, times.refresh_every);
            due = due.max(Some(Occasion::Refresh));
        }
        if now >= self.elsewhere_at {
            self.elsewhere_at = after(now, times.elsewhere_every);
            due = due.max(Some(Occasion::Elsewhere));
        }
        due
    }

    /// Whether a better master with this interval, heard at `now`, is tolerated further. One that was silent for
    /// `down_multiplier` intervals counts as a new one.
    pub(super) fn holds_on(&mut self, now: Instant, interval: Interval, down_multiplier: u8) -> bool {
        if self.hold == Duration::ZERO {
            return false;
        }
        let silence = interval.as_duration().saturating_mul(down_multiplier.into());
        let since = match self.rival {
            Some(rival) if now.saturating_since(rival.heard_at) <= silence => rival.since,
            Some(_) | None => now,
        };
        self.rival = Some(Rival { since, heard_at: now });
        now.saturating_since(since) < self.hold
    }
}

impl Preemption {
    /// The state at `now`.
    pub(super) fn at(self, now: Instant) -> Self {
        match self {
            Self::DelayedUntil(until) if now >= until => Self::Ready,
            Self::Idle | Self::DelayedUntil(_) | Self::Ready => self,
        }
    }
}
