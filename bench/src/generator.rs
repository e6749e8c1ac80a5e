//! Whether the load generator did what the figures say.

use anyhow::{Result, ensure};
use vrrpd_lab::Flood;

use super::record::{Metric, Record};
use super::subject::Subject;

/// What at least is to be sent of what was to be sent, for the figures to count.
const ENOUGH: f64 = 0.95;

const PART: Metric = Metric::told("sent of what was to be sent", "%");

/// Ends them, and says whether they sent what they were to send until now: backups that hear less, or nothing, cost little.
pub(crate) fn stop(floods: impl IntoIterator<Item = Flood>) -> Result<()> {
    enough(part_sent(floods))
}

/// The same with one subject in a machine that has no processor to spare. keepalived, when it takes over falsely, takes that
/// of the generator as well: of what is left it has done no better than of all, so then it is told, and counts.
pub(crate) fn stop_beside(
    record: &mut Record,
    subject: Subject,
    floods: impl IntoIterator<Item = Flood>,
) -> Result<()> {
    let part = part_sent(floods);
    record.add("", PART, subject.column(), part.min(1.0) * 100.0);
    if subject == Subject::Keepalived { Ok(()) } else { enough(part) }
}

/// Ends them, and says what part they sent of what they were to send until now: the least of them.
fn part_sent(floods: impl IntoIterator<Item = Flood>) -> f64 {
    let floods: Vec<_> = floods.into_iter().collect();
    let least = floods.iter().map(Flood::part_sent).fold(1.0, f64::min);
    for flood in floods {
        flood.stop();
    }
    least
}

/// Whether this part of what was to be sent is enough.
fn enough(part: f64) -> Result<()> {
    ensure!(part >= ENOUGH, "of the adverts that were to be sent {:.1} % were sent", part * 100.0);
    Ok(())
}
