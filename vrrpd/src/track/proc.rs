//! Processes by name, in /proc.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use vrrpd_engine::track::ProcessName;

use crate::sys::pidfd;

/// Up to `most` processes with this name that are not known, each with its pidfd.
pub(super) fn find(
    name: &ProcessName,
    known: &BTreeSet<u32>,
    most: usize,
) -> io::Result<Vec<(u32, OwnedFd)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if found.len() >= most {
            break;
        }
        if known.contains(&pid) || !is_called(pid, name) {
            continue;
        }
        // Checked again, since the pid may have been reused in between.
        if let Ok(pidfd) = pidfd::open(pid)
            && is_called(pid, name)
        {
            found.push((pid, pidfd));
        }
    }
    Ok(found)
}

/// Whether a process has this name and has not ended.
pub(super) fn is_called(pid: u32, name: &ProcessName) -> bool {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let comm = fs::read(directory.join("comm")).unwrap_or_default();
    if comm.trim_ascii_end() != name.comm() {
        return false;
    }
    if name.is_long() && !fs::read(directory.join("cmdline")).is_ok_and(|line| name.is_in_command_line(&line))
    {
        return false;
    }
    let stat = fs::read(directory.join("stat")).unwrap_or_default();
    let state = stat.rsplit(|octet| *octet == b')').next().and_then(|rest| rest.trim_ascii_start().first());
    !matches!(state, None | Some(b'Z' | b'X' | b'x'))
}
