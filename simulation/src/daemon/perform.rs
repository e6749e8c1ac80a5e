//! Executes the engine's outputs, or returns them as [`Effect`]s.

use std::mem::discriminant;

use vrrpd_common::router::Event;
use vrrpd_common::{Advert, Family, Instant, MacAddr, Priority};
use vrrpd_engine::engine::Line;
use vrrpd_engine::ledger::Journal;
use vrrpd_engine::router::AdvertToSend;
use vrrpd_engine::{Input, Output, RouterId};

use super::{Daemon, Effect, LineKind, Mastery, Place, moment};

impl Daemon {
    /// Executes the outputs of the engine until none is left. The consequences of one output are handled before the
    /// next one.
    pub(super) fn drain(&mut self, now: Instant) {
        self.look();
        while let Some(output) = self.engine.next_output() {
            self.look();
            self.perform(now, output);
        }
        self.look();
    }

    fn perform(&mut self, now: Instant, output: Output) {
        match output {
            Output::ReadRecord(router) => self.read_record(now, router),
            Output::CommandKernel { router, command } => {
                if let Some(program) = self.place_of(router).path.program_mut() {
                    program.obey(*command);
                }
                self.read_record(now, router);
            }
            // The program is attached.
            Output::CheckProgram(id) => {
                self.engine.handle(moment(now), Input::Event(id, Event::Timer, None));
            }
            Output::TellGroupPeers(message) => self.effects.push(Effect::Tell(message)),
            Output::Ask(ticket, order) => self.effects.push(Effect::Ask(ticket, order)),
            Output::Withdraw(id) => self.withdraw(self.lan_of(id)),
            Output::SendAdvert(id, priority) => {
                let lan = self.lan_of(id);
                let advert = self.advert(id, priority);
                self.effects.extend(advert.map(|advert| Effect::Send { lan, advert, is_withdrawn: false }));
            }
            Output::TrySending(id) => {
                self.flush(now);
                self.engine.handle(moment(now), Input::Tried(id));
            }
            Output::Announce(id, announced) => {
                let announcement = self.engine.announcement(id, announced);
                let here = announcement.and_then(|announcement| announcement.here);
                if here.is_some_and(|(_, addresses)| !addresses.is_empty()) {
                    let lan = self.lan_of(id);
                    self.effects.push(Effect::Announce { lan, is_withdrawn: false });
                }
            }

            Output::StartPreparation(id) => {
                let place = self.place_of(id);
                place.preparations = (place.preparations.0 + 1, true);
                let effect = Effect::Prepares(place.lan, place.preparations.0);
                self.effects.push(effect);
            }
            Output::EndPreparation(id) => {
                let place = self.place_of(id);
                place.preparations.1 = false;
                let lan = place.lan;
                self.effects.push(Effect::Prepared(lan, false));
            }
            Output::Log(id, line) => {
                let kind = match line {
                    Line::Notice(noticed, _) => LineKind::Notice(discriminant(&noticed.notice)),
                    Line::AddressLost(..) => LineKind::AddressLost,
                    _ => return,
                };
                let lan = self.lan_of(id);
                self.effects.push(Effect::Log(lan, kind));
            }
            Output::Transition { router, past, is_logged } => {
                let (lan, transition) = (self.lan_of(router), past.transition);
                if past.concerns_guardian() {
                    self.untold.insert(lan);
                }
                self.effects.push(Effect::Changed(lan, transition));
                self.effects.extend(is_logged.then_some(Effect::Log(lan, LineKind::Transition)));
            }
            Output::TellGuardian(id) => drop(self.untold.insert(self.lan_of(id))),
            Output::WriteJournal => self.write_journal(false),
            Output::Forget(id) => self.forget(id),
            // There is no virtual MAC address on an interface and no script but `prepare`, and a program sees VLAN tags.
            Output::RunGroupScripts(..)
            | Output::GiveUpProgram { .. }
            | Output::ReturnProgram(_)
            | Output::NotReturned { .. }
            | Output::CarrierUnknown(_)
            | Output::Close(_)
            | Output::Join(_)
            | Output::KeepOwnMacs
            | Output::TellStations(_)
            | Output::Rejoin(..)
            | Output::Expect(..)
            | Output::CheckChanged(_)
            | Output::Rejected(..) => {}
        }
    }

    fn read_record(&mut self, now: Instant, id: RouterId) {
        let record = self.place_of(id).path.program().map(|program| Box::new(*program.record()));
        self.engine.handle(moment(now), Input::Record(id, record));
    }

    fn place_of(&mut self, id: RouterId) -> &mut Place {
        let place = self.places.iter_mut().find(|place| place.id == Some(id));
        place.expect("every router has a place")
    }

    fn advert(&mut self, id: RouterId, priority: Priority) -> Option<Advert> {
        let (_, sent) = self.engine.advert(id, priority)?;
        self.on_lan(id, sent)
    }

    fn on_lan(&self, id: RouterId, sent: AdvertToSend) -> Option<Advert> {
        let AdvertToSend { source, priority, .. } = sent;
        let config = self.engine.router(id)?.machine.config();
        Some(Advert {
            vrid: config.vrid,
            priority,
            interval: config.interval,
            source,
            mac: MacAddr::virtual_router(Family::Ipv4, config.vrid),
            address_count: 1,
            addresses: config.addresses,
        })
    }

    /// Drops the queued frames of a router, except a resignation.
    fn withdraw(&mut self, of: usize) {
        for effect in &mut self.effects[self.flushed..] {
            match effect {
                Effect::Send { lan, advert, is_withdrawn } if *lan == of => {
                    *is_withdrawn |= advert.priority != Priority::RESIGN;
                }
                Effect::Announce { lan, is_withdrawn } if *lan == of => *is_withdrawn = true,
                _ => {}
            }
        }
    }

    /// Sends queued frames.
    pub(super) fn flush(&mut self, now: Instant) {
        for place in self.flushed..self.effects.len() {
            if let Effect::Send { lan, is_withdrawn: false, .. } = self.effects[place]
                && let Some(id) = self.place(lan).and_then(|place| place.id)
            {
                self.input(now, Input::Sent(id));
            }
        }
        self.flushed = self.effects.len();
    }

    /// Writes the journal, if it has changed.
    pub(super) fn write_journal(&mut self, at_once: bool) {
        let routers = self.engine.routers().values();
        let records = routers.flat_map(|router| router.records(self.engine.interface(router.link)));
        let text = records.collect::<Journal>().to_string();
        if at_once || text != self.journal {
            self.journal.clone_from(&text);
            self.effects.push(Effect::Journal { text, at_once });
        }
    }

    /// Tells the guardian which routers became Master or ceased to be.
    pub(super) fn tell_guardian(&mut self) {
        while let Some(lan) = self.untold.pop_first() {
            let id = self.place(lan).and_then(|place| place.id);
            let acts = id.and_then(|id| Some((id, self.engine.last_acts(id)?)));
            let mastery = acts.map(|(id, acts)| Mastery {
                resignation: acts.resignation.and_then(|(_, advert)| self.on_lan(id, advert)),
                holds: acts.holds,
            });
            self.effects.push(Effect::Guard(lan, mastery));
        }
    }

    /// Groups evaluate their members, once all inputs were handled.
    pub(super) fn settle_groups(&mut self, now: Instant) {
        if self.engine.groups().has_news() {
            self.input(now, Input::SettleGroups);
        }
    }
}
