//! What both daemons share on the machine: a tracked process, scripts, and FIFOs with a reader.

use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command};
use std::{fs, io};

/// A process to be tracked.
#[derive(Debug)]
pub(super) struct Service(Child);

impl Service {
    /// Starts the process named by `%service`.
    pub(super) fn start(home: &Path) -> Self {
        let program = home.join(service_name(home));
        if !program.exists() {
            // Copied by another process, since a file that a child of another test has open for writing cannot be
            // executed.
            let copied = Command::new("/bin/cp").arg("/bin/sleep").arg(&program).status();
            assert!(copied.is_ok_and(|status| status.success()), "there is a sleep");
        }
        Self(Command::new(program).arg("1000").spawn().expect("it can be started"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A FIFO and the lines read from it.
#[derive(Debug)]
pub(super) struct Fifo {
    file: fs::File,
    read: String,
}

impl Fifo {
    pub(super) fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("it can be made");
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path).expect("it can be read");
        Self { file, read: String::new() }
    }

    /// The lines so far.
    pub(super) fn lines(&mut self) -> Vec<String> {
        match self.file.read_to_string(&mut self.read) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("the FIFO cannot be read: {error}"),
        }
        self.read.lines().map(str::to_owned).collect()
    }
}

/// The name of the tracked process: that of the directory, at most 15 characters.
pub(super) fn service_name(home: &Path) -> String {
    home.file_name().expect("it has a name").to_string_lossy().replace('.', "")
}

/// Another process writes it, since a file that a child of another test has open for writing cannot be executed.
pub(super) fn write_script(path: &Path, commands: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0""#]).arg(path).arg(commands);
    assert!(shell.status().is_ok_and(|status| status.success()), "the script can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
