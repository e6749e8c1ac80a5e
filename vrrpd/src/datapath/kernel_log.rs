//! What the variant of the program that logs has to say: lines of our own log, level debug, target `vrrpd::kernel`.
//!
//! For those who work on the program; the daemon that is shipped has neither this nor the map that it reads.

use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::task::{self, AbortHandle};
use tracing::debug;

use super::refusal::{Cause, Refusal};
use crate::sys::watch;

/// Reads the log of the program on one interface until it is dropped.
#[derive(Debug)]
pub(super) struct KernelLog(AbortHandle);

/// Where its lines go.
struct Lines {
    interface: String,
}

impl KernelLog {
    /// Begins to read.
    pub(super) fn read(ebpf: &mut Ebpf, interface: &str) -> Result<Self, Refusal> {
        let lines = Lines { interface: interface.to_owned() };
        let mut logger =
            EbpfLogger::init_with_logger(ebpf, lines).map_err(|error| Refusal::Log(Cause::of(error)))?;
        let lines = logger.as_fd().try_clone_to_owned().and_then(watch::descriptor);
        let lines = lines.map_err(|error| Refusal::Log(Cause::of(error)))?;
        let reading = task::spawn_local(async move {
            while let Ok(mut ready) = lines.readable().await {
                ready.clear_ready();
                logger.flush();
            }
        });
        Ok(Self(reading.abort_handle()))
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        debug!(target: "vrrpd::kernel", interface = self.interface, line = %record.args(), "program log");
    }

    fn flush(&self) {}
}
