//! Connects to the other processes of a group, repeatedly while members are missing.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use socket2::SockAddr;
use tracing::{debug, warn};
use vrrpd_common::{Duration, Instant};

use super::connection::{SECOND, errno, packet_socket};
use super::{Peers, SUFFIX};
use crate::datapath::readiness::Readiness;

/// Maximum delay until missing peers are looked for again: starts at a second, doubled each time.
const MAX_SEARCH: Duration = Duration::from_secs(60);

impl Peers {
    /// Connects to all processes that listen in the directory, except those known to be present or not in the group.
    pub(super) fn search(&mut self, now: Instant, readiness: &Readiness) -> io::Result<()> {
        for entry in fs::read_dir(self.path.parent().unwrap_or(&self.path))? {
            let other = entry?.path();
            let Some(name) = other.file_name().filter(|_| other != self.path) else { continue };
            let is_known = self
                .found
                .get(name)
                .is_some_and(|found| found.as_ref().is_none_or(|peer| self.place_of(peer).is_some()));
            if other.extension().is_some_and(|suffix| suffix == SUFFIX) && !is_known {
                self.connect(&other, name, now, readiness);
            }
        }
        Ok(())
    }

    /// Starts or stops looking for missing members.
    pub fn expect_more(&mut self, missing: bool, now: Instant) {
        if !missing {
            self.search_at = None;
            self.search_after = SECOND;
            // Other processes have replaced them.
            self.missing.clear();
        } else if self.search_at.is_none() {
            self.search_at = Some(now + self.search_after);
        }
    }

    pub(super) fn search_again(&mut self, now: Instant, readiness: &Readiness) {
        if self.search_at.is_none_or(|at| now < at) {
            return;
        }
        self.search_after = self.search_after.saturating_mul(2).min(MAX_SEARCH);
        self.search_at = Some(now + self.search_after);
        if let Err(error) = self.search(now, readiness) {
            warn!(%error, "cannot look for group peers");
        }
    }

    pub(super) fn connect(&mut self, path: &Path, name: &OsStr, now: Instant, readiness: &Readiness) {
        let connected = packet_socket().and_then(|socket| {
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => self.admit(socket, Some(name.to_owned()), now, readiness),
            // No process listens: the socket was left by a killed process, or its process is ending.
            Err(error) if matches!(errno(&error), Some(Errno::ECONNREFUSED | Errno::ENOENT)) => {
                debug!(path = %path.display(), "stale group socket");
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "cannot connect to group peer");
            }
        }
    }
}
