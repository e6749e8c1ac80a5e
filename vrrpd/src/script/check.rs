//! Which files may be run as scripts.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::trust::{self, Distrust, Trusted};

/// Maximum depth of interpreters that are scripts themselves, in Linux.
const MAX_INTERPRETERS: usize = 5;
/// Number of octets that the kernel reads for the interpreter.
const INTERPRETER_LINE: usize = 256;

/// Why a file may not be run as a script.
#[derive(Debug, Error)]
#[error("{}: {fault}", path.display())]
pub struct ScriptError {
    path: PathBuf,
    /// What is wrong with it.
    pub fault: Box<ScriptFault>,
}

/// What is wrong with a script. `part` is the script itself or its interpreter.
#[derive(Debug, Error)]
pub enum ScriptFault {
    /// Users other than root and ourselves can replace the script.
    #[error("{}", .0.detail())]
    Distrust(Distrust),
    /// Other users can replace its interpreter.
    #[error("{part}: {}", distrust.detail())]
    DistrustOf {
        /// The interpreter.
        part: String,
        /// The reason.
        distrust: Distrust,
    },
    /// Not found in `PATH`.
    #[error("not found in {PATH}")]
    NotFound,
    /// It cannot be accessed.
    #[error("{part} cannot be run: {}", distrust.detail())]
    Unreachable {
        /// Script or interpreter.
        part: String,
        /// The error.
        distrust: Distrust,
    },
    /// Not a regular file.
    #[error("{part} is not a file")]
    NotAFile {
        /// Script or interpreter.
        part: String,
    },
    /// Not executable for anyone.
    #[error("{part} is not executable (mode {mode:04o}): chmod +x")]
    NotExecutable {
        /// Script or interpreter.
        part: String,
        /// Its mode.
        mode: u32,
    },
    /// The kernel would not know how to execute it.
    #[error("the script does not begin with #! and its interpreter, as in #!/bin/sh")]
    NoInterpreter,
    /// More than the kernel allows.
    #[error("has more than {MAX_INTERPRETERS} interpreters, each a script itself")]
    TooManyInterpreters,
}

/// `PATH` of scripts and commands.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The absolute path of a program: a name without a slash stays and is looked up when it is run; other relative paths
/// start at `directory`.
pub fn place(program: &Path, directory: &Path) -> PathBuf {
    if is_bare(program) { program.to_owned() } else { directory.join(program) }
}

/// The file of a program: without a slash the first match in [`PATH`].
pub fn find(program: &Path) -> Result<PathBuf, ScriptError> {
    if !is_bare(program) {
        return Ok(program.to_owned());
    }
    let found =
        PATH.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file());
    let missing = || ScriptError { path: program.to_owned(), fault: ScriptFault::NotFound.into() };
    found.ok_or_else(missing)
}

/// Whether a program has no slash, so that it is looked up when it is run.
pub fn is_bare(program: &Path) -> bool {
    program.components().count() == 1 && !program.is_absolute()
}

/// Refuses a script that cannot be run, or that users other than root and ourselves could have written or can replace:
/// checks the script, every directory and link of its path, and its interpreter.
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
        // Quoted, to make a carriage return visible.
        part = format!("the script's interpreter {:?}", next.to_string_lossy());
        // Scripts run in the root directory.
        program = Path::new("/").join(next);
    }
    Err(ScriptFault::TooManyInterpreters)
}

/// The interpreter of a script; `None` for a binary, and for a file that can be executed but not read.
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
