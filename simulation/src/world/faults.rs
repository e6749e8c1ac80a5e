//! Faults and repairs.

use std::cmp::Reverse;

use vrrpd_common::router::Event;
use vrrpd_common::{Interval, Priority};

use super::{Frozen, Happening, Item, World};
use crate::daemon::{Daemon, Stimulus};
use crate::fault::{Fault, Weather};
use crate::plan::{Grouping, virtual_address};

impl World {
    /// Applies a fault, or its end.
    pub fn fault(&mut self, fault: Fault) -> Result<(), String> {
        if !self.changes_something(&fault) {
            return Ok(());
        }
        self.watch.fault(self.now, &fault);
        match fault {
            Fault::Weather(weather) => self.weather = weather,
            Fault::Block { lan, from, to, on } => {
                let path = self.path(lan, from, to);
                self.blocked[path] = on;
            }
            Fault::Link { host, lan, up } => {
                self.hosts[host].link[lan] = up;
                let notification = self.hosts[host].kernel.set_carrier(lan, up);
                self.notify(host, [notification]);
            }
            Fault::Start(host, slot) => self.start(host, slot)?,
            Fault::Kill(host, slot) => {
                let is_guarded = self.random.percent(50);
                self.watch.killed(is_guarded);
                self.kill(host, slot, is_guarded)?;
            }
            Fault::Leave(host, slot) => self.arrive(host, slot, Item::Stimulus(Stimulus::Leave))?,
            Fault::Pause(host, slot) => self.hosts[host].slots[slot].paused = true,
            Fault::Continue(host, slot) => {
                self.hosts[host].slots[slot].paused = false;
                if self.is_running(host, slot) {
                    self.catch_up(host, slot)?;
                }
            }
            Fault::Freeze { host, clock } => {
                self.hosts[host].frozen = Some(Frozen { since: self.now, clock, is_suspension: false });
            }
            Fault::Suspend(host) => {
                self.hosts[host].frozen = Some(Frozen { since: self.now, clock: true, is_suspension: true });
            }
            Fault::Check { host, lan, holds } => {
                self.hosts[host].checks[lan] = holds;
                self.look_at(host, lan);
            }
            Fault::Reconfigure { host, lan, preempt } => {
                self.watch.reloads(host, self.now);
                let config = &mut self.hosts[host].configs[lan];
                config.preempt = preempt;
                let stimulus = Stimulus::Reload(lan, Box::new(config.clone()));
                let slot = self.slot_of(host, lan);
                self.arrive(host, slot, Item::Stimulus(stimulus))?;
            }
            Fault::Grow { host, lan } => {
                let slot = self.slot_of(host, lan);
                self.arrive(host, slot, Item::Stimulus(Stimulus::Grow(lan)))?;
            }
            Fault::Flood { lan, every, more } => {
                self.forge(lan, Priority::LOWEST, self.plan.machines[0].routers[lan].interval);
                if more > 0 {
                    self.schedule(every, Fault::Flood { lan, every, more: more - 1 });
                }
            }
            Fault::Thaw(host) => self.thaw(host)?,
            Fault::Refuse { host, lan, on } => self.hosts[host].kernel.refuses[lan] = on,
            Fault::Rob { host, lan, every, more } => {
                let gone = self.hosts[host].kernel.others_remove(lan, virtual_address(lan));
                self.notify(host, gone);
                if more > 0 {
                    self.schedule(every, Fault::Rob { host, lan, every, more: more - 1 });
                }
            }
            Fault::Squat { host, lan, on } => {
                let kernel = &mut self.hosts[host].kernel;
                let changed = if on {
                    kernel.others_add(lan, virtual_address(lan))
                } else {
                    kernel.others_withdraw(lan, virtual_address(lan))
                };
                self.notify(host, changed);
            }
            Fault::Flap { lan, every, more } => {
                for priority in [Priority::HIGHEST, Priority::RESIGN] {
                    self.forge(lan, priority, Interval::MIN);
                }
                if more > 0 {
                    self.schedule(every, Fault::Flap { lan, every, more: more - 1 });
                }
            }
            Fault::Slow { lan } => {
                self.slow_was_forged = true;
                self.forge(lan, Priority::HIGHEST, Interval::from_centis(4095).expect("is legal"));
            }
            Fault::Operate(host, lan, event) => self.operate(host, lan, event)?,
        }
        self.look()
    }

    /// An operator changes a priority or gives a command.
    fn operate(&mut self, host: usize, lan: usize, event: Event) -> Result<(), String> {
        let slot = self.slot_of(host, lan);
        let stimulus = match event {
            Event::Priority(priority) => {
                let config = &mut self.hosts[host].configs[lan];
                if (config.priority == Priority::OWNER) != (priority == Priority::OWNER) {
                    return Ok(());
                }
                config.priority = priority;
                Stimulus::Reload(lan, Box::new(config.clone()))
            }
            event => Stimulus::Operate(lan, event),
        };
        self.arrive(host, slot, Item::Stimulus(stimulus))
    }

    /// Repairs everything that is broken, stopped or dead. Operators' commands stay in effect.
    pub fn heal(&mut self) -> Result<(), String> {
        self.watch.say(self.now, || "everything is made whole".to_owned());
        self.queue.retain(|Reverse(entry)| !matches!(entry.happening, Happening::Fault(_)));
        self.weather = Weather::FAIR;
        self.blocked.fill(false);
        for host in 0..self.hosts.len() {
            self.fault(Fault::Thaw(host))?;
            for lan in 0..self.plan.lans {
                self.hosts[host].kernel.refuses[lan] = false;
                self.fault(Fault::Squat { host, lan, on: false })?;
                self.fault(Fault::Check { host, lan, holds: true })?;
                self.fault(Fault::Link { host, lan, up: true })?;
            }
            for slot in 0..self.hosts[host].slots.len() {
                self.fault(Fault::Continue(host, slot))?;
                if self.hosts[host].slots[slot].process.as_ref().is_some_and(Daemon::is_leaving) {
                    self.fault(Fault::Kill(host, slot))?;
                }
                self.fault(Fault::Start(host, slot))?;
            }
        }
        self.look()
    }

    fn thaw(&mut self, host: usize) -> Result<(), String> {
        if let Some(Frozen { since, clock: true, is_suspension }) = self.hosts[host].frozen.take() {
            self.hosts[host].clock -= self.now - since;
            for slot in &mut self.hosts[host].slots {
                slot.has_slept |= is_suspension && slot.process.is_some();
            }
        }
        for slot in 0..self.hosts[host].slots.len() {
            self.programs_continue(host, slot);
            if self.is_running(host, slot) {
                self.catch_up(host, slot)?;
            }
            self.guard(host, slot)?;
            self.start_if_wanted(host, slot)?;
        }
        Ok(())
    }

    fn changes_something(&self, fault: &Fault) -> bool {
        let lives = |host: usize, slot: usize| self.hosts[host].slots[slot].process.is_some();
        match *fault {
            Fault::Weather(weather) => self.weather != weather,
            Fault::Block { lan, from, to, on } => self.blocked[self.path(lan, from, to)] != on,
            Fault::Link { host, lan, up } => self.hosts[host].link[lan] != up,
            Fault::Start(host, slot) => !lives(host, slot) && !self.hosts[host].slots[slot].is_to_start,
            Fault::Kill(host, slot) => lives(host, slot),
            Fault::Leave(host, slot) => {
                self.hosts[host].slots[slot].process.as_ref().is_some_and(|process| !process.is_leaving())
            }
            Fault::Pause(host, slot) => !self.hosts[host].slots[slot].paused,
            Fault::Continue(host, slot) => self.hosts[host].slots[slot].paused,
            Fault::Freeze { host, .. } | Fault::Suspend(host) => self.hosts[host].frozen.is_none(),
            Fault::Thaw(host) => self.hosts[host].frozen.is_some(),
            Fault::Refuse { host, lan, on } => self.hosts[host].kernel.refuses[lan] != on,
            // Without marks, addresses in the journal count as ours.
            Fault::Squat { host, lan, on } => {
                let kernel = &self.hosts[host].kernel;
                kernel.marks && on != kernel.has(lan, virtual_address(lan))
            }
            Fault::Rob { host, lan, more, .. } => {
                more > 0 || self.hosts[host].kernel.has(lan, virtual_address(lan))
            }
            Fault::Check { host, lan, holds } => {
                self.plan.machines[host].check.is_some() && self.hosts[host].checks[lan] != holds
            }
            // Processes with options on the command line read no file.
            Fault::Reconfigure { host, lan, preempt } => {
                let is_read = self.plan.machines[host].grouping != Grouping::Processes;
                is_read && self.hosts[host].configs[lan].preempt != preempt
            }
            // Processes with options on the command line read no file.
            Fault::Grow { host, lan } => {
                let machine = &self.plan.machines[host];
                let is_read = machine.grouping != Grouping::Processes;
                is_read && machine.in_kernel && lives(host, self.slot_of(host, lan))
            }
            Fault::Flap { .. } | Fault::Flood { .. } | Fault::Slow { .. } | Fault::Operate(..) => true,
        }
    }
}
