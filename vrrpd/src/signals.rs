//! The signals, as in Vrrpd.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: leave.
    Leave,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: write the state file.
    WriteState,
    /// SIGUSR2: go to backup.
    Backup,
    /// SIGTTIN: lower the priority.
    Reduce,
    /// SIGTTOU: raise the priority.
    Increase,
}

/// All of them, caught from its creation on.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    user1: Stream,
    user2: Stream,
    ttin: Stream,
    ttou: Stream,
}

impl Signals {
    /// Installs the handlers.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            ttin: signal(SignalKind::from_raw(libc::SIGTTIN))?,
            ttou: signal(SignalKind::from_raw(libc::SIGTTOU))?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Leave,
            _ = self.interrupt.recv() => Signal::Leave,
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.user1.recv() => Signal::WriteState,
            _ = self.user2.recv() => Signal::Backup,
            _ = self.ttin.recv() => Signal::Reduce,
            _ = self.ttou.recv() => Signal::Increase,
        }
    }
}
