//! The run directory for pid files, control sockets and state files, and claims of names in it.
//!
//! Only root can write to it, so no other user can plant a link or a file. Files are written atomically, in the
//! [`Directory`] that was opened at the start. Claims are locks on one file, which the kernel releases when a process
//! ends.

mod directory;
mod error;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use self::directory::Directory;
pub use self::error::RunDirError;
use crate::process;
use error::MAX_SOCKET_PATH;

/// The default path.
pub const DEFAULT: &str = "/run/vrrpd";
/// The default path on a system without `/run`.
pub const FALLBACK: &str = "/var/run";

/// Base name of files of a process with a configuration file.
pub const PROCESS: &str = "vrrpd";

const LOCK: &str = "vrrpd.lock";

/// The run directory, opened.
#[derive(Debug)]
pub struct RunDir {
    directory: Directory,
    locks: File,
    /// Files to remove at the end, if this process owns their claims.
    created: Vec<String>,
}

impl RunDir {
    /// Opens `path`, or the default directory; creates it if necessary.
    pub fn open(path: Option<&Path>) -> Result<Self, RunDirError> {
        match path {
            Some(path) => Self::open_at(path).map_err(|error| match error {
                RunDirError::Io { path, error } if error.kind() == io::ErrorKind::NotFound => {
                    let parent = path.parent().filter(|parent| *parent != Path::new(""));
                    let parent = parent.unwrap_or(Path::new(".")).to_owned();
                    RunDirError::NoParent { path, parent }
                }
                other => other,
            }),
            None => Self::open_at(Path::new(DEFAULT)).or_else(|error| match &error {
                RunDirError::Io { error: cause, .. }
                    if matches!(
                        cause.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    Self::open_at(Path::new(FALLBACK)).map_err(|_| error)
                }
                _ => Err(error),
            }),
        }
    }

    fn open_at(path: &Path) -> Result<Self, RunDirError> {
        let directory = Directory::make(path)?;
        Ok(Self { locks: directory.open_for_locks(LOCK)?, directory, created: Vec::new() })
    }

    /// The opened directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Claims a name until this is dropped; `false` if another process has it.
    pub fn claim(&self, name: &str) -> Result<bool, RunDirError> {
        lock(&self.locks, name).map_err(|error| at(&self.directory.join(LOCK), error))
    }

    /// A claim to be taken later; it is held as long as the claim lives, even after this is dropped.
    pub fn later(&self, name: &str) -> Result<Claim, RunDirError> {
        Claim::of(&self.directory, name)
    }

    /// Releases a claim.
    pub fn release(&self, name: &str) {
        // A claim that cannot be released ends with the process.
        let _ = fcntl(&self.locks, FcntlArg::F_OFD_SETLK(&lock_of(name, libc::F_UNLCK)));
    }

    /// Claims a required name; `what` describes it in the error. The error names the holder from its pid file.
    pub fn require(&self, name: &str, what: &str) -> Result<(), RunDirError> {
        if self.claim(name)? {
            return Ok(());
        }
        let named = self.directory.read(&format!("{name}.pid"));
        let named = named.ok().and_then(|pid| pid.trim().parse::<i32>().ok());
        // The routers of a file have no pid files of their own.
        let all = || self.daemon_named_in(&format!("{PROCESS}.pid"));
        let holder = named.or_else(all).map_or_else(String::new, |pid| format!(" (pid {pid})"));
        Err(RunDirError::Taken { what: what.to_owned(), holder })
    }

    /// The running daemon that a pid file names.
    fn daemon_named_in(&self, file: &str) -> Option<i32> {
        let (pid, written) = self.directory.read_dated(file).ok()?;
        let pid = pid.trim().parse().ok()?;
        process::is_daemon(pid, written).then_some(pid)
    }

    /// Refuses a name that another daemon uses without a lock: the lock file may have been removed.
    pub fn vacant(&self, name: &str) -> Result<(), RunDirError> {
        let file = format!("{name}.pid");
        if let Some(pid) = self.daemon_named_in(&file) {
            return Err(RunDirError::Living { file: self.directory.join(&file), pid });
        }
        let socket = self.directory.join(format!("{name}.sock"));
        if process::answers(&socket) { Err(RunDirError::Answers(socket)) } else { Ok(()) }
    }

    /// Writes a file atomically; it is removed at the end of the process.
    pub fn write(&mut self, name: &str, mode: u32, contents: &str) -> Result<(), RunDirError> {
        self.keep_until_the_end(name);
        self.directory.write(name, mode, contents)
    }

    /// Removes the file with this name at the end of the process.
    pub fn keep_until_the_end(&mut self, name: &str) {
        if !self.created.iter().any(|created| created == name) {
            self.created.push(name.to_owned());
        }
    }

    /// The path for a socket with this claimed name; removes a leftover one.
    pub fn socket_path(&mut self, name: &str) -> Result<PathBuf, RunDirError> {
        let path = self.directory.join(name);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(RunDirError::TooLong(path));
        }
        if process::answers(&path) {
            return Err(RunDirError::Answers(path));
        }
        self.keep_until_the_end(name);
        match self.directory.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, error)),
            Ok(()) | Err(_) => Ok(path),
        }
    }
}

/// A claim on a name.
#[derive(Debug)]
pub struct Claim {
    locks: File,
    name: String,
}

impl Claim {
    /// A claim on a name in a directory that another process has opened.
    pub fn of(directory: &Directory, name: &str) -> Result<Self, RunDirError> {
        Ok(Self { locks: directory.open_for_locks(LOCK)?, name: name.to_owned() })
    }

    /// Takes the claim; `false` if another process has it. On a file system without locks it always succeeds.
    pub fn take(&self) -> bool {
        lock(&self.locks, &self.name).unwrap_or(true)
    }
}

/// Locks the offset of a name until the file is closed; `false` if another open file has the lock.
fn lock(locks: &File, name: &str) -> io::Result<bool> {
    match fcntl(locks, FcntlArg::F_OFD_SETLK(&lock_of(name, libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The lock request for a name.
#[expect(clippy::cast_possible_truncation, reason = "the kernel's constants fit its structure")]
fn lock_of(name: &str, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: place(name),
        l_len: 1,
        l_pid: 0,
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let pid_file = |name: &str| name.rsplit_once('.').map_or(name, |(base, _)| base).to_owned() + ".pid";
        let is_ours = |name: &str| {
            let pid = self.directory.read(&pid_file(name)).ok();
            pid.is_none_or(|pid| pid.trim() == std::process::id().to_string())
        };
        // Pid files are removed last, since they name the owner of the others.
        let mut ours: Vec<_> = self.created.iter().filter(|name| is_ours(name)).collect();
        ours.sort_by_key(|name| **name == pid_file(name));
        for name in ours {
            // Errors cannot be reported, since the log is closed by now.
            let _ = self.directory.remove(name);
        }
    }
}

/// The offset of a name in the lock file: FNV-1a, the same in every version of this program. Two names with the same
/// offset would exclude each other; there are 2^63 offsets.
fn place(name: &str) -> i64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::try_from(hash >> 1).unwrap_or(0)
}

fn at(path: &Path, error: io::Error) -> RunDirError {
    RunDirError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn private() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn makes_the_directory_private() {
        let parent = private();
        let dir = RunDir::open(Some(&parent.path().join("run"))).expect("can be made");
        assert_eq!(fs::metadata(dir.path()).expect("is there").mode() & 0o777, 0o700);
    }

    #[test]
    fn refuses_a_directory_that_others_can_write() {
        let parent = private();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).expect("is ours");
        assert!(matches!(
            RunDir::open(Some(parent.path())),
            Err(RunDirError::NotPrivate { mode: 0o777, .. })
        ));
    }

    #[test]
    fn refuses_a_link_to_a_directory_with_and_without_a_slash_behind_it() {
        let parent = private();
        fs::create_dir(parent.path().join("run")).expect("can be made");
        let link = parent.path().join("link");
        symlink("run", &link).expect("links");
        for path in [link.clone(), link.join(""), link.join(".")] {
            assert!(matches!(RunDir::open(Some(&path)), Err(RunDirError::Link(_))), "{path:?}");
        }
    }

    #[test]
    fn a_socket_s_path_is_as_long_as_the_kernel_takes_it() {
        let parent = private();
        let mut dir = RunDir::open(Some(parent.path())).expect("opens");
        let room = MAX_SOCKET_PATH - dir.path().as_os_str().len() - 1;
        let longest = dir.socket_path(&"x".repeat(room)).expect("is short enough");
        std::os::unix::net::UnixListener::bind(longest).expect("binds");
        let error = dir.socket_path(&"x".repeat(room + 1)).expect_err("is too long").to_string();
        assert!(error.contains("107 octets") && error.contains("-f"), "{error}");
    }

    #[test]
    fn a_claim_made_later_outlives_the_directory() {
        let parent = private();
        let first = RunDir::open(Some(parent.path())).expect("opens");
        let claim = first.later("vrrpd_eth0_51.scripts").expect("opens");
        assert!(claim.take() && claim.take());
        drop(first);
        let second = RunDir::open(Some(parent.path())).expect("opens");
        assert!(!second.claim("vrrpd_eth0_51.scripts").expect("locks"));
        drop(claim);
        assert!(second.claim("vrrpd_eth0_51.scripts").expect("locks"));
    }

    #[test]
    fn a_claim_is_one_process_s_and_ends_with_it() {
        let parent = private();
        let first = RunDir::open(Some(parent.path())).expect("opens");
        let second = RunDir::open(Some(parent.path())).expect("opens");
        assert!(first.claim("vrrpd_eth0_51").expect("locks"));
        assert!(!second.claim("vrrpd_eth0_51").expect("locks"));
        assert!(second.claim("vrrpd_eth0_51_ipv6").expect("locks"));
        assert!(second.claim("vrrpd_eth0").expect("locks"));
        drop(first);
        assert!(second.claim("vrrpd_eth0_51").expect("locks"));
    }

    #[test]
    fn replaces_a_link_instead_of_following_it() {
        let parent = private();
        let victim = parent.path().join("victim");
        fs::write(&victim, "untouched").expect("writes");
        let mut dir = RunDir::open(Some(&parent.path().join("run"))).expect("opens");
        symlink(&victim, dir.path().join("vrrpd_eth0.pid")).expect("links");
        dir.write("vrrpd_eth0.pid", 0o644, "1\n").expect("writes");
        assert_eq!(fs::read_to_string(&victim).expect("reads"), "untouched");
        assert_eq!(fs::read_to_string(dir.path().join("vrrpd_eth0.pid")).expect("reads"), "1\n");
    }

    #[test]
    fn removes_what_it_wrote() {
        let parent = private();
        let mut dir = RunDir::open(Some(parent.path())).expect("opens");
        dir.write("vrrpd_eth0.pid", 0o644, &format!("{}\n", std::process::id())).expect("writes");
        drop(dir);
        assert!(!parent.path().join("vrrpd_eth0.pid").exists());
    }
}
