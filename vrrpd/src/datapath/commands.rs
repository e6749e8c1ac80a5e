//! Commands of the daemon to the program in the kernel: `BPF_PROG_TEST_RUN` of a second program, on a frame that is a
//! [`KernelCommand`].

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::thread;

use aya::maps::Map;
use aya::programs::ProgramFd;
use vrrpd_common::Instant;
use vrrpd_common::abi::{ABI_VERSION, KernelCommand};

use super::refusal::Refusal;
use crate::clock;
use crate::sys::bpf;

/// Pipes that are opened and closed before a timer is asked for again, and the pause when that did not help.
const PIPES: usize = 32;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// The program for commands.
pub(super) struct Commands {
    program: ProgramFd,
    /// The timers: the kernel cancels them, and creates no more, when no process has their map open.
    _timers: Map,
}

impl Commands {
    pub(super) const fn new(program: ProgramFd, timers: Map) -> Self {
        Self { program, _timers: timers }
    }

    /// Creates the timer of a place, before a router needs it; tries until `until`. Newer kernels allocate timers without
    /// sleeping, from memory cached for this processor. In Linux 6.18 that fails for every hundredth timer or so, and then for
    /// seconds, until other code has used objects of that size. A pipe is such an object.
    pub(super) fn prepare(&self, place: u32, until: Instant) -> Result<(), Refusal> {
        let command = KernelCommand { place, ..KernelCommand::default() };
        for attempt in 0_u32.. {
            match self.ask(command)? {
                0 => break,
                result if result == -libc::ENOMEM && clock::now() < until => {
                    if attempt > 0 {
                        thread::sleep(PAUSE);
                    }
                    // Without free descriptors, only trying again is left.
                    drop((0..PIPES).map_while(|_| io::pipe().ok()).collect::<Vec<_>>());
                }
                result => return Err(of_the_timer(result)),
            }
        }
        Ok(())
    }

    /// Executes a command; it is in effect when this returns.
    pub(super) fn carry_out(&self, command: KernelCommand) -> Result<(), Refusal> {
        match self.ask(command)? {
            0 => Ok(()),
            result => Err(of_the_timer(result)),
        }
    }

    fn ask(&self, mut command: KernelCommand) -> Result<i32, Refusal> {
        command.abi = ABI_VERSION;
        let mut answer = KernelCommand::default();
        bpf::run(self.program.as_fd(), bytemuck::bytes_of(&command), bytemuck::bytes_of_mut(&mut answer))
            .map_err(|error| Refusal::NotRun(error.into()))?;
        Ok(answer.result)
    }
}

/// The error of the kernel's timer.
fn of_the_timer(result: i32) -> Refusal {
    Refusal::Timer(io::Error::from_raw_os_error(result.saturating_neg()).into())
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}
