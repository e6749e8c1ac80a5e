//! Putting the program back onto an interface that was left to raw sockets because adverts came from another subnet.
//!
//! They may have been of a VLAN whose tag the program does not see, or forged. Raw sockets see tags, so they hear of the
//! former no more: the program is put back after a pause, which grows each time, so that nobody who forges such adverts
//! makes it come and go. An advert from another subnet that raw sockets do hear begins the pause anew. While a router of the
//! interface is Master it is not put back: some drivers take the link down for it.

use tracing::warn;
use vrrpd_common::router::StateName;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::{LinkId, RouterId};

use super::Daemon;
use super::instance::Instance;
use super::kernel::KernelSide;
use super::link::Link;
use crate::clock;
use crate::datapath::program::Refusal;
use crate::datapath::raw::RawPath;
use crate::guardian::copies::Kept;

/// When the program of an interface is put back.
#[derive(Debug, Default)]
pub(super) struct Absence {
    pause: Duration,
    at: Option<Instant>,
    /// When it was put back last.
    back_at: Option<Instant>,
}

impl Absence {
    /// The first pause, doubled each time up to the longest.
    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(3600);

    /// The program was given up, or could not be put back; returns the pause. If it has been there for the longest pause, the
    /// pauses begin anew.
    pub(super) fn begin(&mut self, now: Instant) -> Duration {
        let was_there_long = self.back_at.take().is_some_and(|at| now.saturating_since(at) >= Self::LONGEST);
        let doubled = if was_there_long { Duration::ZERO } else { self.pause.saturating_mul(2) };
        self.pause = doubled.clamp(Self::SHORTEST, Self::LONGEST);
        self.at = Some(now + self.pause);
        self.pause
    }

    /// What the program was given up for was heard again.
    pub(super) fn prolong(&mut self, now: Instant) {
        if self.at.is_some() {
            self.at = Some(now + self.pause);
        }
    }

    /// When the program is to be put back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it is to be put back now, which is tried once.
    fn ends(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    fn try_later(&mut self, now: Instant) {
        self.at = Some(now + Self::SHORTEST);
    }

    fn over(&mut self, now: Instant) {
        self.back_at = Some(now);
    }
}

impl Daemon {
    /// Has the programs loaded that are to be put back.
    pub(super) fn put_programs_back(&mut self, now: Instant) {
        let ends = |(id, link): (LinkId, &mut Link)| link.absence.ends(now).then_some(id);
        let due: Vec<_> = self.links.iter_mut().filter_map(ends).collect();
        for id in due {
            let is_used = self.is_being_used(id);
            let Some(link) = self.links.get_mut(id) else { continue };
            if is_used || link.is_loading() {
                link.absence.try_later(now);
            } else if let Some((slots, onto)) = link.begin_return() {
                self.load_program(id, slots, Some(onto));
            }
        }
    }

    /// Whether a router of the interface is Master, or about to become something else.
    fn is_being_used(&self, id: LinkId) -> bool {
        let is_used =
            |router: &Instance| router.machine.state().name() == StateName::Master || router.is_busy();
        self.routers.values().any(|router| router.link == id && is_used(router))
    }

    /// The program that is to be put back is loaded, and on the interface; it knows no router yet, and passes everything on.
    pub(super) fn put_program_back(&mut self, id: LinkId) {
        let (now, is_used) = (clock::now(), self.is_being_used(id));
        let Some(link) = self.links.get_mut(id) else { return };
        if is_used {
            link.drop_program();
            link.absence.try_later(now);
            return;
        }
        let sockets = match link.return_to_kernel(id, &self.readiness) {
            Ok(sockets) => sockets,
            Err(Refusal(reason)) => {
                let again_in = link.absence.begin(now);
                warn!(interface = link.name, reason, %again_in, "the XDP program cannot be put back");
                return;
            }
        };
        link.absence.over(now);
        let routers = link.routers.clone();
        for router in &routers {
            self.forget_told(*router);
            self.tell_kernel_all(*router);
        }
        // What came before the kernel knew the routers.
        self.drain(id, &sockets);
        for router in &routers {
            self.tell_kernel_all(*router);
            self.schedule(*router);
        }
        super::link::close_aside(sockets.into_iter().flatten(), &self.readiness);
    }

    /// Handles all frames that are in sockets which are not those of the interface any more.
    fn drain(&mut self, id: LinkId, sockets: &[Option<Kept<RawPath>>]) {
        let Some(mut inbox) = self.inbox.take() else { return };
        for socket in sockets.iter().flatten() {
            while socket.receive(&mut inbox).is_ok() {
                for frame in inbox.frames() {
                    self.frame(id, frame);
                }
                if !inbox.is_full() {
                    break;
                }
            }
        }
        self.inbox = Some(inbox);
    }

    fn forget_told(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(id) {
            router.kernel = KernelSide::default();
        }
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
    fn a_pause_begins_anew_with_each_advert_of_the_kind() {
        let mut absence = Absence::default();
        absence.prolong(at(1));
        assert_eq!(absence.deadline(), None, "the program is there");
        absence.begin(at(1));
        absence.prolong(at(9));
        assert_eq!(absence.deadline(), Some(at(19)));
    }
}
