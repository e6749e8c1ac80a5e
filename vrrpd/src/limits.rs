//! How many files this process may have open: systems allow a thousand unless asked, and routers with scripts take more.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use crate::config::RouterConfig;

/// What a process has open whatever it serves, its clients included.
const ANYHOW: u64 = 256;
/// Sockets, programs and maps of an interface.
const INTERFACE: u64 = 20;
/// Claim, process and pipes of a router's scripts.
const SCRIPTS: u64 = 6;

/// Makes room for what these routers take, if there is not enough. Scripts have the same limit, which is why it is not
/// raised as far as it goes.
pub fn make_room<'a>(routers: impl IntoIterator<Item = &'a RouterConfig>) {
    let (mut interfaces, mut scripts) = (Vec::new(), 0);
    for router in routers {
        interfaces.push(&router.interface);
        scripts += u64::from(router.up.is_some() || router.down.is_some());
    }
    interfaces.sort_unstable();
    interfaces.dedup();
    raise_to(ANYHOW + INTERFACE * interfaces.len() as u64 + SCRIPTS * scripts);
}

/// The same for a process that runs this many scripts at once, and serves nothing.
pub fn make_room_for_scripts(scripts: usize) {
    raise_to(ANYHOW + SCRIPTS * scripts as u64);
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
        warn!(wanted, limit = hard, "fewer files can be open than the routers may take");
    }
}
