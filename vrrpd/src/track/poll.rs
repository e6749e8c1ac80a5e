//! What has to be asked again and again.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use vrrpd_engine::track::{Finding, Polling};

use super::Reporter;

/// Asks each interval. What takes longer than the timeout has failed; what takes longer than the interval is not asked twice.
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

/// When it is asked: at once, and then each interval; a turn that comes while it is still asked is left out.
pub(super) fn turns(polling: Polling) -> tokio::time::Interval {
    let mut turns = interval(polling.interval.into());
    turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
    turns
}

/// The timeout has passed.
pub(super) fn no_answer(polling: Polling) -> String {
    format!("no answer within {}", polling.timeout)
}

/// Connects to a TCP server.
pub(super) async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(server).await
}
