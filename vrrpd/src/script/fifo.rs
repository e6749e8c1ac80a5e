//! FIFOs from which a user's program reads transitions, a line each in keepalived's format.
//!
//! A FIFO is opened for reading and writing. So opening it does not block, and lines written without a reader stay in
//! the pipe, up to its size.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, warn};
use vrrpd_engine::script::FifoLine;

use crate::lane::Lane;
use crate::trust;

/// Maximum number of lines that wait until the FIFO is open.
const MAX_WAITING: usize = 256;
/// How long writing the last lines may take.
const LAST_LINES: Duration = Duration::from_millis(500);
/// Mode of a created FIFO.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The FIFOs of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Fifos(Rc<RefCell<HashMap<PathBuf, Fifo>>>);

#[derive(Debug)]
struct Fifo {
    lines: Sender<String>,
    task: JoinHandle<()>,
}

impl Fifos {
    /// Queues a line, without waiting for it to be written.
    pub(super) fn tell(&self, router: &str, line: &FifoLine, lane: &Lane) {
        let mut fifos = self.0.borrow_mut();
        let fifo = fifos.entry(line.path.clone()).or_insert_with(|| {
            let (lines, waiting) = mpsc::channel(MAX_WAITING);
            let (path, lane) = (line.path.clone(), lane.clone());
            Fifo { lines, task: tokio::task::spawn_local(write_all(path, waiting, lane)) }
        });
        if fifo.lines.try_send(line.text.clone()).is_err() {
            warn!(router, fifo = %line.path.display(), "line for FIFO dropped");
        }
    }

    /// Waits a short time until all lines are written. A FIFO that was created here is removed then.
    pub(super) async fn finish(&self) {
        let fifos: Vec<_> = self.0.borrow_mut().drain().map(|(_, fifo)| fifo).collect();
        for Fifo { lines, task } in fifos {
            drop(lines);
            // If it takes longer, it hangs.
            let _ = timeout(LAST_LINES, task).await;
        }
    }
}

/// Writes lines as they come, until the last sender is gone.
async fn write_all(path: PathBuf, mut lines: Receiver<String>, lane: Lane) {
    let place = path.clone();
    let opened = lane.run(format!("opening {}", path.display()), move || open(&place)).await;
    let (mut file, is_ours) = match opened.and_then(|opened| opened) {
        Ok(opened) => opened,
        Err(error) => {
            error!(fifo = %path.display(), %error, "cannot open FIFO");
            // Further lines are dropped.
            while lines.recv().await.is_some() {}
            return;
        }
    };
    let mut is_told = false;
    while let Some(line) = lines.recv().await {
        match file.write_all(line.as_bytes()) {
            Ok(()) => is_told = false,
            Err(error) if !is_told => {
                is_told = true;
                warn!(fifo = %path.display(), %error, "cannot write to FIFO, line dropped");
            }
            Err(_) => {}
        }
    }
    if is_ours {
        // It may be gone already.
        let _ = lane.run(format!("removing {}", path.display()), move || std::fs::remove_file(path)).await;
    }
}

/// Opens the FIFO, and creates it if necessary; returns whether it was created.
fn open(path: &Path) -> io::Result<(File, bool)> {
    trust::resolve(path.parent().unwrap_or(Path::new("/")))
        .map_err(|error| io::Error::other(error.to_string()))?;
    let is_ours = match nix::unistd::mkfifo(path, MODE) {
        Ok(()) => true,
        Err(Errno::EEXIST) => {
            trust::resolve(path)?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    if !file.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("is not a FIFO"));
    }
    Ok((file, is_ours))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use tokio::task::LocalSet;

    use super::*;

    async fn write(path: &Path, lines: &[&str]) {
        let fifos = Fifos::default();
        for text in lines {
            let line = FifoLine { path: path.to_owned(), text: (*text).to_owned() };
            fifos.tell("eth0/51", &line, &Lane::scripts());
        }
        fifos.finish().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn lines_stay_until_they_are_read_and_what_was_made_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, MODE).expect("can be made");
        let (mut reader, _) = open(&path).expect("it is there");
        LocalSet::new().run_until(write(&path, &["one\n", "two\n"])).await;
        let mut text = [0; 16];
        let length = reader.read(&mut text).expect("there is something to read");
        assert_eq!(&text[..length], b"one\ntwo\n");
        assert!(path.exists(), "it was there before");

        let other = dir.path().join("other");
        LocalSet::new().run_until(write(&other, &["one\n"])).await;
        assert!(!other.exists());
    }

    #[test]
    fn file_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "mine").expect("can be written");
        assert_eq!(open(&path).expect_err("is none").to_string(), "is not a FIFO");
        assert_eq!(std::fs::read(&path).expect("is there"), b"mine");
    }
}
