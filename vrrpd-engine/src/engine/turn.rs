//! The turn of a router: one task is done for it, and what follows is queued.

use vrrpd_common::Instant;
use vrrpd_common::router::{Event, StateName};

use super::agenda::{Agenda, Task, Work};
use super::{Line, Now, Output};
use crate::group::Groups;
use crate::ids::RouterId;
use crate::link::Link;
use crate::router::Router;

/// A router, and what a task can access.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) id: RouterId,
    pub(super) router: &'a mut Router,
    pub(super) link: &'a mut Link,
    pub(super) groups: &'a mut Groups,
    pub(super) agenda: &'a mut Agenda,
    /// The system stores our mark with addresses.
    pub(super) marks: bool,
    pub(super) now: Now,
}

impl Turn<'_> {
    /// Does a task of the router.
    pub(super) fn work_on(&mut self, task: Task) {
        match task {
            Task::Event { at, event, is_heard } => {
                if is_heard || matches!(event, Event::Advert(_) | Event::Timer) {
                    self.event(at.unwrap_or(self.now.at), event, None);
                } else {
                    // The kernel does not report a master that continues as before.
                    self.next(Task::Event { at, event, is_heard: true });
                    self.next(Task::Hear);
                }
            }
            Task::Hear => {
                self.agenda.asked_for = Some(self.id);
                self.put_out(Output::ReadRecord(self.id));
            }
            Task::Feed(feeding) => self.feed(feeding),
            Task::ListenAgain => {
                // Adverts with an Authentication Header never go through the kernel.
                if self.router.machine.state().name() == StateName::Backup && !self.router.is_verified_by_us()
                {
                    self.next(Task::event(Event::StoodStill));
                }
            }
            Task::Tell { was_reported } => self.tell_kernel(was_reported),
            Task::TellAll => self.tell_kernel_all(),
            Task::Schedule => self.agenda.schedule(self.router, self.id),
            Task::Unschedule => self.agenda.file(self.router, self.id, None),
            Task::CheckProgram => self.put_out(Output::CheckProgram(self.id)),
            Task::Act => self.act(),
            Task::Tried => self.tried(),
            Task::CannotSend => self.cannot_send(),
            Task::MaySendAgain => {
                if self.agenda.to_try_sending.remove(&self.id).is_some() {
                    self.router.sending.try_again();
                }
            }
            Task::TryToSend => {
                self.router.sending.try_again();
                self.agenda.work.push_front(Work::CheckUsable(self.id));
            }
            Task::CatchUp => self.catch_up(),
            Task::Prepare => self.prepare(),
            Task::Discard => self.discard(),
            Task::DiscardStranded => self.discard_stranded(),
            Task::AddressLost(address, remover) => self.address_lost(address, remover),
            Task::OtherInterface(name, interface) => {
                self.other_interface(name, interface.map(|there| *there));
            }
            Task::TakeAgain => self.take_again(),
            Task::TakeNow => self.take_now(),
            Task::MacvlanIs(interface) => self.macvlan_is(&interface),
            Task::MacvlanGone => self.macvlan_gone(),
            Task::CheckMac => self.check_mac(),
            Task::TellOfOtherMac => self.tell_of_other_mac(),
            Task::EnforceSettings => self.enforce_settings(),
            Task::CheckPresence => self.check_presence(),
            Task::Exchange(config, tracked) => self.exchange(*config, &tracked),
            Task::Exchanged { has_other_priority } => self.exchanged(has_other_priority),
            Task::Track(tracked) => self.track(&tracked),
            Task::ApplyPriority => self.apply_priority(),
            Task::StartUp => self.start_up(),
            Task::Observed => self.observed(),
            Task::Judged => self.judged(),
            Task::TellOfCheck(changed) => self.tell_of_check(*changed),
            Task::Step(step) => self.step(step),
            Task::Leave => self.leave(),
            Task::SeeOff { is_spoken } => self.see_off(is_spoken),
        }
    }

    /// Hands an event to the router; what follows from it is done before older work. `frame` is the frame of an advert.
    pub(super) fn event(&mut self, at: Instant, event: Event, frame: Option<&[u8]>) {
        if let Event::Advert(advert) = &event {
            self.note_subnet(advert);
            if let Some(warning) = self.router.compare_addresses(at, advert, frame) {
                self.log(Line::Mismatch(warning));
            }
        }
        let Self { id, router, groups, agenda, .. } = self;
        router.handle(at, event, &mut |noticed| {
            let theirs = noticed.addresses(frame);
            agenda.outputs.push_back(Output::Log(*id, Line::Notice(noticed, theirs)));
        });
        if let Some(place) = router.group {
            groups.note(place, &router.machine);
        }
        if router.in_kernel {
            self.next(Task::Act);
            self.next(Task::Schedule);
            self.next(Task::Tell { was_reported: matches!(event, Event::Advert(_)) });
        } else {
            agenda.schedule(router, *id);
            self.act();
        }
    }

    /// Queues a task of the router before older work.
    pub(super) fn next(&mut self, task: Task) {
        self.agenda.work.push_front(Work::Task(self.id, task));
    }

    /// Queues an output.
    pub(super) fn put_out(&mut self, output: Output) {
        self.agenda.outputs.push_back(output);
    }

    /// Writes a line to the log.
    pub(super) fn log(&mut self, line: impl Into<Option<Line>>) {
        let id = self.id;
        self.agenda.outputs.extend(line.into().map(|line| Output::Log(id, line)));
    }
}
