//! `--record`: what happened to routers, in a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use vrrpd::control::{Reply, Request, client};
use vrrpd::report::RecordingReport;

use super::survey::no_answer;
use super::{Cli, NONE, NOT_EVERY_ONE, complain};

/// Asks every daemon, writes the file, and tells how the command ends.
pub(crate) fn write(cli: &Cli, sockets: &[PathBuf], file: &Path) -> u8 {
    let mut routers: Vec<RecordingReport> = Vec::new();
    let mut silent = Vec::new();
    for socket in sockets {
        let complaint = match client::ask(socket, &Request::Record(cli.selector())) {
            Ok(Reply::Recorded { routers: answer }) => {
                routers.extend(answer);
                continue;
            }
            Ok(Reply::Error { message }) => message,
            Ok(Reply::State { .. } | Reply::Event(_)) => "answered something else".to_owned(),
            Err(error) => no_answer(&error),
        };
        complain(socket, &complaint);
        silent.push(socket.as_path());
    }
    let names = |router: &RecordingReport| [router.router.clone(), router.name.clone()];
    let found: Vec<_> = routers.iter().flat_map(names).collect();
    let has_unknown = cli.complain_of_unknown(&found, &silent);
    if routers.is_empty() {
        return if silent.is_empty() { NONE } else { NOT_EVERY_ONE };
    }
    let lines = routers.iter().flat_map(|router| &router.lines);
    let text: String = lines.flat_map(|line| [line.as_str(), "\n"]).collect();
    if let Err(error) = write_whole(file, &text) {
        complain(file, &error.to_string());
        return NOT_EVERY_ONE;
    }
    if silent.is_empty() && !has_unknown { 0 } else { NOT_EVERY_ONE }
}

/// Writes a file that only its owner can read. It is there whole, or as it was.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let name = file.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}", process::id()));
    let beside = file.with_file_name(beside);
    let mut options = OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o600).open(&beside).and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        fs::rename(&beside, file)
    });
    if written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        // That is what the error is about.
        let _ = fs::remove_file(&beside);
    }
    written
}
