//! The end: every router hands over, everything is given back, and the last scripts run.

use std::io;

use tracing::{error, info};
use vrrpd_common::Duration;
use vrrpd_common::router::Event;
use vrrpd_engine::Input;
use vrrpd_engine::router::Router;

use super::Daemon;
use super::reload::Reload;
use crate::clock;
use crate::control::followers::Followers;
use crate::signals::Signal;

/// How long the kernel may take to remove an address or a link when the daemon leaves.
const LEAVE: Duration = Duration::from_secs(2);
/// How long clients that follow the transitions may take to be told of the last ones.
const LAST_EVENTS: Duration = Duration::from_millis(100);

impl Daemon {
    /// Hands every router over, gives everything back, and waits until that is done.
    pub(super) async fn leave(mut self) -> io::Result<()> {
        info!("stopping");
        // Nobody begins any more.
        self.reload = Reload::default();
        self.stop_tracking();
        self.supervisor.stopping();
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.event(id, Event::Shutdown);
        }
        self.settle_groups();
        self.flush();
        let mut until = clock::now() + LEAVE;
        while self.is_busy() && clock::now() < until {
            let patience = until.saturating_since(clock::now());
            let answered = self.engine.answers();
            match tokio::time::timeout(patience.into(), self.turn()).await {
                Ok(turn) => drop(turn?),
                Err(_) => break,
            }
            if self.engine.answers() > answered {
                until = clock::now() + LEAVE;
            }
            // It may be the last there was to do, and nothing wakes a turn after that.
            self.flush();
        }
        if self.is_busy() {
            error!("virtual addresses not removed in time");
        }
        self.discard_links().await?;
        if let Some(written) = self.written.take() {
            // What is written later would stay behind.
            let _ = tokio::time::timeout(LEAVE.into(), written).await;
        }
        if self.engine.routers().values().all(Router::holds_nothing) {
            // Removed with the others; what could not be given back is left to the guardian, or to the next daemon.
            self.rundir.keep_until_the_end(&self.journal_file);
            self.guardian.dismiss();
        }
        let changed = async {
            for changing in self.own_macs_changed.into_values() {
                // What comes of it goes with us, and is not left on an interface.
                let _ = changing.await;
            }
        };
        let _ = tokio::time::timeout(LEAVE.into(), changed).await;
        // From here on another daemon may serve these routers, with a program of its own in the kernel; its scripts wait
        // for ours.
        self.links.clear();
        drop(self.group_peers);
        drop(self.rundir);
        tell_last(&self.followers).await;
        let scripts = self.handles.values_mut().filter_map(|handles| handles.scripts.take());
        let scripts: Vec<_> = scripts.chain(self.group_runners.into_runners()).collect();
        let finish = async {
            for runner in scripts {
                runner.finish().await;
            }
            self.scripts.finish().await;
        };
        let asked_again = async { while self.signals.next().await != Signal::Leave {} };
        tokio::select! {
            () = finish => {}
            () = asked_again => info!("not waiting for running scripts"),
        }
        Ok(())
    }

    /// Takes the links of virtual MAC addresses away, and waits until that is done.
    pub(super) async fn discard_links(&mut self) -> io::Result<()> {
        for id in self.engine.routers().ids().collect::<Vec<_>>() {
            self.input(Input::Discard(id));
        }
        let mut until = clock::now() + LEAVE;
        while self.engine.routers().values().any(|router| router.waiting.is_some()) && clock::now() < until {
            let patience = until.saturating_since(clock::now());
            let answered = self.engine.answers();
            match tokio::time::timeout(patience.into(), self.reports.recv()).await {
                Ok(Some(report)) => self.report(report),
                Ok(None) => return Err(io::Error::other("the netlink thread has ended")),
                Err(_) => error!("macvlan links not removed in time"),
            }
            if self.engine.answers() > answered {
                until = clock::now() + LEAVE;
            }
        }
        Ok(())
    }

    pub(super) fn is_busy(&self) -> bool {
        let now = clock::now();
        self.engine.routers().values().any(|router| router.waiting.is_some())
            || self.links.values().any(|link| link.deadline(now).is_some())
    }
}

/// Waits until those who follow the transitions have been told of all, or do not read: with nothing to give back, no task
/// but this one would have its turn before the end.
async fn tell_last(followers: &Followers) {
    let until = clock::now() + LAST_EVENTS;
    while !followers.have_heard_all() && clock::now() < until {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
