//! What the guardian is told, and its end.

use std::io;

use tracing::error;
use vrrpd_engine::RouterId;

use super::Daemon;
use crate::guardian::{GuardianMessage, Mastery};

impl Daemon {
    /// Tells the guardian which routers became Master or ceased to be; their adverts have been sent by then.
    pub(super) fn tell_guardian(&mut self) {
        while let Some(id) = self.untold.pop_first() {
            let mastery = self.mastery(id).map(|mastery| GuardianMessage::Master(Box::new(mastery)));
            match self.guardian.tell(&mastery.unwrap_or(GuardianMessage::Over(id))) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The socket has room again at the next turn.
                    self.untold.insert(id);
                    return;
                }
                // The end of the guardian is logged when its socket reports it.
                Err(_) => self.untold.clear(),
            }
        }
    }

    /// What the guardian does for a router if the daemon dies; `None`: nothing, since it is not Master or has left.
    fn mastery(&mut self, id: RouterId) -> Option<Mastery> {
        let acts = self.engine.last_acts(id)?;
        let (router, handles) = (self.engine.router(id)?, self.handles.get_mut(id)?);
        let on = (self.engine.interface(router.link), &self.links.get(router.link)?.peers);
        Some(handles.mastery(router, id, on, self.engine.marks(), acts))
    }

    /// Handles that the socket of the guardian is readable: mostly it has ended.
    pub(super) fn guardian_ready(&mut self) {
        let Some(socket) = self.guardian_ends.take() else { return };
        if self.guardian.has_ended() {
            self.guardian.see_off();
            error!("guardian process lost: after a crash, addresses stay until the next start");
        } else {
            socket.was_read(true);
            self.guardian_ends = Some(socket);
        }
    }
}
