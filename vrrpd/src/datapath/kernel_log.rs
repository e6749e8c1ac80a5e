//! Logs the output of the program's debug variant at level debug, target `vrrpd::kernel`.
//!
//! For development; the released daemon has neither this nor the map that it reads.

use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::task::{self, AbortHandle};
use tracing::debug;

use super::refusal::{Cause, Refusal};
use crate::sys::watch;

/// The log of an object's program.
pub(super) struct ProgramLog(Mutex<State>);

enum State {
    Unread(Box<Ebpf>),
    Failed,
    Read(AbortHandle),
}

/// Where its lines go.
struct Lines;

impl ProgramLog {
    /// That of the program of this object.
    pub(super) fn of(ebpf: Ebpf) -> Self {
        Self(Mutex::new(State::Unread(Box::new(ebpf))))
    }

    /// Begins to read it until this is dropped, unless that was done.
    pub(super) fn read(&self) -> Result<(), Refusal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Unread(ebpf) = &mut *state else { return Ok(()) };
        let logger = EbpfLogger::init_with_logger(ebpf, Lines);
        *state = State::Failed;
        let mut logger = logger.map_err(|error| Refusal::Log(Cause::of(error)))?;
        let lines = logger.as_fd().try_clone_to_owned().and_then(watch::descriptor);
        let lines = lines.map_err(|error| Refusal::Log(Cause::of(error)))?;
        let reading = task::spawn_local(async move {
            while let Ok(mut ready) = lines.readable().await {
                ready.clear_ready();
                logger.flush();
            }
        });
        *state = State::Read(reading.abort_handle());
        Ok(())
    }
}

impl Drop for ProgramLog {
    fn drop(&mut self) {
        if let State::Read(reading) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner) {
            reading.abort();
        }
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        debug!(target: "vrrpd::kernel", line = %record.args(), "program log");
    }

    fn flush(&self) {}
}
