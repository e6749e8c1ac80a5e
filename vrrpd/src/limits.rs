//! The limit of open files: the usual default is a thousand, and routers with scripts need more.

use std::os::fd::{AsFd, AsRawFd as _};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors of a process without routers, including clients.
const ANYHOW: u64 = 256;
/// Sockets, programs and maps of an interface.
const INTERFACE: u64 = 20;
/// Process, pipe and a share of the claim for a script.
const SCRIPT: u64 = 4;
/// Watched processes of one name, or other descriptors of a check.
const CHECK: u64 = 12;
/// Descriptors that scripts and clients must leave free for interfaces, the kernel and files: enough for two new
/// interfaces and temporary files. At most a quarter of the limit.
const RESERVE: u64 = 64;

/// Step in which the limit is raised for copies of descriptors.
const COPIES: usize = 256;

/// Raises the limit for this many interfaces, scripts and checks, if necessary. Scripts inherit the limit, so it is not
/// raised to the maximum.
pub fn make_room(interfaces: usize, scripts: usize, checks: usize) {
    raise_to(CHECK * checks as u64 + ANYHOW + INTERFACE * interfaces as u64 + SCRIPT * scripts as u64);
}

/// Raises the limit for a process that only runs this many scripts at once.
pub fn make_room_for_scripts(scripts: usize) {
    raise_to(ANYHOW + SCRIPT * scripts as u64);
}

/// Whether a descriptor that was just opened for a script or client is one of the reserved ones. The kernel assigns the
/// lowest free number, so all numbers below it are in use.
pub fn is_reserved(descriptor: impl AsFd) -> bool {
    let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| is_among_the_last(number, soft))
}

fn is_among_the_last(number: u64, limit: u64) -> bool {
    number >= limit - RESERVE.min(limit / 4)
}

/// Raises the limit for a process that holds this many copies of another one's descriptors; in steps, so that most
/// calls do nothing.
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
    // Raising the hard limit needs a capability.
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_err() {
        // As far as permitted; a shortage is reported where it occurs.
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
