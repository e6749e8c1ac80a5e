//! The client's end: plain blocking sockets with a limit on how long an answer may take.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};

/// A daemon that does not answer for this long does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control sockets in a directory, in order of their names.
pub fn sockets(dir: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::symlink_metadata(dir)?.is_symlink() {
        return Err(io::Error::other("is a symbolic link; name the directory itself with -f"));
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

/// Asks one daemon.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Reply> {
    let mut replies = open(socket, request)?;
    replies.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}

/// Asks one daemon for all that it will say, for as long as it takes.
pub fn follow(
    socket: &Path,
    request: &Request,
) -> io::Result<impl Iterator<Item = io::Result<Reply>> + use<>> {
    let replies = open(socket, request)?;
    replies.stream.get_ref().set_read_timeout(None)?;
    Ok(replies)
}

struct Replies {
    stream: BufReader<UnixStream>,
}

fn open(socket: &Path, request: &Request) -> io::Result<Replies> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
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
            Ok(_) => Some(serde_json::from_str(&line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    }
}
