//! The channel for results of checks.

use tokio::sync::mpsc;
use vrrpd_engine::priority::TrackId;
use vrrpd_engine::track::Finding;

/// A result of a check.
#[derive(Debug)]
pub struct Found {
    /// The check.
    pub id: TrackId,
    /// The result.
    pub finding: Finding,
    /// Details for people.
    pub detail: String,
    /// The start of the check that it belongs to.
    pub(super) run: u64,
}

/// The channel for the results of a check.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    pub(super) id: TrackId,
    pub(super) run: u64,
    pub(super) told: mpsc::UnboundedSender<Found>,
}

impl Reporter {
    pub(super) fn tell(&self, finding: Finding, detail: impl Into<String>) {
        // The receiver is gone when the daemon leaves.
        let _ = self.told.send(Found { id: self.id, finding, detail: detail.into(), run: self.run });
    }
}
