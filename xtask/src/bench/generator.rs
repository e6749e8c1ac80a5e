//! Whether the load generator did what the figures say.

use anyhow::{Result, ensure};
use vrrpd_lab::Flood;

/// What at least is to be sent of what was to be sent, for the figures to count.
const ENOUGH: f64 = 0.95;

/// Ends them, and says whether they sent what they were to send until now: backups that hear less, or nothing, cost little.
pub(crate) fn stop(floods: impl IntoIterator<Item = Flood>) -> Result<()> {
    enough(part_sent(floods))
}

/// Ends them, and says what part they sent of what they were to send until now: the least of them.
pub(crate) fn part_sent(floods: impl IntoIterator<Item = Flood>) -> f64 {
    let floods: Vec<_> = floods.into_iter().collect();
    let least = floods.iter().map(Flood::part_sent).fold(1.0, f64::min);
    for flood in floods {
        flood.stop();
    }
    least
}

/// Whether this part of what was to be sent is enough.
pub(crate) fn enough(part: f64) -> Result<()> {
    ensure!(part >= ENOUGH, "of the adverts that were to be sent {:.1} % were sent", part * 100.0);
    Ok(())
}
