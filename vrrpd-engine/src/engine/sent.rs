//! Results of sending adverts, and discarded adverts of others.

use std::net::IpAddr;

use vrrpd_common::{Instant, Rejection};

use super::{Engine, Line, NotSent, Output};
use crate::ids::{LinkId, RouterId};

impl Engine {
    /// Handles that an advert of a router was sent.
    pub(super) fn sent(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(id) {
            router.done.adverts_sent += 1;
            router.sending.succeeded();
        }
    }

    /// Handles that an advert of a router could not be sent.
    pub(super) fn not_sent(&mut self, now: Instant, id: RouterId, failure: NotSent) {
        let Some(router) = self.routers.get_mut(id) else { return };
        if failure.is_too_long
            && let Some(link) = self.links.get_mut(router.link)
        {
            link.mtu_has_fallen();
        }
        router.sending.refused();
        if let Some(more) = router.unsendable.admit(now, ()) {
            self.agenda.outputs.push_back(Output::Log(id, Line::NotSent(failure, more)));
        }
    }

    /// Handles that an advert of a router could not be sent to a peer. It may have been sent to others.
    pub(super) fn not_sent_to(&mut self, now: Instant, id: RouterId, peer: IpAddr, error: String) {
        let Some(router) = self.routers.get_mut(id) else { return };
        if let Some(more) = router.unsendable.admit(now, ()) {
            self.agenda.outputs.push_back(Output::Log(id, Line::NotSentToPeer { peer, more, error }));
        }
    }

    /// Handles a discarded advert, for a router from an address or for no router of ours.
    pub(super) fn rejected(
        &mut self,
        now: Instant,
        link: LinkId,
        router: Option<(RouterId, IpAddr)>,
        why: Rejection,
    ) {
        let outputs = &mut self.agenda.outputs;
        if let Some((id, source)) = router
            && let Some(warning) = self.routers.get_mut(id).and_then(|router| router.reject(now, source, why))
        {
            outputs.push_back(Output::Log(id, Line::Mismatch(warning)));
        }
        let id = router.map(|(id, _)| id);
        let limit = self.links.get_mut(link).map(|link| &mut link.rejects_said);
        if let Some(more) = limit.and_then(|limit| limit.admit(now, (id, why.reject))) {
            outputs.push_back(match id {
                Some(id) => Output::Log(id, Line::Rejected(why, more)),
                None => Output::Rejected(link, why, more),
            });
        }
    }
}
