//! Which files may be run as scripts.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::trust::{self, Distrust, Trusted};

/// Interpreters that are scripts themselves, one run by the other, in Linux.
const MAX_INTERPRETERS: usize = 5;
/// How much of a script the kernel looks at for its interpreter.
const INTERPRETER_LINE: usize = 256;

/// Why a file is no script for us.
#[derive(Debug, Error)]
#[error("{}: {fault}", path.display())]
pub struct ScriptError {
    path: PathBuf,
    /// What is wrong with it.
    pub fault: Box<ScriptFault>,
}

/// What is wrong with a file that is to be run as a script. `part` is the script itself or its interpreter.
#[derive(Debug, Error)]
pub enum ScriptFault {
    /// Others than root and we can replace the script.
    #[error("{}", .0.detail())]
    Distrust(Distrust),
    /// Others can replace its interpreter.
    #[error("{part}: {}", distrust.detail())]
    DistrustOf {
        /// The interpreter.
        part: String,
        /// Why.
        distrust: Distrust,
    },
    /// No directory where programs are looked for has it.
    #[error("not found in {PATH}")]
    NotFound,
    /// It cannot be looked at.
    #[error("{part} cannot be run: {}", distrust.detail())]
    Unreachable {
        /// Which of them.
        part: String,
        /// Why.
        distrust: Distrust,
    },
    /// It is a directory, a device or the like.
    #[error("{part} is not a file")]
    NotAFile {
        /// Which of them.
        part: String,
    },
    /// No user may execute it.
    #[error("{part} is not executable (mode {mode:04o}); chmod +x makes it so")]
    NotExecutable {
        /// Which of them.
        part: String,
        /// Its permissions.
        mode: u32,
    },
    /// The kernel would not know how to run it.
    #[error("the script does not begin with #! and its interpreter, as in #!/bin/sh")]
    NoInterpreter,
    /// The kernel gives up.
    #[error("has more than {MAX_INTERPRETERS} interpreters, each a script itself")]
    TooManyInterpreters,
}

/// Where scripts find programs, and checks theirs.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a program is, as the user names it: one without a slash is looked for when it is run, others are in `directory`,
/// unless they have a slash in front.
pub fn place(program: &Path, directory: &Path) -> PathBuf {
    if is_bare(program) { program.to_owned() } else { directory.join(program) }
}

/// The file of a program: the first of its name in [`PATH`] if it has no slash.
pub fn find(program: &Path) -> Result<PathBuf, ScriptError> {
    if !is_bare(program) {
        return Ok(program.to_owned());
    }
    let found =
        PATH.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file());
    let missing = || ScriptError { path: program.to_owned(), fault: ScriptFault::NotFound.into() };
    found.ok_or_else(missing)
}

/// Whether a program has no slash, so that it is looked for when it is run.
pub fn is_bare(program: &Path) -> bool {
    program.components().count() == 1 && !program.is_absolute()
}

/// Refuses what could not be run, and what others than root and we could have written or can replace: the script, every
/// directory and link on the way to it, and its interpreter.
pub fn check(path: &Path) -> Result<(), ScriptError> {
    find_fault(path).map_err(|fault| ScriptError { path: path.to_owned(), fault: fault.into() })
}

fn find_fault(path: &Path) -> Result<(), ScriptFault> {
    let mut program = path.to_owned();
    let mut part = "the script".to_owned();
    for depth in 0..=MAX_INTERPRETERS {
        let trusted = match trust::resolve(&program) {
            Ok(trusted) => trusted,
            Err(distrust) if distrust.kind().is_some() => {
                return Err(ScriptFault::Unreachable { part, distrust });
            }
            Err(distrust) if depth == 0 => return Err(ScriptFault::Distrust(distrust)),
            Err(distrust) => return Err(ScriptFault::DistrustOf { part, distrust }),
        };
        if !trusted.is_file() {
            return Err(ScriptFault::NotAFile { part });
        }
        if trusted.mode() & 0o111 == 0 {
            return Err(ScriptFault::NotExecutable { part, mode: trusted.mode() });
        }
        let Some(next) = interpreter(&trusted)? else { return Ok(()) };
        // A carriage return in it is to be seen.
        part = format!("the script's interpreter {:?}", next.to_string_lossy());
        // Scripts run in the root directory.
        program = Path::new("/").join(next);
    }
    Err(ScriptFault::TooManyInterpreters)
}

/// The interpreter of a script; `None` for a program, which needs none, and for what can be executed but not read.
fn interpreter(program: &Trusted) -> Result<Option<PathBuf>, ScriptFault> {
    let mut beginning = Vec::with_capacity(INTERPRETER_LINE);
    let read = program.open().and_then(|file| file.take(INTERPRETER_LINE as u64).read_to_end(&mut beginning));
    if read.is_err() || beginning.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let Some(line) = beginning.strip_prefix(b"#!") else {
        return Err(ScriptFault::NoInterpreter);
    };
    let line = line.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_start();
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    Ok(Some(PathBuf::from(OsStr::from_bytes(line.get(..end).unwrap_or_default()))))
}
