//! Executes the outputs of the engine.

use vrrpd_common::Priority;
use vrrpd_common::router::StateName;
use vrrpd_engine::router::Past;
use vrrpd_engine::{Input, Output, RouterId};

use super::{Daemon, describe, log, tracking};
use crate::datapath::refusal::Refusal;
use crate::interface::service::Request;
use crate::report::{Happening, TransitionReport};
use crate::transmit::AdvertFrames;

impl Daemon {
    /// Executes the outputs of the engine until none is left. The consequences of one output are handled before the
    /// next one.
    pub(super) fn perform_outputs(&mut self) {
        if std::mem::replace(&mut self.is_performing, true) {
            return;
        }
        while let Some(output) = self.engine.next_output() {
            self.is_stirred = true;
            self.perform(output);
        }
        self.is_performing = false;
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::ReadRecord(id) => self.read_record(id),
            Output::CheckProgram(id) => self.check_program(id),
            Output::CommandKernel { router, command } => self.command_kernel(router, *command),
            Output::GiveUpProgram { router, source, pause } => {
                if let Some(router) = self.engine.router(router) {
                    self.give_up_kernel(router.link, Refusal::OtherSubnet { source_address: source, pause });
                }
            }
            Output::ReturnProgram(link) => self.return_program(link),
            Output::NotReturned { link, reason, again_in } => {
                if let Some(link) = self.engine.link(link) {
                    log::not_returned(&link.name, &reason, again_in);
                }
            }
            Output::TellGroupPeers(message) => {
                if let Some(peers) = &mut self.group_peers {
                    peers.tell(message);
                }
            }
            Output::RunGroupScripts(group, call) => self.group_runners.run(&group, call),
            Output::StartPreparation(id) => self.start_preparation(id),
            Output::EndPreparation(id) => self.end_preparation(id),
            Output::Ask(ticket, order) => self.service.request(Request { ticket, order }),
            Output::Withdraw(id) => {
                let link = self.engine.router(id).map(|router| router.link);
                if let Some(link) = link.and_then(|link| self.links.get_mut(link)) {
                    link.withdraw(id);
                }
                self.others.withdraw(id);
            }
            Output::Rejoin(link, family) => {
                if let Some(link) = self.links.get_mut(link) {
                    link.rejoin(family);
                }
            }
            Output::CarrierUnknown(link) => {
                if let Some(link) = self.engine.link(link) {
                    log::carrier_unknown(&link.name);
                }
            }
            Output::Close(link) => self.close(link),
            Output::Join(link) => {
                if let Some(link) = self.links.get(link) {
                    link.join();
                }
            }
            Output::KeepOwnMacs => self.keep_own_macs(),
            Output::TellStations(link) => self.tell_stations(link),
            Output::Expect(id, source) => self.expect(id, source),
            Output::TellGuardian(id) => drop(self.untold.insert(id)),
            Output::WriteJournal => self.write_journal(),
            Output::SendAdvert(id, priority) => self.send_advert(id, priority),
            Output::TrySending(id) => {
                self.flush();
                self.input(Input::Tried(id));
            }
            Output::Announce(id, announced) => self.announce(id, announced),
            Output::Transition { router, past, is_logged } => self.transition(router, past, is_logged),
            Output::CheckChanged(changed) => tracking::log(&changed),
            Output::Forget(id) => self.forget(id),
            Output::Rejected(link, why, more) => {
                if let Some(link) = self.engine.link(link) {
                    log::rejected(&link.name, &why, more);
                }
            }
            Output::Log(id, line) => self.log(id, line),
        }
    }

    fn send_advert(&mut self, id: RouterId, priority: Priority) {
        let Some(advert) = self.engine.advert(id, priority) else { return };
        let Some(router) = self.engine.router(id) else { return };
        let (Some(link), Some(handles)) = (self.links.get_mut(router.link), self.handles.get_mut(id)) else {
            return;
        };
        if let Some(frames) = handles.frames(router, advert)
            && let Some(frames) = link.table.seal(&router.config, frames)
        {
            let resigns = priority == Priority::RESIGN;
            match frames {
                AdvertFrames::Group(frame) => {
                    if let Some(transmitter) = link.transmitter() {
                        transmitter.advert(id, frame, resigns);
                    }
                }
                AdvertFrames::Peers(packets) => link.peers.advert(id, packets, resigns),
            }
        }
    }

    fn transition(&mut self, id: RouterId, past: Past, is_logged: bool) {
        let Some(router) = self.engine.router(id) else { return };
        if past.concerns_guardian() {
            self.untold.insert(id);
        }
        if let (Some(call), Some(runner)) =
            (router.call(past.transition), self.handles.get(id).and_then(|handles| handles.scripts.as_ref()))
        {
            runner.run(call);
        }
        let report = TransitionReport::from(&past);
        self.followers.tell(|| describe::event(router, Happening::Transition(report.clone())));
        if is_logged {
            log::transition(router, &report);
        }
        self.status_untold = true;
    }

    /// Reports the state of the routers to the service manager, in a line, if it has changed.
    pub(super) fn say_status(&mut self) {
        if !std::mem::take(&mut self.status_untold) || !self.supervisor.listens() {
            return;
        }
        let routers: Vec<_> = self.engine.routers().values().collect();
        let status = match &routers[..] {
            [router] => format!("{}: {}", router.config.title(), router.state_told().name()),
            routers => {
                let count = |state| routers.iter().filter(|router| router.state_told() == state).count();
                let of = |state: StateName| format!("{} {}", count(state), state.name());
                [StateName::Master, StateName::Backup, StateName::Fault].map(of).join(", ")
            }
        };
        self.supervisor.status(&status);
    }
}
