//! The program in the kernel for one router: what `vrrpd-ebpf` does around [`vrrpd_common::watch`]. It goes on while the
//! process is stopped.

use vrrpd_common::abi::{EventKind, KernelAdvert, KernelCommand, KernelConfig, KernelRole, RouterRecord};
use vrrpd_common::watch::Due;
use vrrpd_common::{Advert, Family, Instant};

/// Index of its interface.
const INTERFACE: u32 = 1;

/// The configuration and the record of a router. Without a command the program passes on every frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    config: KernelConfig,
    record: RouterRecord,
}

impl Program {
    /// Handles an advert that arrives at `now`; returns whether the process is told of it.
    pub(super) fn hear(&mut self, now: Instant, advert: &Advert) -> bool {
        if self.config.role() == KernelRole::None {
            return false;
        }
        let deferred = self.record.take(&self.config, Family::Ipv4, KernelAdvert::new(advert, now));
        if deferred.report {
            self.record.ring_takes_it();
        }
        deferred.report
    }

    /// Executes a command of the process.
    pub(super) fn obey(&mut self, command: KernelCommand) {
        self.config = command.config;
        self.record.obey(&KernelCommand { interface: INTERFACE, ..command });
    }

    /// When its timer fires; `None`: never.
    pub(super) fn timer_at(&self) -> Option<Instant> {
        (self.record.timer_at != 0).then(|| Instant::from_nanos(self.record.timer_at))
    }

    /// Handles its timer at `now`; returns the event for the process.
    pub(super) fn fire(&mut self, now: Instant) -> Option<EventKind> {
        match self.record.look_at_deadline(now) {
            Due::Nothing | Due::Later => None,
            Due::Expired => {
                self.record.ring_takes_it();
                Some(EventKind::Expired)
            }
        }
    }

    /// The record.
    pub(super) const fn record(&self) -> &RouterRecord {
        &self.record
    }
}
