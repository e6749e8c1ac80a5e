//! The end of the daemon: every router hands over and gives everything back, and the last scripts run.

use std::io;

use tracing::{error, info};
use vrrpd_common::Duration;
use vrrpd_common::router::Event;
use vrrpd_engine::Input;
use vrrpd_engine::leaving::{Patience, Wait};

use super::Daemon;
use super::reload_state::Reload;
use crate::clock;
use crate::control::followers::Followers;
use crate::signals::Signal;

/// How long pending writes and changes of MAC addresses may take at the end.
const LAST_CHANGES: Duration = Duration::from_secs(2);
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
        let mut patience = Patience::begin(clock::now(), &self.engine);
        loop {
            let now = clock::now();
            let has_unsent = self.links.values().any(|link| link.deadline(now).is_some());
            match patience.go_on(now, &self.engine, has_unsent) {
                Wait::Until(at) => {
                    // The turn before may have been given up.
                    self.is_stirred = true;
                    if let Ok(turn) = tokio::time::timeout(at.saturating_since(now).into(), self.turn()).await
                    {
                        turn?;
                    }
                }
                Wait::Done => break,
                Wait::InVain => {
                    error!("virtual addresses not removed in time");
                    break;
                }
            }
            // These may be the last frames, and nothing would start another turn.
            self.flush();
        }
        self.discard_links().await?;
        if let Some(written) = self.written.take() {
            // A journal written later would remain.
            let _ = tokio::time::timeout(LAST_CHANGES.into(), written).await;
        }
        if self.engine.holds_nothing() {
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
        let _ = tokio::time::timeout(LAST_CHANGES.into(), changed).await;
        // From here on another daemon may serve these routers, with a program of its own in the kernel; its scripts wait
        // for ours.
        self.links.clear();
        self.retired.clear();
        self.objects.detaching().wait_for_all(LAST_CHANGES);
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
        let mut patience = Patience::begin(clock::now(), &self.engine);
        loop {
            let now = clock::now();
            match patience.go_on(now, &self.engine, false) {
                Wait::Until(at) => {
                    let report =
                        tokio::time::timeout(at.saturating_since(now).into(), self.reports.recv()).await;
                    match report {
                        Ok(Some(report)) => self.report(report),
                        Ok(None) => return Err(io::Error::other("the netlink thread has ended")),
                        Err(_) => {}
                    }
                }
                Wait::Done => return Ok(()),
                Wait::InVain => {
                    error!("macvlan links not removed in time");
                    return Ok(());
                }
            }
        }
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
