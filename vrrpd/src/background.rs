//! Starts the daemon in the background, once everything that can fail has been done.
//!
//! The user's command starts the same program again, and waits until that process reports on its standard output that
//! it is ready, or ends. Errors appear on the user's terminal, since both share standard error until then. A running
//! program is never forked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use crate::supervisor;
use crate::sys::descriptors;

/// Environment variable that marks the background process.
pub const MARK: &str = "VRRPD_IN_BACKGROUND";
const READY: &[u8] = b"ready\n";

/// The role of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Works in the foreground.
    Foreground,
    /// Works in the background, and reports readiness on standard output.
    Background,
    /// Starts the background process and waits until it is ready.
    Launcher,
}

/// The role of this process.
pub fn role(foreground: bool) -> Role {
    if foreground {
        Role::Foreground
    } else if std::env::var_os(MARK).is_some() {
        Role::Background
    } else {
        Role::Launcher
    }
}

/// Starts the program again with the same arguments, in the background; returns the exit status of the command. The
/// value of `-a` is passed through a pipe, since arguments are visible to other users.
pub fn launch(auth: Option<&str>) -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "vrrpd".into());
    // Otherwise the daemon would keep, for example, a lock of the caller.
    descriptors::close_on_exec()?;
    let mut command = Command::new(std::env::current_exe()?);
    // These variables belong to the service of the user's shell.
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
        // If the process has ended, it has printed the reason.
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

/// Reads the value of `-a` from the launching command. Standard input is empty afterwards.
pub fn auth() -> io::Result<String> {
    let mut auth = String::new();
    io::stdin().lock().read_to_string(&mut auth)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(auth)
}

/// Leaves the user's session, so that closing the terminal does not end the daemon.
pub fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Reports readiness to the waiting command, and releases the user's terminal and directory.
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
