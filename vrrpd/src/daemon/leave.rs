//! The end of the daemon: every router hands over and gives everything back, and the last scripts run.

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

/// How long the kernel may take to remove addresses and links at the end.
const LEAVE: Duration = Duration::from_secs(2);
/// How long followers may take to receive the last events.
const LAST_EVENTS: Duration = Duration::from_millis(100);

impl Daemon {
    /// Hands every router over, gives everything back, and waits until that is done.
    pub(super) async fn leave(mut self) -> io::Result<()> {
        info!("stopping");
        // No router starts any more.
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
            // These may be the last frames, and nothing would start another turn.
            self.flush();
        }
        if self.is_busy() {
            error!("virtual addresses not removed in time");
        }
        self.discard_links().await?;
        if let Some(written) = self.written.take() {
            // A journal written later would remain.
            let _ = tokio::time::timeout(LEAVE.into(), written).await;
        }
        if self.engine.routers().values().all(Router::holds_nothing) {
            // Removed with the other files; the guardian or the next daemon handles what could not be given back.
            self.rundir.keep_until_the_end(&self.journal_file);
            self.guardian.dismiss();
        }
        let changed = async {
            for changing in self.own_macs_changed.into_values() {
                // Its result is lost with the process and must not remain on an interface.
                let _ = changing.await;
            }
        };
        let _ = tokio::time::timeout(LEAVE.into(), changed).await;
        // From here on another daemon may serve these routers with its own program in the kernel; its scripts wait for
        // ours.
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

    /// Removes the macvlan links, and waits until that is done.
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

/// Waits until followers have received all events or do not read: without anything to give back, their tasks would not
/// run before the end.
async fn tell_last(followers: &Followers) {
    let until = clock::now() + LAST_EVENTS;
    while !followers.have_heard_all() && clock::now() < until {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
