//! Pins of daemons that were killed in network namespaces that went with them: no start on that interface will ever
//! replace them.
//!
//! Whether a daemon lives is asked of the kernel, since its processes and namespaces may be hidden from us: it holds its
//! programs, and they hold the maps that they use. A map that no program uses is nobody's. Of a namespace that is still
//! there nothing is removed, so that atropos can tell what a dead daemon's router was about.

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

/// How long others may take over their pins while the daemon starts.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes them. What cannot be told is left alone.
pub fn remove() {
    // What another user has made there is nothing to remove by its names.
    if trust::resolve(Path::new(OURS)).is_err() {
        return;
    }
    let ours = subdirectories(Path::new(OURS));
    // Mostly there is the namespace we are in, and nothing to ask.
    if ours.len() < 2 {
        return;
    }
    let namespaces = namespaces();
    let unknown: Vec<_> = ours.into_iter().filter(|dir| !namespaces.contains(&number(dir))).collect();
    if unknown.is_empty() {
        return;
    }
    // A daemon loads its programs first and pins their maps then, under the same lock.
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
        // Unless there is something left.
        let _ = fs::remove_dir(&namespace);
    }
}

/// Every network namespace that a thread we can see is in, or that has a name.
fn namespaces() -> BTreeSet<u64> {
    let threads = entries(Path::new("/proc")).flat_map(|process| entries(&process.join("task")));
    let of_threads = threads.map(|thread| thread.join("ns/net"));
    let named = entries(Path::new("/run/netns"));
    of_threads.chain(named).filter_map(|namespace| Some(fs::metadata(namespace).ok()?.ino())).collect()
}

/// The number of a namespace by its directory; that of none for what has another name.
fn number(dir: &Path) -> u64 {
    dir.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0)
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    entries(dir).filter(|entry| entry.is_dir()).collect()
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry: io::Result<_>| Some(entry.ok()?.path()))
}
