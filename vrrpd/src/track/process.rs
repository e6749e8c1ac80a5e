//! Process check: processes by name. A pidfd of each match reports its end at once, and costs nothing meanwhile. Starts
//! are watched only while a match is missing: by the process connector of the kernel, or by polling /proc if that is
//! not available.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;
use vrrpd_engine::track::{Finding, ProcessName};

use super::proc::find;
use super::process_events::{Subscription, Subscriptions};
use super::reporter::Reporter;
use crate::lane::Lane;
use crate::sys::watch;

/// Polling interval of /proc while a match is missing.
const INTERVAL: Duration = Duration::from_secs(1);
/// Number of watched matches beyond the required ones, to limit the cost for a server with a process for each
/// connection.
const MORE: usize = 8;

/// Shared by all process checks.
#[derive(Debug)]
pub(super) struct Processes {
    lane: Lane,
    subscriptions: Subscriptions,
}

/// The watched matches of a name.
struct Matches {
    watched: BTreeSet<u32>,
    ends: FuturesUnordered<Pin<Box<dyn Future<Output = u32>>>>,
    /// The last reported number.
    told: Option<usize>,
}

impl Processes {
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, subscriptions: Subscriptions::default() }
    }

    /// Reports the number of processes with this name whenever it changes, up to the required number and some more.
    pub(super) async fn watch(&self, name: ProcessName, needed: usize, reporter: &Reporter) {
        let mut matches = Matches { watched: BTreeSet::new(), ends: FuturesUnordered::new(), told: None };
        // While it exists, no start is missed.
        let mut subscription = None;
        loop {
            self.look(&name, needed, &mut matches).await;
            matches.tell(reporter);
            if matches.watched.len() >= needed {
                subscription = None;
                matches.ended().await;
                continue;
            }
            if subscription.is_none() {
                subscription = self.subscriptions.subscribe();
                if subscription.is_some() {
                    // It may have started before the subscription.
                    continue;
                }
            }
            tokio::select! {
                () = matches.ended(), if !matches.watched.is_empty() => {}
                () = started(subscription.as_mut(), &name) => {}
            }
        }
    }

    /// Watches further matches.
    async fn look(&self, name: &ProcessName, needed: usize, matches: &mut Matches) {
        let most = needed.saturating_add(MORE);
        if matches.watched.len() >= needed {
            return;
        }
        let (wanted, known) = (name.clone(), matches.watched.clone());
        let found = self.lane.run(format!("looking for {name}"), move || find(&wanted, &known, most)).await;
        for (pid, pidfd) in found.flatten().unwrap_or_default() {
            if let Ok(pidfd) = watch::descriptor(pidfd) {
                matches.watched.insert(pid);
                matches.ends.push(Box::pin(async move {
                    // An error counts as the end: it is looked for again.
                    let _ = pidfd.readable().await;
                    pid
                }));
            }
        }
    }
}

impl Matches {
    fn tell(&mut self, reporter: &Reporter) {
        let count = self.watched.len();
        if self.told.replace(count) != Some(count) {
            let number = u32::try_from(count).unwrap_or(u32::MAX);
            reporter.tell(Finding::Count(number), format!("{count} running"));
        }
    }

    /// Waits until one of them has ended.
    async fn ended(&mut self) {
        if let Some(pid) = self.ends.next().await {
            self.watched.remove(&pid);
        }
    }
}

/// Returns when a process with this name may have started.
async fn started(subscription: Option<&mut Subscription>, name: &ProcessName) {
    match subscription {
        Some(subscription) => subscription.hears_of(name).await,
        None => sleep(INTERVAL).await,
    }
}
