//! Requests of clients, and signals.

use tokio::sync::oneshot;
use tracing::{info, warn};
use vrrpd_common::router::{Event, Origin};
use vrrpd_engine::pending_reply::PendingReply;
use vrrpd_engine::priority::Step;
use vrrpd_engine::recording::Recording;
use vrrpd_engine::{Input, RouterId};

use super::{Daemon, changes, describe, tracking};
use crate::clock;
use crate::control::server::Command;
use crate::control::{Change, Reply, Request, Selector};
use crate::render;
use crate::report::{RecordingReport, RouterReport};
use crate::signals::Signal;
use crate::sys::memory;

impl Daemon {
    pub(super) fn command(&mut self, command: Command) {
        match command.request {
            Request::State(selector) => self.tell(&selector, command.reply),
            Request::Change { selector, change } => {
                let chosen = self.chosen(&selector);
                for id in &chosen {
                    self.change(*id, change, Origin::Operator);
                }
                let pending = PendingReply::begin(clock::now(), chosen);
                self.changes.add(changes::Change { selector, reply: command.reply, pending });
            }
            Request::Record(selector) => self.tell_recordings(&selector, command.reply),
            Request::Events(_) => {
                let message = "events are not asked for here".to_owned();
                // The client may have disconnected.
                let _ = command.reply.send(Reply::Error { message });
            }
        }
    }

    /// Replies to clients whose change was executed completely or takes too long.
    pub(super) fn answer_changes(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        // The consequences for other members of a group.
        self.settle_groups();
        for changes::Change { selector, reply, .. } in self.changes.take_due(clock::now(), &self.engine) {
            self.tell(&selector, reply);
        }
    }

    fn tell(&mut self, selector: &Selector, reply: oneshot::Sender<Reply>) {
        let routers = self.state(selector);
        // The client may have disconnected.
        let _ = reply.send(Reply::State { routers });
    }

    /// Replies with recordings. They are copied here and serialized in another thread, since they may be megabytes.
    fn tell_recordings(&self, selector: &Selector, reply: oneshot::Sender<Reply>) {
        let now = clock::moment();
        let recording = |id: RouterId| {
            let config = &self.engine.router(id)?.config;
            Some((config.name().to_string(), config.title().into_owned(), self.engine.recording(now, id)?))
        };
        let recordings: Vec<_> = self.chosen(selector).into_iter().filter_map(recording).collect();
        tokio::task::spawn_blocking(move || {
            let packed = |(router, name, recording): (String, String, Recording)| RecordingReport {
                recording: recording.pack(RecordingReport::PROGRAM, &router),
                router,
                name,
            };
            // The client may have disconnected.
            let _ = reply.send(Reply::Recorded { routers: recordings.into_iter().map(packed).collect() });
        });
    }

    /// Handles every signal except [`Signal::Leave`].
    pub(super) fn signal(&mut self, signal: Signal) {
        let change = match signal {
            Signal::Leave => return,
            Signal::Reload => return self.reload(),
            Signal::WriteState => return self.write_state(),
            Signal::Backup => Change::Backup,
            Signal::Reduce => Change::Reduce,
            Signal::Increase => Change::Increase,
        };
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.change(id, change, Origin::Signal);
        }
    }

    fn change(&mut self, id: RouterId, change: Change, origin: Origin) {
        self.input(match change {
            Change::Backup => Input::Event(id, Event::StandBack(origin), None),
            Change::Master => Input::Event(id, Event::Resume(origin), None),
            Change::Reduce => Input::Step(id, Step::Reduce),
            Change::Increase => Input::Step(id, Step::Increase),
        });
    }

    fn chosen(&self, selector: &Selector) -> Vec<RouterId> {
        self.engine
            .routers()
            .iter()
            .filter(|(_, router)| selector.matches(&router.config.name(), router.config.title.as_deref()))
            .map(|(id, _)| id)
            .collect()
    }

    fn state(&mut self, selector: &Selector) -> Vec<RouterReport> {
        let chosen = self.chosen(selector);
        // The kernel's records may hold state that it did not report.
        for id in &chosen {
            self.hear_kernel(*id);
        }
        // The consequences of a change.
        self.settle_groups();
        let now = clock::now();
        chosen
            .into_iter()
            .filter_map(|id| self.engine.router(id))
            .filter_map(|router| {
                let group = router.group.and_then(|place| self.group_report(place));
                let tracks = tracking::report(self.engine.checks(), router);
                Some(describe::report(
                    router,
                    self.engine.interface(router.link),
                    self.links.get(router.link)?,
                    now,
                    group,
                    tracks,
                ))
            })
            .collect()
    }

    /// Writes the state file. The lines of Vrrpd are also logged, as Vrrpd does.
    fn write_state(&mut self) {
        let routers = self.state(&Selector::default());
        for line in routers.iter().map(render::classic).collect::<String>().lines() {
            info!("{}", line.trim_start_matches("vrrpd: "));
        }
        let text = render::state_file(&routers);
        self.rundir.keep_until_the_end(&self.state_file);
        self.write_behind(self.state_file.clone(), 0o644, text, |path, written| {
            match written {
                Ok(()) => info!(path = %path.display(), "state file written"),
                Err(error) => warn!(error, "cannot write state file"),
            }
            memory::give_back();
        });
    }
}
