//! File check: a number in a file, watched with inotify.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;
use vrrpd_engine::track::Finding;

use super::reporter::Reporter;
use crate::lane::Lane;
use crate::sys::watch::{self, Watched};

/// Retry interval for a directory that does not exist or cannot be watched.
const AGAIN: Duration = Duration::from_secs(1);
/// Maximum length of a number.
const MAX_LEN: usize = 64;

/// Reports the number in the file whenever it may have changed. Without the file it is 0. Text that is not a number
/// changes nothing.
pub(super) async fn watch(path: PathBuf, reporter: Reporter, lane: Lane) {
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let name = path.file_name().unwrap_or_default().to_owned();
    loop {
        if let Ok(changes) = subscribe(&directory, &lane).await {
            read(&path, &reporter, &lane).await;
            while let Ok(Some(is_ours)) = changed(&changes, &name).await {
                if is_ours {
                    read(&path, &reporter, &lane).await;
                }
            }
        }
        // The directory does not exist, or was removed.
        read(&path, &reporter, &lane).await;
        sleep(AGAIN).await;
    }
}

/// Watches the directory, since a file is often replaced by a rename.
async fn subscribe(directory: &Path, lane: &Lane) -> io::Result<AsyncFd<Watched<Inotify>>> {
    let (directory, what) = (directory.to_owned(), format!("watching {}", directory.display()));
    let inotify = lane.run(what, move || -> io::Result<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(&directory, changes)?;
        Ok(inotify)
    });
    watch::files(inotify.await??)
}

/// Waits for changes of the directory: whether the file is among them, or `None` if the directory was removed.
async fn changed(changes: &AsyncFd<Watched<Inotify>>, name: &OsStr) -> io::Result<Option<bool>> {
    loop {
        let mut ready = changes.readable().await?;
        let events = match changes.get_ref().0.read_events() {
            Ok(events) => events,
            Err(nix::errno::Errno::EAGAIN) => {
                ready.clear_ready();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
        if events.iter().any(|event| event.mask.intersects(gone)) {
            return Ok(None);
        }
        // Lost events may have been about the file.
        let is_ours = |mask: AddWatchFlags| mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        return Ok(Some(
            events.iter().any(|event| event.name.as_deref() == Some(name) || is_ours(event.mask)),
        ));
    }
}

async fn read(path: &Path, reporter: &Reporter, lane: &Lane) {
    let (file, what) = (path.to_owned(), format!("reading {}", path.display()));
    match lane.run(what, move || read_start(&file)).await.flatten() {
        Ok(text) => {
            if let Some(number) = number(&text) {
                reporter.tell(Finding::Number(number), format!("number {number}"));
            } else {
                tracing::warn!(file = %path.display(), "tracked file has no number, ignored");
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            reporter.tell(Finding::Number(0), "no such file");
        }
        Err(error) => tracing::warn!(file = %path.display(), %error, "cannot read tracked file"),
    }
}

fn read_start(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    // Opening a FIFO would wait for a writer.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut text = String::new();
    file.take(MAX_LEN as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// The number at the start of a text, limited to the range of weights.
fn number(text: &str) -> Option<i32> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let beyond = if text.starts_with('-') { i32::MIN } else { i32::MAX };
    Some(text.parse().unwrap_or(beyond))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_check_has_one_number() {
        for (text, wanted) in [
            ("5\n", Some(5)),
            (" -20 ", Some(-20)),
            ("+7", Some(7)),
            ("99999999999", Some(i32::MAX)),
            ("-99999999999", Some(i32::MIN)),
            ("", None),
            ("-", None),
            ("5 6", None),
            ("0x10", None),
            ("high", None),
        ] {
            assert_eq!(number(text), wanted, "{text:?}");
        }
    }
}
