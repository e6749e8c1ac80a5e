//! `--record` writes what happened to routers to a file; `--replay` prints such a file in words.
//!
//! The daemon sends packed data; the JSON code is only here, since the daemon's program is locked in memory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use vrrpd::control::{Reply, Request, client};
use vrrpd::printable::printable;
use vrrpd::report::RecordingReport;
use vrrpd_engine::recording;

use super::survey::no_answer;
use super::{Cli, NONE, NOT_EVERY_ONE, USAGE, complain};

/// Asks every daemon, writes the file, and returns the exit status.
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
    let mut text = String::new();
    let mut is_whole = silent.is_empty() && !has_unknown;
    for RecordingReport { router, recording, .. } in &routers {
        match recording.write(RecordingReport::PROGRAM) {
            Ok(lines) => text += &lines,
            Err(error) => {
                eprintln!("atropos: {router}: {error}");
                is_whole = false;
            }
        }
    }
    if text.is_empty() {
        return NOT_EVERY_ONE;
    }
    if let Err(error) = write_whole(file, &text) {
        complain(file, &error.to_string());
        return NOT_EVERY_ONE;
    }
    if is_whole { 0 } else { NOT_EVERY_ONE }
}

/// Prints the transcript of a recording, and returns the exit status.
pub(crate) fn replay(file: &Path) -> u8 {
    let octets = match fs::read(file) {
        Ok(octets) => octets,
        Err(error) => {
            complain(file, &error.to_string());
            return USAGE;
        }
    };
    match recording::transcript(&String::from_utf8_lossy(&octets)) {
        Ok(transcript) => {
            let lines = transcript.lines().map(|line| printable(line) + "\n").collect::<String>();
            // A closed pipe is not an error: its reader has read enough.
            let _ = io::stdout().write_all(lines.as_bytes());
            0
        }
        Err(error) => {
            complain(file, &error.to_string());
            USAGE
        }
    }
}

/// Writes a file that only its owner can read. It is replaced atomically.
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
        // The write error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written
}
