//! Checks that poll.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vrrpd_engine::track::{Finding, Polling};

use super::reporter::Reporter;

/// Runs a check every interval. It fails after its timeout; a run that takes longer than the interval is not started
/// twice.
pub(super) async fn poll<E: ToString>(
    polling: Polling,
    reporter: Reporter,
    mut ask: impl AsyncFnMut() -> Result<(), E>,
) {
    let mut turns = turns(polling);
    loop {
        turns.tick().await;
        match timeout(polling.timeout.into(), ask()).await {
            Ok(Ok(())) => reporter.tell(Finding::Holds, "answered"),
            Ok(Err(error)) => reporter.tell(Finding::Fails, error.to_string()),
            Err(_) => reporter.tell(Finding::Fails, no_answer(polling)),
        }
    }
}

/// The times of runs: at once, then every interval; times during a run are skipped.
pub(super) fn turns(polling: Polling) -> tokio::time::Interval {
    let mut turns = interval(polling.interval.into());
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    turns
}

/// The text for a timeout.
pub(super) fn no_answer(polling: Polling) -> String {
    format!("no answer within {}", polling.timeout)
}

/// Connects to a TCP server.
pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(server).await
}
