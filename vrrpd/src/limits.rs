//! How many files this process may have open: systems allow a thousand unless asked, and routers with scripts take more.

use std::os::fd::{AsFd, AsRawFd as _};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors of a process without routers, its clients included.
const ANYHOW: u64 = 256;
/// Sockets, programs and maps of an interface.
const INTERFACE: u64 = 20;
/// Process, pipe and a share of the claim for a script.
const SCRIPT: u64 = 4;
/// Processes of one name that are watched, or what else a check has open.
const CHECK: u64 = 12;
/// Descriptors that scripts and clients leave to interfaces, the kernel and files: for two interfaces that come and what the
/// daemon opens for a moment. At most a quarter of the limit.
const RESERVE: u64 = 64;

/// Copies of descriptors for which room is made together.
const COPIES: usize = 256;

/// Makes room for this many interfaces, scripts and checks, if there is not enough. Scripts have the same
/// limit, which is why it is not raised as far as it goes.
pub fn make_room(interfaces: usize, scripts: usize, checks: usize) {
    raise_to(CHECK * checks as u64 + ANYHOW + INTERFACE * interfaces as u64 + SCRIPT * scripts as u64);
}

/// The same for a process that runs this many scripts at once, and serves nothing.
pub fn make_room_for_scripts(scripts: usize) {
    raise_to(ANYHOW + SCRIPT * scripts as u64);
}

/// Whether a descriptor that was opened just now, for a script or a client, is one of the last that there are. The lowest
/// free number is given out, so all numbers below it are in use.
pub fn is_reserved(descriptor: impl AsFd) -> bool {
    let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| is_among_the_last(number, soft))
}

fn is_among_the_last(number: u64, limit: u64) -> bool {
    number >= limit - RESERVE.min(limit / 4)
}

/// The same for a process that holds this many descriptors of another one: in steps, so that it mostly does nothing.
pub fn make_room_for_copies(copies: usize) {
    if copies % COPIES == 1 {
        raise_to(ANYHOW + (copies + COPIES) as u64);
    }
}

fn raise_to(wanted: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= wanted {
        return;
    }
    // Beyond what the system allows only who may change that comes.
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_err() {
        // As far as it goes; what is lacking is said where it lacks.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        warn!(wanted, limit = hard, "limit of open files too low");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_descriptors_are_kept_for_the_protocol() {
        for (number, limit, reserved) in [
            (959, 1024, false),
            (960, 1024, true),
            (191, 256, false),
            (192, 256, true),
            (47, 64, false),
            (48, 64, true),
        ] {
            assert_eq!(is_among_the_last(number, limit), reserved, "{number} of {limit}");
        }
        assert!(!is_among_the_last(u64::from(u32::MAX), u64::MAX));
    }
}
