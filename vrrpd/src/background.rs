//! Going to the background after everything that can fail has been done.
//!
//! The command that the user typed starts the same program once more, and stays until that one says through its
//! standard output that it is ready, or ends. Errors appear on the user's terminal, since standard error is still the
//! same until then. No fork of a running program is involved.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use crate::supervisor;
use crate::sys::descriptors;

/// Tells the program that it is the one in the background.
pub const MARK: &str = "VRRPD_IN_BACKGROUND";
const READY: &[u8] = b"ready\n";

/// The part of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It does the work in sight of the user.
    Foreground,
    /// It does the work, and says so through standard output.
    Background,
    /// It starts the one in the background and waits until that one is ready.
    Launcher,
}

/// The part of this process, from what the user wants.
pub fn role(foreground: bool) -> Role {
    if foreground {
        Role::Foreground
    } else if std::env::var_os(MARK).is_some() {
        Role::Background
    } else {
        Role::Launcher
    }
}

/// Starts the program again with the same arguments, in the background; returns how the command ends. What `-a` says goes
/// through a pipe, since others see arguments.
pub fn launch(auth: Option<&str>) -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "vrrpd".into());
    // A lock of the caller's, for one, would last as long as the daemon.
    descriptors::close_on_exec()?;
    let mut command = Command::new(std::env::current_exe()?);
    // These variables are for the service that the user's shell belongs to.
    for variable in supervisor::VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .arg0(name)
        .args(arguments)
        .env(MARK, "1")
        .stdin(auth.map_or_else(Stdio::null, |_| Stdio::piped()))
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some((mut pipe, auth)) = child.stdin.take().zip(auth) {
        // One that has ended says why itself.
        let _ = pipe.write_all(auth.as_bytes());
    }
    let mut word = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut word)?;
    }
    if word == READY {
        return Ok(ExitCode::SUCCESS);
    }
    let code = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.filter(|code| *code != 0).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// What the command that started this program tells it of `-a`. Nothing is left to read from standard input then.
pub fn auth() -> io::Result<String> {
    let mut auth = String::new();
    io::stdin().lock().read_to_string(&mut auth)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(auth)
}

/// Leaves the session of the user, so that closing the terminal does not end the daemon.
pub fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Tells the waiting command that all is well, and lets go of the user's terminal and directory.
pub fn ready() -> io::Result<()> {
    nix::unistd::chdir("/")?;
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
