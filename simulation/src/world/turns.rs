//! Inputs of processes, their turns, and their effects.

use vrrpd_common::Instant;
use vrrpd_common::group::PeerId;
use vrrpd_common::router::StateName;

use super::{From, Happening, Item, World};
use crate::daemon::{Daemon, Effect, Stimulus};
use crate::kernel::Notification;
use crate::plan::{LOOK, LOOKS, PREPARES};
use crate::watch::Presence;

/// Capacity for frames of a process that does not run.
const SOCKET: usize = 200;
/// Capacity for frames of a machine that does not run.
const RING: usize = 16;
/// Maximum delay of a message between two processes of a machine.
const LOCAL: u64 = 1_000_000;
/// Maximum time to load a program, and to move it, if the kernel is not slow.
const LOADS: u64 = 100_000_000;
const MOVES: u64 = 20_000_000;
/// Maximum time to write a file.
const DISK: u64 = 2_000_000;

impl World {
    pub(super) fn arrive(&mut self, host: usize, slot: usize, item: Item) -> Result<(), String> {
        if self.is_running(host, slot) {
            return self.turn(host, slot, Some(item));
        }
        let room = if self.hosts[host].is_awake() { SOCKET } else { RING };
        let inbox = &mut self.hosts[host].slots[slot].inbox;
        if !item.is_frame() || inbox.iter().filter(|item| item.is_frame()).count() < room {
            inbox.push_back(item);
        }
        Ok(())
    }

    /// A turn of a process's loop: an input, if any, then what is due.
    pub(super) fn turn(&mut self, host: usize, slot: usize, item: Option<Item>) -> Result<(), String> {
        let now = Instant::from_nanos(self.clock(host));
        self.tell_of_sleep(host, slot, now);
        if let Some(item) = item {
            self.hand_in(host, slot, now, item);
        }
        let Some(process) = self.hosts[host].slots[slot].process.as_mut() else { return Ok(()) };
        let effects = process.finish(now);
        self.carry_out(host, slot, effects)?;
        self.set_alarm(host, slot);
        self.set_kernel_timer(host, slot);
        Ok(())
    }

    fn tell_of_sleep(&mut self, host: usize, slot: usize, now: Instant) {
        if std::mem::take(&mut self.hosts[host].slots[slot].has_slept) {
            self.hand_in(host, slot, now, Item::Stimulus(Stimulus::Slept));
        }
    }

    fn hand_in(&mut self, host: usize, slot: usize, now: Instant, item: Item) {
        match item {
            Item::Stimulus(stimulus) => {
                if let Some(process) = self.hosts[host].slots[slot].process.as_mut() {
                    process.take_in(now, stimulus);
                }
            }
            Item::Hello(other) => self.greet(host, slot, other),
        }
    }

    /// A stopped process handles what has arrived meanwhile: deadlines first or last, but always after messages of
    /// other processes and after adverts that a Backup with a deadline waits for.
    pub(super) fn catch_up(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let items: Vec<Item> = self.hosts[host].slots[slot].inbox.drain(..).collect();
        let now = Instant::from_nanos(self.clock(host));
        let Some(process) = &self.hosts[host].slots[slot].process else { return Ok(()) };
        let due_backup = |lan: usize| {
            process.machine(lan).is_some_and(|machine| {
                machine.state().name() == StateName::Backup && machine.deadline().is_some_and(|at| at <= now)
            })
        };
        let before_timers = |item: &Item| match item {
            Item::Stimulus(Stimulus::Advert(lan, _)) => due_backup(*lan),
            Item::Stimulus(Stimulus::Said(..) | Stimulus::Gone(_)) => true,
            Item::Stimulus(_) | Item::Hello(_) => false,
        };
        let (mut first, mut rest) = (items, Vec::new());
        if self.random.percent(50) {
            (first, rest) = first.into_iter().partition(before_timers);
        }
        self.tell_of_sleep(host, slot, now);
        for item in first {
            self.hand_in(host, slot, now, item);
        }
        self.turn(host, slot, None)?;
        for item in rest {
            self.turn(host, slot, Some(item))?;
        }
        for lan in self.hosts[host].slots[slot].lans.clone() {
            self.unhandled.remove(&(host, lan));
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, host: usize, slot: usize, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            let presence = effect.router().map_or(Presence::Absent, |lan| self.presence(host, lan));
            let (now, mut clock) = (self.now, self.clock(host));
            if let Effect::StandsBy(lan) = effect {
                // Adverts count from when they were heard.
                clock = self.unhandled.remove(&(host, lan)).unwrap_or(clock);
            }
            self.watch.effect((now, clock), (host, slot), presence, &effect)?;
            let place = &mut self.hosts[host].slots[slot];
            match effect {
                Effect::Send { lan, advert, is_withdrawn: false } => {
                    *place.adverts.entry(lan).or_default() += 1;
                    self.send(host, lan, advert);
                }
                Effect::Ask(ticket, order) => {
                    place.orders.push_back((ticket, order));
                    let takes = self.random.between(10_000, self.weather.kernel.as_nanos());
                    let (at, incarnation) = self.in_order(host, slot, From::Orders, takes);
                    self.push(at, Happening::Performs { host, slot, incarnation });
                }
                Effect::Tell(message) => {
                    for other in 0..self.hosts[host].slots.len() {
                        if other != slot && self.hosts[host].slots[other].process.is_some() {
                            let takes = self.random.between(10_000, LOCAL);
                            let said = Stimulus::Said(PeerId(slot), message);
                            self.post(host, other, From::Processes, takes, Item::Stimulus(said));
                        }
                    }
                }
                Effect::Journal { text, at_once: true } => place.journal = Some(text),
                Effect::Journal { text, at_once: false } => {
                    let takes = self.random.between(10_000, DISK);
                    let (at, incarnation) = self.in_order(host, slot, From::Disk, takes);
                    self.push(at, Happening::Written { host, slot, incarnation, text });
                }
                Effect::Prepares(lan, number) => {
                    let takes = self.random.between(100_000, PREPARES.as_nanos());
                    let incarnation = place.incarnation;
                    let item = Item::Stimulus(Stimulus::Prepared(lan, number));
                    self.push(self.now + takes, Happening::Item { host, slot, incarnation, item });
                }
                Effect::Loads(lan) => {
                    let takes = self.random.between(1_000_000, LOADS + 10 * self.weather.kernel.as_nanos());
                    self.post(host, slot, From::Lane, takes, Item::Stimulus(Stimulus::Loaded(lan)));
                }
                Effect::Moves(lan) => {
                    let takes = self.random.between(100_000, MOVES + 10 * self.weather.kernel.as_nanos());
                    self.post(host, slot, From::Lane, takes, Item::Stimulus(Stimulus::Moved(lan)));
                }
                Effect::Guard(lan, Some(mastery)) => drop(place.masteries.insert(lan, mastery)),
                Effect::Guard(lan, None) => drop(place.masteries.remove(&lan)),
                Effect::Ends { is_clean } => self.ends(host, slot, is_clean)?,
                Effect::Send { is_withdrawn: true, .. }
                | Effect::Announce { .. }
                | Effect::Begins { .. }
                | Effect::Changed(..)
                | Effect::Prepared(..)
                | Effect::Log(..)
                | Effect::TakesOver(_)
                | Effect::StandsBy(_)
                | Effect::Forgets { .. } => {}
            }
        }
        Ok(())
    }

    /// The kernel executes the next request of a process and answers it.
    pub(super) fn perform_order(&mut self, host: usize, slot: usize) {
        let Some((ticket, order)) = self.hosts[host].slots[slot].orders.pop_front() else { return };
        let (outcome, notifications) = self.hosts[host].kernel.perform(slot, &order);
        self.notify(host, notifications);
        let takes = self.random.between(1_000, self.weather.kernel.as_nanos() / 2);
        let answer = Item::Stimulus(Stimulus::Answered(ticket, Box::new((order, outcome))));
        self.post(host, slot, From::Answers, takes, answer);
    }

    /// The kernel notifies all listening processes.
    pub(super) fn notify(&mut self, host: usize, notifications: impl IntoIterator<Item = Notification>) {
        for notification in notifications {
            let slot = self.slot_of(host, notification.lan);
            let takes = self.random.between(10_000, 2_000_000);
            let item = Item::Stimulus(Stimulus::Notified(notification));
            self.post(host, slot, From::Kernel, takes, item);
        }
    }

    /// Schedules results of a LAN's check as often as an outcome needs.
    pub(super) fn look_at(&mut self, host: usize, lan: usize) {
        if self.plan.machines[host].check.is_some() {
            let (slot, holds) = (self.slot_of(host, lan), self.hosts[host].checks[lan]);
            for look in 1..=u64::from(LOOKS) {
                let found = Item::Stimulus(Stimulus::Found(lan, holds));
                self.post(host, slot, From::Checks, look * LOOK.as_nanos() / 2, found);
            }
        }
    }

    pub(super) fn greet(&mut self, host: usize, slot: usize, other: usize) {
        if let Some(greeting) = self.hosts[host].slots[slot].process.as_ref().and_then(Daemon::greeting) {
            let said = Stimulus::Said(PeerId(slot), greeting);
            self.post(host, other, From::Processes, 20_000, Item::Stimulus(said));
        }
    }

    /// Only frames can be lost.
    pub(super) fn post(&mut self, host: usize, slot: usize, from: From, takes: u64, item: Item) {
        let (at, incarnation) = self.in_order(host, slot, from, takes);
        self.push(at, Happening::Item { host, slot, incarnation, item });
    }

    /// Time of arrival after this delay, but not before earlier items of the same source.
    fn in_order(&mut self, host: usize, slot: usize, from: From, takes: u64) -> (u64, u32) {
        let place = &mut self.hosts[host].slots[slot];
        let last = &mut place.last[from as usize];
        *last = (self.now + takes).max(*last + 1);
        (*last, place.incarnation)
    }

    fn set_alarm(&mut self, host: usize, slot: usize) {
        let clock = self.hosts[host].clock;
        let lateness = self.random.between(1_000, self.weather.lateness.as_nanos());
        let place = &mut self.hosts[host].slots[slot];
        let deadline = place.process.as_ref().and_then(Daemon::deadline);
        place.wake = deadline.map(|at| (at.as_nanos().saturating_sub(clock)).max(self.now) + lateness);
        if let Some(at) = place.wake {
            self.push(at, Happening::Wake { host, slot });
        }
    }
}

impl Item {
    const fn is_frame(&self) -> bool {
        matches!(self, Self::Stimulus(Stimulus::Advert(..)))
    }
}
