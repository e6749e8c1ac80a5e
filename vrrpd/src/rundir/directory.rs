//! The run directory: opened once, then used by its descriptor, so that a changed path has no effect.
//!
//! Only control sockets are bound and connected by path, since Unix sockets require that. No other user can change that
//! path: [`trust`] has checked each component.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::RunDirError;
use crate::trust;

/// A directory that only this process's user can write to.
#[derive(Clone, Debug)]
pub struct Directory {
    path: Arc<Path>,
    descriptor: Arc<OwnedFd>,
}

impl Directory {
    /// Opens the directory; creates it if only its parent exists.
    pub fn make(path: &Path) -> Result<Self, RunDirError> {
        // With a trailing slash the kernel would follow a link.
        let path = &path.components().collect::<PathBuf>();
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            (_, _) => (path.as_path(), OsStr::new(".")),
        };
        let parent = trust::resolve(parent).map_err(|distrust| match distrust.kind() {
            Some(kind) => at(path, io::Error::new(kind, distrust.to_string())),
            None => RunDirError::Untrusted(distrust),
        })?;
        match mkdirat(&parent, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(at(path, error.into())),
        }
        Self::open_in(parent.as_fd(), name, path)
    }

    fn open_in(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Self, RunDirError> {
        let there =
            fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|error| at(path, error.into()))?;
        match SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => return Err(RunDirError::Link(path.to_owned())),
            SFlag::S_IFDIR => {}
            _ => return Err(RunDirError::NotADirectory(path.to_owned())),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened =
            openat(parent, name, flags, Mode::empty()).and_then(|opened| Ok((fstat(&opened)?, opened)));
        let (stat, descriptor) = opened.map_err(|error| at(path, error.into()))?;
        let (mode, uid) = (stat.st_mode & 0o7777, stat.st_uid);
        if mode & 0o022 != 0 || uid != nix::unistd::geteuid().as_raw() {
            return Err(RunDirError::NotPrivate { path: path.to_owned(), mode, uid });
        }
        Ok(Self { path: path.into(), descriptor: Arc::new(descriptor) })
    }

    /// The path as named by the user.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for sockets and messages.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file in it for writing, and creates it if necessary; does not follow links.
    pub(super) fn open_for_locks(&self, name: &str) -> Result<File, RunDirError> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT;
        self.open(name, flags, 0o600).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP) => RunDirError::LinkedLock(self.join(name)),
            _ => at(&self.join(name), error),
        })
    }

    /// Reads a file of ours; does not follow links.
    ///
    /// # Errors
    /// Not a regular file, or not UTF-8, among others.
    pub fn read(&self, name: &str) -> io::Result<String> {
        Ok(self.read_dated(name)?.0)
    }

    /// Reads a file, with its modification time.
    pub fn read_dated(&self, name: &str) -> io::Result<(String, SystemTime)> {
        let mut file = self.open(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("not a file of vrrpd"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((text, metadata.modified()?))
    }

    /// Writes a file atomically, by renaming a temporary one; does not follow links.
    pub fn write(&self, name: &str, mode: u32, contents: &str) -> Result<(), RunDirError> {
        /// Number of temporary files, since two threads may write the same file.
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let aside = format!(".{name}.{}.{number}", std::process::id());
        let written = self
            .open(&aside, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, mode)
            .and_then(|mut file| file.write_all(contents.as_bytes()))
            .and_then(|()| Ok(renameat(&self.descriptor, aside.as_str(), &self.descriptor, name)?));
        written.map_err(|error| {
            // Removes the incomplete file, which may not exist.
            let _ = self.remove(&aside);
            at(&self.join(name), error)
        })
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The file does not exist, among others.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.descriptor, name, UnlinkatFlags::NoRemoveDir)?)
    }

    fn open(&self, name: &str, flags: OFlag, mode: u32) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.descriptor, name, flags, Mode::from_bits_truncate(mode))?.into())
    }
}

fn at(path: &Path, error: io::Error) -> RunDirError {
    RunDirError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn private() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("is ours");
        dir
    }

    #[test]
    fn a_directory_that_was_renamed_is_still_the_one_that_is_worked_on() {
        let parent = private();
        let [path, elsewhere] = ["run", "elsewhere"].map(|name| parent.path().join(name));
        let dir = Directory::make(&path).expect("is made");
        fs::rename(&path, &elsewhere).expect("is ours");
        fs::create_dir(&path).expect("is made");
        dir.write("vrrpd.journal", 0o600, "text").expect("writes");
        assert_eq!(fs::read_to_string(elsewhere.join("vrrpd.journal")).expect("is there"), "text");
        assert_eq!(dir.read("vrrpd.journal").expect("is there"), "text");
        dir.remove("vrrpd.journal").expect("is there");
        assert_eq!(fs::read_dir(&path).expect("is there").count(), 0);
        assert_eq!(fs::read_dir(&elsewhere).expect("is there").count(), 0);
    }

    #[test]
    fn a_directory_in_one_that_others_can_write_to_is_refused() {
        let parent = private();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).expect("is ours");
        let said = Directory::make(&parent.path().join("run")).expect_err("is not trusted").to_string();
        assert!(said.contains(&format!("chmod go-w {}", parent.path().display())), "{said}");
    }

    #[test]
    fn a_link_and_a_fifo_are_not_read() {
        let parent = private();
        let dir = Directory::make(parent.path()).expect("opens");
        symlink("/etc/hostname", parent.path().join("link")).expect("links");
        nix::unistd::mkfifo(&parent.path().join("fifo"), Mode::S_IRWXU).expect("is made");
        assert!(dir.read("link").is_err());
        assert!(dir.read("fifo").is_err());
    }

    #[test]
    fn threads_that_write_the_same_file_do_not_disturb_each_other() {
        let parent = private();
        let dir = Directory::make(parent.path()).expect("opens");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        dir.write("vrrpd.journal", 0o600, "eth0 10.0.0.1/24\n").expect("writes");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).expect("reads").count(), 1);
    }
}
