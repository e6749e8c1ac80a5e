//! Why the run directory, or a name in it, cannot be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::trust::Distrust;

/// Maximum length of a socket path (unix(7)), without the terminating NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// A system call failed.
    #[error("{path}: {error}")]
    Io {
        /// Its file.
        path: PathBuf,
        /// Its error.
        error: io::Error,
    },
    /// The parent directory does not exist.
    #[error("-f {path}: parent directory {parent} does not exist")]
    NoParent {
        /// The run directory.
        path: PathBuf,
        /// Its parent.
        parent: PathBuf,
    },
    /// Not a directory.
    #[error("{0}: is not a directory; choose another one with -f")]
    NotADirectory(PathBuf),
    /// Refused, since the owner of the link would decide where our files go.
    #[error("{0}: is a symbolic link; name the directory itself with -f")]
    Link(PathBuf),
    /// Refused, since a daemon never creates this file as a link.
    #[error("{0}: is a symbolic link; remove it")]
    LinkedLock(PathBuf),
    /// No client could connect to it.
    #[error(
        "{0}: has more than the {MAX_SOCKET_PATH} octets of a socket's path; choose a shorter directory with -f"
    )]
    TooLong(PathBuf),
    /// Other users could replace the directory.
    #[error(transparent)]
    Untrusted(#[from] Distrust),
    /// Other users could plant links or files.
    #[error(
        "{path}: must belong to root and be writable only by root (mode {mode:04o}, uid {uid}); \
         correct this or choose another directory with -f"
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        uid: u32,
    },
    /// Another daemon has the claim.
    #[error("{what} is already served by another vrrpd{holder}")]
    Taken {
        /// What is claimed.
        what: String,
        /// Its holder: ` (pid 812)`, or empty.
        holder: String,
    },
    /// Another daemon seems to use the name, but without a lock.
    #[error("{file}: names pid {pid}, a running vrrpd; stop it, or remove the file if it is stale")]
    Living {
        /// Its pid file.
        file: PathBuf,
        /// Its pid.
        pid: i32,
    },
    /// Another daemon uses the name, without lock or pid file.
    #[error("{0}: another vrrpd answers there; stop it first")]
    Answers(PathBuf),
}
