//! Removes pins of daemons that were killed in network namespaces that no longer exist: no later start on that
//! interface would replace them.
//!
//! The kernel is asked whether a daemon lives, since its processes and namespaces may be hidden: it holds its programs,
//! and these hold their maps. A map without a program has no daemon. In an existing namespace nothing is removed, so
//! that atropos can show the records of a dead daemon's router.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::{debug, info};
use vrrpd_common::Duration;

use super::maps::maps_in_use;
use super::pins::{Lock, OURS, is_nobodys, remove_pins};
use crate::trust;

/// How long other processes may hold the lock while the daemon starts.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes them. Pins with an unknown owner are kept.
pub fn remove() {
    // A directory of another user is not trusted.
    if trust::resolve(Path::new(OURS)).is_err() {
        return;
    }
    let ours = subdirectories(Path::new(OURS));
    // Usually there is only our own namespace.
    if ours.len() < 2 {
        return;
    }
    let namespaces = namespaces();
    let unknown: Vec<_> = ours.into_iter().filter(|dir| !namespaces.contains(&number(dir))).collect();
    if unknown.is_empty() {
        return;
    }
    // A daemon loads its programs before it pins their maps, under the same lock.
    let Ok(_lock) = Lock::take(PATIENCE) else { return };
    let used = match maps_in_use() {
        Ok(used) => used,
        Err(error) => {
            debug!(%error, "cannot determine the owners of leftover pins");
            return;
        }
    };
    for namespace in unknown {
        for interface in subdirectories(&namespace) {
            if is_nobodys(&interface, &used) {
                remove_pins(&interface);
                info!(pins = %interface.display(), "leftover pins removed");
            }
        }
        // Fails if it is not empty.
        let _ = fs::remove_dir(&namespace);
    }
}

/// Network namespaces of all visible threads, and those with a name.
fn namespaces() -> BTreeSet<u64> {
    let threads = entries(Path::new("/proc")).flat_map(|process| entries(&process.join("task")));
    let of_threads = threads.map(|thread| thread.join("ns/net"));
    let named = entries(Path::new("/run/netns"));
    of_threads.chain(named).filter_map(|namespace| Some(fs::metadata(namespace).ok()?.ino())).collect()
}

/// The number of a namespace from its directory; an unused number for other names.
fn number(dir: &Path) -> u64 {
    dir.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    entries(dir).filter(|entry| entry.is_dir()).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry: io::Result<_>| Some(entry.ok()?.path()))
}
