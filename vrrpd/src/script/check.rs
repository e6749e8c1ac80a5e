//! Which files may be run as scripts.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::trust::{self, Trusted};

/// Interpreters that are scripts themselves, one run by the other, in Linux.
const MAX_INTERPRETERS: usize = 5;
/// How much of a script the kernel looks at for its interpreter.
const INTERPRETER_LINE: usize = 256;

/// Why a file is no script for us.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{}: {reason}", path.display())]
pub struct ScriptError {
    path: PathBuf,
    pub(super) reason: String,
}

/// Refuses what could not be run, and what others than root and we could have written or can replace: the script, every
/// directory and link on the way to it, and its interpreter.
pub fn check(path: &Path) -> Result<(), ScriptError> {
    let wrong = |reason: String| ScriptError { path: path.to_owned(), reason };
    let mut program = path.to_owned();
    let mut what = "the script".to_owned();
    for depth in 0..=MAX_INTERPRETERS {
        let trusted = trust::resolve(&program).map_err(|distrust| {
            let detail = distrust.detail();
            match distrust.kind() {
                Some(_) => wrong(format!("{what} cannot be run: {detail}")),
                None if depth == 0 => wrong(detail),
                None => wrong(format!("{what}: {detail}")),
            }
        })?;
        if !trusted.is_file() {
            return Err(wrong(format!("{what} is not a file")));
        }
        if trusted.mode() & 0o111 == 0 {
            let mode = trusted.mode();
            return Err(wrong(format!("{what} is not executable (mode {mode:04o}); chmod +x makes it so")));
        }
        let Some(next) = interpreter(&trusted).map_err(wrong)? else { return Ok(()) };
        // A carriage return in it is to be seen.
        what = format!("the script's interpreter {:?}", next.to_string_lossy());
        // Scripts run in the root directory.
        program = Path::new("/").join(next);
    }
    Err(wrong(format!("has more than {MAX_INTERPRETERS} interpreters, each a script itself")))
}

/// The interpreter of a script; `None` for a program, which needs none, and for what can be executed but not read.
fn interpreter(program: &Trusted) -> Result<Option<PathBuf>, String> {
    let mut beginning = Vec::with_capacity(INTERPRETER_LINE);
    let read = program.open().and_then(|file| file.take(INTERPRETER_LINE as u64).read_to_end(&mut beginning));
    if read.is_err() || beginning.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let Some(line) = beginning.strip_prefix(b"#!") else {
        return Err("the script does not begin with #! and its interpreter, as in #!/bin/sh".to_owned());
    };
    let line = line.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_start();
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    Ok(Some(PathBuf::from(OsStr::from_bytes(line.get(..end).unwrap_or_default()))))
}
