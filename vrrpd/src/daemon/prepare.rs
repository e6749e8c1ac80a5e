//! The `prepare` script, run before a router becomes Master.

use tracing::info;
use vrrpd_common::router::Event;
use vrrpd_engine::{LinkId, RouterId};

use super::handles::Preparation;
use super::link::FAMILIES;
use super::{Aside, DRAIN, Daemon};
use crate::script::prepare;

impl Daemon {
    /// Runs the `prepare` script of a router; [`Aside::Prepared`] follows.
    pub(super) fn start_preparation(&mut self, id: RouterId) {
        let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get_mut(id)) else {
            return;
        };
        handles.preparations += 1;
        let (link, number, done) = (router.link, handles.preparations, self.aside_in.clone());
        let (name, limit) = (router.config.title().into_owned(), router.config.scripts.prepare_timeout);
        let (run, context) = (router.preparation(), self.scripts.clone());
        let task = tokio::task::spawn_local(async move {
            // The receiver is gone when the daemon ends.
            let over = || drop(done.send((link, Aside::Prepared(id, number))));
            match run {
                Some(run) => prepare(&name, &run, limit.into(), over, &context).await,
                // A reload has removed the script.
                None => over(),
            }
        });
        handles.preparation = Some(Preparation { number, task: task.abort_handle() });
    }

    /// Ends the `prepare` script of a router, if it still runs.
    pub(super) fn end_preparation(&mut self, id: RouterId) {
        if let (Some(router), Some(handles)) = (self.engine.router(id), self.handles.get_mut(id))
            && let Some(preparation) = handles.preparation.take()
        {
            preparation.task.abort();
            info!(router = %router.config.title(), "preparation ended, router does not become master");
        }
    }

    /// Handles the end of a `prepare` script. Everything that has arrived is handled before the router becomes Master.
    pub(super) fn prepared(&mut self, link: LinkId, id: RouterId, number: u64) {
        for place in 0..FAMILIES.len() {
            self.receive(link, place, DRAIN);
        }
        if let Some(handles) = self.handles.get_mut(id)
            && handles.preparation.take_if(|preparation| preparation.number == number).is_some()
        {
            self.event(id, Event::Prepared);
        }
    }
}
