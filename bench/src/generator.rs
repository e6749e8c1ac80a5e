//! Checks whether the load generator sent what it should.

use anyhow::{Result, ensure};
use vrrpd_lab::Flood;

use super::record::{Metric, Record};
use super::subject::Subject;

/// Minimum fraction of the intended frames for the figures to count.
const ENOUGH: f64 = 0.95;

const PART: Metric = Metric::told("sent of what was to be sent", "%");

/// Stops the generators, and checks that they sent enough, since backups that hear less cost less.
pub(crate) fn stop(floods: impl IntoIterator<Item = Flood>) -> Result<()> {
    enough(part_sent(floods))
}

/// The same beside a subject on a machine without a spare processor. keepalived, when it takes over wrongly, takes the
/// generator's time too; that is in keepalived's favour, so it is reported and counts.
pub(crate) fn stop_beside(
    record: &mut Record,
    subject: Subject,
    floods: impl IntoIterator<Item = Flood>,
) -> Result<()> {
    let part = part_sent(floods);
    record.add("", PART, subject.column(), part.min(1.0) * 100.0);
    if subject == Subject::Keepalived { Ok(()) } else { enough(part) }
}

/// Stops the generators, and returns the least fraction that any of them sent.
fn part_sent(floods: impl IntoIterator<Item = Flood>) -> f64 {
    let floods: Vec<_> = floods.into_iter().collect();
    let least = floods.iter().map(Flood::part_sent).fold(1.0, f64::min);
    for flood in floods {
        flood.stop();
    }
    least
}

/// Checks that this fraction is enough.
fn enough(part: f64) -> Result<()> {
    ensure!(part >= ENOUGH, "of the adverts that were to be sent {:.1} % were sent", part * 100.0);
    Ok(())
}
