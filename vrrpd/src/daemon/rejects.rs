//! Discarded adverts in the log: at most one line a second for each reason and router.

use std::collections::BTreeMap;

use tracing::{debug, warn};
use vrrpd_common::{Duration, Instant, Reject, Rejection};

use crate::datapath::RouterId;

const SPACING: Duration = Duration::from_secs(1);

/// When what was said last.
#[derive(Debug, Default)]
pub(super) struct RejectLog {
    last: BTreeMap<(Option<RouterId>, Reject), Last>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    untold: u64,
}

impl RejectLog {
    /// Says it, or counts it for the next line.
    pub(super) fn say(
        &mut self,
        now: Instant,
        interface: &str,
        router: Option<(RouterId, String)>,
        rejection: &Rejection,
    ) {
        let (id, name) = router.unzip();
        let untold = match self.last.get_mut(&(id, rejection.reject)) {
            Some(last) if now.saturating_since(last.at) < SPACING => {
                last.untold += 1;
                return;
            }
            Some(last) => {
                last.at = now;
                std::mem::take(&mut last.untold)
            }
            None => {
                self.last.insert((id, rejection.reject), Last { at: now, untold: 0 });
                0
            }
        };
        let (check, why) = (rejection.reject.name(), rejection.to_string());
        match (rejection.reject, name) {
            // What is meant for others is no fault.
            (Reject::NotOurs, _) => {
                debug!(interface, check, why, more = untold, "an advert is not for us");
            }
            (_, Some(router)) => warn!(router, check, why, more = untold, "an advert was discarded"),
            (_, None) => warn!(interface, check, why, more = untold, "an advert was discarded"),
        }
    }
}
