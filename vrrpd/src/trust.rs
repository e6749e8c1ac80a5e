//! Paths that only root and this process's user can change.
//!
//! A script that runs as root, or the file that names it, is as safe as the weakest directory and symbolic link of its
//! path. [`resolve`] opens one component after the other, relative to the one before, and follows symbolic links
//! itself, so that every directory and link is checked, not just the last component.
//!
//! A component is trusted if root or this process's user owns it and no other user can write to it. A directory that
//! others can write to is trusted if it is sticky (`/tmp`), since root's entries cannot be replaced there. Of a
//! symbolic link only the owner counts, not the permissions. So the links of a merged `/usr` and of `/var/run` are
//! trusted.
//!
//! Only these two users can change a trusted path, so its name may be used after the check without a race.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{self, Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use thiserror::Error;

/// Maximum number of symbolic links of one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Users other than the owner may write.
const WRITABLE: u32 = 0o022;
/// Only root and the owner of an entry or of the directory may rename or remove the entry.
const STICKY: u32 = 0o1000;

/// Why a path is not trusted.
#[derive(Debug, Error)]
#[error("{}: {}", path.display(), self.detail())]
pub struct Distrust {
    /// The path.
    path: PathBuf,
    /// The component at fault, with links before it resolved.
    at: PathBuf,
    reason: Reason,
}

#[derive(Debug, Error)]
enum Reason {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("belongs to uid {uid}, who can replace it; it must belong to {}: chown {} {}", owners(), owners(), at.display())]
    Owner { uid: u32, at: PathBuf },
    #[error("is writable by users other than its owner (mode {mode:04o}): chmod go-w {}", at.display())]
    Writable { mode: u32, at: PathBuf },
    #[error("more than {MAX_LINKS} symbolic links on the way")]
    TooManyLinks,
    #[error("is not a regular file")]
    NotAFile,
}

/// The permitted owners, in the syntax of `chown`.
fn owners() -> String {
    match nix::unistd::geteuid().as_raw() {
        0 => "root".to_owned(),
        uid => uid.to_string(),
    }
}

impl Distrust {
    /// What is wrong, preceded by the component at fault if that is not the path itself.
    pub fn detail(&self) -> String {
        let Self { path, at, reason } = self;
        if path == at { reason.to_string() } else { format!("{}: {reason}", at.display()) }
    }

    /// The kind of the system error, if there was one.
    pub fn kind(&self) -> Option<io::ErrorKind> {
        match &self.reason {
            Reason::Io(error) => Some(error.kind()),
            Reason::Owner { .. } | Reason::Writable { .. } | Reason::TooManyLinks | Reason::NotAFile => None,
        }
    }
}

impl From<Distrust> for io::Error {
    /// Without the path, which the caller adds.
    fn from(distrust: Distrust) -> Self {
        Self::new(distrust.kind().unwrap_or(io::ErrorKind::Other), distrust.detail())
    }
}

/// The target of a trusted path.
#[derive(Debug)]
pub struct Trusted {
    /// Its path without symbolic links.
    path: PathBuf,
    /// Its directory, opened with `O_PATH`; that of the root directory is itself.
    directory: OwnedFd,
    /// Its name there.
    name: OsString,
    /// The file, opened with `O_PATH`.
    object: OwnedFd,
    stat: FileStat,
    /// Every user can reach it.
    exposed: bool,
}

/// Resolves a path, relative to the current directory if it has no leading slash, and follows symbolic links.
///
/// # Errors
/// The path cannot be opened or is not trusted.
pub fn resolve(path: &Path) -> Result<Trusted, Distrust> {
    let mut walk = Walk { asked: path, at: PathBuf::from("/") };
    let absolute = path::absolute(path).map_err(|error| walk.failed(error))?;
    let mut left: VecDeque<OsString> = components(&absolute).collect();
    let root = || nix::fcntl::open("/", directory_flags(), Mode::empty()).map_err(io::Error::from);
    let mut object = root().map_err(|error| walk.failed(error))?;
    let mut stat = walk.check(object.as_fd())?;
    let (mut directory, mut name) = (root().map_err(|error| walk.failed(error))?, OsString::from("."));
    let mut exposed = true;
    let mut links = 0;
    while let Some(next) = left.pop_front() {
        exposed &= stat.st_mode & 0o001 != 0;
        let before = walk.at.clone();
        walk.step(&next);
        let found = open(object.as_fd(), &next).map_err(|error| walk.failed(error))?;
        let about = walk.check(found.as_fd())?;
        if is(&about, SFlag::S_IFLNK) {
            links += 1;
            if links > MAX_LINKS {
                return Err(walk.distrusts(Reason::TooManyLinks));
            }
            let target = readlinkat(&found, "").map_err(|error| walk.failed(error.into()))?;
            let target = Path::new(&target);
            for component in components(target).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(component);
            }
            walk.at = before;
            if target.is_absolute() {
                walk.at = PathBuf::from("/");
                object = root().map_err(|error| walk.failed(error))?;
                stat = walk.check(object.as_fd())?;
            }
            continue;
        }
        directory = std::mem::replace(&mut object, found);
        (name, stat) = (next, about);
    }
    Ok(Trusted { path: walk.at, directory, name, object, stat, exposed })
}

/// The names in a path, without `.` and repeated slashes.
fn components(path: &Path) -> impl Iterator<Item = OsString> {
    let named = |component: &Component<'_>| matches!(component, Component::Normal(_) | Component::ParentDir);
    path.components().filter(named).map(|component| component.as_os_str().to_owned())
}

/// The state of resolving a path.
struct Walk<'a> {
    asked: &'a Path,
    at: PathBuf,
}

impl Walk<'_> {
    fn step(&mut self, name: &OsStr) {
        if name == ".." {
            self.at.pop();
        } else {
            self.at.push(name);
        }
    }

    fn check(&self, object: BorrowedFd<'_>) -> Result<FileStat, Distrust> {
        let stat = fstat(object).map_err(|error| self.failed(error.into()))?;
        let at = || self.at.clone();
        let mode = stat.st_mode & 0o7777;
        let is_sticky = is(&stat, SFlag::S_IFDIR) && mode & STICKY != 0;
        if stat.st_uid != 0 && stat.st_uid != nix::unistd::geteuid().as_raw() {
            Err(self.distrusts(Reason::Owner { uid: stat.st_uid, at: at() }))
        } else if !is(&stat, SFlag::S_IFLNK) && mode & WRITABLE != 0 && !is_sticky {
            Err(self.distrusts(Reason::Writable { mode, at: at() }))
        } else {
            Ok(stat)
        }
    }

    fn failed(&self, error: io::Error) -> Distrust {
        self.distrusts(Reason::Io(error))
    }

    fn distrusts(&self, reason: Reason) -> Distrust {
        Distrust { path: self.asked.to_owned(), at: self.at.clone(), reason }
    }
}

impl Trusted {
    /// Its path without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its permissions, without the file type.
    pub fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Its owner.
    pub fn uid(&self) -> u32 {
        self.stat.st_uid
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        is(&self.stat, SFlag::S_IFREG)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        is(&self.stat, SFlag::S_IFDIR)
    }

    /// Whether only its owner can write to it. A sticky directory may be trusted without being private, since any user
    /// may have files in it.
    pub fn is_private(&self) -> bool {
        self.mode() & WRITABLE == 0
    }

    /// Whether users other than its owner can read it, by its permissions and those of the directories of its path. Any
    /// group other than root's counts.
    pub fn is_exposed(&self) -> bool {
        let by_group = self.mode() & 0o040 != 0 && self.stat.st_gid != 0;
        self.exposed && (self.mode() & 0o004 != 0 || by_group)
    }

    /// Reads a regular file. Other types are not opened, since that could block or have an effect.
    ///
    /// # Errors
    /// It is not a regular file, or cannot be read.
    pub fn read(&self) -> Result<Vec<u8>, Distrust> {
        let distrust = |reason| Distrust { path: self.path.clone(), at: self.path.clone(), reason };
        if !self.is_file() {
            return Err(distrust(Reason::NotAFile));
        }
        self.open().and_then(read_all).map_err(|error| distrust(Reason::Io(error)))
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, self.name.as_os_str(), flags, Mode::empty())?.into())
    }
}

impl AsFd for Trusted {
    /// The `O_PATH` descriptor, which can be neither read nor written.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.object.as_fd()
    }
}

fn read_all(mut file: File) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Opens a directory in a trusted one, and creates it if necessary.
///
/// # Errors
/// It cannot be created, is not a directory, or is not trusted.
pub fn make_directory(parent: &Trusted, name: &str) -> Result<Trusted, Distrust> {
    let path = parent.path.join(name);
    match mkdirat(&parent.object, name, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => {
            return Err(Distrust { at: path.clone(), path, reason: Reason::Io(error.into()) });
        }
    }
    resolve(&path)
}

const fn directory_flags() -> OFlag {
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC)
}

/// Opens an entry of a directory without following a link. First as a directory, which triggers an automount (autofs).
fn open(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let opened = match openat(directory, name, directory_flags(), Mode::empty()) {
        Err(Errno::ENOTDIR) => {
            openat(directory, name, directory_flags().difference(OFlag::O_DIRECTORY), Mode::empty())
        }
        opened => opened,
    };
    Ok(opened?)
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    const NOBODY: Option<u32> = Some(65534);

    struct TestDirectory(tempfile::TempDir);

    impl TestDirectory {
        /// A private directory with a file `home/file`.
        fn new() -> Self {
            let place = Self(tempfile::tempdir().expect("a directory"));
            place.set_mode(".", 0o700);
            fs::create_dir(place.path("home")).expect("is made");
            fs::write(place.path("home/file"), "text").expect("is written");
            place.set_mode("home", 0o755);
            place.set_mode("home/file", 0o644);
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn set_mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("is ours");
        }

        fn distrust(&self, name: &str) -> String {
            resolve(&self.path(name)).expect_err("is not trusted").to_string()
        }
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    #[test]
    fn a_file_in_a_directory_of_ours_below_tmp_is_trusted_and_read() {
        let place = TestDirectory::new();
        let trusted = resolve(&place.path("home/../home/./file")).expect("is trusted");
        assert_eq!(trusted.path(), fs::canonicalize(place.path("home/file")).expect("is there"));
        assert_eq!(trusted.read().expect("is read"), b"text");
        assert!(!trusted.is_exposed(), "the directory is ours alone");
    }

    #[test]
    fn links_of_root_are_followed_wherever_they_lead() {
        let place = TestDirectory::new();
        symlink("home/file", place.path("relative")).expect("links");
        symlink(place.path("relative"), place.path("absolute")).expect("links");
        symlink("../home", place.path("home/up")).expect("links");
        for name in ["relative", "absolute", "home/up/up/file"] {
            assert_eq!(resolve(&place.path(name)).expect(name).read().expect(name), b"text");
        }
        // The links of a merged /usr, if it is one.
        assert!(resolve(Path::new("/bin/sh")).expect("is there").is_file());
        assert!(resolve(Path::new("/var/run")).expect("is there").is_directory());
        assert!(resolve(Path::new("/")).expect("is there").is_directory());
    }

    #[test]
    fn a_component_that_others_can_write_is_named_with_the_command_that_mends_it() {
        let place = TestDirectory::new();
        for (mode, right) in [(0o775, false), (0o757, false), (0o1777, true), (0o755, true)] {
            place.set_mode("home", mode);
            assert_eq!(resolve(&place.path("home/file")).is_ok(), right, "{mode:o}");
        }
        place.set_mode("home", 0o777);
        let home = place.path("home");
        let said = place.distrust("home/file");
        assert!(said.ends_with(&format!("chmod go-w {}", home.display())), "{said}");
        assert!(said.contains("mode 0777") && said.contains("home/file: "), "{said}");
        place.set_mode("home", 0o755);
        place.set_mode("home/file", 0o1666);
        assert!(place.distrust("home/file").contains("mode 1666"), "a file is not protected by that bit");
    }

    #[test]
    fn files_directories_and_links_of_another_user_are_not_trusted() {
        if !is_root() {
            // Only root can give files away.
            return;
        }
        let place = TestDirectory::new();
        symlink("home/file", place.path("link")).expect("links");
        lchown(place.path("link"), NOBODY, None).expect("is given away");
        let said = place.distrust("link");
        assert!(said.contains("uid 65534") && said.contains("chown root"), "{said}");
        place.set_mode("home", 0o1777);
        lchown(place.path("link"), Some(0), None).expect("is ours");
        assert!(resolve(&place.path("link")).is_ok());
        chown(place.path("home/file"), NOBODY, None).expect("is given away");
        assert!(place.distrust("link").contains("home/file: belongs to uid 65534"));
        chown(place.path("home/file"), Some(0), None).expect("is ours");
        chown(place.path("home"), NOBODY, None).expect("is given away");
        assert!(place.distrust("link").contains("home: belongs to uid 65534"));
    }

    #[test]
    fn a_link_that_leads_to_itself_ends_the_walk() {
        let place = TestDirectory::new();
        symlink("loop", place.path("loop")).expect("links");
        assert!(place.distrust("loop").contains("more than 40"));
    }

    #[test]
    fn a_missing_path_keeps_the_kind_of_its_error_and_names_the_component() {
        let place = TestDirectory::new();
        let missing = resolve(&place.path("missing/file")).expect_err("is not there");
        assert_eq!(missing.kind(), Some(io::ErrorKind::NotFound));
        assert!(missing.to_string().contains("/missing: "), "{missing}");
        let through = resolve(&place.path("home/file/more")).expect_err("is no directory");
        assert_eq!(through.kind(), Some(io::ErrorKind::NotADirectory));
    }

    #[test]
    fn only_regular_files_are_opened() {
        let place = TestDirectory::new();
        nix::unistd::mkfifo(&place.path("fifo"), Mode::S_IRWXU).expect("is made");
        for path in [place.path("fifo"), place.path("home"), "/dev/null".into()] {
            // Every user may write to /dev/null.
            let read = resolve(&path).and_then(|trusted| trusted.read());
            let said = read.expect_err("is no file").to_string();
            assert!(said.contains("not a regular file") || said.contains("mode 0666"), "{said}");
        }
    }

    #[test]
    fn a_file_that_others_can_reach_and_read_is_exposed() {
        let place = TestDirectory::new();
        place.set_mode(".", 0o755);
        let exposed = || resolve(&place.path("home/file")).expect("is trusted").is_exposed();
        assert!(exposed());
        place.set_mode("home", 0o700);
        assert!(!exposed());
        place.set_mode("home", 0o755);
        place.set_mode("home/file", 0o640);
        assert!(!exposed() || !is_root());
        place.set_mode("home/file", 0o600);
        assert!(!exposed());
    }

    #[test]
    fn a_directory_is_made_for_its_owner_alone_or_taken_as_it_is() {
        let place = TestDirectory::new();
        let home = resolve(&place.path("home")).expect("is trusted");
        assert_eq!(make_directory(&home, "new").expect("is made").mode(), 0o700);
        assert_eq!(make_directory(&home, "new").expect("is there").mode(), 0o700);
        place.set_mode("home/new", 0o777);
        assert!(make_directory(&home, "new").is_err());
    }
}
