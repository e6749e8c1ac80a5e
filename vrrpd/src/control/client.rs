//! The client side: blocking sockets with a timeout.

use std::borrow::Cow;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use serde_json::error::Category;
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Reply, Request};
use crate::printable::printable;
use crate::report::RecordingReport;
use crate::trust;

/// Timeout of an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control sockets in a directory, sorted by name.
pub fn sockets(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::symlink_metadata(dir)?.is_symlink() {
        return Err(io::Error::other("is a symbolic link; name the directory itself with -f"));
    }
    // Otherwise another user's program could answer instead of the daemon.
    if !trust::resolve(dir)?.is_private() {
        return Err(io::Error::other("is writable by users other than its owner, so no daemon uses it"));
    }
    let mut sockets = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("vrrpd") && path.extension().is_some_and(|extension| extension == "sock") {
            sockets.push(path);
        }
    }
    sockets.sort();
    Ok(sockets)
}

/// Sends a request to one daemon, and returns its reply.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let mut replies = open(socket, request)?;
    replies.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}

/// Sends a request to one daemon, and handles all its replies until it ends.
pub fn follow(
    socket: &Path,
    request: &Request,
) -> io::Result<impl Iterator<Item = io::Result<Reply>> + use<>> {
    let replies = open(socket, request)?;
    replies.stream.get_ref().set_read_timeout(None)?;
    Ok(replies)
}

/// Parses a reply, without control characters, which could affect a terminal.
fn understand(line: &str) -> io::Result<Reply> {
    let line = line.trim_end();
    // In most replies there is nothing to escape.
    let reply = if !line.contains('\\') && matches!(printable(line), Cow::Borrowed(_)) {
        serde_json::from_str(line)
    } else {
        serde_json::from_str(line).and_then(|value| serde_json::from_value(all_printable(value)))
    };
    reply.map_err(|error| match error.classify() {
        Category::Data => io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "reply unknown to the client of {}, daemon of another version? {error}",
                RecordingReport::PROGRAM
            ),
        ),
        Category::Io | Category::Syntax | Category::Eof => error.into(),
    })
}

fn all_printable(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text).into_owned()),
        Value::Array(values) => values.into_iter().map(all_printable).collect(),
        Value::Object(values) => values
            .into_iter()
            .map(|(key, value)| (printable(&key).into_owned(), all_printable(value)))
            .collect(),
        other => other,
    }
}

struct Replies {
    stream: BufReader<UnixStream>,
}

fn open(socket: &Path, request: &Request) -> io::Result<Replies> {
    let connection = Socket::new(Domain::UNIX, Type::STREAM.cloexec(), None)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    // The timeout also applies to connecting, which blocks while the daemon does not accept clients.
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.connect(&SockAddr::unix(socket)?)?;
    let mut stream = UnixStream::from(OwnedFd::from(connection));
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(Replies { stream: BufReader::new(stream) })
}

impl Iterator for Replies {
    type Item = io::Result<Reply>;

    fn next(&mut self) -> Option<io::Result<Reply>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(understand(&line)),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_contains_no_terminal_control_characters() {
        for hostile in ["\\u001b[2J", "\\r", "\u{9b}2J", "\u{202e}"] {
            let line = format!("{{\"reply\":\"error\",\"message\":\"{hostile} and more\"}}\n");
            let Ok(Reply::Error { message }) = understand(&line) else { unreachable!("is an error") };
            assert!(
                matches!(printable(&message), Cow::Borrowed(_)) && message.ends_with(" and more"),
                "{message:?}"
            );
            assert!(message.starts_with('\\'), "{message:?}");
        }
        let unknown = understand("{\"reply\":\"song\"}").expect_err("is none").to_string();
        assert!(unknown.contains("daemon of another version? unknown variant `song`"), "{unknown}");
        let cut = understand("{\"reply\":").expect_err("is none").to_string();
        assert!(!cut.contains("version"), "{cut}");
        let plain = understand("{\"reply\":\"error\",\"message\":\"a \\\"word\\\"\"}").expect("is one");
        assert_eq!(plain, Reply::Error { message: "a \"word\"".to_owned() });
    }
}
