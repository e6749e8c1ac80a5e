//! Preemption of a lower master by a Backup: Preempt_Mode (RFC 9568 §6.1), a delay, and a priority limit.

use super::state::Preemption;
use super::{Config, VirtualRouter};
use crate::params::Priority;
use crate::time::{Duration, Instant};

impl VirtualRouter {
    /// The lowest priority of a master that a Backup follows, in this state of the delay.
    pub(super) fn lowest_followed_by(&self, preemption: Preemption) -> Priority {
        const ANY: Priority = Priority(1);
        let Config { preempt_mode, preempt_below, .. } = self.config;
        match preemption {
            Preemption::Idle | Preemption::DelayedUntil(_) => ANY,
            Preemption::Ready if self.forced_backup => ANY,
            Preemption::Ready if preempt_mode => self.priority,
            Preemption::Ready => preempt_below.unwrap_or(ANY).min(self.priority),
        }
    }

    /// The initial state of the preemption delay. An owner does not wait.
    pub(super) fn first_preemption(&self) -> Preemption {
        if self.config.preempt_delay == Duration::ZERO || self.priority == Priority::OWNER {
            Preemption::Ready
        } else {
            Preemption::Idle
        }
    }

    /// Handles an advert of a master with this priority: a lower one starts the delay, any other resets it.
    pub(super) fn delay_preemption(&mut self, now: Instant, master: Priority) {
        if self.config.preempt_delay == Duration::ZERO {
            return;
        }
        self.preemption = match self.preemption {
            preemption if master == Priority::RESIGN => preemption.at(now),
            _ if master >= self.priority => self.first_preemption(),
            Preemption::Idle => Preemption::DelayedUntil(now + self.config.preempt_delay),
            preemption @ (Preemption::DelayedUntil(_) | Preemption::Ready) => preemption.at(now),
        };
    }
}
