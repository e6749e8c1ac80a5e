//! Programs in the kernel: they receive adverts and time masters while their process is stopped, and stand still with
//! their machine.

use vrrpd_common::abi::EventKind;
use vrrpd_common::election::{BackupVerdict, backup_verdict};
use vrrpd_common::{Advert, Instant};

use super::{From, Happening, Item, World};
use crate::daemon::{Daemon, Stimulus};

/// Time until a process hears of an event.
const EVENT: u64 = 10_000;

impl World {
    /// Hands an advert to the program of a process; `false`: packet sockets receive it, or its machine stands still.
    pub(super) fn kernel_hears(&mut self, host: usize, slot: usize, lan: usize, advert: &Advert) -> bool {
        let now = Instant::from_nanos(self.clock(host));
        let is_awake = self.hosts[host].is_awake();
        let process = self.hosts[host].slots[slot].process.as_ref();
        if !is_awake || !process.is_some_and(|process| process.is_in_kernel(lan)) {
            return false;
        }
        if self.hosts[host].slots[slot].paused {
            self.unhandled.insert((host, lan), now.as_nanos());
        }
        let Some(process) = self.hosts[host].slots[slot].process.as_mut() else { return false };
        if let Some(event) = process.kernel_hears(now, lan, advert) {
            self.report(host, slot, lan, event);
        }
        self.set_kernel_timer(host, slot);
        true
    }

    /// The timers of the programs of a process fire.
    pub(super) fn fire_kernel_timers(&mut self, host: usize, slot: usize) {
        let now = self.clock(host);
        let is_awake = self.hosts[host].is_awake();
        let place = &mut self.hosts[host].slots[slot];
        // Another time was set since, or it fires when its machine continues.
        if place.kernel_wake.is_none_or(|(_, at)| at != self.now) || !is_awake {
            return;
        }
        place.kernel_wake = None;
        let Some(process) = place.process.as_mut() else { return };
        for (lan, event) in process.fire_kernel_timers(Instant::from_nanos(now)) {
            self.report(host, slot, lan, event);
        }
        self.set_kernel_timer(host, slot);
    }

    /// Sets the timer of the programs of a process, after any of them may have changed.
    pub(super) fn set_kernel_timer(&mut self, host: usize, slot: usize) {
        let clock = self.hosts[host].clock;
        let place = &mut self.hosts[host].slots[slot];
        let deadline = place.process.as_ref().and_then(Daemon::kernel_deadline).map(Instant::as_nanos);
        if deadline == place.kernel_wake.map(|(deadline, _)| deadline) {
            return;
        }
        let Some(deadline) = deadline else {
            place.kernel_wake = None;
            return;
        };
        let lateness = self.random.between(1_000, self.weather.lateness.as_nanos());
        let at = deadline.saturating_sub(clock).max(self.now) + lateness;
        self.hosts[host].slots[slot].kernel_wake = Some((deadline, at));
        self.push(at, Happening::KernelTimer { host, slot });
    }

    /// A machine continues: programs receive the frames that its interfaces kept, and their timers fire.
    pub(super) fn programs_continue(&mut self, host: usize, slot: usize) {
        let inbox = std::mem::take(&mut self.hosts[host].slots[slot].inbox);
        for item in inbox {
            let is_heard = match &item {
                Item::Stimulus(Stimulus::Advert(lan, advert)) => self.kernel_hears(host, slot, *lan, advert),
                Item::Stimulus(_) | Item::Hello(_) => false,
            };
            if !is_heard {
                self.hosts[host].slots[slot].inbox.push_back(item);
            }
        }
        self.hosts[host].slots[slot].kernel_wake = None;
        self.set_kernel_timer(host, slot);
    }

    fn report(&mut self, host: usize, slot: usize, lan: usize, event: EventKind) {
        let reported = Item::Stimulus(Stimulus::Reported(lan, event));
        self.post(host, slot, From::Programs, EVENT, reported);
    }

    /// Notes an advert that a Backup follows.
    pub(super) fn note_heard(&mut self, host: usize, lan: usize, advert: &Advert) {
        let lowest = self.router(host, lan).map(|router| router.machine.lowest_followed());
        let verdict = lowest.map(|lowest| backup_verdict(advert.priority, lowest));
        if verdict == Some(BackupVerdict::Follow) && self.lan_runs(host, lan) {
            self.heard.insert((host, lan), self.clock(host));
        }
    }

    /// Nothing was heard yet.
    pub fn forget_heard(&mut self) {
        self.heard.clear();
    }

    /// In a stable network, the deadline of a Backup is one Master_Down_Interval after the last advert that arrived,
    /// whichever data path received it.
    pub(super) fn has_heard_all(&self, host: usize, lan: usize) -> Result<(), String> {
        let Some(heard) = self.heard.get(&(host, lan)).filter(|_| self.watch.steady) else { return Ok(()) };
        let process = self.hosts[host].slots[self.slot_of(host, lan)].process.as_ref();
        let Some((deadline, wait)) = process.and_then(|process| process.follows_until(lan)) else {
            return Ok(());
        };
        if deadline < Instant::from_nanos(*heard) + wait {
            return Err(format!("{host}/{lan} has lost an advert of its master"));
        }
        Ok(())
    }
}
