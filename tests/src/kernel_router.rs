//! One virtual router in the kernel, with operations for tests: commands, adverts, and waiting for its events.

use vrrpd_common::abi::{EventKind, KernelCommand, KernelEvent, RouterRecord};

use crate::AdvertFrame;
use crate::corpus::{OWN_V4, V3, router, v3};
use crate::oracle::{Role, Router};
use crate::program::{Program, Ring, Verdict, config_of, now, slot_of};
use crate::usual::SOON;

/// A millisecond.
pub const MS: u64 = 1_000_000;
/// Later than the end of any test.
pub const FAR: u64 = 3_600_000 * MS;

/// A virtual router in the kernel.
pub struct KernelRouter {
    /// The program with its maps.
    pub program: Program,
    /// Its events.
    pub ring: Ring,
    /// The virtual router; a change takes effect with the next command.
    pub router: Router,
    /// Number of the last command.
    pub generation: u32,
}

/// What the kernel reported, and its record after that.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// When.
    pub at: u64,
    /// What it knows of the router.
    pub record: RouterRecord,
}

impl KernelRouter {
    /// Version 3, priority 100, one second, preemption, every change reported: [`V3`], in this role.
    pub fn new(role: Role) -> Self {
        Self::of(Router { role, ..router(OWN_V4.into(), V3) })
    }

    /// This router, with a deadline that is never reached.
    pub fn of(router: Router) -> Self {
        let (program, ring) = Program::load();
        let mut bench = Self { program, ring, router, generation: 0 };
        bench.command(now() + FAR, 0);
        bench
    }

    /// Sends a command with the present `router`; the daemon has handled adverts until `known_until`.
    pub fn command(&mut self, deadline: u64, known_until: u64) {
        self.generation += 1;
        let deadline = if self.router.role == Role::Backup { deadline } else { 0 };
        self.program.obey(KernelCommand {
            slot: slot_of(&self.router),
            deadline,
            known_until,
            master_interval: self.router.centis,
            config: config_of(&self.router, self.generation),
            ..KernelCommand::default()
        });
    }

    /// Sends a command with another role.
    pub fn become_role(&mut self, role: Role, deadline: u64, known_until: u64) {
        self.router.role = role;
        self.command(deadline, known_until);
    }

    /// The kernel's record.
    pub fn record(&self) -> RouterRecord {
        self.program.record(slot_of(&self.router))
    }

    /// Delivers an advert, which must be accepted; returns the record after it.
    #[track_caller]
    pub fn hear(&self, advert: &AdvertFrame) -> RouterRecord {
        let adverts = self.record().adverts;
        assert_eq!(self.program.run(&advert.build()), Verdict::Drop);
        let record = self.record();
        assert_eq!(record.adverts, adverts + 1);
        record
    }

    /// Delivers an advert, which must be reported.
    #[track_caller]
    pub fn hear_reported(&mut self, advert: &AdvertFrame) -> Report {
        let record = self.hear(advert);
        let event = only(&self.ring.drain());
        assert_eq!((event.kind(), event.at), (Some(EventKind::Advert), record.heard.at));
        self.report(event)
    }

    /// Delivers an advert, which must not be reported.
    #[track_caller]
    pub fn hear_quietly(&mut self, advert: &AdvertFrame) -> RouterRecord {
        let record = self.hear(advert);
        assert_eq!(self.ring.drain(), []);
        record
    }

    /// Waits for the expiry.
    #[track_caller]
    pub fn wait_expired(&mut self) -> Report {
        let event = self.ring.wait(SOON, "the expiry");
        assert_eq!(event.kind(), Some(EventKind::Expired));
        let report = self.report(event);
        assert!(report.at >= report.record.deadline, "not before the deadline");
        report
    }

    /// An event that is the router's, with its record.
    #[track_caller]
    fn report(&self, event: KernelEvent) -> Report {
        let record = self.record();
        assert_eq!(event.place, slot_of(&self.router));
        assert_eq!((record.generation, record.role), (self.generation, config_of(&self.router, 0).role));
        Report { at: event.at, record }
    }

    /// Fills the ring buffer of a Master with reports of lower-priority adverts.
    pub fn fill_ring(&mut self) {
        self.become_role(Role::Master, 0, 0);
        while self.record().events_lost == 0 {
            self.hear(&with_priority(50));
        }
    }
}

/// The only event.
#[track_caller]
pub fn only(events: &[KernelEvent]) -> KernelEvent {
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]
}

/// The advert of most tests, with this priority.
pub fn with_priority(priority: u8) -> AdvertFrame {
    AdvertFrame { priority, ..v3(V3) }
}

/// The same with this interval.
pub fn with_centis(centis: u16) -> AdvertFrame {
    AdvertFrame { interval: centis.to_be_bytes(), ..v3(V3) }
}
