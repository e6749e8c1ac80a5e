//! Start and end of processes, and clean-up by guardians.

use vrrpd_common::group::PeerId;
use vrrpd_common::{Duration, Instant};
use vrrpd_engine::ledger::{Journal, Leftover, Undo};

use super::{From, Guardian, Happening, Item, World};
use crate::daemon::{Begin, Daemon, Stimulus};
use crate::plan::{Grouping, check};

/// Time until another process notices the start or end of one.
const SEEN: u64 = 20_000;
/// Maximum time until a guardian has undone the journal.
const UNDOES: u64 = 5_000_000;

impl World {
    /// Starts a process, now or after its machine continues or the previous guardian has finished.
    pub(super) fn start(&mut self, host: usize, slot: usize) -> Result<(), String> {
        if !self.hosts[host].is_awake() || self.hosts[host].slots[slot].guardian.is_some() {
            self.hosts[host].slots[slot].is_to_start = true;
            return Ok(());
        }
        let now = Instant::from_nanos(self.clock(host));
        let machine = &self.plan.machines[host];
        let size = u8::try_from(self.plan.lans).expect("few LANs");
        let seed = machine.seed.wrapping_add(slot as u64);
        let there = &self.hosts[host];
        let lans = &there.slots[slot].lans;
        let begin = Begin {
            slot,
            routers: lans.iter().map(|lan| (*lan, there.configs[*lan].clone())).collect(),
            group: (machine.grouping != Grouping::None).then_some((size, seed)),
            interfaces: lans.iter().map(|lan| there.kernel.interface(*lan).clone()).collect(),
            marks: there.kernel.marks,
            checks: lans.iter().map(|lan| check(*lan)).collect(),
            journal: Journal::parse(there.slots[slot].journal.as_deref().unwrap_or_default()),
            in_kernel: machine.in_kernel,
        };
        let process = Daemon::begin(now, begin);
        let place = &mut self.hosts[host].slots[slot];
        place.process = Some(process);
        place.incarnation += 1;
        place.paused = false;
        place.inbox.clear();
        place.adverts.clear();
        for lan in place.lans.clone() {
            self.watch.starts(host, lan);
        }
        if self.plan.machines[host].grouping == Grouping::Processes {
            for other in 0..self.hosts[host].slots.len() {
                if other != slot && self.hosts[host].slots[other].process.is_some() {
                    self.post(host, other, From::Processes, SEEN, Item::Hello(slot));
                }
            }
        }
        self.turn(host, slot, None)?;
        for lan in self.hosts[host].slots[slot].lans.clone() {
            self.look_at(host, lan);
        }
        Ok(())
    }

    /// Kills a process, with or without its guardian.
    pub(super) fn kill(&mut self, host: usize, slot: usize, is_guarded: bool) -> Result<(), String> {
        // The kernel finishes the request that it has started.
        let in_flight = self.hosts[host].slots[slot].orders.pop_front().map(|(_, order)| order);
        let in_flight = in_flight.filter(|_| self.random.percent(50));
        let place = &mut self.hosts[host].slots[slot];
        let masteries = std::mem::take(&mut place.masteries);
        place.process = None;
        place.inbox.clear();
        place.has_slept = false;
        place.orders.clear();
        place.wake = None;
        place.kernel_wake = None;
        place.incarnation += 1;
        place.paused = false;
        if self.plan.machines[host].grouping == Grouping::Processes {
            for other in 0..self.hosts[host].slots.len() {
                if other != slot && self.hosts[host].slots[other].process.is_some() {
                    let gone = Item::Stimulus(Stimulus::Gone(PeerId(slot)));
                    self.post(host, other, From::Processes, SEEN, gone);
                }
            }
        }
        if is_guarded {
            self.hosts[host].slots[slot].guardian = Some(Guardian { masteries: Some(masteries), in_flight });
            return self.guard(host, slot);
        }
        if let Some(order) = in_flight {
            let (_, notifications) = self.hosts[host].kernel.perform(slot, &order);
            self.notify(host, notifications);
        }
        Ok(())
    }

    /// Tells every process to leave, which must be done within this time, and checks that nothing was left behind.
    pub fn wind_up(&mut self, time: Duration) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            for slot in 0..self.hosts[host].slots.len() {
                self.watch.say(self.now, || format!("{host}, process {slot}: told to leave"));
                self.arrive(host, slot, Item::Stimulus(Stimulus::Leave))?;
            }
        }
        self.run_until(self.now + time.as_nanos())?;
        for (number, host) in self.hosts.iter().enumerate() {
            if let Some((lan, address)) = host.kernel.left_behind() {
                return Err(format!("{number}/{lan}: {address} was left behind"));
            }
            if let Some(slot) = host.slots.iter().position(|slot| slot.process.is_some()) {
                return Err(format!("{number}, process {slot} does not end"));
            }
            if let Some(slot) = host.slots.iter().position(|slot| slot.journal.is_some()) {
                return Err(format!("{number}, process {slot} has left its journal behind"));
            }
        }
        Ok(())
    }

    /// A process has ended. Its guardian gives back what it could not.
    pub(super) fn ends(&mut self, host: usize, slot: usize, is_clean: bool) -> Result<(), String> {
        if is_clean {
            self.hosts[host].slots[slot].journal = None;
            self.hosts[host].slots[slot].masteries.clear();
        }
        self.kill(host, slot, !is_clean)
    }

    /// A guardian resigns and removes addresses at once, and then undoes the journal.
    pub(super) fn guard(&mut self, host: usize, slot: usize) -> Result<(), String> {
        if !self.hosts[host].is_awake() {
            // It continues with its machine.
            return Ok(());
        }
        let Some(guardian) = &mut self.hosts[host].slots[slot].guardian else { return Ok(()) };
        if let Some(masteries) = guardian.masteries.take() {
            let in_flight = guardian.in_flight.take();
            for (lan, mastery) in &masteries {
                self.watch.say(self.now, || format!("{host}/{lan}: the guardian resigns"));
                if let Some(resignation) = mastery.resignation {
                    self.send(host, *lan, resignation);
                }
            }
            for mastery in masteries.values() {
                let notifications = self.hosts[host].kernel.take_off(slot, &mastery.holds);
                self.notify(host, notifications);
            }
            if let Some(order) = in_flight {
                let (_, notifications) = self.hosts[host].kernel.perform(slot, &order);
                self.notify(host, notifications);
            }
            let takes = self.random.between(100_000, UNDOES);
            self.push(self.now + takes, Happening::Guards { host, slot });
            return Ok(());
        }
        let place = &self.hosts[host].slots[slot];
        let journal = Journal::parse(place.journal.as_deref().unwrap_or_default());
        let kernel = &self.hosts[host].kernel;
        let undo = Undo::plan(&journal, kernel.interfaces(), kernel.marks, |found| match found {
            Leftover::Address { .. } | Leftover::Mac { .. } => false,
            Leftover::Link { noted, .. } => !noted,
        });
        for order in &undo.orders {
            let notifications = self.hosts[host].kernel.undo(slot, order);
            self.notify(host, notifications);
        }
        let place = &mut self.hosts[host].slots[slot];
        place.guardian = None;
        place.journal = None;
        self.start_if_wanted(host, slot)
    }

    /// Starts a process that had to wait.
    pub(super) fn start_if_wanted(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let place = &mut self.hosts[host].slots[slot];
        if place.guardian.is_none() && std::mem::take(&mut place.is_to_start) {
            self.start(host, slot)
        } else {
            Ok(())
        }
    }
}
