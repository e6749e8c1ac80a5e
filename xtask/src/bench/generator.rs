//! Whether the load generator did what the figures say.

use anyhow::{Result, ensure};
use vrrpd_lab::Flood;

/// What at least is to be sent of what was to be sent, for the figures to count.
const ENOUGH: f64 = 0.95;

/// Ends them, and says whether they sent what they were to send until now: backups that hear less, or nothing, cost little.
pub(crate) fn stop(floods: impl IntoIterator<Item = Flood>) -> Result<()> {
    let floods: Vec<_> = floods.into_iter().collect();
    let least = floods.iter().map(Flood::part_sent).fold(1.0, f64::min);
    for flood in floods {
        flood.stop();
    }
    ensure!(least >= ENOUGH, "of the adverts that were to be sent {:.1} % were sent", least * 100.0);
    Ok(())
}
