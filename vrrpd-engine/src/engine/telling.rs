//! Commands for the kernel data path, and the adverts that it has discarded.

use vrrpd_common::Instant;
use vrrpd_common::abi::{RouterRecord, slot};

use super::turn::Turn;
use super::{Engine, Line, Output};
use crate::ids::RouterId;
use crate::kernel::{Circumstances, Tell, Told};
use crate::router::Router;

impl Turn<'_> {
    /// Tells the kernel what has changed for the router. `was_reported`: the router handled an advert that the kernel
    /// reported, so the kernel has set its own deadline already.
    pub(super) fn tell_kernel(&mut self, was_reported: bool) {
        let Some(now) = to_tell(self.router) else { return };
        match self.router.kernel.tell(now, was_reported) {
            Tell::Nothing => {}
            Tell::Command => self.command_kernel(now),
        }
    }

    /// Tells the kernel everything about the router again.
    pub(super) fn tell_kernel_all(&mut self) {
        if !self.router.kernel.is_told() {
            return self.tell_kernel(false);
        }
        if let Some(now) = to_tell(self.router) {
            self.command_kernel(now);
        }
    }

    /// Corrects the kernel's deadline of a Backup that has handled everything in this record, if it differs.
    pub(super) fn correct_kernel(&mut self, record: &RouterRecord) {
        if let Some(now) = to_tell(self.router)
            && now.corrects(record)
        {
            self.command_kernel(now);
        }
    }

    /// Adverts that the kernel heard before the command took effect are handled first.
    fn command_kernel(&mut self, now: Told) {
        let config = &self.router.config;
        let command = Box::new(self.router.kernel.command(slot(config.family, config.vrid), now));
        self.agenda.asked_for = Some(self.id);
        self.put_out(Output::CommandKernel { router: self.id, command });
    }
}

impl Engine {
    /// Logs the adverts that the kernel has discarded for a router, at most once a second for each reason.
    pub(super) fn discarded(&mut self, now: Instant, id: RouterId, record: &RouterRecord) {
        let Some(router) = self.routers.get_mut(id) else { return };
        let Some(link) = self.links.get_mut(router.link) else { return };
        let outputs = &mut self.agenda.outputs;
        if let Some((at, source, why)) = record.refused.rejection(router.config.family) {
            let warning = router.reject(at, source, why);
            outputs.extend(warning.map(|warning| Output::Log(id, Line::Mismatch(warning))));
        }
        router.kernel.discarded(&record.rejected, |reject, count| {
            let may_say = link.rejects_said.admit(now, (Some(id), reject)).is_some();
            if may_say {
                outputs.push_back(Output::Log(id, Line::RejectedByKernel(reject, count)));
            }
            may_say
        });
    }
}

/// What the kernel has to know of a router; `None`: its adverts do not come through the kernel data path.
fn to_tell(router: &Router) -> Option<Told> {
    if !router.in_kernel {
        return None;
    }
    let circumstances = Circumstances {
        is_verified_by_us: router.is_verified_by_us(),
        is_grouped: router.group.is_some(),
        passes_on: router.config.xdp_pass,
    };
    let expect = router.expected.without_secret(&router.config);
    Some(Told::of(&router.machine, circumstances, &expect))
}
